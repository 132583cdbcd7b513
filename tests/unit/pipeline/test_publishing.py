"""What a production publisher does beyond sending: batches, held messages, breakers, resending, fairness, forms."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import pytest
from msgspec.structs import replace
from tests.unit.pipeline.publishing import START, Rig, body
from tests.unit.transports.receiver import Received, Receiver, accept, answering

from milepost.domain.attempt import Destination, Message
from milepost.domain.breaker import POLICY, Policy
from milepost.domain.instant import DAY, HOUR, MINUTE, SECOND, Instant
from milepost.domain.record import Record
from milepost.domain.retry import Schedule
from milepost.pipeline.publisher import Copy, Outcome, Parcel, message_id
from milepost.store import Transaction
from milepost.transports.webhook_sender import WebhookSettings


class Answering:
    """A sender that keeps its calls and answers what a function says of each parcel."""

    def __init__(self, answer: Callable[[Parcel], Outcome], batch: int = 1) -> None:
        self.batch = batch
        self.calls: list[tuple[str, list[str]]] = []
        self._answer = answer

    async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
        self.calls.append((destination.id, [p.message.id for p in parcels]))
        # Others get their turn, as they would while this one waits for the network.
        await asyncio.sleep(0)
        return [self._answer(p) for p in parcels]


def other(id: str, **more: object) -> Destination:
    return replace(Destination(id, "other", b"{}"), **more)


async def using(rig: Rig, sender: Answering, **settings: object) -> None:
    """The rig with another sender for destinations of kind `other`."""
    rig.other = sender
    for name, value in settings.items():
        setattr(rig, name, value)
    await rig.restart()


# ── Batches ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_batch_is_of_one_destination_and_only_what_failed_is_sent_again(rig: Rig) -> None:
    failing = {message_id(n, to) for n in (2, 5) for to in ("a", "b")}
    sender = Answering(lambda p: Outcome(500 if p.message.id in failing else 200), batch=4)
    await using(rig, sender, concurrency=2)
    await rig.add(other("a", endpoint="bus"))
    await rig.add(other("b", endpoint="bus"))
    await rig.events(*range(1, 8))
    assert await rig.publish() == 14
    assert {len(ids) for _, ids in sender.calls} <= {1, 2, 3, 4}
    assert max(len(ids) for _, ids in sender.calls) > 1
    for destination_id, ids in sender.calls:
        assert all(name.endswith(f"-{destination_id}") for name in ids)
    assert Counter(name for _, ids in sender.calls for name in ids).most_common(1)[0][1] == 1
    assert await rig.counts() == {"delivered": 10, "pending": 4}
    sender.calls.clear()
    failing.clear()
    rig.clock.advance(5 * SECOND)
    assert await rig.publish() == 4
    assert sorted(name for _, ids in sender.calls for name in ids) == sorted(
        message_id(n, to) for n in (2, 5) for to in ("a", "b")
    )
    assert await rig.counts() == {"delivered": 14}


async def test_too_few_outcomes_are_unknown_ones(rig: Rig) -> None:
    class Short(Answering):
        async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
            return [Outcome(200)] * (len(parcels) - 1)

    await using(rig, Short(lambda p: Outcome(200), batch=10))
    await rig.add(other("a"))
    await rig.events(1, 2, 3)
    await rig.publish()
    assert {(a.outcome, a.status) for a in await rig.attempts()} == {("unknown", None)}
    assert await rig.counts() == {"pending": 3}


async def test_what_can_never_be_taken_ends_and_harms_nobody(rig: Rig) -> None:
    """An oversize entry: failed at once, the breaker untouched, its destination not disabled."""
    sender = Answering(
        lambda p: (
            Outcome(None, "larger than 256 KB", reached=False, ends=True)
            if p.message.position == 1
            else Outcome(200)
        ),
        batch=20,
    )
    await using(rig, sender, policy=Policy(1))
    await rig.add(other("a"))
    await rig.events(1, 2)
    await rig.publish()
    assert await rig.counts() == {"delivered": 1, "failed": 1}
    assert (await rig.attempts(message_id(1, "a")))[0].error == "larger than 256 KB"


# ── Disabled destinations ──────────────────────────────────────────────────────────────────────────────────


async def test_gone_disables_and_what_follows_is_held_until_it_is_enabled(rig: Rig) -> None:
    async with Receiver() as receiver, Receiver() as neighbour:
        await rig.to(receiver.url, neighbour.url)
        receiver.answer = answering(503)
        await rig.events(1)
        await rig.publish()
        receiver.answer = answering(410)
        await rig.events(2)
        await rig.publish()
        destination = await rig.store.read(lambda tx: tx.attempts.destination("d0"))
        assert destination is not None
        assert not destination.enabled
        assert destination.reason == "it answered 410 to message 2-d0"
        bodies = await rig.events(3)
        rig.clock.advance(10 * DAY)
        await rig.restart()
        assert await rig.publish() == 1
        assert len(receiver.received) == 2
        assert await rig.counts() == {"delivered": 3, "failed": 1, "held": 2}
        receiver.answer = accept
        receiver.received.clear()
        assert await rig.publisher.enable("d0")
        assert await rig.publish() == 2
        assert sorted(r.body for r in receiver.received) == sorted([body(1), *bodies])
        assert await rig.counts() == {"delivered": 5, "failed": 1}
        assert not await rig.publisher.enable("nobody")


async def test_what_waits_in_the_lane_of_one_that_is_gone_is_held_unsent(rig: Rig) -> None:
    sender = Answering(lambda p: Outcome(410 if p.message.destination_id == "a" else 200))
    await using(rig, sender, concurrency=1)
    await rig.add(other("a", endpoint="shared"))
    await rig.add(other("b", endpoint="shared"))
    await rig.events(*range(5))
    await rig.publish()
    sent = Counter(destination_id for destination_id, _ in sender.calls)
    assert sent["b"] == 5
    assert sent["a"] == 1
    assert await rig.counts() == {"delivered": 5, "failed": 1, "held": 4}


# ── Breakers ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_endpoint_that_is_down_is_left_alone_but_for_probes_and_no_try_is_used_up(rig: Rig) -> None:
    up = False
    sender = Answering(lambda p: Outcome(200) if up else Outcome(None, "refused", reached=False))
    await using(rig, sender, concurrency=1)
    await rig.add(other("a", endpoint="down"))
    await rig.add(other("b", endpoint="down"))
    await rig.add(other("c"))
    await rig.events(*range(10))
    await rig.publish()
    at_down = [call for call in sender.calls if call[0] != "c"]
    assert len(at_down) == POLICY.failures
    assert len(sender.calls) - len(at_down) == POLICY.failures
    breakers = await rig.breakers()
    assert breakers["down"].state == "open"
    # Nothing more, until its pause is over, whatever is due; then one, and the next pause is longer.
    rig.clock.advance(29 * SECOND)
    assert await rig.publish() == 0
    rig.clock.advance(SECOND)
    assert await rig.publish() == 2
    assert (await rig.breakers())["down"].until == rig.clock.now() + MINUTE
    await rig.restart()
    rig.clock.advance(MINUTE - 1)
    assert await rig.publish() == 0
    tried = {a.message_id for a in await rig.attempts()}
    untried = [
        m for m in await rig.store.read(lambda tx: tx.attempts.messages(None, 99)) if m.id not in tried
    ]
    assert untried
    assert {m.tries for m in untried} == {0}
    up = True
    rig.clock.advance(1)
    await rig.publish()
    assert await rig.breakers() == {}
    while (due := await rig.store.read(lambda tx: tx.attempts.next_due())) is not None:
        rig.clock.advance(max(0, due - rig.clock.now()))
        await rig.publish()
    assert await rig.counts() == {"delivered": 30}


async def test_a_breaker_survives_a_restart_and_a_lost_probe(rig: Rig) -> None:
    sender = Answering(lambda p: Outcome(503))
    await using(rig, sender, concurrency=1, policy=Policy(2, (MINUTE,)))
    await rig.add(other("a"))
    await rig.events(*range(4))
    assert await rig.publish() == 2
    opened = (await rig.breakers())["a"]
    await rig.restart()
    assert (await rig.breakers())["a"] == opened
    assert await rig.publish() == 0

    class Killed(BaseException):
        pass

    def die(point: str) -> None:
        if point == "after-claim":
            raise Killed

    rig.clock.advance(MINUTE)
    rig.probe = die
    with pytest.raises(Killed):
        await rig.publisher.send_due()
    rig.probe = lambda point: None
    await rig.restart()
    # The probe was claimed and never sent: nobody else goes until its lease is over.
    assert (await rig.breakers())["a"].state == "halfOpen"
    assert await rig.publish() == 0
    rig.clock.advance(60 * SECOND)
    assert await rig.publish() == 1
    assert (await rig.breakers())["a"].state == "open"


async def test_a_refusal_opens_no_breaker(rig: Rig) -> None:
    """Somebody is there: a wrong route is each message's own schedule."""
    await using(rig, Answering(lambda p: Outcome(404)))
    await rig.add(other("a"))
    await rig.events(*range(20))
    assert await rig.publish() == 20
    assert await rig.breakers() == {}


