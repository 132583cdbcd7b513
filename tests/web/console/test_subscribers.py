"""The pages of subscribers: how sending goes, what is done with one, its attempts, and replays counted first."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from tests.web.console.lookers import SCRIPT, look_as, opened, sent, words
from tests.web.told import tell
from tests.web.world import MINUTE, World, event, one_delivery

from milepost.domain.attempt import Destination
from milepost.domain.instant import Instant
from milepost.domain.message import render
from milepost.pipeline.capturing import CaptureLedger
from milepost.pipeline.publishing import Publishing
from milepost.pipeline.sending import Outcome, Parcel
from milepost.pipeline.subscribers import Matching
from milepost.store import Store

URL = "https://oms.example/hook"


class Answering:
    """A sender that answers as it is told to."""

    batch = 1

    def __init__(self) -> None:
        self.outcome = Outcome(200, response="taken")

    async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
        return [self.outcome] * len(parcels)


@pytest.fixture
def world(store: Store) -> World:
    return World(store, insecure=True, admin_key=None)


@pytest.fixture
def answering() -> Answering:
    return Answering()


@pytest.fixture
def publishing(world: World, answering: Answering) -> Publishing:
    return Publishing(
        world.store,
        {"webhook": answering},
        lambda: world.now,
        random=lambda: 0.5,
        wants=Matching().wants,
        render=render,
        ledger=CaptureLedger(),
        patience_days=5,
    )


@pytest.fixture(autouse=True)
def operator(monkeypatch: pytest.MonkeyPatch) -> None:
    look_as(monkeypatch, "operator")


async def _add(world: World, **fields: Any) -> str:
    answer = await world.post("/v1/subscribers", {"name": "oms", "url": URL} | fields, key=None)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def _told(world: World, publishing: Publishing, **fields: Any) -> str:
    """A subscriber of events as they came, with one delivery's two events sent to it."""
    subscriber = await _add(world, form="amazon", **fields)
    await one_delivery(world)
    await publishing.publish()
    return subscriber


async def test_a_subscriber_shows_how_sending_to_it_goes(
    world: World, publishing: Publishing, answering: Answering
) -> None:
    subscriber = await _told(world, publishing, expression="true", rate=5)
    said = words(await opened(world, "/subscribers"))
    assert "oms Amazon by webhook Live" in said
    assert URL in said
    page = words(await opened(world, f"/subscribers/{subscriber}"))
    for text in ("Half of 2 delivered", "Carriers All", "At most 5 a second", "Amazon's events as they came"):
        assert text in page, text
    answering.outcome = Outcome(500, response="no")
    await sent(world, f"/subscribers/{subscriber}/test")
    world.now = Instant(world.now + MINUTE)
    await publishing.publish()
    page = words(await opened(world, f"/subscribers/{subscriber}"))
    assert "State Failing" in page
    assert "Failed 500" in page
    failed = words(await opened(world, f"/subscribers/{subscriber}/attempts", outcome="failed"))
    assert (failed.count("Failed 500"), failed.count("Delivered 200")) == (1, 0)


async def test_an_event_says_who_was_told_and_a_message_is_sent_again(
    world: World, publishing: Publishing, answering: Answering
) -> None:
    subscriber = await _told(world, publishing)
    listed = (await world.get("/v1/events", None)).json()["items"]
    position = listed[-1]["position"]
    page = await opened(world, f"/events/{position}")
    message = f"{position}-{subscriber}"
    assert f"/attempts/{message}" in page
    again = await sent(world, f"/events/{position}/resend", message=message)
    assert again.headers["location"] == f"/events/{position}?done=resent"
    world.now = Instant(world.now + MINUTE)
    await publishing.publish()
    shown = words(await opened(world, f"/attempts/{message}"))
    assert "2 so far" in shown
    assert "By hand" in shown
    assert "taken" in shown
    api = (await world.get(f"/v1/messages/{message}", None)).json()
    assert [a["number"] for a in api["attempts"]] == [1, 2]
    assert (await sent(world, f"/attempts/{message}/resend")).status_code == 303
    assert (await sent(world, "/attempts/none/resend")).status_code == 404


async def test_an_event_says_what_was_told_because_of_it(world: World, publishing: Publishing) -> None:
    """Our own messages and notifications from when it came until the next event about the same: not those of later
    events."""
    subscriber = await _add(world, form="milepost", name="warehouse")
    await one_delivery(world)
    await tell(world, kind="delivered")
    await publishing.publish()
    by_id = {e["eventId"]: e for e in (await world.get("/v1/events", None)).json()["items"]}
    shipped, delivered = by_id["event-1"]["position"], by_id["event-2"]["position"]
    sections = {}
    for position in (shipped, delivered):
        page = await opened(world, f"/events/{position}")
        sections[position] = page.partition('id="told"')[2].partition('id="body"')[0]
    first, second = (words(sections[position]) for position in (shipped, delivered))
    assert "delivery.shipped" in first
    assert "delivery.delivered" not in first
    assert "The shopper" not in first
    assert "delivery.delivered : warehouse delivered" in second
    assert "delivery.shipped" not in second
    assert "The shopper is to be told that the parcel was delivered." in second
    assert "Order order-1" in second
    intents = re.findall(r'data-intent="(\d+)"', sections[delivered])
    assert f"/attempts/{intents[0]}-{subscriber}" in sections[delivered]


