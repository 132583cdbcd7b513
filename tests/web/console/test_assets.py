"""What pages load: where it is, for how long it is kept, and what happens when nobody built it."""

import re
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from structlog.testing import capture_logs
from tests.web.world import World

from milepost.store import Store
from milepost.web.console import assets
from milepost.web.console.assets import asset

ROOT = Path(__file__).parent.parent.parent.parent
BUILD = ROOT / "frontend" / "build.py"


@pytest.fixture(scope="module")
def build() -> Any:
    """`frontend/build.py`, which is a program and no part of the package."""
    spec = spec_from_file_location("frontend_build", BUILD)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def unbuilt(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package in which nobody ran the build."""
    monkeypatch.setattr(assets, "_FOLDERS", ("static",))
    for cached in (assets.asset, assets._read):
        cached.cache_clear()
    yield
    for cached in (assets.asset, assets._read):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("console.css", "text/css; charset=utf-8"),
        ("console.js", "text/javascript; charset=utf-8"),
        ("htmx.js", "text/javascript; charset=utf-8"),
        ("htmx-sse.js", "text/javascript; charset=utf-8"),
        ("icons.svg", "image/svg+xml"),
        ("inter-latin.woff2", "font/woff2"),
        ("inter-latin-ext.woff2", "font/woff2"),
    ],
)
async def test_what_pages_load_is_there_for_everybody_and_for_a_year(
    world: World, name: str, kind: str
) -> None:
    answer = await world.get(asset(name), key=None)
    assert answer.status_code == 200, "was it built? `make run` does it"
    assert answer.headers["content-type"] == kind
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert len(answer.content) > 500


@pytest.mark.parametrize(
    "path",
    [
        "/assets/0000000000000000/console.css",
        "/assets/missing/icons.svg",
        asset("console.css").replace("console.css", "console.js"),
        asset("console.css").replace("console.css", "../assets.py"),
        asset("console.css").replace("console.css", "..%2fassets.py"),
        asset("console.css").replace("console.css", "built"),
        "/assets/0000000000000000/" + "x" * 200,
    ],
)
async def test_nothing_else_is(world: World, path: str) -> None:
    answer = await world.get(path, key=None)
    assert answer.status_code in {400, 404}
    assert b"import" not in answer.content


async def test_a_style_sheet_names_fonts_by_their_addresses(world: World) -> None:
    sheet = (await world.get(asset("console.css"), key=None)).text
    links = re.findall(r'url\("([^"]+)"\)', sheet)
    assert sorted(links) == sorted(asset(f"inter-{part}.woff2") for part in ("latin", "latin-ext"))
    assert "asset:" not in sheet


async def test_a_page_is_shown_where_nothing_was_built(store: Store, unbuilt: None) -> None:
    with capture_logs() as logs:
        async with World(store, insecure=True, admin_key=None).client(None) as client:
            first = await client.get("/")
            again = await client.get("/")
            missing = await client.get("/assets/missing/icons.svg")
    assert (first.status_code, again.status_code, missing.status_code) == (200, 200, 404)
    assert "/assets/missing/icons.svg#search" in first.text
    said = [log["name"] for log in logs if log["event"] == "assets_missing"]
    assert "icons.svg" in said
    assert len(said) == len(set(said)), "each is told once, not with every page"
    assert all("make run" in log["action"] for log in logs if log["event"] == "assets_missing")


def test_every_icon_that_is_named_is_in_the_sprite(build: Any) -> None:
    """The build ends where lucide has no icon of a name; this notices that nobody built since."""
    used = set(build.used_icons())
    sprite = ElementTree.fromstring((build.BUILT / "icons.svg").read_text())
    built = {symbol.get("id") for symbol in sprite}
    assert used - built == set(), "run `make run` or `make test`, which build the icons"
    assert {"search", "menu", "circle-check", "triangle-alert"} <= used
    assert all(len(symbol) for symbol in sprite)


def test_icons_are_found_however_they_are_named(build: Any, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "ui.html").write_text(
        "{% macro icon(name, label='') %}{% endmacro %}{% macro pill(text, tone='', icon_name='') %}{% endmacro %}"
        "{% macro empty(text, icon_name='tenth', other='not one') %}{% endmacro %}"
    )
    (tmp_path / "templates" / "page.html").write_text(
        "{{ ui.icon('first') }}{{ ui.pill('text', 'good', 'second') }}{{ ui.pill('text', icon_name='third') }}"
        "{{ ui.icon('fourth' if it else 'fifth') }}{{ ui.icon(place.icon) }}{{ ui.pill('not one') }}"
    )
    (tmp_path / "pages.py").write_text(
        "PLACES = (Place('/', 'Name', 'sixth', 'orders'), Place('/', 'Name', icon='seventh', permission='x'))\n"
        "STAGE_ICONS = {'CODE': 'eighth'}\nOTHER = {'CODE': 'not one'}\nICONS: tuple = ('ninth',)\n"
    )
    monkeypatch.setattr(build, "CONSOLE", tmp_path)
    assert set(build.used_icons()) == {
        *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
    }


def test_an_icon_that_lucide_does_not_have_ends_the_build(
    build: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(build, "used_icons", lambda: {"search": "a.html", "no-such-icon": "page.html"})
    monkeypatch.setattr(build, "BUILT", tmp_path)
    with pytest.raises(SystemExit, match=r"no-such-icon \(page\.html\)"):
        build.main()


def test_the_locks_name_no_registry() -> None:
    locks = [ROOT / "frontend" / "package-lock.json", *(ROOT / "tests").glob("e2e/*/package-lock.json")]
    assert len(locks) >= 2
    for lock in locks:
        text = lock.read_text()
        assert "resolved" not in text, lock
        assert '"integrity": "sha512-' in text, lock