# ── Resending ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_message_is_sent_again_by_hand(rig: Rig) -> None:
    async with Receiver(answering(204)) as receiver:
        await rig.to(receiver.url)
        await rig.events(1)
        await rig.publish()
        name = message_id(1, "d0")
        assert await rig.publisher.resend("no such message") is None
        again = await rig.publisher.resend(name)
        assert again is not None
        assert (again.state, again.manual) == ("pending", True)
        assert await rig.publish() == 1
        assert [r.body for r in receiver.received] == [body(1)] * 2
        assert [(a.number, a.manual, a.status) for a in await rig.attempts(name)] == [
            (1, False, 204),
            (2, True, 204),
        ]
        assert await rig.counts() == {"delivered": 1}


async def test_a_failed_message_is_tried_once_by_hand_and_a_pending_one_goes_on(rig: Rig) -> None:
    status = 500
    await using(rig, Answering(lambda p: Outcome(status)), schedule=Schedule((0, SECOND)))
    await rig.add(other("a"))
    await rig.events(1)
    await rig.publish()
    rig.clock.advance(2 * SECOND)
    await rig.publish()
    assert await rig.counts() == {"failed": 1}
    await rig.publisher.resend(message_id(1, "a"))
    assert await rig.publish() == 1
    assert await rig.counts() == {"failed": 1}
    status = 200
    await rig.publisher.resend(message_id(1, "a"))
    await rig.publish()
    assert await rig.counts() == {"delivered": 1}
    assert [a.manual for a in await rig.attempts()] == [False, False, True, True]


