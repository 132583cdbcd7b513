"""The publisher with the real store and a real receiver: at least once, one id, one body, whatever happens."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from tests.unit.pipeline.publishing import START, Rig
from tests.unit.transports.receiver import Received, Receiver, answering

from milepost.domain.attempt import Destination, Message
from milepost.domain.envelope import parse_event
from milepost.domain.instant import DAY, HOUR, MINUTE, SECOND, Instant
from milepost.domain.retry import STANDARD, Schedule
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.lanes import Claimed, Done
from milepost.pipeline.publisher import Outcome, Parcel, Publisher, message_id
from milepost.pipeline.settling import settle
from milepost.transports.webhook_sender import WebhookSettings


async def test_an_event_is_sent_to_every_destination_as_it_was_journalled(rig: Rig) -> None:
    async with Receiver() as one, Receiver() as other:
        await rig.to(one.url, other.url)
        bodies = await rig.events(1, 2, 3)
        assert await rig.publish() == 6
        for receiver in (one, other):
            assert sorted(r.body for r in receiver.received) == sorted(bodies)
            assert {r.headers["content-type"] for r in receiver.received} == {"application/json"}
        assert await rig.counts() == {"delivered": 6}
        assert {a.outcome for a in await rig.attempts()} == {"delivered"}
        assert await rig.publish() == 0


async def test_a_destination_gets_only_what_it_wants(rig: Rig) -> None:
    async with Receiver() as receiver:
        await rig.to(receiver.url, event_types=("PACKAGE_DELIVERED",), product="bp-1")
        await rig.events(1)
        await rig.events(2, type="PACKAGE_DELIVERY_IN_TRANSIT")
        await rig.publish()
        assert [parse_event(r.body).type for r in receiver.received] == ["PACKAGE_DELIVERED"]
        await rig.to(receiver.url, product="bp-other")
        await rig.events(3)
        assert await rig.publish() == 0


async def test_an_old_name_is_matched_by_its_canonical_type(rig: Rig) -> None:
    async with Receiver() as receiver:
        await rig.to(receiver.url, event_types=("PACKAGE_DELIVERED",))
        bodies = await rig.events(1, type="DELIVERY_COMPLETED")
        await rig.publish()
        assert [r.body for r in receiver.received] == bodies


async def test_a_failing_destination_is_tried_by_the_schedule_until_it_recovers(rig: Rig) -> None:
    async with Receiver(answering(503)) as receiver:
        await rig.to(receiver.url)
        (sent,) = await rig.events(1)
        await rig.publish()
        for wait in (5 * SECOND, 5 * MINUTE, 30 * MINUTE):
            rig.clock.advance(wait - 1)
            assert await rig.publish() == 0
            rig.clock.advance(1)
            assert await rig.publish() == 1
        receiver.answer = answering(204)
        rig.clock.advance(2 * HOUR)
        assert await rig.publish() == 1
        message = await rig.message(message_id(1, "d0"))
        assert (message.state, message.tries) == ("delivered", 5)
        assert [(a.number, a.outcome, a.status) for a in await rig.attempts()] == [
            (1, "failed", 503),
            (2, "failed", 503),
            (3, "failed", 503),
            (4, "failed", 503),
            (5, "delivered", 204),
        ]
        assert {r.body for r in receiver.received} == {sent}


async def test_an_exhausted_message_is_failed_and_visible(rig: Rig) -> None:
    rig.publisher = Publisher(
        rig.store,
        {"webhook": rig.webhooks},
        rig.clock.now,
        wait=rig.clock.wait,
        random=lambda: 0.5,
        schedule=Schedule((0, 1_000)),
    )
    async with Receiver(answering(500)) as receiver:
        await rig.to(receiver.url)
        await rig.events(1)
        rig.consumer = Consumer(rig.store, "publisher", rig.publisher.prepare, rig.clock.now)
        await rig.publish()
        rig.clock.advance(1_000)
        await rig.publish()
        rig.clock.advance(10 * DAY)
        assert await rig.publish() == 0
        assert len(receiver.received) == 2
        assert await rig.counts() == {"failed": 1}


async def test_gone_ends_the_message_at_once(rig: Rig) -> None:
    async with Receiver(answering(410)) as receiver:
        await rig.to(receiver.url)
        await rig.events(1)
        await rig.publish()
        rig.clock.advance(10 * DAY)
        assert await rig.publish() == 0
        assert (await rig.message(message_id(1, "d0"))).state == "failed"
        assert len(receiver.received) == 1


async def test_retry_after_is_honoured_and_capped(rig: Rig) -> None:
    async with Receiver(answering(429, retry_after="90")) as receiver:
        await rig.to(receiver.url)
        await rig.events(1)
        await rig.publish()
        assert (await rig.message(message_id(1, "d0"))).due_at == START + 90 * SECOND
        receiver.answer = answering(503, retry_after="99999999")
        rig.clock.advance(90 * SECOND)
        await rig.publish()
        assert (await rig.message(message_id(1, "d0"))).due_at == START + 90 * SECOND + DAY


async def test_a_redirect_is_a_failure_and_not_followed(rig: Rig) -> None:
    async with Receiver() as other, Receiver(answering(307, location=other.url)) as receiver:
        await rig.to(receiver.url)
        await rig.events(1)
        await rig.publish()
        assert not other.received
        assert (await rig.message(message_id(1, "d0"))).state == "pending"


async def test_a_dead_destination_does_not_hold_up_another(rig: Rig) -> None:
    silent = asyncio.Event()

    async def hang(received: Received):  # type: ignore[no-untyped-def]
        await silent.wait()
        return await answering(200)(received)

    async with Receiver(hang) as dead, Receiver() as alive:
        await rig.to(dead.url, alive.url)
        bodies = await rig.events(*range(100))
        await rig.consumer.catch_up()
        stop = asyncio.Event()
        running = asyncio.create_task(rig.publisher.run(stop))
        received = await alive.got(100)
        assert sorted(r.body for r in received) == sorted(bodies)
        # As many as its lane has, and no more.
        assert len(dead.received) == 8
        silent.set()
        await dead.got(100)
        stop.set()
        await running


async def test_a_pile_for_a_dead_destination_leaves_room_for_the_others(rig: Rig) -> None:
    """A full lane claims no more: its pile waits in the store, not in the places of the others."""
    silent = asyncio.Event()

    async def hang(received: Received):  # type: ignore[no-untyped-def]
        await silent.wait()
        return await answering(200)(received)

    publisher = Publisher(
        rig.store,
        {"webhook": rig.webhooks},
        rig.clock.now,
        wait=rig.clock.wait,
        random=lambda: 0.5,
        in_flight=64,
    )
    rig.consumer = Consumer(rig.store, "publisher", publisher.prepare, rig.clock.now)
    async with Receiver(hang) as dead, Receiver() as alive:
        await rig.to(dead.url)
        await rig.events(*range(100))
        await rig.consumer.catch_up()
        stop = asyncio.Event()
        running = asyncio.create_task(publisher.run(stop))
        await dead.got(8)
        await rig.store.write(
            lambda tx: tx.attempts.put_destination(
                Destination("alive", "webhook", msgspec.json.encode(WebhookSettings(alive.url)))
            )
        )
        bodies = await rig.events(*range(100, 110))
        await rig.consumer.catch_up()
        assert sorted(r.body for r in await alive.got(10)) == sorted(bodies)
        assert len(dead.received) == 8
        silent.set()
        await dead.got(110)
        stop.set()
        await running


async def test_running_follows_the_clock_and_wakes_for_new_events(rig: Rig) -> None:
    recorded = asyncio.Event()

    def probe(point: str) -> None:
        if point == "after-record":
            recorded.set()

    rig.probe = probe
    async with Receiver(answering(503)) as receiver:
        await rig.to(receiver.url)
        stop = asyncio.Event()
        running = asyncio.create_task(rig.publisher.run(stop))
        await rig.events(1)
        await rig.consumer.catch_up()
        await receiver.got(1)
        receiver.answer = answering(200)
        await recorded.wait()
        rig.clock.advance(5 * SECOND)
        await receiver.got(2)
        await rig.events(2)
        await rig.consumer.catch_up()
        await receiver.got(3)
        stop.set()
        await running
        assert await rig.counts() == {"delivered": 2}


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it on the way out."""


