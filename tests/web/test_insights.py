"""Insights: every number against an independent reckoning, the scenarios, and the API's manners.

The truth is told by DuckDB over the orders' view documents: other code, another engine, and none of the measures.
"""

import asyncio
import csv
import io
import json
import threading
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.web.shop import fill, parcel, put, scan
from tests.web.world import World, order, tracker

from milepost.domain.condition import Policy
from milepost.domain.instant import DAY, Instant
from milepost.pipeline.insight_columns import MOST_ASKED
from milepost.pipeline.insight_rows import _cell
from milepost.pipeline.insights import METRICS, Insights
from milepost.store import Store

_PARCELS = """
create table p as
with t as (
  select o.id ord, o.createdAt::timestamp ordered, upper(t.carrierCode) carrier, t.stage stage,
    t.estimatedDelivery.original.latestDate::varchar promise, t.milestones ms
  from read_json('{file}') o, unnest(o.deliveries) a(d), unnest(d.trackers) b(t)
), s as (
  select ord, m.code code, m.standing standing, m.localDate::varchar local_day, m.occurredAt::timestamp moment
  from t, unnest(ms) c(m)
)
select ord, any_value(ordered) ordered, any_value(carrier) carrier, any_value(stage) stage,
  any_value(promise) promise,
  min(moment) filter (code in ('IN_TRANSIT', 'OUT_FOR_DELIVERY')) scanned,
  min(moment) filter (code = 'INFO_RECEIVED') label,
  max(moment) filter (code = 'DELIVERED' and standing <> 'contradicted') delivered,
  max(local_day) filter (code = 'DELIVERED' and standing <> 'contradicted') delivered_on,
  count(*) filter (code = 'DELIVERED' and standing = 'contradicted') taken_back,
  count(*) filter (code = 'DELIVERY_ATTEMPTED') attempts,
  count(*) filter (code in ('OUT_FOR_DELIVERY', 'DELIVERY_ATTEMPTED')) doors,
  count(*) filter (code in ('EXCEPTION', 'RETURN_TO_SENDER', 'LOST')) troubles,
  count(*) filter (code = 'RETURN_TO_SENDER') returns
from t join s using (ord) group by ord
"""


@pytest.fixture
async def shop(world: World) -> World:
    await fill(world, seed=7, parcels=140)
    return world


async def truth(world: World, folder: Path) -> duckdb.DuckDBPyConnection:
    """The parcels as DuckDB finds them in the views' documents."""
    views = await world.store.read(lambda tx: tx.views.page("order", None, 1_000, None))
    file = folder / "orders.json"
    file.write_text("\n".join(json.dumps(json.loads(view.document)) for _, view in views))
    found = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    found.execute(_PARCELS.format(file=file))
    return found


def ask(db: duckdb.DuckDBPyConnection, sql: str) -> Any:
    row = db.execute(sql).fetchone()
    assert row is not None
    return row[0] if len(row) == 1 else row


