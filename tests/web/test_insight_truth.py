"""Done-when 3 of Insights: every number is what raw facts say, reckoned anew by others' few lines of SQL.

The sandbox's world makes parcels whose truth is known, a hub hears of them, and what it exports is reckoned by DuckDB
(`insight_truth`): the whole of `/v1/insights`, under every kind of filter, and every other metric. A number that
nobody reckons fails, here and on the console's page.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import date, timedelta
from itertools import product
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import duckdb
import pytest
from msgspec import Struct
from tests.web.console.parsed import Element, Parsed
from tests.web.insight_facts import UNTIL, WORLDS, Shop, really, tell_shoppers
from tests.web.insight_reckoning import FEW, differing, numbers
from tests.web.insight_truth import Question, notifications, reckon, transport_lag
from tests.web.world import World

from milepost.domain.instant import DAY
from milepost.pipeline.insights import METRICS
from milepost.sandbox.world import business_product_of
from milepost.sql import open_store

DELIVERIES = 120
ONE, OTHER, LOSSY = (business_product_of(seed) for seed in WORLDS)
ALL = Question("everything")
QUESTIONS = (
    ALL,
    Question("business days", {"days": "business"}),
    Question("one business product", {"businessProductId": ONE}, f"product = '{ONE}'", f"product = '{ONE}'"),
    Question(
        "one that lost events", {"businessProductId": LOSSY}, f"product = '{LOSSY}'", f"product = '{LOSSY}'"
    ),
    Question("a carrier", {"carrier": "ups"}, "carrier = 'UPS'"),
    Question("an origin", {"origin": "US-IL", "days": "business"}, "origin = 'US-IL'"),
    Question("a destination", {"destination": "US-OR"}, "destination = 'US-OR'"),
    Question("no known destination", {"destination": ""}, "destination is null"),
    Question(
        "ordered in a fortnight",
        {"basis": "ordered", "since": "2026-05-22", "until": "2026-06-04"},
        "ordered_on between '2026-05-22' and '2026-06-04'",
    ),
    Question("shipped lately", {"since": "2026-06-03"}, "shipped_on >= '2026-06-03'"),
    Question(
        "delivered, of one carrier and business product",
        {"basis": "delivered", "until": "2026-06-05", "carrier": "FEDEX", "businessProductId": OTHER},
        f"delivered_on <= '2026-06-05' and carrier = 'FEDEX' and product = '{OTHER}'",
        f"product = '{OTHER}'",
    ),
)
OF_OVERVIEW = {
    "otd": "onTime",
    "otif": "otif",
    "first-attempt": "firstAttempt",
    "exceptions": "exceptions",
    "never-scanned": "neverScanned",
    "accountability": "accountability",
    "false-delivered": "falseDelivered",
    "completeness": "completeness",
    "processing": "processing",
    "pickup": "pickup",
    "transit": "transit",
    "door": "door",
    "source-lag": "sourceLag",
    "promise": "promise",
    "stages": "moving",
    "dwell": "dwell",
    "ageing": "ageing",
    "carriers": "carriers",
    "lanes": "lanes",
    "estimates": "accuracy",
    "trend": "trend",
}
"""Where in the overview a metric's numbers stand."""
FORTNIGHT = {"from": "2026-05-25", "to": "2026-06-07"}


class Followed(Struct, frozen=True):
    """A link to rows: how many it says, and how many there are."""

    href: str
    says: str
    there: str


class Hub(Struct):
    """What a hub answered, its raw facts, and what really happened."""

    shop: Shop
    db: duckdb.DuckDBPyConnection
    overviews: dict[str, Any]
    metrics: dict[str, Any]
    pages: dict[str, Parsed]
    links: list[Followed]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    found = asyncio.run(_asked(tmp_path_factory.mktemp("insights")))
    yield found
    found.db.close()


async def _asked(folder: Path) -> Hub:
    shop = Shop(folder, DELIVERIES)
    async with _world(folder) as world:
        await shop.tell(world)
        await tell_shoppers(world)
        db = await shop.facts(world)
        overviews = {q.name: await _json(world, "/v1/insights", q.parameters) for q in QUESTIONS}
        mine = {"businessProductId": ONE}
        metrics = {name: await _json(world, f"/v1/insights/{name}", mine) for name in METRICS}
        pages, links = await _pages(world)
    db.execute(f"set variable now = {UNTIL // 1000}")
    db.execute((Path(__file__).parent / "insight_parcels.sql").read_text())
    return Hub(shop, db, overviews, metrics, pages, links)


