"""Reading the page as a browser without scripts does: its forms, its links, its text; and what it must not have."""

from html.parser import HTMLParser
from itertools import product
from typing import Any

import httpx
from aiohttp import web
from tests.unit.transports.receiver import Answer, Received

from milepost.sandbox.program import Sandbox

_VOID = frozenset({"meta", "link", "input", "br", "path"})
_FORBIDDEN = frozenset({"script", "style", "iframe", "object", "embed", "img", "base"})


class Form:
    """One form: what it sends whatever is pressed, and what can be chosen and pressed."""

    def __init__(self, attributes: dict[str, str]) -> None:
        self.method = attributes.get("method", "get")
        self.action = attributes["action"]
        self.fields: dict[str, str] = {}
        self.options: dict[str, list[str]] = {}
        self.buttons: list[tuple[str, str, str]] = []
        """(words, name, value)"""

    def ways(self) -> list[dict[str, str]]:
        """Every way to send it: each button with each option of each select."""
        chosen = [[(name, value) for value in values] for name, values in self.options.items()]
        return [
            {**self.fields, **dict(options), **({name: value} if name else {})}
            for options in product(*chosen)
            for _, name, value in self.buttons
        ]


class Page(HTMLParser):
    """A parsed page. Fails on markup that does not nest, and on anything the policy would block."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.labelled: set[str] = set()
        self.controls: list[tuple[str, bool]] = []
        """Visible inputs and selects: (id, whether one of its ancestors is a label)."""
        self.headings: list[int] = []
        self.text = ""
        self._open: list[str] = []
        self._form: Form | None = None
        self.feed(markup)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        assert tag not in _FORBIDDEN, tag
        assert not [name for name in given if name == "style" or name.startswith("on")], given
        if tag not in _VOID:
            self._open.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a":
            assert given["href"].startswith(("/", "#", "https://", "http://")), given
            self.links.append(given["href"])
        if tag == "label" and "for" in given:
            self.labelled.add(given["for"])
        if tag[0] == "h" and tag[1:].isdigit():
            self.headings.append(int(tag[1:]))
        self._controls(tag, given)

    def _controls(self, tag: str, given: dict[str, str]) -> None:
        if tag == "form":
            assert self._form is None, "forms do not nest"
            self._form = Form(given)
            self.forms.append(self._form)
        if tag in ("input", "select") and given.get("type") != "hidden":
            self.controls.append((given.get("id", ""), "label" in self._open))
        if self._form is None:
            return
        if tag == "input" and (given.get("type") != "checkbox" or "checked" in given):
            self._form.fields[given["name"]] = given.get("value", "")
        elif tag == "select":
            self._form.options[given["name"]] = []
        elif tag == "option":
            self._form.options[next(reversed(self._form.options))].append(given["value"])
        elif tag == "button":
            self._form.buttons.append(("", given.get("name", ""), given.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> closes another element"
        if tag == "form":
            self._form = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._form is not None and self._form.buttons and "button" in self._open:
            words, name, value = self._form.buttons[-1]
            self._form.buttons[-1] = (words + data, name, value)

    def form_of(self, action: str, **fields: str) -> Form:
        """The first form for this action that sends these fields."""
        return next(
            form
            for form in self.forms
            if form.action.endswith(action) and fields.items() <= form.fields.items()
        )


class Browser:
    """Somebody who looks at a sandbox's page, and presses its buttons."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(sandbox.app),  # type: ignore[arg-type]
            base_url="http://127.0.0.1:8481",
        )

    async def close(self) -> None:
        await self.http.aclose()

    async def get(self, path: str, status: int = 200) -> Page:
        answer = await self.http.get(path)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        return Page(answer.text)

    async def post(self, path: str, fields: dict[str, str], status: int = 303) -> Any:
        """Submit a form as a browser does; where it led to, or (another status) the page that it answered."""
        answer = await self.http.post(path, data=fields, headers={"origin": "http://127.0.0.1:8481"})
        assert answer.status_code == status, (path, fields, Page(answer.text).text)
        return answer.headers["location"] if status == 303 else Page(answer.text)

    async def press(self, form: Form, fields: dict[str, str] | None = None) -> Page:
        """Submit it, and look at where that leads."""
        return await self.get(await self.post(form.action, form.ways()[0] | (fields or {})))


def saying(status: int, words: str) -> Answer:
    """A receiver's answer with a body."""

    async def answer(received: Received) -> web.StreamResponse:
        return web.Response(status=status, text=words)

    return answer