async def metric(world: World, name: str, **parameters: Any) -> Any:
    answer = await world.get(f"/v1/insights/{name}", **parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def counted(figure: dict[str, Any]) -> tuple[int, int]:
    return figure["numerator"], figure["denominator"]


async def test_rates_are_what_the_documents_say(shop: World, tmp_path: Path) -> None:
    db = await truth(shop, tmp_path)
    due, kept = "promise < '2025-01-20'", "coalesce(delivered_on <= promise, false)"
    told = await metric(shop, "otd")
    assert counted(told["main"]) == ask(db, f"select count(*) filter ({kept}), count(*) from p where {due}")
    assert told["main"]["maturity"] == pytest.approx(
        ask(db, f"select count(*) filter ({due}) / count(*) from p where promise is not null")
    )
    of_delivered, of_shipped, at_attempt = told["variants"]
    assert counted(of_delivered) == ask(
        db,
        f"select count(*) filter ({kept}), count(*) from p where promise is not null and delivered is not null",
    )
    assert counted(of_shipped) == ask(
        db, f"select count(*) filter ({kept}), count(*) from p where promise is not null"
    )
    assert of_delivered["flatters"]
    assert not told["main"]["flatters"]
    assert at_attempt["numerator"] >= told["main"]["numerator"]
    exceptions = await metric(shop, "exceptions")
    assert counted(exceptions["main"]) == ask(db, "select count(*) filter (troubles > 0), count(*) from p")
    returned = next(part for part in exceptions["parts"] if part["id"] == "returning")
    assert counted(returned) == ask(db, "select count(*) filter (returns > 0), count(*) from p")
    first = (await metric(shop, "first-attempt"))["main"]
    assert counted(first) == ask(
        db,
        "select count(*) filter (delivered is not null and attempts = 0), count(*) from p"
        " where delivered is not null or doors > 0",
    )
    false = (await metric(shop, "false-delivered"))["main"]
    assert counted(false) == ask(
        db,
        "select count(*) filter (taken_back > 0), count(*) from p where delivered is not null or taken_back > 0",
    )
    assert false["numerator"] > 0
    late = (await metric(shop, "accountability"))["main"]
    assert late["denominator"] == ask(db, f"select count(*) from p where {due} and not {kept}")


async def test_lengths_are_what_the_documents_say(shop: World, tmp_path: Path) -> None:
    db = await truth(shop, tmp_path)
    for name, begin, end in (
        ("processing", "ordered", "scanned"),
        ("pickup", "label", "scanned"),
        ("transit", "scanned", "delivered"),
        ("door", "ordered", "delivered"),
    ):
        told = await metric(shop, name)
        length = f"epoch({end} - {begin}) / 86400"
        quantiles = ", ".join(f"quantile_cont({length}, {q})" for q in (0.5, 0.9, 0.95))
        n, *expected = ask(db, f"select count({length}), {quantiles} from p where {end} >= {begin}")
        assert (told["n"], told["suppressed"]) == (n, n < 20)
        assert [told["p50"], told["p90"], told["p95"]] == pytest.approx(expected, abs=1e-4)
        assert sum(part["count"] for part in told["bins"]) == n
        assert (
            ask(db, f"select count(*) from p where {length} >= 2 and {length} < 3")
            == told["bins"][2]["count"]
        )


async def test_estimates_are_what_the_documents_say(shop: World, tmp_path: Path) -> None:
    db = await truth(shop, tmp_path)
    told = await metric(shop, "estimates")
    error = "date_diff('day', promise::date, delivered_on::date)"
    n, absolute, bias, within = ask(
        db,
        f"select count(*), avg(abs({error})), avg({error}), count(*) filter (abs({error}) <= 1) from p"
        " where promise is not null and delivered is not null",
    )
    assert (told["absoluteError"]["n"], told["withinADay"]["numerator"]) == (n, within)
    assert (told["absoluteError"]["value"], told["bias"]["value"]) == pytest.approx((absolute, bias))


async def test_groups_add_up_and_each_opens_its_rows(shop: World, tmp_path: Path) -> None:
    db = await truth(shop, tmp_path)
    table = (await metric(shop, "carriers"))["carriers"]
    expected = dict(db.execute("select carrier, count(*) from p group by 1").fetchall())
    assert {row["carrier"]: row["parcels"] for row in table} == expected
    whole = (await metric(shop, "otd"))["main"]
    for part in ("numerator", "denominator"):
        assert sum(row["onTime"][part] for row in table) == whole[part]
        points = (await metric(shop, "trend"))["points"]
        assert sum(point["figure"][part] for point in points) == whole[part]
    for name in ("stages", "promise"):
        told = await metric(shop, name)
        assert sum(part["numerator"] for part in told["parts"]) == told["cohort"] == 140
    stages = dict(db.execute("select stage, count(*) from p group by 1").fetchall())
    assert {p["title"]: p["numerator"] for p in (await metric(shop, "stages"))["parts"]} == stages
    grid = await metric(shop, "ageing")
    assert sum(cell["count"] for cell in grid["sinceEntry"]) == grid["open"]
    overview = (await shop.get("/v1/insights")).json()
    assert overview["onTime"]["main"] == whole
    for figure in (
        whole,
        *overview["onTime"]["variants"],
        *overview["exceptions"]["parts"],
        *overview["promise"]["parts"],
    ):
        rows = (await shop.get("/v1/insights/rows", which=figure["rows"], limit=1)).json()
        assert rows["total"] == figure["numerator"], figure["id"]
        below = (await shop.get("/v1/insights/rows", which=figure["allRows"], limit=1)).json()
        assert below["total"] == figure["denominator"], figure["id"]
    for cell in [*overview["transit"]["bins"], *grid["sinceEntry"][:30], *grid["sinceScan"][:30]]:
        assert (await shop.get("/v1/insights/rows", which=cell["rows"])).json()["total"] == cell["count"]


async def test_rows_are_paged_and_all_of_them_are_a_file(shop: World) -> None:
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = (await shop.get("/v1/insights/rows", which="missed", limit=7, **after)).json()
        seen += [row["orderId"] for row in page["rows"]]
        assert all(row["standing"] == "late" for row in page["rows"])
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert len(set(seen)) == len(seen) == page["total"]
    file = await shop.get("/v1/insights/rows", which="missed", format="csv")
    assert file.headers["content-type"].startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(file.text)))
    assert [line["order_id"] for line in lines] == seen


