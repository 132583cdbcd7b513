"""The pages of Insights over a history whose truth is known: their numbers are the API's, and open their rows."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from tests.web.world import START, World

from milepost.domain.condition import Policy
from milepost.pipeline.insight_results import Figure, Overview, Rows
from milepost.pipeline.projector import Projector
from milepost.sandbox.histories import Heard, History, lives
from milepost.sandbox.loading import Loader
from milepost.sql import open_store
from milepost.web.console import insight_words as words
from milepost.web.console.wording import spoken

HISTORY = History(seed=21, deliveries=160, until=START, days=60)
WHOLE = "/insights?period=all"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub's database with the history in it."""
    path = tmp_path_factory.mktemp("insights") / "hub.db"

    async def load() -> None:
        store = await open_store(f"sqlite:///{path}", clock=lambda: START)
        loader = Loader(
            store, HISTORY, lambda clock: Projector(store, Policy(), clock).prepare, Policy(), workers=0
        )
        assert await loader.load(asyncio.Event())
        await store.close()

    with ThreadPoolExecutor(1) as thread:  # an event loop may run in this one
        thread.submit(asyncio.run, load()).result()
    return path


@pytest.fixture
async def hub(database: Path, tmp_path: Path) -> AsyncIterator[World]:
    copy = tmp_path / "hub.db"
    shutil.copy(database, copy)
    store = await open_store(f"sqlite:///{copy}", clock=lambda: START)
    world = World(store, insecure=True, admin_key=None)
    while (await get(world, "/v1/insights")).status_code == 202:
        await asyncio.sleep(0)
    yield world
    await world.context.insights.close()
    await store.close()


class Got(msgspec.Struct):
    status_code: int
    text: str


async def get(world: World, path: str) -> Got:
    async with world.client(None) as client:
        answer = await client.get(path)
    return Got(answer.status_code, answer.text)


async def overview(world: World, query: str = "") -> Overview:
    answer = await get(world, f"/v1/insights?{query}")
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.text, type=Overview)


def tiles(page: str) -> dict[str, tuple[str, str, str]]:
    """Of each tile by its label: the value, where that leads, and what it rests on."""
    found = {}
    for tile in page.split('<div class="stat tile">')[1:]:
        label, value, note = (
            re.search(rf'<p class="stat-{part}">(.*?)</p>', tile, re.DOTALL)[1]  # type: ignore[index]
            for part in ("label", "value", "note")
        )
        link = re.search(r'href="([^"]+)"', value)
        bare = re.sub(r'<span class="vh">.*?</span>', "", value)
        found[unescape(label)] = (said(bare), unescape(link[1]) if link else "", said(note))
    return found


def said(html: str) -> str:
    """A piece of a page as it is read."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def leading(found: Overview) -> list[Figure]:
    shares = (
        found.on_time,
        found.otif,
        found.first_attempt,
        found.exceptions,
        found.never_scanned,
        found.false_delivered,
        found.completeness,
    )
    return [*(share.main for share in shares), found.accuracy.within_a_day]


@pytest.mark.parametrize(
    ("page", "api"),
    [
        ("period=all", ""),
        ("period=30", "since=2024-12-22&until=2025-01-20"),
        ("from=2024-12-01&to=2024-12-31&carrier=ups", "since=2024-12-01&until=2024-12-31&carrier=UPS"),
        ("period=all&basis=delivered&days=business", "basis=delivered&days=business"),
        ("from=2024-12-01&destination=OR", "since=2024-12-01&destination=OR"),
    ],
)
async def test_the_numbers_are_those_of_the_api(hub: World, page: str, api: str) -> None:
    answer = await get(hub, f"/insights?{page}")
    assert answer.status_code == 200
    found = await overview(hub, api)
    if not found.parcels:
        assert "No parcel in this period" in answer.text
        return
    shown = tiles(answer.text)
    for figure in leading(found):
        value, _, note = shown[figure.title]
        assert (value, note.removesuffix(" · flatters")) == (words.told(figure), words.resting(figure))
    text = said(answer.text)
    assert f"{found.parcels:,} parcel" in text
    for part in (*found.moving.parts, *found.promise.parts):
        title = spoken(part.title) if part.title.isupper() else part.title
        assert f"{title} {words.valued(part.value, 'count')} " in text
    for lengths in (found.transit, found.processing, found.door, found.pickup):
        assert f"Half within {words.percentile(lengths, lengths.p50)}" in text


async def test_each_number_opens_its_rows_on_the_page_and_as_a_file(hub: World) -> None:
    page = (await get(hub, WHOLE)).text
    found = await overview(hub)
    shown = tiles(page)
    opened = 0
    for figure in leading(found):
        _, link, _ = shown[figure.title]
        if not link or figure.numerator is None:
            continue
        rows = await get(hub, link)
        which = parse_qs(urlsplit(link).query)["which"][0]
        answer = msgspec.json.decode((await get(hub, f"/v1/insights/rows?which={which}")).text, type=Rows)
        assert f"{answer.total:,} parcel" in said(rows.text), figure.title
        for row in answer.rows:
            assert row.order_id in rows.text
        file = await get(hub, link.replace("/insights/rows?", "/insights/rows.csv?"))
        assert len(file.text.splitlines()) == answer.total + 1
        if figure.title != found.otif.main.title:
            assert answer.total == figure.numerator, figure.title
        opened += 1
    assert opened > 4


async def test_every_link_to_rows_on_the_page_leads_somewhere(hub: World) -> None:
    page = (await get(hub, WHOLE)).text
    links = {unescape(link) for link in re.findall(r'href="(/insights/rows[^"]+)"', page)}
    assert len(links) > 40
    for link in sorted(links):
        assert (await get(hub, link)).status_code == 200, link


async def test_the_parcels_are_those_of_the_world(hub: World) -> None:
    # An order is known once it was asked about: milestones alone name none.
    truth = [life for life in lives(HISTORY, 0) if any(map(is_of_the_order, life.heard))]
    delivered = {parcel["id"] for life in truth for parcel in life.parcels if parcel["state"] == "DELIVERED"}
    answer = await get(hub, "/v1/insights/rows?which=all&limit=500")
    rows = msgspec.json.decode(answer.text, type=Rows).rows
    assert {row.order_id for row in rows} == {life.world.id for life in truth}
    assert {row.delivery_id for row in rows if row.delivery_state == "DELIVERED"} == delivered
    found = await overview(hub)
    assert f"{len(rows):,} parcels of {len(truth):,} orders" in said((await get(hub, WHOLE)).text)
    assert found.orders == len(truth)


def is_of_the_order(heard: Heard) -> bool:
    return heard.answer is not None and heard.answer.query == "order"


async def test_of_carriers_each_has_its_own_and_together_all(hub: World) -> None:
    found = await overview(hub)
    counted = 0
    for row in found.carriers.carriers:
        if row.carrier:
            page = (await get(hub, f"{WHOLE}&carrier={row.carrier}")).text
            assert f"{row.parcels:,} parcel" in said(page)
            assert f'<option value="{row.carrier}" selected>' in page
        counted += row.parcels
    assert counted == found.parcels
    assert "No parcel in this period" in (await get(hub, f"{WHOLE}&carrier=nobody")).text


async def test_a_new_hub_says_that_nothing_was_shipped(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path / 'hub.db'}", clock=lambda: START)
    world = World(store, insecure=True, admin_key=None)
    while "Nothing has been shipped yet" not in (page := await get(world, "/insights")).text:
        assert "parcels are read" in page.text
    await world.context.insights.close()
    await store.close()