@pytest.mark.parametrize("point", ["after-claim", "after-send", "after-record"])
async def test_a_publisher_killed_anywhere_sends_the_same_again_after_its_restart(
    rig: Rig, point: str
) -> None:
    def die(reached: str) -> None:
        if reached == point:
            raise Killed

    async with Receiver() as receiver:
        await rig.to(receiver.url)
        bodies = await rig.events(1, 2, 3)
        await rig.consumer.catch_up()
        rig.probe = die
        with pytest.raises(Killed):
            await rig.publisher.send_due()
        rig.probe = lambda reached: None
        await rig.restart()
        await rig.publish()
        rig.clock.advance(60 * SECOND)
        await rig.publish()
        assert await rig.counts() == {"delivered": 3}
        assert {r.body for r in receiver.received} == set(bodies)


async def test_a_crash_before_the_checkpoint_enqueues_nothing_twice(rig: Rig) -> None:
    async with Receiver() as receiver:
        await rig.to(receiver.url)
        await rig.events(1, 2)
        records = await rig.store.read(lambda tx: tx.journal.after(0, 10))
        effects = await rig.publisher.prepare(records)
        await rig.store.write(effects)
        await rig.restart()
        assert await rig.publish() == 2
        assert len(receiver.received) == 2


async def test_the_receiver_may_be_away_and_come_back(rig: Rig) -> None:
    async with Receiver() as receiver:
        url = receiver.url
    await rig.to(url)
    (sent,) = await rig.events(1)
    await rig.publish()
    (attempt,) = await rig.attempts()
    assert (attempt.outcome, attempt.status) == ("failed", None)
    await rig.restart()
    async with Receiver() as back:
        await rig.to(back.url)
        rig.clock.advance(5 * SECOND)
        await rig.publish()
        assert [r.body for r in back.received] == [sent]
    assert await rig.counts() == {"delivered": 1}


