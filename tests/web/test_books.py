"""The accountant's rows by the API: lists that go on where they were, and closing a month of a business product."""

from datetime import UTC
from typing import Any

import msgspec
import pytest
from tests.contract.accounting_contract import entry
from tests.web.world import World, event

from milepost.domain.accounting import Entry
from milepost.domain.condition import Policy
from milepost.domain.instant import Instant, parse_instant
from milepost.pipeline.booking import BookFollower
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.projector import NAME, Projector
from milepost.web.books import EntryItem, PeriodItem
from milepost.web.paging import Page

NOW = parse_instant("2025-03-10T00:00:00Z")


@pytest.fixture(autouse=True)
def _march(world: World) -> None:
    world.now = NOW


async def post(world: World, *entries: Entry) -> None:
    await world.store.write(lambda tx: tx.books.post(entries))


async def listed(
    world: World, path: str = "/v1/accounting/entries", **parameters: Any
) -> list[dict[str, Any]]:
    """The items of every page of a list, two a page."""
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        answer = await world.get(path, limit=2, **parameters, **after)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= 2
        found += page["items"]
        if page["next"] is None:
            return found
        after = {"after": page["next"]}


async def ids(world: World, **parameters: Any) -> list[str]:
    return [item["id"] for item in await listed(world, **parameters)]


async def close(
    world: World, period: str, product: str | None = "bp-1", key: str | None = None
) -> tuple[int, Any]:
    path = f"/v1/accounting/periods/{period}/close" + (f"?businessProductId={product}" if product else "")
    answer = await (world.post(path) if key is None else world.post(path, key=key))
    return answer.status_code, answer.json()


async def test_what_was_folded_is_listed_as_the_accountant_reads_it(world: World) -> None:
    books = BookFollower(UTC, 7 * 86_400_000)
    folding = Projector(world.store, Policy(), lambda: world.now, followers=[books])
    await world.event(event("PACKAGE_DELIVERY_IN_TRANSIT", 1, "order/order-1/delivery/delivery-1"))
    await Consumer(world.store, NAME, folding.prepare, lambda: world.now).catch_up()
    answer = await world.get("/v1/accounting/entries")
    (item,) = answer.json()["items"]
    assert item == {
        "id": item["id"],
        "businessProductId": "bp-1",
        "orderId": "order-1",
        "deliveryId": "delivery-1",
        "kind": "shipped",
        "revision": 1,
        "sign": 1,
        "status": "provisional",
        "reason": "new",
        "occurredAt": "2025-01-20T12:00:00Z",
        "destinationDate": "2025-01-20",
        "originDate": "2025-01-20",
        "zone": "utc",
        "taxPeriod": "2025-01",
        "postingPeriod": "2025-01",
        "postedAt": "2025-03-10T00:00:01Z",
        "evidence": {
            "kind": "event",
            "type": "PACKAGE_DELIVERY_IN_TRANSIT",
            "at": "2025-01-20T12:00:00Z",
            "source": "event",
            "position": 1,
            "eventId": "event-1",
        },
        "settlesAt": "2025-03-17T00:00:01Z",
    }
    assert msgspec.json.decode(answer.content, type=Page[EntryItem]).next is None


async def test_rows_are_listed_in_the_order_of_their_posting_and_a_cursor_goes_on(world: World) -> None:
    given = [entry(f"d-{n}") for n in range(5)]
    await post(world, *given)
    assert await ids(world) == [e.id for e in given]
    first = (await world.get("/v1/accounting/entries", limit=4)).json()
    await post(world, entry("d-9"))
    second = (await world.get("/v1/accounting/entries", after=first["next"])).json()
    assert [item["id"] for item in second["items"]] == [given[4].id, entry("d-9").id]


async def test_rows_are_narrowed_by_month_order_and_business_product(world: World) -> None:
    january, february = entry("d-1"), entry("d-2", posting_period="2025-02")
    other, foreign = entry("d-3", order="o-2"), entry("d-4", product="bp-2")
    await post(world, january, february, other, foreign)
    await world.event(event("PACKAGE_DELIVERED", 1, "order/o-1/delivery/d-1"))
    await world.event(event("PACKAGE_DELIVERED", 2, "order/o-1/delivery/d-4", "bp-2"))
    await world.project()
    assert await ids(world, period="2025-02") == [february.id]
    assert await ids(world, period="2024-02") == []
    assert await ids(world, orderId="o-1", businessProductId="bp-1") == [january.id, february.id]
    assert await ids(world, orderId="o-1") == [january.id, february.id, foreign.id]
    assert await ids(world, orderId="o-1", period="2025-02") == [february.id]
    assert await ids(world, businessProductId="bp-2") == [foreign.id]
    assert await ids(world, orderId="nobody") == []
    assert await ids(world, orderId="a\x00b") == []


