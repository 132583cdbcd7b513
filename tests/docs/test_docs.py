"""The pages name what there is: every route of the API, every command, every file that they link to or name."""

import re
from pathlib import Path
from typing import Any, cast

import pytest
import typer.main

from milepost.cli.main import app
from milepost.web.app import create_app
from milepost.web.console import HANDLERS as CONSOLE

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def routes() -> list[str]:
    """`GET /v1/orders/{orderId}`, for every route the hub answers, but the pages of the console."""
    pages = {path for handler in CONSOLE for path in handler.paths}
    # Registering routes asks nothing of what the handlers are given.
    registered = create_app(cast("Any", None)).routes
    found = {
        f"{method} {_camel(route.path_format)}"
        for route in registered
        if route.path not in pages
        for method in route.methods - {"OPTIONS", "HEAD"}
    }
    return sorted(found | {"POST /webhooks/buy-with-prime", "POST /oauth/token"})


def _camel(path: str) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), path)


@pytest.mark.parametrize("route", routes())
def test_every_route_is_named_in_the_page_of_the_api(route: str) -> None:
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    assert re.search(rf"`{re.escape(route)}(\?q=)?`", page), f"docs/api.md does not name `{route}`"


def test_the_page_of_the_api_names_no_route_that_is_not_there() -> None:
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    named = re.findall(r"`((?:GET|POST|DELETE|PUT|PATCH) /[^`?]*)", page)
    assert set(named) == set(routes())


def test_the_page_of_the_commands_names_them_all_and_no_other() -> None:
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    group: Any = typer.main.get_command(app)
    assert set(re.findall(r"^\| `milepost ([\w-]+)` \|", page, re.MULTILINE)) == set(group.commands)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_and_named_files_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", link):
            target, _, heading = link.partition("#")
            path = (page.parent / target) if target else page
            assert path.exists(), f"{page.name} links to {link}"
            if heading:
                assert heading in _headings(path), f"{page.name} links to {link}"
    for named in re.findall(r"\b(?:tests|src|docs)/[\w/.-]+\.(?:py|md|json|toml)\b", text):
        assert (ROOT / named).is_file(), f"{page.name} names {named}"


def _headings(page: Path) -> set[str]:
    found = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}
