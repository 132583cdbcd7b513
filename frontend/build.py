"""Puts what the console's pages load, besides our own files, into the package: htmx, icons and the font.

    python frontend/build.py

It copies from `node_modules`, where `make` installs the lock's packages first. Of the icons only those that templates
and handlers name go into the sprite: in templates the `name` of `ui.icon` and every macro's `icon_name`, in Python
the `icon` of a `Place` and the values of a dictionary or tuple whose name ends in ICONS. A name that lucide doesn't
have ends the build.
"""

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, nodes

ROOT = Path(__file__).parent.parent
PACKAGES = ROOT / "frontend" / "node_modules"
CONSOLE = ROOT / "src" / "milepost" / "web" / "console"
BUILT = CONSOLE / "static" / "built"
COPIED = {
    "htmx.js": "htmx.org/dist/htmx.min.js",
    "htmx-sse.js": "htmx.org/dist/ext/hx-sse.min.js",
    "inter-latin.woff2": "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2",
    "inter-latin-ext.woff2": "@fontsource-variable/inter/files/inter-latin-ext-wght-normal.woff2",
}
PARAMETERS = {"icon": "name"}
"""The parameter that names an icon where it isn't `icon_name`, by macro."""


def main() -> None:
    BUILT.mkdir(parents=True, exist_ok=True)
    for name, source in COPIED.items():
        (BUILT / name).write_bytes((PACKAGES / source).read_bytes())
    shapes = json.loads((PACKAGES / "lucide-static" / "icon-nodes.json").read_text())
    named = used_icons()
    if unknown := sorted(set(named) - set(shapes)):
        sys.exit("lucide has no icon of this name: " + ", ".join(f"{n} ({named[n]})" for n in unknown))
    (BUILT / "icons.svg").write_text(sprite({name: shapes[name] for name in sorted(named)}))


def used_icons() -> dict[str, str]:
    """Each icon that is named somewhere, and the name of a file that names it."""
    templates = {path: _parsed(path) for path in sorted((CONSOLE / "templates").glob("*.html"))}
    signatures = {
        macro.name: [argument.name for argument in macro.args]
        for tree in templates.values()
        for macro in tree.find_all(nodes.Macro)
    }
    found = {name: path.name for path, tree in templates.items() for name in _in_template(tree, signatures)}
    for path in sorted(CONSOLE.glob("*.py")):
        found.update((name, path.name) for name in _in_module(ast.parse(path.read_text())))
    return found


def _parsed(path: Path) -> nodes.Template:
    return Environment(autoescape=True).parse(path.read_text())


def _in_template(tree: nodes.Template, signatures: dict[str, list[str]]) -> Iterator[str]:
    for macro in tree.find_all(nodes.Macro):
        # Defaults are of the last parameters.
        for argument, default in zip(reversed(macro.args), reversed(macro.defaults), strict=False):
            if argument.name == "icon_name":
                yield from _words(default)
    for call in tree.find_all(nodes.Call):
        name = call.node.attr if isinstance(call.node, nodes.Getattr) else getattr(call.node, "name", "")
        parameter = PARAMETERS.get(name, "icon_name")
        parameters = signatures.get(name, [])
        if parameter not in parameters:
            continue
        place = parameters.index(parameter)
        given = [call.args[place]] if place < len(call.args) else []
        given += [keyword.value for keyword in call.kwargs if keyword.key == parameter]
        for value in given:
            yield from _words(value)


def _words(value: nodes.Expr) -> Iterator[str]:
    """The texts that an expression may come to, as far as it says them itself."""
    if isinstance(value, nodes.Const) and isinstance(value.value, str) and value.value:
        yield value.value
    elif isinstance(value, nodes.CondExpr):
        for branch in (value.expr1, value.expr2):
            if branch is not None:
                yield from _words(branch)


def _in_module(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Place":
            given = [*node.args[2:3], *(k.value for k in node.keywords if k.arg == "icon")]
            yield from _constants(given)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id.endswith("ICONS") for target in targets):
                value = node.value
                yield from _constants(value.values if isinstance(value, ast.Dict) else ast.walk(value))


def _constants(given: Iterator[ast.AST] | list[ast.expr]) -> Iterator[str]:
    for each in given:
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def sprite(icons: dict[str, list[tuple[str, dict[str, str]]]]) -> str:
    """One SVG with a symbol an icon, for `<use href="icons.svg#name">`."""
    symbols = (
        f'<symbol id="{name}" viewBox="0 0 24 24">{"".join(_element(*shape) for shape in shapes)}</symbol>'
        for name, shapes in icons.items()
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg">{"".join(symbols)}</svg>\n'


def _element(tag: str, attributes: dict[str, str]) -> str:
    written = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    return f"<{tag} {written}/>"


if __name__ == "__main__":
    main()
