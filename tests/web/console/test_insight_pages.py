"""What the pages of Insights make of any answer: that every part is shown, escaped and led on; who may look."""

from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from msgspec.structs import replace
from tests.web.console.made_up import Told, made_up
from tests.web.console.people import person
from tests.web.world import World

from milepost.domain.role import ROLES, may
from milepost.pipeline.insight_results import Choices, Filter, Loading, Overview, Rows
from milepost.store import Store

SCRIPT = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>"
PAGES = ("/insights", "/insights/rows?which=late", "/insights/rows.csv?which=late")


def world_of(store: Store, told: Told) -> World:
    return World(store, insecure=True, admin_key=None, insights=told)


def signed_in_world(store: Store, told: Told) -> World:
    """One that lets nobody look who is not signed in."""
    return World(store, insights=told)


async def get(world: World, path: str) -> httpx.Response:
    async with world.client(None) as client:
        return await client.get(path)


def tags(page: str) -> list[tuple[str, dict[str, str]]]:
    """Every element of a page with its attributes."""
    found: list[tuple[str, dict[str, str]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, {name: value or "" for name, value in attrs}))

    Reader().feed(page)
    return found


def links_to(page: str, path: str) -> list[dict[str, list[str]]]:
    """What the links of a page to this path ask for."""
    parts = [urlsplit(attributes["href"]) for tag, attributes in tags(page) if tag == "a"]
    return [parse_qs(part.query) for part in parts if part.path == path and part.query]


async def test_every_part_of_the_overview_is_on_the_page(store: Store) -> None:
    answer = await get(world_of(store, Told()), "/insights")
    assert answer.status_code == 200
    for heading in (
        "Where they stand",
        "Against the promise",
        "How long parcels stay in a stage",
        "Open parcels by age",
        "Carriers",
        "Lanes: on time from and to",
        "Exceptions by reason",
        "Whose delay",
        "Said to be delivered, and was not",
        "What shoppers were told",
        "The carriers’ estimates",
        "Are all events there?",
    ):
        assert heading in answer.text, heading
    assert "On time, by day" in answer.text
    assert answer.text.count("What is it?") > 20
    assert "18 % of these parcels cannot be judged yet" in answer.text


@pytest.mark.parametrize("path", PAGES[:2])
async def test_script_in_every_text_is_text(store: Store, path: str) -> None:
    choices = Choices((SCRIPT,), (SCRIPT,), (SCRIPT, ""), (SCRIPT,), None, None)
    told = Told(SCRIPT, overview=replace(made_up(Overview, SCRIPT), choices=choices))
    answer = await get(world_of(store, told), f"{path}{'&' if '?' in path else '?'}carrier=%3Cscript%3E")
    assert answer.status_code == 200
    assert "&lt;script&gt;alert" in answer.text
    for tag, attributes in tags(answer.text):
        assert tag != "img"
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        if tag == "script":
            assert attributes["src"].startswith("/assets/")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


async def test_the_filter_is_asked_kept_and_handed_to_every_number(store: Store) -> None:
    told = Told()
    world = world_of(store, told)
    query = "carrier=ups&destination=OR&basis=ordered&days=business&from=2025-01-01&to=2025-01-10"
    answer = await get(world, f"/insights?{query}")
    (asked,) = (given[1] for given in told.asked if given[0] == "overview")
    (before,) = {given[1] for given in told.asked if given[0] == "leading"}
    assert (asked.carrier, asked.destination, asked.basis, asked.days) == ("ups", "OR", "ordered", "business")
    assert (before.since.isoformat(), before.until.isoformat()) == ("2024-12-22", "2024-12-31")
    assert 'value="2025-01-01"' in answer.text
    assert '<option value="ups" selected>' in answer.text
    rows = links_to(answer.text, "/insights/rows")
    assert all(link.pop("which") for link in rows)
    whole = [link for link in rows if link == parse_qs(query)]
    assert len(whole) > 20
    groups = [link for link in rows if link not in whole]
    for link in groups:
        # A carrier's, a lane's and a day's numbers are asked under the same filter and their own.
        assert {**parse_qs(query), **link} == link
        own = {name: value for name, value in link.items() if parse_qs(query).get(name) != value}
        assert own.keys() <= {"carrier", "origin", "destination", "from", "to"}
    periods = links_to(answer.text, "/insights")
    assert {link["period"][0] for link in periods} == {"7", "30", "90", "365", "all"}
    assert all(link["carrier"] == ["ups"] and "from" not in link for link in periods)


