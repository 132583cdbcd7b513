"""The parts that pages are made of, each on one page: how they look and whether everybody can use them.

The pages are `gallery.html` and `gallery_charts.html` and part of no program; they are served as the console serves
its own.
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
from tests.e2e.looking import WINDOWS, visit, watched
from tests.e2e.looking import axe as axe
from tests.unit.transports.serving import serving

from milepost.domain.instant import parse_instant
from milepost.web.console import assets, charts, pages
from milepost.web.console.charts import Bar, Bin, Marker, Point, Series, Share, Tone
from milepost.web.console.heat_map import Cell, ageing, heat
from milepost.web.visiting import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOW = parse_instant("2026-11-14T12:00:00Z")
TEMPLATES = ("gallery.html", "gallery_charts.html")
DAYS = [f"{day} Oct" for day in range(16, 32)] + [f"{day} Nov" for day in range(1, 15)]
SHARES = [94, 95, 91, 93, None, None, 96, 95, 97, 96, 94, 92, None, 88, 90, 93, 95, 96, 97, 95, 94]
SHARES += [93, 96, 97, 98, 96, 95, 92, 71, 40]
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
async def show_gallery(request: Request[Any, Any, Any]) -> Response[str]:
    who = request.path_params["who"]
    request.scope["visitor"] = PEOPLE.get(who)  # type: ignore[typeddict-unknown-key]
    return pages.page(request, PEOPLE[who], "gallery.html", now=NOW)


@get("/charts", exception_handlers=pages.ERRORS)
async def show_charts(request: Request[Any, Any, Any]) -> Response[str]:
    return pages.page(request, PEOPLE["analyst"], "gallery_charts.html", now=NOW, **drawn())


def drawn() -> dict[str, object]:
    """A chart of every kind, by the names that the template uses."""
    points = [
        Point(label, value, f"{value} of 100" if value else "", "/", place < 26)
        for place, (label, value) in enumerate(zip(DAYS, SHARES, strict=True))
    ]
    weeks = [
        Series(name, [Point(f"week {w}", base + w % 3 * 0.4) for w in range(36, 46)], tone)
        for name, base, tone in (("p50", 2.1, "accent"), ("p90", 3.8, "active"), ("p95", 4.6, "neutral"))
    ]
    bins = [
        Bin(d / 2, d / 2 + 0.5, n, "/")
        for d, n in enumerate([0, 3, 40, 160, 310, 250, 140, 90, 60, 30, 22, 9, 4, 1])
    ]
    dwell = (
        ("Info received", 0.8),
        ("In transit", 1.6),
        ("Out for delivery", 0.3),
        ("Waiting for pickup", 2.2),
    )
    parts: tuple[tuple[str, int, Tone], ...] = (
        *(("Delivered", 1131, "good"), ("In transit", 212, "active"), ("Late", 31, "warn")),
        *(("Lost", 4, "bad"), ("Unknown", 9, "neutral")),
    )
    lanes = [
        (
            carrier,
            [Cell(s, f"{s} %", f"n {n}", "/") if n >= 20 else Cell(None, "–", f"n {n}") for s, n in row],
        )
        for carrier, row in (
            ("UPS", [(97, 120), (92, 80), (81, 44)]),
            ("USPS", [(95, 230), (88, 66), (0, 7)]),
            ("A carrier with a long name", [(99, 25), (94, 31), (90, 22)]),
        )
    ]
    ages = (
        ("In transit", [40, 22, 9, 4, 1, 0, 0]),
        ("Out for delivery", [12, 1, 0, 0, 0, 0, 1]),
        ("Waiting for pickup", [0, 2, 3, 5, 9, 4, 2]),
    )
    buckets = ("0–1 d", "1–2 d", "2–3 d", "3–5 d", "5–7 d", "7–14 d", "14+ d")
    return {
        "spark": charts.sparkline([94, 95, None, 91, 96, 97, 92, 95]),
        "trend": charts.line(
            "On time, by day", [Series("On time", points)], say=lambda v: f"{v:g} %", high=100
        ),
        "weeks": charts.line("Transit time, by week", weeks, say=lambda v: f"{v:.1f} d"),
        "nothing": charts.line("Nothing", [Series("On time", [Point(day, None) for day in DAYS])]),
        "transit": charts.histogram(
            "Transit time",
            bins,
            [Marker("p50", 2.4), Marker("p90", 4.1), Marker("p95", 5.0)],
            say=lambda v: f"{v:g} d",
        ),
        "dwell": charts.bars(
            "Dwell", [Bar(name, days, "n 120", "/") for name, days in dwell], say=lambda v: f"{v:g} d"
        ),
        "states": charts.shares("States", [Share(name, n, tone, "/") for name, n, tone in parts]),
        "lanes": heat("On time by lane", "Carrier", ["West", "Midwest", "South"], lanes, worst="low"),
        "ages": ageing(
            "Days in status", "Stage", buckets, [(name, [(n, "/") for n in row]) for name, row in ages]
        ),
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address() -> AsyncIterator[str]:
    """Where the gallery is served."""
    context = SimpleNamespace(clock=lambda: NOW)
    app = Litestar(
        [show_gallery, show_charts, *assets.HANDLERS], openapi_config=None, state=State({"context": context})
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "PLACES", PLACES)
        patch.setattr(pages.environment, "loader", _with_gallery())
        async with serving(app) as served:
            yield served.url


def _with_gallery() -> ChoiceLoader:
    assert pages.environment.loader is not None
    here = {name: Path(__file__).with_name(name).read_text() for name in TEMPLATES}
    return ChoiceLoader([pages.environment.loader, DictLoader(here)])


@pytest.mark.parametrize("who", ["insecure", "analyst"])
async def test_every_part_looks_as_it_should(browser: Browser, axe: str, address: str, who: str) -> None:
    async with watched(browser, axe) as page:
        await visit(page, f"{address}/gallery/{who}", f"gallery-{who}")


async def test_every_chart_looks_as_it_should(browser: Browser, axe: str, address: str) -> None:
    async with watched(browser, axe) as page:
        await visit(page, f"{address}/charts", "gallery-charts")
        await page.set_viewport_size(WINDOWS["desktop"])
        await page.locator(".hit").nth(3).hover()
        assert await page.locator(".tip").inner_text() == "19 Oct\n93 % (93 of 100)"
        await page.locator("h1").hover()
        assert await page.locator(".tip").is_hidden()
