"""Books that somebody keeps of certain messages: asked before each is sent, told of each attempt."""

from collections.abc import Callable, Sequence

import pytest
from tests.unit.pipeline.publishing import START, Rig

from milepost.domain.attempt import Destination
from milepost.domain.instant import HOUR, MINUTE
from milepost.domain.record import Record
from milepost.pipeline.sending import Outcome, Parcel, Ruling, Told
from milepost.store import Transaction


class Books:
    """Of everything that is about one order; rules as it is told to."""

    def __init__(self) -> None:
        self.hold: set[int] = set()
        self.drop: set[int] = set()
        self.asked: list[int] = []
        self.told: list[tuple[int, str, str, str]] = []
        self.broken = False

    def concerns(self, record: Record) -> bool:
        return b"/order/booked/" in record.body

    def may_send(self, tx: Transaction, records: Sequence[Record]) -> Ruling:
        positions = {r.position for r in records}
        self.asked += sorted(positions)
        return Ruling(positions & self.hold, positions & self.drop, "void")

    def sent(self, tx: Transaction, record: Record, destination_id: str, outcome: Told) -> None:
        if self.broken:
            raise RecursionError
        said = (record.position, destination_id, outcome.attempt.outcome, outcome.message.state)
        self.told.append(said)
        assert outcome.attempt.response == "said"


class Endpoint:
    batch = 1

    def __init__(self) -> None:
        self.status = 200
        self.got: list[str] = []
        self.meanwhile: Callable[[], None] = lambda: None

    async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
        self.meanwhile()
        self.got += [p.message.id for p in parcels]
        return [Outcome(self.status, response="said")]


@pytest.fixture
async def endpoint(rig: Rig) -> Endpoint:
    endpoint, books = Endpoint(), Books()
    rig.other, rig.ledger = endpoint, books
    await rig.restart()
    for name in ("a", "b"):
        await rig.add(Destination(name, "other", b"{}", ordered=name == "b"))
    return endpoint


def books_of(rig: Rig) -> Books:
    assert isinstance(rig.ledger, Books)
    return rig.ledger


async def test_every_attempt_is_told_and_nothing_of_others(rig: Rig, endpoint: Endpoint) -> None:
    books = books_of(rig)
    await rig.events(1, order="booked")
    await rig.events(2)
    endpoint.status = 503
    await rig.publish()
    assert sorted(books.told) == [(1, "a", "failed", "pending"), (1, "b", "failed", "pending")]
    endpoint.status = 200
    rig.clock.advance(MINUTE)
    await rig.publish()
    assert sorted(books.told[2:]) == [(1, "a", "delivered", "delivered"), (1, "b", "delivered", "delivered")]
    assert set(books.asked) == {1}
    endpoint.status = 410
    await rig.events(3, order="booked")
    await rig.publish()
    assert sorted(books.told[4:]) == [(3, "a", "failed", "failed"), (3, "b", "failed", "failed")]


async def test_what_is_on_hold_is_sent_when_somebody_lets_it_go(rig: Rig, endpoint: Endpoint) -> None:
    books = books_of(rig)
    books.hold = {1}
    await rig.events(1, 2, order="booked")
    await rig.publish()
    # One destination wants it in order: there nothing passes what is held.
    assert endpoint.got == ["2-a"]
    assert (await rig.message("1-a")).state == (await rig.message("1-b")).state == "held"
    rig.clock.advance(HOUR)
    await rig.publish()
    assert endpoint.got == ["2-a"]
    books.hold = set()
    await rig.store.write(lambda tx: tx.attempts.unhold([1]))
    await rig.publish()
    assert sorted(endpoint.got[1:3]) == ["1-a", "1-b"]
    assert endpoint.got[3:] == ["2-b"]


async def test_a_hold_outlives_a_destination_that_was_enabled_again(rig: Rig, endpoint: Endpoint) -> None:
    books_of(rig).hold = {1}
    await rig.events(1, order="booked")
    await rig.publish()
    await rig.store.write(lambda tx: tx.attempts.disable("a", "by hand"))
    await rig.publisher.enable("a")
    await rig.publish()
    assert endpoint.got == []
    assert (await rig.message("1-a")).state == "held"


async def test_what_must_not_be_sent_is_dropped_even_when_it_is_asked_for(
    rig: Rig, endpoint: Endpoint
) -> None:
    books = books_of(rig)
    await rig.events(1, 2, order="booked")
    books.drop = {1}
    await rig.publish()
    assert sorted(endpoint.got) == ["2-a", "2-b"]
    books.drop = {1, 2}
    for name in ("1-a", "2-b"):
        await rig.publisher.resend(name)
    await rig.publish()
    assert len(endpoint.got) == 2
    dropped = await rig.message("1-a")
    assert (dropped.state, dropped.reason, dropped.tries) == ("dropped", "void", 0)
    assert rig.clock.now() == START


async def test_books_that_cannot_be_kept_stop_nobody(rig: Rig, endpoint: Endpoint) -> None:
    books_of(rig).broken = True
    await rig.events(1, order="booked")
    await rig.events(2)
    await rig.publish()
    assert sorted(endpoint.got) == ["1-a", "1-b", "2-a", "2-b"]
    assert await rig.counts() == {"delivered": 4}
    assert len(await rig.attempts()) == 4


async def test_what_is_refused_while_it_waits_in_its_lane_is_not_sent(rig: Rig) -> None:
    endpoint, books = Endpoint(), Books()
    rig.other, rig.ledger, rig.concurrency = endpoint, books, 1
    await rig.restart()
    await rig.add(Destination("a", "other", b"{}"))
    await rig.events(1, 2, order="booked")

    def meanwhile() -> None:
        books.hold = {2}

    endpoint.meanwhile = meanwhile
    await rig.publish()
    assert endpoint.got == ["1-a"]
    held = await rig.message("2-a")
    assert (held.state, held.tries) == ("held", 0)
