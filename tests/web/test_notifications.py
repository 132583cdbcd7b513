"""Notifications by the API: lists, one of them, what an order's shopper was told, and what may be done to each."""

from typing import Any

import msgspec
import pytest
from tests.web.told import every_state, tell, went
from tests.web.world import HOUR, World, one_delivery

from milepost.domain.instant import Instant
from milepost.domain.notification import KINDS, STATES
from milepost.domain.notification_wording import KIND_TEXTS, RULE_TEXTS, notification_text
from milepost.store import Store
from milepost.web import notification_documents
from milepost.web.notification_documents import NotificationDocument, NotificationItem
from milepost.web.notifications import CONSENT
from milepost.web.paging import Page

PATH, OF_ORDER = "/v1/notifications", "/v1/orders/order-1/notifications"
TWICE = {"acknowledge": CONSENT}


@pytest.fixture
async def telling(store: Store) -> World:
    """A world in which shoppers are told."""
    return World(store, notifying=True)


async def listed(world: World, path: str = PATH, limit: int = 2, **parameters: Any) -> list[dict[str, Any]]:
    """Every page of a list."""
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        answer = await world.get(path, limit=limit, **parameters, **after)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= limit
        found += page["items"]
        if page["next"] is None:
            return found
        after = {"after": page["next"]}


async def ids(world: World, path: str = PATH, **parameters: Any) -> list[str]:
    return [item["id"] for item in await listed(world, path, **parameters)]


# ── Lists ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_notifications_are_listed_as_they_were_decided_and_by_state(world: World) -> None:
    made = await every_state(world)
    assert await ids(world) == [n.id for n in made.values()]
    for state, notification in made.items():
        assert await ids(world, state=state) == [notification.id]


async def test_a_list_is_narrowed_by_kind_rule_order_and_delivery(world: World) -> None:
    await one_delivery(world)
    made = await every_state(world)
    late = await tell(world, "delivery-1", kind="delayed", order_id="order-2")
    assert await ids(world, kind="delayed") == [late.id]
    assert await ids(world, rule=6) == [made["SUPPRESSED"].id]
    assert await ids(world, rule=7) == []
    assert await ids(world, orderId="order-2") == [late.id]
    assert await ids(world, orderId="order-1", state="SENT", kind="shipped") == [made["SENT"].id]
    assert await ids(world, orderId="order-1", deliveryId="delivery-SENT") == [made["SENT"].id]
    assert await ids(world, orderId="order-1", kind="delayed") == []
    assert await ids(world, deliveryId="delivery-FAILED") == [made["FAILED"].id]
    assert await ids(world, deliveryId="nobody") == []
    for name in ("orderId", "deliveryId"):
        assert await ids(world, **{name: "a\x00b"}) == []


async def test_a_delivery_leads_by_its_order(world: World) -> None:
    await one_delivery(world)
    mine = await tell(world)
    await tell(world, order_id="order-2")
    assert await ids(world, deliveryId="delivery-1") == [mine.id]


async def test_a_page_of_what_is_looked_for_may_be_short_and_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification_documents, "LOOKED_AT", 5)
    monkeypatch.setattr(notification_documents, "AT_ONCE", 2)
    made = [await tell(world, f"d-{n}", kind="lost" if n % 6 == 5 else "shipped") for n in range(14)]
    first = (await world.get(PATH, kind="lost")).json()
    assert (first["items"], bool(first["next"])) == ([], True)
    assert await ids(world, kind="lost") == [n.id for n in made if n.kind == "lost"]


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"state": "GONE"}, "state"),
        ({"kind": "letter"}, "kind"),
        ({"rule": 0}, "rule"),
        ({"rule": 18}, "rule"),
        ({"after": "x"}, "after"),
        ({"limit": 0}, "limit"),
    ],
)
async def test_what_makes_no_list_is_refused(world: World, parameters: dict[str, Any], field: str) -> None:
    answer = await world.get(PATH, **parameters)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (
        400,
        "invalid_request",
        field,
    )


async def test_documents_are_what_their_description_says(world: World) -> None:
    for notification in (await every_state(world)).values():
        shown = await world.get(f"{PATH}/{notification.id}")
        described = msgspec.json.decode(shown.content, type=NotificationDocument, strict=True)
        assert msgspec.to_builtins(described) == shown.json()
    shown = await world.get(PATH)
    described = msgspec.json.decode(shown.content, type=Page[NotificationItem], strict=True)
    assert msgspec.to_builtins(described) == shown.json()


async def test_no_answer_holds_an_address(world: World) -> None:
    await one_delivery(world)
    for notification in (await every_state(world)).values():
        for path in (PATH, OF_ORDER, f"{PATH}/{notification.id}"):
            assert "@" not in (await world.get(path)).text


# ── What the customer was told ─────────────────────────────────────────────────────────────────────────────


