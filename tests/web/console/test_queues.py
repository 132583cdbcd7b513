"""Queues in the console: cards, rows, what is done to the ticked ones, kept filters; who may, and who sees what."""

import csv
import io
import re
from collections.abc import Collection
from html import unescape
from typing import Any

import httpx
import pytest
from tests.web.test_queues import attempted
from tests.web.world import HOUR, World, milestone, order, tracker

from milepost.domain.capture import Transition
from milepost.domain.instant import Instant
from milepost.domain.role import Role
from milepost.store import Store
from milepost.web import authentication
from milepost.web.visiting import Visitor

HERE = {"sec-fetch-site": "same-origin"}
SCRIPT = '<script>alert("1")</script>'


@pytest.fixture
async def world(store: Store) -> World:
    """Three attempts of bp-1, one of bp-2; nobody has to sign in."""
    made = World(store, insecure=True, admin_key=None)
    for number in (1, 2, 3):
        await attempted(made, number, carrier="UPS" if number != 2 else "USPS")
    await attempted(made, 4, "bp-2")
    await made.project()
    return made


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Who looks from now on."""

    def look(role: Role, *products: str, id: str = "ann") -> None:
        visitor = Visitor(id, id.title(), role, frozenset(products) or None, "token")

        async def visit(*_: object) -> Visitor:
            return visitor

        monkeypatch.setattr(authentication, "_visitor", visit)

    return look


async def see(world: World, path: str) -> str:
    async with world.client(None) as client:
        answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.text


async def send(world: World, path: str, fields: Any, token: str | None = "") -> httpx.Response:
    """A form, with the token that the page has (or this one; None: without)."""
    pairs = list(fields.items()) if isinstance(fields, dict) else list(fields)
    async with world.client(None) as client:
        if token == "":
            found = re.search(
                r'name="form_token" value="([^"]+)"', (await client.get("/queues/attempted")).text
            )
            assert found is not None
            token = found[1]
        if token is not None:
            pairs.append(("form_token", token))
        content = httpx.QueryParams(pairs).__str__().encode()
        kind = {"content-type": "application/x-www-form-urlencoded"}
        return await client.post(path, content=content, headers={**HERE, **kind})


def rows(html: str) -> list[str]:
    body = html.partition("<tbody>")[2].partition("</tbody>")[0]
    return re.findall(r"order-\d|No order known", re.sub(r'(href|aria-label|value)="[^"]*"', "", body))


def text(html: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html)))


async def ids(world: World, *numbers: int) -> list[tuple[str, str]]:
    found = {entry["orderId"]: entry["id"] for entry in await entries_of(world)}
    return [("id", found[f"order-{number}"]) for number in numbers]


async def entries_of(world: World, **parameters: Any) -> list[dict[str, Any]]:
    async with world.client(None) as client:
        found: list[dict[str, Any]] = (await client.get("/v1/queues/attempted", params=parameters)).json()[
            "items"
        ]
    return found


async def test_the_overview_says_how_much_waits_and_what_to_do(world: World) -> None:
    html = await see(world, "/queues")
    card = re.search(r'data-queue="attempted".*?</section>', html, re.DOTALL)
    assert card is not None
    said = text(card[0])
    assert "Delivery attempted" in said
    assert " 4 " in said
    assert "Oldest 10 h ago" in said
    assert "Check the address with the shopper" in said
    assert "Never scanned" in text(html.partition("Nothing waits in these")[2]), "it is a link all the same"
    assert 'href="/queues/never-scanned"' in html


async def test_rows_are_those_of_the_api_oldest_first_and_lead_to_their_parcel(world: World) -> None:
    html = await see(world, "/queues/attempted")
    assert rows(html) == [entry["orderId"] for entry in await entries_of(world)]
    assert 'href="/orders/order-2?businessProductId=bp-1#parcel-1"' in html
    assert "US-WA" in html
    assert rows(await see(world, "/queues/attempted?carrier=usps")) == ["order-2"]
    assert rows(await see(world, "/queues/attempted?olderThanHours=9")) == ["order-1", "order-2"]
    assert rows(await see(world, "/queues/attempted?businessProductId=bp-2")) == ["order-4"]
    assert "Nothing in this queue fits" in await see(world, "/queues/attempted?region=US-NV")


async def test_pages_follow_each_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milepost.web.console.queues.A_PAGE", 3)
    first = await see(world, "/queues/attempted?region=US-WA")
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following is not None
    assert rows(first) == ["order-1", "order-2", "order-3"]
    second = await see(world, unescape(following[1]))
    assert rows(second) == ["order-4"]
    assert 'rel="next"' not in second


async def test_what_is_ticked_is_assigned_snoozed_and_handled(world: World) -> None:
    path = "/queues/attempted?region=US-WA"
    taken = await send(world, path, [*await ids(world, 1, 2), ("action", "assign"), ("assignee", "Ann")])
    assert (taken.status_code, taken.headers["location"]) == (303, f"{path}&done=assign&n=2")
    assert "2 assigned." in text(await see(world, taken.headers["location"]))
    assert rows(await see(world, "/queues/attempted?assignee=Ann")) == ["order-1", "order-2"]
    for action, more in (("snooze", [("hours", "24"), ("text", "calls back")]), ("handled", [])):
        number = 1 if action == "snooze" else 3
        done = await send(world, "/queues/attempted", [*await ids(world, number), ("action", action), *more])
        assert done.status_code == 303, done.text
    assert rows(await see(world, "/queues/attempted")) == ["order-2", "order-4"]
    snoozed = await see(world, "/queues/attempted?state=snoozed")
    assert rows(snoozed) == ["order-1"]
    assert "calls back" in snoozed
    assert "Handled" in text(await see(world, "/queues/attempted?state=handled"))
    mine = await send(world, "/queues/attempted", [*await ids(world, 4), ("action", "mine")])
    assert mine.headers["location"] == "/queues/attempted?done=assign&n=1"
    assert (await entries_of(world, assignee="Nobody signed in"))[0]["orderId"] == "order-4"
    world.now = Instant(world.now + 24 * HOUR)
    assert rows(await see(world, "/queues/attempted")) == ["order-1", "order-2", "order-4"]


async def test_a_note_is_the_persons(world: World) -> None:
    fields = [*await ids(world, 1, 3), ("action", "note"), ("text", "asked the carrier")]
    assert (await send(world, "/queues/attempted", fields)).status_code == 303
    await world.project()
    async with world.client(None) as client:
        (note,) = (await client.get("/v1/orders/order-3/notes")).json()["items"]
    assert (note["text"], note["author"]) == ("asked the carrier", "Nobody signed in")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"action": "handled"}, "Tick what you mean first"),
        ({"action": "note", "id": "x"}, "Write the note first"),
    ],
)
async def test_a_form_that_says_too_little_comes_back_with_the_reason(
    world: World, fields: dict[str, str], said: str
) -> None:
    answer = await send(world, "/queues/attempted", fields)
    assert said in text(await see(world, answer.headers["location"]))


@pytest.mark.parametrize(
    "fields",
    [
        {"action": "burn", "id": "x"},
        {"action": "handled", "id": "x"},
        {"action": "snooze", "id": "x", "hours": "9000"},
        {"action": "release", "id": "x"},
        [("action", "handled"), *(("id", str(n)) for n in range(201))],
    ],
)
async def test_a_form_that_no_page_of_ours_sends_is_refused(world: World, fields: Any) -> None:
    answer = await send(world, "/queues/attempted", fields)
    assert answer.status_code == 400
    assert "text/html" in answer.headers["content-type"]


@pytest.mark.parametrize("path", ["/queues/attempted", "/queues/attempted/filters?carrier=UPS"])
async def test_a_form_without_its_token_is_refused(world: World, path: str) -> None:
    fields = [*await ids(world, 1), ("action", "handled"), ("name", "UPS")]
    for token in (None, "wrong"):
        assert (await send(world, path, fields, token)).status_code == 403
    assert len(await entries_of(world)) == 4
    assert "UPS</a>" not in await see(world, "/queues/attempted")


async def test_what_is_no_queue_is_not_there(world: World) -> None:
    async with world.client(None) as client:
        for path in ("/queues/none", "/queues/none/csv"):
            assert (await client.get(path)).status_code == 404
        for path in ("/queues/late?state=odd", "/queues/late?olderThanHours=x", "/queues/late?after=odd"):
            assert (await client.get(path)).status_code == 400
    assert (await send(world, "/queues/none", {"action": "handled", "id": "x"})).status_code == 404


async def test_csv_is_what_the_api_gives(world: World) -> None:
    async with world.client(None) as client:
        page = await client.get("/queues/attempted/csv?carrier=ups")
        api = await client.get("/v1/queues/attempted?carrier=ups&format=csv")
    assert page.content == api.content
    assert [row["orderId"] for row in csv.DictReader(io.StringIO(page.text))] == [
        "order-1",
        "order-3",
        "order-4",
    ]


async def test_script_in_any_field_is_text(world: World) -> None:
    odd = tracker(
        milestone("DELIVERY_ATTEMPTED", "2025-01-20T05:30:00Z", SCRIPT), carrier=SCRIPT, number=SCRIPT
    )
    odd["milestones"][0]["address"]["region"] = SCRIPT
    known = order("order-9", (SCRIPT, "IN_TRANSIT", odd))
    await world.answer("order", known, order_id="order-9")
    await world.answer("packageTracker", odd, carrier_code=SCRIPT, tracking_number=SCRIPT)
    unknown = tracker(milestone(SCRIPT, "2025-01-20T05:30:00Z"), number="1Zodd")
    await world.answer("packageTracker", unknown, carrier_code="UPS", tracking_number="1Zodd")
    await world.project()
    await world.capture(state="HELD", reason=SCRIPT, history=(Transition(world.now, "HELD", "ann", SCRIPT),))
    (one,) = [entry for entry in await entries_of(world) if entry["orderId"] == "order-9"]
    for action in ("assign", "snooze"):
        fields = [
            ("id", one["id"]),
            ("action", action),
            ("assignee", SCRIPT),
            ("text", SCRIPT),
            ("hours", "4"),
        ]
        assert (await send(world, "/queues/attempted", fields)).status_code == 303
    kept = await send(world, f"/queues/attempted/filters?carrier={SCRIPT}", {"name": SCRIPT[:60]})
    assert kept.status_code == 303, kept.text
    for path in (
        "/queues",
        "/queues/attempted?state=all",
        f"/queues/attempted?state=all&carrier={SCRIPT}&assignee={SCRIPT}",
        "/queues/unmapped-codes",
        "/queues/captures-held",
        f"/queues/attempted?done={SCRIPT}&n={SCRIPT}",
    ):
        html = await see(world, path)
        assert "<script>alert" not in html, path
    assert "&lt;script&gt;" in await see(world, "/queues/attempted?state=all")


# ── Who may, and who sees what ─────────────────────────────────────────────────────────────────────────────


async def test_a_role_without_the_permission_reads_and_does_nothing(world: World, somebody: Any) -> None:
    chosen = await ids(world, 1)
    somebody("analyst")
    html = await see(world, "/queues/attempted")
    assert len(rows(html)) == 4
    assert "checkbox" not in html
    assert 'name="action"' not in html
    refused = await send(world, "/queues/attempted", [*chosen, ("action", "handled")], "token")
    assert refused.status_code == 403
    shared = {"name": "UPS", "shared": "on"}
    assert (await send(world, "/queues/late/filters?carrier=UPS", shared, "token")).status_code == 403


async def test_what_somebody_wrote_about_an_item_is_for_who_serves_customers(
    world: World, somebody: Any
) -> None:
    fields = [*await ids(world, 1), ("action", "handled"), ("text", "called-mrs-lovelace")]
    somebody("agent")
    assert (await send(world, "/queues/attempted", fields, "token")).status_code == 303
    for role, is_shown in (("agent", True), ("analyst", False)):
        somebody(role)
        for path in ("/queues/attempted?state=all", "/queues/attempted/csv?state=all"):
            assert ("called-mrs-lovelace" in await see(world, path)) == is_shown, (role, path)


async def test_payments_are_the_operators(world: World, somebody: Any) -> None:
    held = await world.capture(state="HELD", reason="order_not_known")
    async with world.client(None) as client:
        (item,) = (await client.get("/v1/queues/captures-held")).json()["items"]
    fields = {"id": item["id"], "action": "release"}
    somebody("agent")
    page = await see(world, "/queues/captures-held")
    assert "nobody has said yet what is in the parcel" in page
    assert "Release" not in page
    assert (await send(world, "/queues/captures-held", fields, "token")).status_code == 403
    somebody("operator")
    assert "Release" in await see(world, "/queues/captures-held")
    assert (await send(world, "/queues/captures-held", fields, "token")).status_code == 303
    found = await world.store.read(lambda tx: tx.ledger.capture(held.id))
    assert found is not None
    assert found.state == "READY"


async def test_other_business_products_are_not_there(world: World, somebody: Any) -> None:
    everything = await ids(world, 1, 2, 3, 4)
    somebody("agent", "bp-2")
    html = await see(world, "/queues/attempted")
    assert rows(html) == ["order-4"]
    assert "bp-1" not in html
    assert " 1 " in text(
        re.findall(r'data-queue="attempted".*?</section>', await see(world, "/queues"), re.DOTALL)[0]
    )
    async with world.client(None) as client:
        for path in (
            "/queues/attempted?businessProductId=bp-1",
            "/queues/attempted/csv?businessProductId=bp-1",
        ):
            assert (await client.get(path)).status_code == 404
        assert "order-1" not in (await client.get("/queues/attempted/csv")).text
    done = await send(world, "/queues/attempted", [*everything, ("action", "handled")], "token")
    assert done.headers["location"] == "/queues/attempted?done=handled&n=1&gone=3"
    somebody("agent")
    assert rows(await see(world, "/queues/attempted")) == ["order-1", "order-2", "order-3"]


async def test_kept_filters_are_ones_own_until_they_are_shared(world: World, somebody: Any) -> None:
    def tabs(html: str) -> Collection[str]:
        return re.findall(
            r">([^<]+)</a>", html.partition('aria-label="Kept filters"')[2].partition("</nav>")[0]
        )

    async def keep(name: str, query: str, **more: str) -> httpx.Response:
        return await send(world, f"/queues/attempted/filters?{query}", {"name": name, **more}, "token")

    somebody("agent", "bp-1", id="ann")
    kept = await keep("Only UPS", "carrier=UPS&odd=1&after=x")
    assert kept.headers["location"] == "/queues/attempted?carrier=UPS&done=kept"
    assert (await keep("All of ours", "assignee=nobody", shared="on")).status_code == 303
    html = await see(world, "/queues/attempted?carrier=UPS")
    assert tabs(html) == ["Everything open", "All of ours", "Only UPS"]
    assert 'aria-current="page">Only UPS' in html
    assert "Only UPS" in await see(world, "/queues")
    found = re.search(r"filters/(flt_\w+)/rename[^>]*>(?:(?!</form>).)*Only UPS", html, re.DOTALL)
    assert found is not None
    mine = f"/queues/attempted/filters/{found[1]}"
    for name, query in (
        ("", "carrier=UPS"),
        ("x" * 61, "carrier=UPS"),
        ("Nothing", ""),
        ("Odd", "state=odd"),
    ):
        assert (await keep(name, query)).status_code == 400, name
    assert (await keep("Theirs", "businessProductId=bp-2")).status_code == 404
    somebody("agent", "bp-1", "bp-2", id="bob")
    assert tabs(await see(world, "/queues/attempted")) == ["Everything open", "All of ours"]
    for verb in ("rename", "delete"):
        assert (await send(world, f"{mine}/{verb}", {"name": "Mine"}, "token")).status_code == 404
    somebody("agent", "bp-2", id="eve")
    assert tabs(await see(world, "/queues/attempted")) == [], "what is the only one needs no tab"
    somebody("agent", "bp-1", id="ann")
    assert (await send(world, f"{mine}/rename", {"name": "UPS only"}, "token")).status_code == 303
    assert tabs(await see(world, "/queues/attempted")) == ["Everything open", "All of ours", "UPS only"]
    assert (await send(world, f"{mine}/delete", {}, "token")).status_code == 303
    assert tabs(await see(world, "/queues/attempted")) == ["Everything open", "All of ours"]


async def test_nobody_keeps_more_filters_than_can_be_shown(
    world: World, somebody: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("milepost.web.queue_query.MOST_FILTERS", 2)
    somebody("agent")
    path = "/queues/attempted/filters?carrier=UPS"
    given = [(await send(world, path, {"name": f"{n}"}, "token")).status_code for n in range(3)]
    assert given == [303, 303, 409]
