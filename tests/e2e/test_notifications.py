"""Notifications end to end: a real hub, a real mail server, a real receiver of webhooks, and processes that are
killed (scenarios 30 and 31 of tracking.md 13)."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.e2e.running import (
    WAIT_S,
    event,
    hub_config,
    order,
    package,
    running_hub,
    running_sandbox,
    served,
    until,
)
from tests.simulation.crash import HubProcess
from tests.smtp_server import DROP, MailServer
from tests.unit.pipeline.notifying import EMAIL, SECRET, Shop, Way
from tests.unit.transports.receiver import Receiver

from milepost.domain.contact import Choices
from milepost.domain.errors import Misconfigured
from milepost.domain.instant import MINUTE, SECOND, Instant, format_instant
from milepost.domain.notification import Notification
from milepost.domain.webhook_signature import Secret, verify
from milepost.hub import Hub, now
from milepost.pipeline.outbox import LEASE

MAIL_FROM = "Ada's Shop <orders@shop.example>"
WEBHOOK_SECRET = "whsec_" + "QUJD" * 10
NOBODY = "http://127.0.0.1:9"
"""An API that is not there: nothing here asks it."""


def mailing(server: MailServer, **changes: Any) -> dict[str, Any]:
    """The settings of a hub that tells shoppers by email."""
    return {
        "notifications": True,
        "tracking_secret": SECRET,
        "smtp_url": server.url,
        "mail_from": MAIL_FROM,
        "public_url": "https://track.shop.example",
        **changes,
    }


def posting(receiver: Receiver) -> dict[str, Any]:
    """The same by webhook."""
    return {
        "notifications": True,
        "tracking_secret": SECRET,
        "notification_channels": "webhook",
        "notification_webhook_url": f"{receiver.url}/notify",
        "notification_webhook_secret": WEBHOOK_SECRET,
    }


def as_environment(settings: dict[str, Any]) -> dict[str, str]:
    return {name.upper(): str(value) for name, value in settings.items()}


async def shipped(folder: Path, way: Way) -> Shop:
    """A closed hub's database in which one notification is due right now: a box was shipped half an hour ago."""
    shop = Shop(folder, way, kinds=("shipped",))
    shop.now = Instant(now() - 32 * MINUTE)
    await shop.open()
    await shop.ship("box-a")
    await shop.close()
    return shop


async def rows(shop: Shop) -> list[Notification]:
    """What the ledger of a hub that does not run says."""
    await shop.open()
    try:
        return await shop.notifications()
    finally:
        await shop.close()


async def killed_between_sending_and_recording(folder: Path, settings: dict[str, Any]) -> None:
    process = HubProcess(folder, NOBODY, **as_environment(settings))
    await process.start("notifier-after-send", "1")
    try:
        assert await process.died() == -9
    finally:
        await process.kill()


async def live_later(
    folder: Path, settings: dict[str, Any], done: Callable[[Hub], Awaitable[bool]], what: str
) -> None:
    """Another hub on its database, once the lease of what the first one was sending has run out."""
    config = hub_config(
        folder, NOBODY, database_url=f"sqlite:///{folder / 'hub.db'}", lease_s=2.0, **settings
    )
    hub = Hub(config, clock=lambda: Instant(now() + LEASE + SECOND))
    async with served(hub):
        await until(lambda: done(hub), what)


async def state_of(hub: Hub) -> str:
    ((_, row),) = await hub.store.read(lambda tx: tx.notifications.page(0, 10, None))
    return row.state