async def _pages(world: World) -> tuple[dict[str, Parsed], list[Followed]]:
    """The console's page, as whoever runs a hub on a laptop sees it, and where the links of one lead."""
    laptop = World(world.store, insecure=True, admin_key=None)
    laptop.now = world.now
    found: dict[str, Parsed] = {}
    for name, query in (("everything", {"period": "all"}), ("fortnight", FORTNIGHT)):
        answer = await laptop.get("/insights", None, **query)
        assert answer.status_code == 200, answer.text
        # So that the words of neighbours stay apart.
        found[name] = Parsed(answer.text.replace("<", " <"))
    links = await _followed(laptop, found["everything"])
    await laptop.context.insights.close()
    return found, links


@asynccontextmanager
async def _world(folder: Path) -> AsyncIterator[World]:
    store = await open_store(f"sqlite:///{folder / 'milepost.db'}", clock=lambda: UNTIL)
    world = World(store)
    yield world
    await world.context.insights.close()
    await store.close()


async def _json(world: World, path: str, parameters: Mapping[str, str]) -> Any:
    answer = await world.get(path, **parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def _followed(laptop: World, page: Parsed) -> list[Followed]:
    """Every link of a page that is a count of parcels, and how many there are behind it."""
    found: dict[str, Followed] = {}
    async with laptop.client(None) as client:
        for link in page.all("a"):
            counted = re.match(r"([\d,]+)(?: [A-Za-z].*)?$", link.words)
            href = link.attributes.get("href", "")
            if counted and href.startswith("/insights/rows") and href not in found:
                answer = await client.get(href)
                behind = re.search(r'class="lead">([\d,]+) parcel', answer.text)
                assert behind is not None, answer.text
                found[href] = Followed(href, counted[1], behind[1])
    return list(found.values())


SEEDS = f"the worlds' seeds: {WORLDS}"


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_every_number_is_what_raw_facts_say(hub: Hub, question: Question) -> None:
    told = hub.overviews[question.name]
    assert told["parcels"] > 10, "nothing is proved by nothing"
    assert list(differing(numbers(told), reckon(hub.db, question))) == [], SEEDS


def test_every_metric_is_what_raw_facts_say(hub: Hub) -> None:
    """One by one they are what the overview says; the two that are not about parcels are reckoned apart."""
    question = next(q for q in QUESTIONS if q.parameters == {"businessProductId": ONE})
    known = reckon(hub.db, question)
    expected = {metric: known[place] for metric, place in OF_OVERVIEW.items()} | {
        "transport-lag": transport_lag(hub.db, ONE),
        "notifications": notifications(hub.db, f"businessProductId = '{ONE}'"),
    }
    assert set(METRICS) == set(expected), "a metric that nobody reckons"
    for metric in METRICS:
        assert list(differing(numbers(hub.metrics[metric]), expected[metric])) == [], f"{metric}; {SEEDS}"


def test_it_is_what_really_happened(hub: Hub) -> None:
    """In the world itself, whatever was heard of it: of the business product of which every event came."""
    parcels = [parcel for life in hub.shop.lives[next(iter(WORLDS))] for parcel in really(life)]
    told = hub.overviews["one business product"]
    moved = [p for p in parcels if p.shipped_at is not None]
    arrived = [p for p in parcels if p.delivered_at is not None]
    due = [p for p in moved if p.promise_ends is not None and p.promise_ends <= UNTIL]
    assert told["parcels"] == len(parcels) > 100
    assert told["orders"] == len({p.order_id for p in parcels})
    assert told["falseDelivered"]["main"]["numerator"] == sum(p.taken_back for p in parcels) > 0
    assert told["falseDelivered"]["main"]["denominator"] == len(arrived) + sum(p.taken_back for p in parcels)
    assert told["firstAttempt"]["main"]["numerator"] == sum(
        "DELIVERY_ATTEMPTED" not in p.codes for p in arrived
    )
    for part in told["exceptions"]["parts"]:
        code = {"returning": "RETURN_TO_SENDER"}.get(part["id"], part["id"].upper().replace("-", "_"))
        assert part["numerator"] == sum(code in p.codes for p in moved), (code, SEEDS)
    assert told["neverScanned"]["main"]["numerator"] == sum(p.never_scanned for p in parcels) > 0
    on_time = told["onTime"]["main"]
    assert (on_time["numerator"], on_time["denominator"]) == (sum(p.on_time for p in due), len(due)), SEEDS
    assert 0 < on_time["numerator"] < on_time["denominator"]
    lengths = sorted((p.delivered_at - p.scanned_at) / DAY for p in arrived if p.scanned_at is not None)
    assert told["transit"]["n"] == len(lengths)
    tenths = quantiles(lengths, n=10, method="inclusive")
    assert (told["transit"]["p50"], told["transit"]["p90"]) == pytest.approx(
        (median(lengths), tenths[8]), abs=1e-4
    )


def test_the_shop_has_something_of_everything(hub: Hub) -> None:
    """What is nowhere above 0 proves nothing."""
    told = hub.overviews[ALL.name]
    assert {part["id"] for part in told["promise"]["parts"] if not part["value"]} == set()
    for share in SHARES:
        for figure in (told[share]["main"], *told[share]["variants"], *told[share]["parts"]):
            assert figure["numerator"] != 0, figure["id"]
            assert figure["numerator"] is None or figure["numerator"] < figure["denominator"], figure["id"]
    assert all(stage["n"] or stage["open"] for stage in told["dwell"]["stages"][1:5])
    assert all(told[name]["n"] > FEW for name in ("processing", "pickup", "transit", "door", "sourceLag"))
    assert len([cell for cell in told["ageing"]["sinceEntry"] if cell["count"]]) > 5
    assert (len(told["carriers"]["carriers"]), len(told["lanes"]["lanes"])) == (5, 18), (
        "and those of no known carrier"
    )
    assert told["trend"]["by"] == "week"
    assert told["accuracy"]["revised"]["numerator"] > 0


# ── The console's page ─────────────────────────────────────────────────────────────────────────────────────

PERIOD = Question("", where="shipped_on between '2026-05-25' and '2026-06-07'")
BEFORE = Question("", where="shipped_on between '2026-05-11' and '2026-05-24'")
CARDS = {
    "On time, by week": "trend",
    "On time, by day": "trend",
    "Where they stand": "moving",
    "Against the promise": "promise",
    "Transit": "transit",
    "Order to shipment": "processing",
    "Click to door": "door",
    "Label to first scan": "pickup",
    "How long parcels stay in a stage": "dwell",
    "Open parcels by age": "ageing",
    "Carriers": "carriers",
    "Lanes: on time from and to": "lanes",
    "Exceptions by reason": "exceptions",
    "What shoppers were told": "notifications",
    "The carriers’ estimates": "accuracy",
    "Source lag": "sourceLag",
    "Whose delay": "accountability",
    "Said to be delivered, and was not": "falseDelivered",
    "Are all events there?": "completeness",
}
"""What each card of the page may show numbers of."""
SHARES = (
    "onTime",
    "otif",
    "firstAttempt",
    "exceptions",
    "neverScanned",
    "falseDelivered",
    "completeness",
)
TILES = (*SHARES, "accuracy")


@pytest.mark.parametrize(("page", "question"), [("everything", ALL), ("fortnight", PERIOD)])
def test_every_number_on_the_page_is_reckoned(hub: Hub, page: str, question: Question) -> None:
    known = reckon(hub.db, question) | {"notifications": notifications(hub.db, "true")}
    said = hub.pages[page]
    cards = said.all("section", class_="card") + said.all("section", class_="card flush")
    titles = {said.all("h2", within=card)[0].words: card for card in cards}
    assert set(CARDS) - set(titles) == {"On time, by day" if page == "everything" else "On time, by week"}
    for title, card in titles.items():
        assert title in CARDS, f"nobody reckons {title!r}"
        written = set(_written(known[CARDS[title]]))
        shown = _numbers_of(said, card, hub)
        strange = [number for number in shown if number not in written]
        assert strange == [], f"{title}: nobody reckons them; {SEEDS}"
        assert len(shown) > 2, title


def test_the_tiles_say_how_it_is_and_how_it_was_before(hub: Hub) -> None:
    now, before = reckon(hub.db, PERIOD), reckon(hub.db, BEFORE)
    tiles = hub.pages["fortnight"].all("div", class_="stat tile")
    for name, tile in zip(TILES, tiles, strict=True):
        value, earlier = (
            known[name]["main" if name != "accuracy" else "withinADay"] for known in (now, before)
        )
        words = tile.words
        assert f"{100 * value['value']:.1f} %" in words, (name, SEEDS)
        assert f"n = {value['n']:,}" in words, (name, SEEDS)
        change = 100 * (value["value"] - earlier["value"])
        moved = "unchanged" if abs(change) < 0.05 else f"{change:+.1f} points".replace("-", "−")
        assert f"{moved} to the period before" in words, (name, SEEDS)
    lead = hub.pages["fortnight"].one("p", class_="lead").words
    assert lead.startswith(f"{now['parcels']:,} parcels of {now['orders']:,} orders, shipped from 25 May")


PHRASES = ("9 of 10", "95 of 100", "fewer than 20")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?")


def _numbers_of(page: Parsed, card: Element, hub: Hub) -> list[str]:
    """Numbers that a card says, without its sentences. What is drawn stands in a table beneath; axes have numbers of
    their own."""
    words = card.text
    for drawing in page.all("svg", within=card):
        words = words.replace(drawing.text, " ") if drawing.text.strip() else words
    words = " ".join(words.split())
    for sentence in (*_sentences([*hub.overviews.values(), *hub.metrics.values()]), *PHRASES):
        words = words.replace(sentence, " ")
    return _NUMBER.findall(words)


def _sentences(told: Any) -> set[str]:
    """Definitions, methods and notes; longest first where one holds another."""
    if isinstance(told, list):
        return set().union(*map(_sentences, told)) if told else set()
    if not isinstance(told, dict):
        return set()
    mine = {" ".join(told[name].split()) for name in ("definition", "method", "note") if told.get(name)}
    return mine.union(*map(_sentences, told.values()))


def _written(known: Any, name: Any = "") -> Iterator[str]:
    """Every way in which a page may write these numbers, and what they are of."""
    if isinstance(name, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", name):
        start = date.fromisoformat(name)
        yield from (str(start.day), str((start + timedelta(6)).day))
    else:
        yield from re.findall(r"\d+(?:\.\d+)?", f"{name} {name:g}" if isinstance(name, float) else name)
    if isinstance(known, dict):
        for key, each in known.items():
            yield from _written(each, key)
        yield from _shares_of(known)
    elif isinstance(known, int | float) and not isinstance(known, bool):
        yield from (f"{abs(known):,.0f}", f"{abs(known):,.1f}", f"{100 * known:.1f}", f"{100 * known:.0f}")


def _shares_of(known: Mapping[str, Any]) -> Iterator[str]:
    """Parts of a whole are shown as shares of it, too; bins beyond the axis as one, ages with their sum."""
    if "sinceEntry" in known:
        for grid, stage in product((known["sinceEntry"], known["sinceScan"]), known["stages"]):
            yield str(sum(cell["count"] for name, cell in grid.items() if name.startswith(f"{stage} ")))
    if "bins" in known:
        counts = [each["count"] for each in known["bins"].values()]
        tails = [sum(counts[n:]) for n in range(len(counts))]
        yield from (f"{100 * count / (known['n'] or 1):.1f}" for count in (*counts, *tails))
        yield from (f"{tail:,}" for tail in tails)
    if known.get("cohort") and known.get("value") is not None:
        yield f"{100 * known['value'] / known['cohort']:.1f}"


def test_every_count_on_the_page_opens_as_many_parcels(hub: Hub) -> None:
    """Of groups, too: a carrier's count opens that carrier's parcels."""
    assert len(hub.links) > 80
    assert len([link for link in hub.links if "carrier=" in link.href]) >= 8
    assert [link for link in hub.links if link.says != link.there] == [], SEEDS