async def test_what_an_order_told_names_the_rule_of_each_that_was_kept_back(world: World) -> None:
    await one_delivery(world)
    made = await every_state(world)
    other = await tell(world, product="bp-2")
    shown = await listed(world, OF_ORDER)
    assert [item["id"] for item in shown] == [n.id for n in made.values()]
    assert other.id not in {item["id"] for item in shown}
    by_state = {item["state"]: item for item in shown}
    kept_back = by_state["SUPPRESSED"]
    assert (kept_back["rule"], kept_back["ruleText"]) == (6, RULE_TEXTS[6])
    assert kept_back["text"] == "The shopper was not told that the parcel was shipped."
    assert kept_back["reason"] == "delivered came"
    sent = by_state["SENT"]
    assert sent["text"] == "The shopper was told that the parcel was shipped, by email."
    assert (sent["rule"], sent["ruleText"], sent["channel"]) == (None, None, "email")
    assert by_state["WAITING"]["dueAt"] is not None
    assert (await world.get("/v1/orders/order-9/notifications")).status_code == 404


def test_every_kind_state_and_rule_has_a_sentence() -> None:
    assert sorted(RULE_TEXTS) == list(range(1, 18))
    assert set(KIND_TEXTS) == set(KINDS)
    for kind in KINDS:
        for state in STATES:
            text = notification_text(kind, state, "email")
            assert text.endswith("."), text
            assert "{" not in text


# ── One of them ────────────────────────────────────────────────────────────────────────────────────────────


async def test_one_shows_its_history_and_what_may_be_done(world: World) -> None:
    made = await every_state(world)
    actions = {}
    for state, notification in made.items():
        shown = (await world.get(f"{PATH}/{notification.id}")).json()
        assert [step["state"] for step in shown["history"]][-1] == state
        actions[state] = shown["actions"]
    assert actions == {
        "WAITING": ["suppress"],
        "SENDING": [],
        "SENT": ["resend"],
        "FAILED": ["resend"],
        "UNCERTAIN": ["resend"],
        "SUPPRESSED": ["resend"],
    }
    for name in ("ntf_0", "%00"):
        answer = await world.get(f"{PATH}/{name}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_waiting_one_is_kept_from_being_sent(telling: World) -> None:
    waiting = await tell(telling)
    key = await telling.key("operate", "bp-1")
    answer = await telling.post(f"{PATH}/{waiting.id}/suppress", {"reason": " told by phone "}, key)
    shown = answer.json()
    assert (answer.status_code, shown["state"], shown["rule"]) == (200, "SUPPRESSED", None)
    assert (shown["reason"], shown["history"][-1]["by"]) == ("told by phone", "key_0001")
    again = await telling.post(f"{PATH}/{waiting.id}/suppress", key=key)
    assert (again.status_code, again.json()["actions"]) == (409, ["resend"])


@pytest.mark.parametrize("state", ["SENT", "UNCERTAIN"])
async def test_one_that_may_have_arrived_is_sent_again_with_consent_only(telling: World, state: str) -> None:
    mine = (await every_state(telling))[state]
    path = f"{PATH}/{mine.id}/resend"
    for body in (None, {}, {"acknowledge": "yes"}, {"reason": "asked"}):
        answer = await telling.post(path, body)
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem["acknowledge"]) == (409, "conflict", CONSENT)
    assert (await telling.get(f"{PATH}/{mine.id}")).json()["state"] == state
    telling.now = Instant(telling.now + HOUR)
    key = await telling.key("operate")
    answer = await telling.post(path, TWICE | {"reason": "asked"}, key)
    shown = answer.json()
    assert (answer.status_code, shown["state"], shown["byHand"]) == (200, "WAITING", True)
    assert (shown["dueAt"], shown["tries"]) == (telling.at(), 0)
    assert (shown["history"][-1]["by"], shown["history"][-1]["reason"]) == ("key_0001", "asked")


@pytest.mark.parametrize(("rule", "status"), [(2, 409), (4, 409), (11, 409), (6, 200), (13, 200)])
async def test_what_another_one_told_is_told_again_with_consent_only(
    telling: World, rule: int, status: int
) -> None:
    mine = await went(telling, await tell(telling), "suppress", rule=rule, reason="")
    assert (await telling.post(f"{PATH}/{mine.id}/resend")).status_code == status
    if status == 409:
        assert (await telling.post(f"{PATH}/{mine.id}/resend", TWICE)).json()["state"] == "WAITING"


@pytest.mark.parametrize("first", ["sent", "lose"])
@pytest.mark.parametrize("then", [("claim", "refuse"), ("suppress",)])
async def test_one_that_may_have_arrived_before_still_takes_consent(
    telling: World, first: str, then: tuple[str, ...]
) -> None:
    """It was sent again, and that came to nothing: the first may have arrived all the same."""
    mine = await went(telling, await tell(telling), "claim", first, "resend", *then)
    assert (await telling.post(f"{PATH}/{mine.id}/resend")).status_code == 409
    assert (await telling.post(f"{PATH}/{mine.id}/resend", TWICE)).json()["state"] == "WAITING"