async def test_running_wakes_for_what_is_asked_by_hand(rig: Rig) -> None:
    async with Receiver() as receiver:
        await rig.to(receiver.url)
        await rig.events(1)
        await rig.publish()
        stop = asyncio.Event()
        running = asyncio.create_task(rig.publisher.run(stop))
        await rig.publisher.resend(message_id(1, "d0"))
        await receiver.got(2)
        stop.set()
        await running


# ── Fairness ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_destinations_with_one_endpoint_share_its_concurrency(rig: Rig) -> None:
    under_way, most = 0, Counter[str]()

    class Counting(Answering):
        async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
            nonlocal under_way
            under_way += 1
            most[""] = max(most[""], under_way)
            for _ in range(5):
                await asyncio.sleep(0)
            under_way -= 1
            return [Outcome(200)]

    await using(rig, Counting(lambda p: Outcome(200)), concurrency=3)
    for name in "abcdefg":
        await rig.add(other(name, endpoint="one"))
    await rig.events(*range(6))
    assert await rig.publish() == 42
    assert most[""] == 3


async def test_first_tries_go_ahead_of_late_retries(rig: Rig) -> None:
    status = 500
    sender = Answering(lambda p: Outcome(status))
    await using(rig, sender, concurrency=1, policy=Policy(1_000))
    await rig.add(other("a"))
    await rig.events(*range(6))
    await rig.publish()
    rig.clock.advance(HOUR)
    status = 200
    sender.calls.clear()
    await rig.events(*range(6, 10))
    await rig.publish()
    order = [int(ids[0].partition("-")[0]) for _, ids in sender.calls]
    assert order == [7, 8, 9, 10, 1, 2, 3, 4, 5, 6]


# ── Copies and forms ───────────────────────────────────────────────────────────────────────────────────────


async def test_copies_are_messages_of_their_own_with_a_form_and_a_time(rig: Rig) -> None:
    def copies(tx: Transaction, record: Record, destination: Destination) -> Sequence[Copy]:
        assert tx.journal.last_position() >= record.position
        if record.position == 1:
            return [Copy(), Copy(20 * SECOND, "legacy,empty")]
        return []

    def render(record: Record, destination: Destination, message: Message) -> bytes:
        return f"{record.position}/{destination.id}/{message.form}".encode()

    rig.copies, rig.render = copies, render
    await rig.restart()
    async with Receiver(answering(503)) as receiver:
        await rig.to(receiver.url)
        await rig.events(1, 2)
        assert await rig.publish() == 1
        receiver.answer = accept
        rig.clock.advance(20 * SECOND)
        assert await rig.publish() == 2
        assert sorted(r.body for r in receiver.received) == [b"1/d0/", b"1/d0/", b"1/d0/legacy,empty"]
        messages = await rig.store.read(lambda tx: tx.attempts.messages(None, 9))
        assert [(m.id, m.form, m.created_at) for m in messages] == [
            ("1-d0", "", START),
            ("1-d0~1", "legacy,empty", START),
        ]