async def test_an_event_that_moved_nothing_told_nobody(world: World) -> None:
    await one_delivery(world)
    told = await world.event(event("REFUND_REQUESTED", 9, "order/order-1"))
    await world.project()
    page = words(await opened(world, f"/events/{told.position}"))
    assert "No message of our own to a subscriber and no notification to a shopper." in page


async def test_a_subscriber_is_disabled_enabled_and_given_a_new_key(world: World) -> None:
    subscriber = await _add(world)
    path = f"/subscribers/{subscriber}"
    assert (await sent(world, f"{path}/disable")).headers["location"] == f"{path}?done=disabled"
    assert "Disabled" in words(await opened(world, path))
    assert (await sent(world, f"{path}/enable")).headers["location"] == f"{path}?done=enabled"
    rotated = await sent(world, f"{path}/rotate", overlap="1")
    assert rotated.headers["cache-control"] == "no-store"
    secret = words(rotated.text).partition("whsec_")[2].split()[0]
    assert len(secret) > 20
    assert secret not in await opened(world, path)
    for overlap in ("-1", "721", "9" * 5_000):
        assert (await sent(world, f"{path}/rotate", overlap=overlap)).status_code == 400
    assert (await sent(world, f"{path}/explode")).status_code == 400
    assert (await sent(world, f"{path}/disable", form_token="no")).status_code == 403
    assert (await sent(world, "/subscribers/none/disable")).status_code == 404


async def test_a_replay_is_counted_then_begun_then_cancelled(world: World, publishing: Publishing) -> None:
    subscriber = await _told(world, publishing)
    path = f"/subscribers/{subscriber}/replay"
    assert "It would be" not in words(await opened(world, path))
    counted = await opened(world, path, count=1, order="order-1")
    assert "It would be 2 messages" in words(counted)
    assert 'name="order" value="order-1"' in counted
    assert "It would be 0 messages" in words(await opened(world, path, count=1, **{"from": world.at()}))
    for wrong in ({"order": "none"}, {"from": "yesterday"}):
        answer = await world.get(path, None, count=1, **wrong)
        assert answer.status_code == 400, wrong
    begun = await sent(world, path, order="order-1", newIds="on")
    assert begun.headers["location"] == f"/subscribers/{subscriber}?done=replay"
    page = await opened(world, f"/subscribers/{subscriber}")
    (replay,) = (await world.get("/v1/replays", None)).json()["items"]
    assert (replay["state"], replay["newIds"], replay["subjects"]) == ("running", True, ["order/order-1"])
    cancel = f"/subscribers/{subscriber}/replays/{replay['id']}/cancel"
    assert cancel in page
    other = await _add(world)
    assert (await sent(world, cancel.replace(subscriber, other))).status_code == 404
    assert (await sent(world, cancel)).headers["location"].endswith("done=cancelled")
    assert (await world.get("/v1/replays", None)).json()["items"][0]["state"] == "cancelled"


async def test_other_business_products_subscribers_are_not_there(
    world: World, publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybodys = await _told(world, publishing)
    own = await _add(world, name="mine", businessProductIds=["bp-2"])
    look_as(monkeypatch, "operator", "bp-2")
    page = await opened(world, "/subscribers")
    assert own in page
    assert everybodys not in page
    hidden = f"/subscribers/{everybodys}"
    for path in (hidden, f"{hidden}/attempts", f"{hidden}/replay", f"/attempts/1-{everybodys}"):
        assert (await world.get(path, None)).status_code == 404, path
    for action in ("test", "enable", "disable", "rotate", "replay"):
        assert (await sent(world, f"{hidden}/{action}")).status_code == 404, action
    await opened(world, f"/subscribers/{own}")


async def test_script_of_a_receiver_or_a_subscriber_is_text_and_secrets_are_never_shown(
    world: World, publishing: Publishing, answering: Answering
) -> None:
    answering.outcome = Outcome(500, error=SCRIPT, response=SCRIPT)
    subscriber = await _told(
        world,
        publishing,
        name=SCRIPT,
        url=f"{URL}?a={SCRIPT}",
        expression=f"'{SCRIPT}' != ''",
        headers=[{"key": "X-Token", "value": "very-secret-value"}],
        auth={"basicAuthConfig": {"username": "u", "password": "very-secret-word"}},
    )
    await world.event(event("PACKAGE_DELIVERED", 7, f"order/{SCRIPT.replace('/', '')}/delivery/d"))
    await world.project()
    await publishing.publish()
    listed = (await world.get("/v1/messages", None)).json()["items"]
    paths = ["/subscribers", f"/subscribers/{subscriber}", f"/subscribers/{subscriber}/attempts"]
    paths += [f"/subscribers/{subscriber}/replay"]
    paths += [f"/attempts/{one['id']}" for one in listed] + [f"/events/{one['position']}" for one in listed]
    assert len(listed) == 3
    for path in paths:
        page = await opened(world, path)
        assert "<script>" not in page.partition("<body")[2], path
        assert "very-secret" not in page, path
