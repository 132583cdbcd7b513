"""A page as it is read in tests: its elements by their attributes, each with the text in it."""

from html.parser import HTMLParser

_VOID = frozenset({"meta", "link", "input", "br", "path", "hr", "img", "use"})


class Element:
    """An element, with everything written in it and in what it holds."""

    def __init__(self, tag: str, attributes: dict[str, str], inside: tuple["Element", ...]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.inside = inside
        """What it stands in, the outermost first."""
        self.text = ""

    def __getitem__(self, name: str) -> str:
        return self.attributes[name]

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


class Parsed(HTMLParser):
    """A parsed page. Markup that does not nest fails, and so does what the policy would block."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(markup)
        self.close()
        assert not self._open, f"not closed: {[each.tag for each in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        assert not [name for name in given if name == "style" or name.startswith("on")], given
        assert not given.get("href", "").lower().startswith("javascript:"), given
        assert tag != "script" or given["src"].startswith("/assets/"), "a script that is not ours"
        element = Element(tag, given, tuple(self._open))
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self._open, f"{tag} closes nothing"
            assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def all(self, tag: str = "", within: Element | None = None, **attributes: str) -> list[Element]:
        """Elements of a tag with these attributes (`data_is` for `data-is`, `class_` for `class`)."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [
            each
            for each in self.elements
            if tag in ("", each.tag)
            and (within is None or within in each.inside)
            and all(each.attributes.get(name) == value for name, value in wanted.items())
        ]

    def one(self, tag: str = "", within: Element | None = None, **attributes: str) -> Element:
        (found,) = self.all(tag, within, **attributes)
        return found

    @property
    def words(self) -> str:
        return self.one("main").words