async def test_a_result_after_the_lease_was_taken_over_is_dropped(rig: Rig) -> None:
    """A frozen worker: its lease ends, another delivers, then its own failure arrives."""
    frozen, thaw = asyncio.Event(), asyncio.Event()

    class Frozen:
        batch = 1

        async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
            frozen.set()
            await thaw.wait()
            return [Outcome(500)]

    async with Receiver() as receiver:
        await rig.to(receiver.url)
        await rig.events(1)
        await rig.consumer.catch_up()
        slow = Publisher(
            rig.store, {"webhook": Frozen()}, rig.clock.now, wait=rig.clock.wait, random=lambda: 0.5
        )
        late = asyncio.create_task(slow.send_due())
        await frozen.wait()
        assert await rig.publisher.send_due() == 0
        rig.clock.advance(60 * SECOND)
        assert await rig.publisher.send_due() == 1
        thaw.set()
        await late
        assert await rig.counts() == {"delivered": 1}
        assert [(a.number, a.outcome) for a in await rig.attempts()] == [(1, "delivered")]


async def test_a_sender_that_raises_is_an_unknown_outcome_and_stops_nothing(rig: Rig) -> None:
    class Broken:
        batch = 1

        async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
            raise RuntimeError("no")

    rig.publisher = Publisher(
        rig.store, {"webhook": Broken()}, rig.clock.now, wait=rig.clock.wait, random=lambda: 0.5
    )
    await rig.to("http://127.0.0.1:1")
    await rig.events(1, 2)
    await rig.publish()
    assert [(a.outcome, a.error) for a in await rig.attempts()] == [("unknown", "RuntimeError: no")] * 2
    assert await rig.counts() == {"pending": 2}


async def test_a_message_of_a_removed_destination_fails_visibly(rig: Rig) -> None:
    async with Receiver() as receiver:
        await rig.to(receiver.url)
        await rig.events(1)
        await rig.consumer.catch_up()
        await rig.store.write(lambda tx: tx.attempts.remove_destination("d0"))
        await rig.publisher.send_due()
        assert not receiver.received
        (attempt,) = await rig.attempts()
        assert "removed" in attempt.error
        assert await rig.counts() == {"failed": 1}


@pytest.mark.parametrize("hours", [6, 72])
async def test_a_destination_that_was_down_for_days_gets_everything(rig: Rig, hours: int) -> None:
    async with Receiver(answering(503)) as receiver:
        await rig.to(receiver.url)
        bodies = await rig.events(*range(20))
        up_at = START + hours * HOUR
        recovered = False
        await rig.consumer.catch_up()
        while (due := await rig.store.read(lambda tx: tx.attempts.next_due())) is not None:
            if due >= up_at and not recovered:
                recovered = True
                receiver.received.clear()
                receiver.answer = answering(200)
            rig.clock.advance(max(0, due - rig.clock.now()))
            await rig.publisher.send_due()
        assert recovered
        assert sorted(r.body for r in receiver.received) == sorted(bodies)
        assert await rig.counts() == {"delivered": 20}


def test_settling_keeps_the_fence_and_the_id() -> None:
    message = Message("m", "d", 7, "pending", 2, START, Instant(START + 1), 5)
    done = Done(Claimed(message, None, None), START, Outcome(None, "timeout"))
    settled = settle(done, START, schedule=STANDARD, random=lambda: 0.5)
    attempt, after = settled.attempt, settled.message
    assert (attempt.number, attempt.outcome, attempt.status, attempt.error) == (3, "unknown", None, "timeout")
    assert (after.id, after.fence, after.state, after.lease_until) == ("m", 5, "pending", None)
    assert after.due_at == START + 30 * MINUTE


async def test_what_is_sent_by_hand_gives_its_place_back(rig: Rig) -> None:
    """However often: a destination with a rate has only so many under way."""
    sent: list[str] = []

    class Notes:
        batch = 1

        async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> list[Outcome]:
            sent.extend(p.message.id for p in parcels)
            return [Outcome(200)]

    rig.other, rig.concurrency = Notes(), 2
    await rig.restart()
    await rig.add(Destination("d", "other", b"{}", rate=1))
    await rig.events(*range(4))
    await rig.consumer.catch_up()
    for n in range(1, 5):
        await rig.publisher.resend(f"{n}-d")
        rig.clock.advance(2 * SECOND)
        await rig.publisher.send_due()
    assert sent == ["1-d", "2-d", "3-d", "4-d"]