async def test_scenario_33_and_the_bias_example_parcels_in_flight_do_not_inflate(world: World) -> None:
    """tracking.md 8: six of ten delivered in two days, four still moving on day nine, is 60 %, not 100 %."""
    start, end = date(2025, 1, 11), date(2025, 1, 15)
    moving = [scan("IN_TRANSIT", _at(start), "CA")]
    arrived = [*moving, scan("DELIVERED", _at(date(2025, 1, 13)), "CA")]
    await put(world, *(parcel(n, arrived if n % 10 < 6 else moving, end) for n in range(40)))
    told = await metric(world, "otd")
    assert (told["main"]["value"], told["main"]["maturity"]) == (0.6, 1.0)
    assert (told["variants"][0]["value"], told["variants"][0]["flatters"]) == (1.0, True)
    transit = await metric(world, "transit")
    assert (transit["p90"], transit["open"], transit["maturity"]) == (2.0, 16, 0.6)
    assert (transit["survivalP50"], transit["survivalP90"]) == (2.0, None)
    await put(world, parcel(99, moving, date(2025, 2, 1)))
    again = (await metric(world, "otd"))["main"]
    assert (again["value"], again["denominator"], again["cohort"]) == (0.6, 40, 41)


def _at(day: date) -> datetime:
    return datetime.fromisoformat(f"{day}T09:00")


async def test_scenario_34_percentiles_of_few_are_suppressed(world: World) -> None:
    scans = [
        scan("IN_TRANSIT", _at(date(2025, 1, 11)), "CA"),
        scan("DELIVERED", _at(date(2025, 1, 13)), "CA"),
    ]
    await put(world, *(parcel(number, scans, None) for number in range(19)))
    few = await metric(world, "transit")
    assert (few["n"], few["suppressed"], few["p50"], few["survivalP50"]) == (19, True, None, None)
    await put(world, parcel(19, scans, None))
    enough = await metric(world, "transit")
    assert (enough["n"], enough["suppressed"], enough["p50"]) == (20, False, 2.0)


async def test_what_the_carrier_has_on_the_promised_day_is_the_carriers_delay(world: World) -> None:
    """One that is handed over the day after is the seller's; so is what was never handed over."""
    scanned = [[scan("IN_TRANSIT", _at(date(2025, 1, day)), "CA")] for day in (12, 13, 14)]
    await put(world, *(parcel(n, scans, date(2025, 1, 13)) for n, scans in enumerate([*scanned, []])))
    told = await metric(world, "accountability")
    assert [counted(part) for part in told["parts"]] == [(2, 4), (2, 4)]


async def test_a_carriers_own_limit_says_when_a_scan_is_missed(store: Store) -> None:
    """As for the condition (tracking.md 9.7): ten business days for UPS here, four for anybody else."""
    policy = Policy(carriers={"ups": {"never_scanned_business_days": 10}})
    world = World(store, insights=Insights(store, policy, refresh_s=0))
    await put(world, *(parcel(n, [], None, carrier=c) for n, c in enumerate(("UPS", "USPS", "USPS"))))
    main = (await metric(world, "never-scanned"))["main"]
    assert (counted(main), main["cohort"]) == ((2, 2), 3)
    world.now = Instant(world.now + 8 * DAY)
    assert counted((await metric(world, "never-scanned"))["main"]) == (3, 3)


