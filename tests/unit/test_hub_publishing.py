"""The hub as a publisher: what came in goes out to who is put as a destination, by the one hub that has the lease."""

from pathlib import Path

import aiohttp
import msgspec
from tests.e2e.running import served, until
from tests.unit.test_hub import EVENT, SENDER, config, get, leading, post
from tests.unit.transports.receiver import Receiver

from milepost.domain.attempt import Attempt, Destination
from milepost.domain.envelope import parse_event
from milepost.hub import Hub, now
from milepost.store import Arrival, Store
from milepost.transports.webhook_sender import WebhookSettings

LOOPBACK = ("127.0.0.0/8",)


async def subscribe(store: Store, url: str, id: str = "sub_1") -> None:
    made = Destination(id, "webhook", msgspec.json.encode(WebhookSettings(url)), endpoint=url)
    await store.write(lambda tx: tx.attempts.put_destination(made))


async def attempts(store: Store) -> list[Attempt]:
    return await store.read(lambda tx: tx.attempts.attempts((0, 0), 50))


async def test_what_comes_in_goes_out(tmp_path: Path) -> None:
    hub = Hub(config(tmp_path, egress_allow=LOOPBACK))
    async with Receiver() as receiver, served(hub) as url:
        await subscribe(hub.store, receiver.url)
        hub.publishing.notify()
        await post(url)
        (received,) = await receiver.got(1)
        assert msgspec.json.decode(received.body)["eventId"] == "event-1"

        async def delivered() -> bool:
            return await hub.store.read(lambda tx: tx.attempts.count()) == {"delivered": 1}

        await until(delivered, "its outcome is kept")
        await post(url)  # a duplicate is no message
    # What ends in good order leaves nothing behind.
    async with served(Hub(config(tmp_path, egress_allow=LOOPBACK))) as url:
        said = (await get(url, "/readyz"))[1]["consumers"]["parts"]
        assert {said[part]["state"] for part in ("publisher", "sending", "replaying")} <= {
            "leading",
            "standby",
        }
    assert len(receiver.received) == 1


async def test_nothing_leaves_for_a_private_address_unless_it_is_allowed(tmp_path: Path) -> None:
    hub = Hub(config(tmp_path))
    async with Receiver() as receiver, served(hub) as url:
        await subscribe(hub.store, receiver.url)
        hub.publishing.notify()
        await post(url)

        async def tried() -> bool:
            return bool(await attempts(hub.store))

        await until(tried, "it was tried")
        (attempt,) = await attempts(hub.store)
        assert "not a public address" in attempt.error
        assert receiver.received == []


async def test_one_that_does_not_run_publishes_when_it_is_asked_to(tmp_path: Path) -> None:
    hub = Hub(config(tmp_path, egress_allow=LOOPBACK))
    await hub.open()
    try:
        async with Receiver() as receiver:
            await subscribe(hub.store, receiver.url)
            body = msgspec.json.encode(EVENT)
            await hub.store.append([Arrival(parse_event(body), body, now(), "webhook")])
            assert await hub.publish() == 1
            assert await hub.publish() == 0
            assert [r.body for r in receiver.received] == [body]
    finally:
        await hub.close()


async def test_of_two_hubs_one_publishes_and_the_other_takes_over(tmp_path: Path, postgres_url: str) -> None:
    settings = config(tmp_path, database_url=postgres_url, lease_s=1.0, egress_allow=LOOPBACK)
    first, second = Hub(settings), Hub(settings)
    async with Receiver() as receiver, served(second) as standby:
        async with served(first) as url:
            leads = first if await leading(url) else second
            await subscribe(leads.store, receiver.url)
            await post(standby)
            await receiver.got(1)

            async def kept() -> bool:
                return await first.store.read(lambda tx: tx.attempts.count()) == {"delivered": 1}

            await until(kept, "its outcome is kept")
        body = {"idempotencyKey": "key-2", "eventId": "event-2"}
        await _post_another(standby, body)
        received = await receiver.got(2)
        ids = [msgspec.json.decode(r.body)["eventId"] for r in received]
        assert ids == ["event-1", "event-2"]


async def _post_another(url: str, more: dict[str, str]) -> None:
    async with (
        aiohttp.ClientSession(headers=SENDER) as http,
        http.post(f"{url}/webhooks/buy-with-prime", json={**EVENT, **more}) as answer,
    ):
        assert answer.status == 200
