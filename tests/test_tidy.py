"""The code checks itself: sizes, opening docstrings, exports, dead modules and names, and what docs must name.

Floors and cycles are import-linter's (`lint-imports`), style is ruff's, types are mypy's; `make test` runs all.
"""

import ast
import importlib
import re
import subprocess
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import typer.main

from milepost.cli.main import MODULES as COMMAND_MODULES
from milepost.cli.main import app
from milepost.config import Config
from milepost.domain import errors
from milepost.domain.event import CATALOGUE

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src" / "milepost"
MODULES = sorted(SRC.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
ENTRY_POINTS = {"milepost.cli.main", "milepost.sql.migrations.env"} | {
    f"milepost.cli.{name}" for name in COMMAND_MODULES
}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def doc(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_fits_its_room(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 450, f"{path.name} has {len(lines)} lines: two rooms under one roof?"


@pytest.mark.parametrize("path", [p for p in MODULES if p.read_text().strip()], ids=name_of)
def test_a_module_opens_with_what_lives_in_it(path: Path) -> None:
    assert ast.get_docstring(tree(path)), f"{path} does not say what lives in it"


@pytest.mark.parametrize("path", [p for p in MODULES if "versions" not in p.parts], ids=name_of)
def test_a_function_fits_a_screen(path: Path) -> None:
    """Migrations apart: a migration is a list of tables, read once."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 75, f"{path.name}:{node.lineno} {node.name} has {length} lines"


@pytest.mark.parametrize("path", [*MODULES, *TESTS], ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_is_left_unfinished(path: Path) -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "X" * 3, "NotImplemented" + "Error")
    text = path.read_text()
    assert not [mark for mark in marks if re.search(rf"\b{mark}\b", text)]


def test_exports_exist() -> None:
    for path in MODULES:
        module = importlib.import_module(name_of(path)) if "migrations" not in path.parts else None
        for name in getattr(module, "__all__", ()):
            assert hasattr(module, name), f"{name_of(path)} exports {name}, which it has not"


def imported_modules() -> set[str]:
    known = {name_of(path) for path in MODULES}
    found: set[str] = set()
    for path in [*MODULES, *TESTS]:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
                found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found & known


def test_no_module_is_dead() -> None:
    versions = {name_of(p) for p in MODULES if "versions" in p.parts}
    wanted = {name_of(path) for path in MODULES if path.read_text().strip()} - ENTRY_POINTS - versions
    packages = {name for name in wanted if any(other.startswith(name + ".") for other in wanted)}
    assert wanted - packages - imported_modules() == set()


def test_no_public_name_is_dead() -> None:
    """Every public function and class of a module is used somewhere besides its definition."""
    uses = Counter(word for path in [*MODULES, *TESTS] for word in re.findall(r"\w+", path.read_text()))
    dead = []
    for path in MODULES:
        if "migrations" in path.parts:
            continue
        for node in tree(path).body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            # A plugin's hooks are called by pytest.
            if node.name.startswith(("_", "pytest_")) or node.decorator_list:
                continue
            if uses[node.name] < 2:
                dead.append(f"{name_of(path)}.{node.name}")
    assert dead == []


def test_every_setting_is_documented() -> None:
    page = doc("settings.md")
    names = [f"MILEPOST_{name.upper()}" for name in Config.model_fields]
    assert [name for name in names if f"`{name}`" not in page] == []


def test_every_setting_says_what_it_means() -> None:
    assert [name for name, field in Config.model_fields.items() if not field.description] == []


def test_every_event_type_is_documented() -> None:
    page = doc("events.md")
    names = {name for t in CATALOGUE for name in (t.name, *t.former_names)}
    assert sorted(name for name in names if f"`{name}`" not in page) == []


def test_every_error_code_is_documented_and_has_a_status() -> None:
    page = doc("errors.md")
    classes = [errors.MilepostError]
    for cls in classes:
        classes.extend(cls.__subclasses__())
    codes = {cls.code for cls in classes}
    assert sorted(code for code in codes if f"`{code}`" not in page) == []
    assert codes == set(errors.HTTP_STATUS)


def test_every_command_is_documented_with_an_example() -> None:
    page = doc("cli.md")
    group = typer.main.get_command(app)
    commands = getattr(group, "commands", {})
    assert commands
    for name, command in commands.items():
        assert f"`milepost {name}`" in page, f"docs/cli.md does not name milepost {name}"
        subcommands = getattr(command, "commands", {})
        if not subcommands:
            assert "Example: milepost" in (command.epilog or ""), f"milepost {name} --help has no example"


def test_declared_dependencies_are_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]
    pinned = (ROOT / "requirements" / "run.txt").read_text().lower()
    for requirement in wanted:
        name = re.split(r"[<>=\[]", requirement)[0].lower()
        assert f"\n{name}==" in f"\n{pinned}", f"{name} is not pinned"


def test_nothing_of_one_machine_is_in_the_repository() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    pattern = re.compile(r"(?<![\w.])/(?:home|root|Users|work)/\w")
    offenders = []
    for name in listed:
        path = ROOT / name
        if path.is_file() and pattern.search(path.read_text(errors="replace")):
            offenders.append(name)
    assert offenders == []