async def test_a_cancelled_delivery_fails_in_full_and_leaves_on_time_alone(world: World) -> None:
    arrived = tracker(
        scan("IN_TRANSIT", _at(date(2025, 1, 11)), "CA"), scan("DELIVERED", _at(date(2025, 1, 12)), "CA")
    )
    arrived["estimatedDeliveryDate"] = {"latest": "2025-01-14"}
    whole = order("order-1", ("delivery-1", "DELIVERED", arrived))
    other = {**arrived, "packageTrackerIdentifier": {"trackingNumber": "1Z2", "carrierCode": "UPS"}}
    short = order("order-2", ("delivery-2", "DELIVERED", other), ("delivery-3", "CANCELLED", None))
    details = short["packageInformation"]["details"]
    details[1]["packageInformationDetailsFor"]["orderLineItems"][0]["lineItem"]["id"] = "item-2"
    for known in (whole, short):
        await world.answer("order", known, order_id=known["id"])
    await world.project()
    told = await metric(world, "otif")
    assert counted(told["main"]) == (1, 2)
    assert {v["id"]: v["numerator"] for v in told["variants"]} == {
        "otif-grace": 1,
        "in-full": 1,
        "on-time-order": 2,
    }


async def test_a_filter_narrows_and_a_key_sees_its_business_products_only(shop: World) -> None:
    await put(shop, parcel(900, [scan("IN_TRANSIT", _at(date(2025, 1, 11)), "CA")], None, product="bp-2"))
    key = await shop.key("read", "bp-2")
    mine = (await shop.get("/v1/insights", key)).json()
    assert (mine["parcels"], mine["choices"]["businessProducts"]) == (1, ["bp-2"])
    assert (await shop.get("/v1/insights/rows", key)).json()["total"] == 1
    assert (await shop.get("/v1/insights", key, businessProductId="bp-1")).status_code == 404
    total = (await shop.get("/v1/insights/rows")).json()["total"]
    parts = [
        (await shop.get("/v1/insights/rows", carrier=c.lower())).json()["total"]
        for c in ("UPS", "USPS", "FEDEX")
    ]
    assert (sum(parts), total) == (141, 141)
    split = [
        (await shop.get("/v1/insights/rows", **dates)).json()["total"]
        for dates in ({"until": "2025-01-06"}, {"since": "2025-01-07"})
    ]
    assert sum(split) == total
    assert min(split) > 0


async def test_what_cannot_be_asked_is_refused(world: World) -> None:
    for path, status in (
        ("/v1/insights/nothing", 404),
        ("/v1/insights/rows?which=nothing", 404),
        ("/v1/insights/rows?which=length:transit:1-3", 404),
        ("/v1/insights/rows?after=x", 400),
        ("/v1/insights?basis=dreamt", 400),
        ("/v1/insights?days=lunar", 400),
        ("/v1/insights?since=yesterday", 400),
        ("/v1/insights/rows?format=xls", 400),
    ):
        async with world.client() as client:
            assert (await client.get(path)).status_code == status, path


async def test_every_metric_answers_over_nothing(world: World) -> None:
    for name in METRICS:
        assert (await world.get(f"/v1/insights/{name}", days="business")).status_code == 200, name


async def test_questions_that_wait_are_few_and_one_more_is_refused(store: Store) -> None:
    world = World(store)
    columns, held = world.context.insights._columns, threading.Event()
    assert (await world.get("/v1/insights")).status_code == 200
    asked = [asyncio.create_task(columns.run(lambda _: held.wait(20))) for _ in range(MOST_ASKED)]
    async with asyncio.timeout(60):
        while columns._asked < MOST_ASKED:
            await asyncio.sleep(0)
    refused = await world.get("/v1/insights")
    held.set()
    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    assert all(await asyncio.gather(*asked))
    assert (await world.get("/v1/insights")).status_code == 200


@pytest.mark.parametrize("text", ["=1", "\n=1", "\uff1d1", "@a"])
def test_no_text_of_the_rows_is_a_formula_for_a_spreadsheet(text: str) -> None:
    assert _cell("carrier", text) == f"'{text}"