async def test_scenario_31_a_crash_between_send_and_record_of_a_mail(tmp_path: Path) -> None:
    """The shopper got one mail, the row is UNCERTAIN, and nothing is sent again."""
    shop = await shipped(tmp_path, Way("email"))
    async with MailServer() as server:
        settings = mailing(server)
        await killed_between_sending_and_recording(tmp_path, settings)
        (mail,) = server.mails
        (row,) = await rows(shop)
        assert (row.state, mail.message["message-id"]) == ("SENDING", f"<{row.id}@shop.example>")

        async def uncertain(hub: Hub) -> bool:
            return await state_of(hub) == "UNCERTAIN"

        await live_later(tmp_path, settings, uncertain, "the row is UNCERTAIN")
        # Once more, with all that a start brings: it stays as it is.
        await live_later(tmp_path, settings, uncertain, "the row is UNCERTAIN")
        (row,) = await rows(shop)
        assert [step.state for step in row.history] == ["WAITING", "SENDING", "UNCERTAIN"]
        assert len(server.mails) == 1


async def test_scenario_31_a_crash_between_send_and_record_of_a_webhook(tmp_path: Path) -> None:
    """The receiver gets the same id twice, by which it tells that it is a copy."""
    shop = await shipped(tmp_path, Way("webhook"))
    async with Receiver() as receiver:
        settings = posting(receiver)
        await killed_between_sending_and_recording(tmp_path, settings)
        assert len(receiver.received) == 1

        async def sent(hub: Hub) -> bool:
            return await state_of(hub) == "SENT"

        await live_later(tmp_path, settings, sent, "it was sent")
        (row,) = await rows(shop)
        assert [step.state for step in row.history] == ["WAITING", "SENDING", "WAITING", "SENDING", "SENT"]
        first, second = receiver.received
        for received in (first, second):
            assert received.headers["webhook-id"] == row.id
            assert msgspec.json.decode(received.body)["id"] == row.id
            assert EMAIL.encode() not in received.body
        headers = [(name.encode(), value.encode()) for name, value in second.headers.items()]
        at = Instant(int(second.headers["webhook-timestamp"]) * SECOND)
        verify(headers, second.body, at, [Secret.parse(WEBHOOK_SECRET)])


@pytest.mark.parametrize("point", ["notifier-before-claim", "notifier-after-claim", "notifier-after-record"])
async def test_a_hub_that_is_killed_elsewhere_sends_no_second_mail(tmp_path: Path, point: str) -> None:
    shop = await shipped(tmp_path, Way("email"))
    async with MailServer() as server:
        settings = mailing(server)
        process = HubProcess(tmp_path, NOBODY, **as_environment(settings))
        await process.start(point, "1")
        try:
            assert await process.died() == -9
        finally:
            await process.kill()
        expected = "UNCERTAIN" if point == "notifier-after-claim" else "SENT"

        async def settled(hub: Hub) -> bool:
            return await state_of(hub) == expected

        await live_later(tmp_path, settings, settled, f"the row is {expected}")
        assert len(server.mails) == (0 if expected == "UNCERTAIN" else 1)
        assert len(await rows(shop)) == 1


async def test_a_server_that_goes_away_with_a_mail_leaves_it_uncertain(tmp_path: Path) -> None:
    await shipped(tmp_path, Way("email"))
    async with MailServer() as server:
        server.answers["END"] = [DROP]

        async def uncertain(hub: Hub) -> bool:
            return await state_of(hub) == "UNCERTAIN"

        await live_later(tmp_path, mailing(server), uncertain, "the row is UNCERTAIN")
        assert len(server.mails) == 1


async def test_scenario_30_who_opts_out_between_intent_and_send_gets_nothing(tmp_path: Path) -> None:
    """Two shoppers' boxes are shipped; one of them opts out while both are held."""
    shop = Shop(tmp_path, Way("email"), kinds=("shipped",))
    shop.now = Instant(now() - 32 * MINUTE)
    await shop.open()
    await shop.ship("box-a", order="322-order-a")
    await shop.ship("box-b", order="322-order-b", email="bea@shopper.example")
    await shop.choose(Choices(("all",), changed_at=shop.now), "bea@shopper.example")
    await shop.close()
    async with MailServer() as server:

        async def settled(hub: Hub) -> bool:
            counts = await hub.store.read(lambda tx: tx.notifications.count())
            return counts == {"SENT": 1, "SUPPRESSED": 1}

        await live_later(tmp_path, mailing(server), settled, "one was sent and one suppressed")
        assert [mail.recipients for mail in server.mails] == [(EMAIL,)]
    first, second = await rows(shop)
    assert (first.state, second.state, second.rule) == ("SENT", "SUPPRESSED", 13)