async def test_one_that_cannot_be_rendered_is_a_failed_attempt_and_stops_nothing(rig: Rig) -> None:
    broken = True

    def render(record: Record, destination: Destination, message: Message) -> bytes:
        if broken and record.position == 1:
            raise KeyError("canary")
        return record.body

    rig.render = render
    await rig.restart()
    async with Receiver() as receiver:
        await rig.to(receiver.url)
        await rig.events(1, 2)
        await rig.publish()
        assert await rig.counts() == {"delivered": 1, "pending": 1}
        (attempt,) = await rig.attempts(message_id(1, "d0"))
        assert (attempt.outcome, attempt.error) == ("failed", "could not be rendered: KeyError")
        broken = False
        rig.clock.advance(5 * SECOND)
        await rig.publish()
        assert await rig.counts() == {"delivered": 2}


# ── What is kept ───────────────────────────────────────────────────────────────────────────────────────────


async def test_everything_about_an_attempt_is_kept(rig: Rig) -> None:
    async def refuse(received: Received):  # type: ignore[no-untyped-def]
        response = await answering(429, retry_after="7")(received)
        response.text = "slow down " * 200  # type: ignore[attr-defined]
        return response

    async with Receiver(refuse) as receiver:
        await rig.to(f"{receiver.url}/hook")
        await rig.events(1)
        await rig.publish()
        (attempt,) = await rig.attempts()
        assert attempt.target == f"{receiver.url}/hook"
        assert (attempt.status, attempt.error, attempt.retry_after) == (429, "answered 429", 7 * SECOND)
        assert attempt.response == ("slow down " * 200)[:1024]
        assert (attempt.started_at, attempt.outcome, attempt.manual) == (START, "failed", False)


async def test_stopping_finishes_what_is_under_way_and_gives_back_the_rest(rig: Rig) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Answering):
        async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
            began.set()
            await go_on.wait()
            return await super().send(destination, parcels)

    sender = Slow(lambda p: Outcome(200))
    await using(rig, sender, concurrency=1)
    await rig.add(other("a"))
    await rig.events(1, 2)
    await rig.consumer.catch_up()
    stop = asyncio.Event()
    running = asyncio.create_task(rig.publisher.run(stop))
    await began.wait()
    stop.set()
    while rig.publisher._lanes.held > 1:
        await asyncio.sleep(0)
    go_on.set()
    await running
    assert await rig.counts() == {"delivered": 1, "pending": 1}
    # Not leased any more: the next one to look sends it.
    assert await rig.publish() == 1
    assert await rig.counts() == {"delivered": 2}


async def test_the_last_try_is_not_before_the_schedule_s_whole_span(rig: Rig) -> None:
    """However the delays were spread: 72 hours of outage lose nothing."""
    status = 503
    rig.random = lambda: 0.0
    await using(rig, Answering(lambda p: Outcome(status)), policy=Policy(1_000))
    await rig.add(other("a"))
    await rig.events(1)
    await rig.consumer.catch_up()
    tried_at: list[int] = []
    while (due := await rig.store.read(lambda tx: tx.attempts.next_due())) is not None:
        rig.clock.advance(max(0, due - rig.clock.now()))
        if rig.clock.now() >= START + 72 * HOUR:
            status = 200
        tried_at.append(rig.clock.now() - START)
        await rig.publisher.send_due()
    assert tried_at[-2] < 60 * HOUR
    assert tried_at[-1] > 75 * HOUR
    assert await rig.counts() == {"delivered": 1}


async def test_a_destination_that_moves_is_sent_to_where_it_is_now(rig: Rig) -> None:
    async with Receiver(answering(500)) as old, Receiver() as new:
        await rig.to(old.url)
        await rig.events(1)
        await rig.publish()
        settings = msgspec.json.encode(WebhookSettings(new.url))
        await rig.add(Destination("d0", "webhook", settings, endpoint=new.url))
        rig.clock.advance(Instant(5 * SECOND))
        await rig.publish()
        assert (len(old.received), len(new.received)) == (1, 1)