@pytest.mark.parametrize("state", ["FAILED", "SUPPRESSED"])
async def test_one_that_certainly_did_not_arrive_is_sent_again_as_it_is(telling: World, state: str) -> None:
    mine = (await every_state(telling))[state]
    answer = await telling.post(f"{PATH}/{mine.id}/resend")
    assert (answer.status_code, answer.json()["state"]) == (200, "WAITING")
    due = await telling.store.read(lambda tx: tx.notifications.due(telling.now, 10))
    assert [n.id for n in due] == [mine.id]


@pytest.mark.parametrize("state", ["WAITING", "SENDING"])
async def test_one_that_is_under_way_is_not_sent_again(telling: World, state: str) -> None:
    mine = (await every_state(telling))[state]
    answer = await telling.post(f"{PATH}/{mine.id}/resend", TWICE)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["state"]) == (409, "conflict", state)
    assert problem["actions"] == (["suppress"] if state == "WAITING" else [])


async def test_a_resend_where_nobody_sends_is_refused(world: World) -> None:
    mine = (await every_state(world))["FAILED"]
    answer = await world.post(f"{PATH}/{mine.id}/resend")
    assert (answer.status_code, "MILEPOST_NOTIFICATIONS" in answer.json()["detail"]) == (409, True)


async def test_a_resend_wakes_the_notifier(store: Store) -> None:
    woken: list[int] = []
    world = World(store, notifying=True, notified=lambda: woken.append(1))
    mine = (await every_state(world))["FAILED"]
    await world.post(f"{PATH}/{mine.id}/resend")
    assert woken == [1]


async def test_what_is_another_business_products_is_not_there(telling: World) -> None:
    made = await every_state(telling)
    foreign = await telling.key("operate", "bp-2")
    assert (await telling.get(PATH, foreign)).json() == {"items": [], "next": None}
    assert (await telling.get(PATH, foreign, orderId="order-1")).json()["items"] == []
    assert (await telling.get(PATH, foreign, businessProductId="bp-1")).status_code == 404
    for notification in made.values():
        assert (await telling.get(f"{PATH}/{notification.id}", foreign)).status_code == 404
        for verb in ("resend", "suppress"):
            answer = await telling.post(
                f"{PATH}/{notification.id}/{verb}", TWICE if verb == "resend" else {}, foreign
            )
            assert answer.status_code == 404


# ── The timeline ───────────────────────────────────────────────────────────────────────────────────────────


async def timeline(world: World, **parameters: Any) -> list[dict[str, Any]]:
    entries = (await world.get("/v1/orders/order-1/timeline", **parameters)).json()["items"]
    return [entry for entry in entries if entry["kind"] == "notification"]


async def test_what_was_told_and_what_was_not_stands_in_the_timeline(telling: World) -> None:
    await one_delivery(telling)
    made = await every_state(telling)
    await telling.post(f"{PATH}/{made['FAILED'].id}/resend", {"reason": "asked."})
    entries = {(e["deliveryId"], e["code"]): e["text"] for e in await timeline(telling)}
    assert entries == {
        ("delivery-WAITING", "WAITING"): "The shopper is to be told that the parcel was shipped.",
        ("delivery-SENDING", "SENDING"): "The shopper is being told that the parcel was shipped.",
        ("delivery-SENT", "SENT"): "The shopper was told that the parcel was shipped, by email.",
        ("delivery-FAILED", "FAILED"): "The shopper could not be told that the parcel was shipped.",
        ("delivery-FAILED", "WAITING"): "The shopper is to be told that the parcel was shipped."
        " By API_KEY. Reason: asked.",
        ("delivery-UNCERTAIN", "UNCERTAIN"): "Whether the shopper was told that the parcel was shipped is"
        " not known.",
        ("delivery-SUPPRESSED", "SUPPRESSED"): "The shopper was not told that the parcel was shipped."
        f" Rule 6: {RULE_TEXTS[6]} Reason: delivered came.",
    }


async def test_the_timeline_shows_what_was_told_by_then(telling: World) -> None:
    await one_delivery(telling)
    before = telling.at()
    telling.now = Instant(telling.now + HOUR)
    first = await tell(telling)
    waiting = telling.at()
    telling.now = Instant(telling.now + HOUR)
    await went(telling, first, "claim", "sent", channel="email")
    for as_of, codes in ((before, []), (waiting, ["WAITING"]), (telling.at(), ["SENT"])):
        assert [e["code"] for e in await timeline(telling, asOf=as_of)] == codes, as_of


async def test_no_shopper_sees_what_was_told_or_kept_back(telling: World) -> None:
    await one_delivery(telling)
    for notification in (await every_state(telling)).values():
        text = (await telling.get("/v1/orders/order-1/status")).text
        assert notification.id not in text
        assert "notification" not in text
        assert "told" not in text