async def test_from_an_event_to_the_mail(tmp_path: Path) -> None:
    """The whole way: an event by webhook, the order from the API, the fold, the rules, the mail, the metrics."""
    async with (
        MailServer() as server,
        running_sandbox(tmp_path / "sandbox") as base,
        running_hub(tmp_path, base, **mailing(server, notification_hold_s=1)) as client,
    ):
        customer = {"contact": {"name": "Ada", "email": EMAIL}}
        moving = order("o-1", package("d-1", "IN_TRANSIT", {"i-1": 1}, None)) | {"customer": customer}
        await client.put_order("bp-1", moving)
        resource = "businessProduct/bp-1/order/o-1/delivery/d-1"
        happened = format_instant(now())
        await client.send(event("PACKAGE_DELIVERY_IN_TRANSIT", resource, "1", eventTime=happened))
        (mail,) = await server.got(1, WAIT_S)
        assert mail.recipients == (EMAIL,)
        assert "Title of i-1" in mail.text
        assert "https://track.shop.example/unsubscribe/" in mail.text
        assert mail.message["from"] == MAIL_FROM

        async def recorded() -> bool:
            return (await client.hub.store.read(lambda tx: tx.notifications.count())).get("SENT") == 1

        await until(recorded, "it is recorded")
        page = await client.metrics()
        assert 'milepost_notifications{state="SENT"} 1.0' in page
        assert 'milepost_process_total{name="notifier.sent"} 1.0' in page
        assert EMAIL not in page


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("tracking_secret", "MILEPOST_TRACKING_SECRET"),
        ("smtp_url", "MILEPOST_SMTP_URL"),
        ("mail_from", "MILEPOST_MAIL_FROM"),
    ],
)
async def test_a_hub_does_not_start_without_what_it_tells_shoppers_by(
    tmp_path: Path, missing: str, words: str
) -> None:
    async with MailServer() as server:
        settings = mailing(server)
    del settings[missing]
    await _refused(tmp_path, settings, words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"notification_webhook_url": None}, "MILEPOST_NOTIFICATION_WEBHOOK_URL"),
        ({"notification_webhook_secret": "whsec_short"}, "MILEPOST_NOTIFICATION_WEBHOOK_SECRET"),
        ({"notification_webhook_url": "shop.example"}, "MILEPOST_NOTIFICATION_WEBHOOK_URL"),
        ({"notification_channels": ","}, "MILEPOST_NOTIFICATION_CHANNELS"),
        ({"notification_channels": "webhook,email"}, "MILEPOST_SMTP_URL"),
    ],
)
async def test_nor_with_a_webhook_that_is_none(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    settings = posting(Receiver()) | {"notification_webhook_url": "https://shop.example/notify"} | changes
    await _refused(tmp_path, settings, words)


async def _refused(folder: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        await Hub(hub_config(folder, NOBODY, **settings)).open()
    assert not (folder / "milepost.db").exists(), "it looks before it makes anything"


async def test_a_channel_that_is_out_is_shown_and_the_hub_stays_ready(tmp_path: Path) -> None:
    shop = Shop(tmp_path, Way("email"), kinds=("shipped",))
    shop.now = Instant(now() - 32 * MINUTE)
    await shop.open()
    for name in "ab":
        await shop.ship(f"box-{name}", order=f"322-order-{name}")
    await shop.close()
    async with MailServer() as gone:
        pass
    config = hub_config(tmp_path, NOBODY, database_url=f"sqlite:///{tmp_path / 'hub.db'}", **mailing(gone))
    hub = Hub(config)
    async with served(hub):

        async def shown() -> bool:
            ready, tells = hub._ready()
            counted = hub._counters().get("notifier.again") == 2
            return ready and counted and tells.get("failingChannels") == ["email"]

        await until(shown, "the channel is shown as failing")
