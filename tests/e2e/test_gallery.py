"""The parts that pages are made of, each on one page: how they look and whether everybody can use them.

The page is `gallery.html` and part of no program; it is served as the console serves its own.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from jinja2 import ChoiceLoader, DictLoader
from litestar import Litestar, Request, Response, get
from litestar.datastructures import State
from playwright.async_api import Browser
from tests.chromium import browser as browser
from tests.e2e.looking import axe as axe
from tests.e2e.looking import visit, watched
from tests.unit.transports.serving import serving

from milepost.domain.instant import parse_instant
from milepost.web.console import assets, pages
from milepost.web.visiting import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOW = parse_instant("2026-11-14T12:00:00Z")
GALLERY = Path(__file__).with_name("gallery.html")
PEOPLE = {
    "insecure": Visitor("insecure", "Nobody signed in", "admin", None, "token"),
    "analyst": Visitor("usr_1", "Robin Sample", "analyst", None, "token"),
}
PLACES = tuple(
    pages.Place(f"/{name.lower()}", name, icon, permission)  # type: ignore[arg-type]
    for name, icon, permission in (
        ("Search", "search", "orders"),
        ("Queues", "inbox", "orders"),
        ("Insights", "info", "insights"),
        ("Events", "copy", "operate"),
        ("Users", "circle-user", "admin"),
    )
)


@get("/gallery/{who:str}", exception_handlers=pages.ERRORS)
async def gallery(request: Request[Any, Any, Any]) -> Response[str]:
    who = request.path_params["who"]
    request.scope["visitor"] = PEOPLE.get(who)  # type: ignore[typeddict-unknown-key]
    template = "no-such.html" if who == "broken" else "gallery.html"
    return pages.page(request, PEOPLE.get(who), template, now=NOW)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address() -> AsyncIterator[str]:
    """Where the gallery is served."""
    context = SimpleNamespace(clock=lambda: NOW)
    app = Litestar([gallery, *assets.HANDLERS], openapi_config=None, state=State({"context": context}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "PLACES", PLACES)
        patch.setattr(pages.environment, "loader", _with_gallery())
        async with serving(app) as served:
            yield served.url


def _with_gallery() -> ChoiceLoader:
    assert pages.environment.loader is not None
    return ChoiceLoader([pages.environment.loader, DictLoader({"gallery.html": GALLERY.read_text()})])


@pytest.mark.parametrize("who", ["insecure", "analyst"])
async def test_every_part_looks_as_it_should(browser: Browser, axe: str, address: str, who: str) -> None:
    async with watched(browser, axe) as page:
        await visit(page, f"{address}/gallery/{who}", f"gallery-{who}")