async def test_rows_are_paged_and_downloaded_under_the_same_filter(store: Store) -> None:
    told = Told(rows=replace(made_up(Rows, "o/1 &"), total=1204, next="there"))
    world = world_of(store, told)
    answer = await get(world, "/insights/rows?which=late&carrier=ups&after=here")
    assert told.asked == [("rows", told.asked[0][1], "late", "here", 100)]
    assert "1,204 parcels" in answer.text
    assert 'href="/orders/o/1%20%26?businessProductId=o/1%20%26"' in answer.text
    (following,) = links_to(answer.text, "/insights/rows")
    assert (following["after"], following["which"], following["carrier"]) == (["there"], ["late"], ["ups"])
    (whole,) = links_to(answer.text, "/insights/rows.csv")
    assert (whole["which"], whole["carrier"]) == (["late"], ["ups"])
    file = await get(world, "/insights/rows.csv?which=late&carrier=ups")
    assert file.headers["content-type"].startswith("text/csv")
    assert "attachment" in file.headers["content-disposition"]
    assert file.text.splitlines() == ["order", *['"o/1 &"'] * 3]


async def test_too_few_are_said_and_no_number_is_made_of_them(store: Store) -> None:
    found = made_up(Overview, "made up")
    transit = replace(found.transit, n=12, p50=None, p90=None, p95=None, suppressed=True)
    figure = replace(found.on_time.main, n=12, value=None, suppressed=True)
    found = replace(found, transit=transit, on_time=replace(found.on_time, main=figure))
    answer = await get(world_of(store, Told(overview=found)), "/insights")
    assert answer.text.count("n = 12, fewer than 20") == 2


@pytest.mark.parametrize("path", PAGES)
async def test_while_columns_are_read_the_page_says_how_far_and_asks_again(store: Store, path: str) -> None:
    loading = Loading(20_000, 1_000_000)
    answer = await get(world_of(store, Told(overview=loading, rows=loading)), path)
    assert answer.status_code == 200
    assert "20,000 of 1,000,000 parcels" in answer.text
    again = path.replace("&", "&amp;")
    assert f'<meta http-equiv="refresh" content="2;url={again}">' in answer.text
    assert "/insights/rows" not in answer.text or path != "/insights"


@pytest.mark.parametrize("seen", [False, True])
async def test_where_there_is_nothing_the_page_says_why(store: Store, seen: bool) -> None:
    found = replace(made_up(Overview, "made up"), parcels=0, orders=0)
    if not seen:
        found = replace(found, choices=Choices((), (), (), (), None, None))
    answer = await get(world_of(store, Told(overview=found)), "/insights")
    assert ("No parcel in this period" in answer.text) == seen
    assert ("Nothing has been shipped yet" in answer.text) == (not seen)
    assert ("Show everything" in answer.text) == seen
    assert "What is it?" not in answer.text


@pytest.mark.parametrize(
    "query", ["basis=lost", "from=monday", "from=2025-02-02&to=2025-02-01", "period=1", "days=long"]
)
async def test_a_filter_that_is_none_is_refused(store: Store, query: str) -> None:
    for path in PAGES:
        answer = await get(world_of(store, Told()), f"{path}{'&' if '?' in path else '?'}{query}")
        assert answer.status_code == 400


@pytest.mark.parametrize("role", ROLES)
async def test_who_may_look(store: Store, role: Any) -> None:
    world = signed_in_world(store, Told())
    async with (await person(world, role)).client() as client:
        for path in PAGES:
            assert (await client.get(path)).status_code == (200 if may(role, "insights") else 403)


async def test_a_visitor_sees_their_business_products_alone(store: Store) -> None:
    told = Told()
    world = signed_in_world(store, told)
    async with (await person(world, "analyst", "bp-1", "bp-2")).client() as client:
        for path in PAGES:
            told.asked.clear()
            mark = "&" if "?" in path else "?"
            assert (await client.get(f"{path}{mark}businessProductId=bp-3")).status_code == 404
            assert told.asked == []
            assert (await client.get(path)).status_code == 200
            assert (await client.get(f"{path}{mark}businessProductId=bp-2")).status_code == 200
            filters: list[Filter] = [asked[1] for asked in told.asked]
            reached = [asked.business_products for asked in filters]
            half = len(reached) // 2
            assert reached == [frozenset({"bp-1", "bp-2"})] * half + [frozenset({"bp-2"})] * half
