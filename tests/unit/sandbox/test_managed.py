"""The subscriptions of the settings: one an event type, found again by every start, replaced when settings change."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.sandbox.asking import START, config
from tests.unit.transports.receiver import Receiver

from milepost.domain.attempt import Destination, Message
from milepost.domain.envelope import parse_event
from milepost.domain.errors import Misconfigured
from milepost.domain.event import CATALOGUE
from milepost.domain.instant import DAY
from milepost.sandbox.managed import authentication
from milepost.sandbox.program import Sandbox
from milepost.sandbox.subscriptions import every_subscription
from milepost.store import Transaction

HUB = "http://127.0.0.1:8480/webhooks/buy-with-prime"


async def destinations(path: Path, **settings: Any) -> list[Destination]:
    """What the publisher sends to after a start with these settings."""
    sandbox = Sandbox(config(path, **settings))
    await sandbox.open()
    try:
        known = await sandbox.store.read(lambda tx: tx.attempts.destinations("", 500))
        listed = await sandbox.store.read(lambda tx: list(every_subscription(tx)))
        assert {s.id for s in listed} == {d.id for d in known}
        return known
    finally:
        await sandbox.close()


async def test_one_subscription_an_event_type(tmp_path: Path) -> None:
    made = await destinations(tmp_path, hub_url=HUB, username="u", password="p")
    assert sorted(d.event_types for d in made) == sorted((t.name,) for t in CATALOGUE)
    assert {d.endpoint for d in made} == {HUB}
    for destination in made:
        settings = msgspec.json.decode(destination.settings)
        assert settings["auth"]["basicAuthConfig"] == {"username": "u", "password": "p"}
        assert settings["signature"] == "amazon"


async def test_every_start_finds_them_again_and_settings_that_changed_replace_them(tmp_path: Path) -> None:
    first = await destinations(tmp_path, hub_url=HUB, seed=1)
    again = await destinations(tmp_path, hub_url=f"{HUB}/other", seed=2)
    assert [d.id for d in first] == [d.id for d in again]
    assert {d.endpoint for d in again} == {f"{HUB}/other"}
    assert await destinations(tmp_path) == []


async def test_the_one_destination_of_former_sandboxes_ends_with_what_waits_for_it(tmp_path: Path) -> None:
    def former(tx: Transaction) -> None:
        tx.attempts.put_destination(Destination("hub", "webhook", b'{"url":"http://127.0.0.1:1/"}'))
        tx.attempts.enqueue([Message("1.hub", "hub", 1, "pending", 0, START)])

    async with Receiver() as hub:
        sandbox = Sandbox(config(tmp_path))
        await sandbox.open()
        await sandbox.keeper.start(1, "standard", 1)
        sandbox.clock.advance(DAY)
        await sandbox.settle()
        await sandbox.store.write(former)
        published = len(await sandbox.store.read(lambda tx: tx.journal.events(0, 500, None, None)))
        await sandbox.close()
        sandbox = Sandbox(config(tmp_path, hub_url=hub.url))
        await sandbox.open()
        sandbox.clock.advance(40 * DAY)
        await sandbox.settle()
        await sandbox.close()
        ids = [parse_event(r.body).event_id for r in hub.received]
        assert len(ids) == len(set(ids)) > published
        (old,) = (r for r in hub.received if parse_event(r.body).subscription_id == "hub")
        assert parse_event(old.body).event_id == ids[0]
        assert "hub" not in {d.id for d in await destinations(tmp_path, hub_url=hub.url)}


async def test_by_eventbridge_the_local_bus_posts_to_the_handler(tmp_path: Path) -> None:
    bridged = await destinations(tmp_path, hub_url=HUB, eventbridge=True)
    assert {d.kind for d in bridged} == {"eventbridge"}
    webhooks = await destinations(tmp_path, hub_url=HUB)
    assert {d.kind for d in webhooks} == {"webhook"}
    assert not {d.id for d in bridged} & {d.id for d in webhooks}
    async with Receiver() as hub:
        sandbox = Sandbox(config(tmp_path, hub_url=hub.url, eventbridge=True))
        await sandbox.open()
        await sandbox.keeper.start(1, "cancelled", 1)
        sandbox.clock.advance(86_400_000)
        await sandbox.settle()
        await sandbox.close()
    assert {parse_event(r.body).type for r in hub.received} == {
        "PACKAGE_DELIVERY_CANCELLED",
        "REFUND_REQUESTED",
    }
    assert all(parse_event(r.body).bridge is not None for r in hub.received)


@pytest.mark.parametrize(
    "half",
    [
        ("u", None, None, None, None),
        (None, "p", None, None, None),
        (None, None, "http://127.0.0.1/t", "id", None),
        (None, None, "http://127.0.0.1/t", None, "secret"),
    ],
)
def test_half_a_credential_is_refused(half: tuple[str | None, ...]) -> None:
    with pytest.raises(Misconfigured):
        authentication(*half)  # type: ignore[arg-type]