async def test_the_rows_of_an_order_that_nothing_else_tells_of_any_more_are_listed(world: World) -> None:
    """Its records may be gone. The id may be of orders of two business products: a cursor goes on all the same."""
    given = [entry(f"d-{n}", product=f"bp-{2 - n % 2}") for n in range(4)]
    await post(world, *given[:3])
    assert await ids(world, orderId="o-1") == [e.id for e in given[:3]]
    first = (await world.get("/v1/accounting/entries", orderId="o-1", limit=2)).json()
    await post(world, entry(order="o-2"), given[3])
    second = (await world.get("/v1/accounting/entries", orderId="o-1", after=first["next"])).json()
    assert [item["id"] for item in second["items"]] == [e.id for e in given[2:]]


async def test_a_bound_key_sees_its_own(world: World) -> None:
    mine, foreign = entry("d-1"), entry("d-2", product="bp-2")
    await post(world, mine, foreign)
    key = await world.key("read", "bp-2")
    for parameters in ({}, {"orderId": "o-1"}, {"businessProductId": "bp-2"}):
        answer = (await world.get("/v1/accounting/entries", key, **parameters)).json()
        assert [item["id"] for item in answer["items"]] == [foreign.id]
    assert (await world.get("/v1/accounting/entries", key, businessProductId="bp-1")).status_code == 404


@pytest.mark.parametrize("period", ["2025", "2025-1", "2025-13", "january"])
async def test_what_is_no_month_is_refused(world: World, period: str) -> None:
    answer = await world.get("/v1/accounting/entries", period=period)
    assert (answer.status_code, answer.json()["field"]) == (400, "period")
    await post(world, entry())
    status, problem = await close(world, period)
    assert (status, problem["code"], problem["field"]) == (400, "invalid_request", "period")


async def test_a_month_is_closed_for_good_and_again_changes_nothing(world: World) -> None:
    await post(world, entry())
    status, closed = await close(world, "2025-01")
    assert (status, closed) == (
        200,
        {
            "businessProductId": "bp-1",
            "period": "2025-01",
            "closedAt": "2025-03-10T00:00:00Z",
            "closedBy": "API_KEY",
        },
    )
    world.now = Instant(NOW + 1_000)
    assert await close(world, "2025-01") == (200, closed)
    assert await listed(world, "/v1/accounting/periods") == [closed]


async def test_a_month_that_has_not_ended_is_not_closed(world: World) -> None:
    await post(world, entry())
    status, problem = await close(world, "2025-03")
    assert (status, problem["code"], problem["endsAt"]) == (409, "conflict", "2025-04-01T12:00:00Z")
    assert await listed(world, "/v1/accounting/periods") == []


async def test_closing_is_of_one_business_product_that_the_key_is_bound_to(world: World) -> None:
    await post(world, entry(), entry(product="bp-2"))
    status, problem = await close(world, "2025-01", None)
    assert (status, problem["field"]) == (400, "businessProductId")
    for unheard_of in ("bp-3", "bp%00"):
        assert (await close(world, "2025-01", unheard_of))[0] == 404
    one, both = await world.key("operate", "bp-2"), await world.key("operate", "bp-1", "bp-2")
    status, closed = await close(world, "2025-01", None, one)
    assert (status, closed["businessProductId"]) == (200, "bp-2")
    assert closed["closedBy"].startswith("key_")
    assert (await close(world, "2025-01", None, both))[0] == 400
    assert (await close(world, "2025-01", "bp-1", one))[0] == 404
    assert (await close(world, "2025-01", "bp-2", await world.key("read", "bp-2")))[0] == 403
    assert (await close(world, "2025-02", "bp-1", both))[0] == 200
    periods = await listed(world, "/v1/accounting/periods")
    assert [(p["businessProductId"], p["period"]) for p in periods] == [
        ("bp-1", "2025-02"),
        ("bp-2", "2025-01"),
    ]
    mine = (await world.get("/v1/accounting/periods", one)).json()["items"]
    assert [p["businessProductId"] for p in mine] == ["bp-2"]
    assert msgspec.convert(mine, list[PeriodItem])[0].period == "2025-01"


async def test_periods_are_paged(world: World) -> None:
    await post(world, entry())
    for month in range(1, 6):
        assert (await close(world, f"2024-0{month}"))[0] == 200
    found = await listed(world, "/v1/accounting/periods")
    assert [p["period"] for p in found] == [f"2024-0{month}" for month in range(1, 6)]


async def test_a_cursor_of_another_list_is_refused(world: World) -> None:
    await post(world, *(entry(f"d-{n}") for n in range(3)))
    cursor = (await world.get("/v1/accounting/entries", limit=1)).json()["next"]
    answer = await world.get("/v1/accounting/periods", after=cursor)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
