"""The contract of destinations, messages, attempts and breakers."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from tests.contract.harness import T0

from milepost.domain.attempt import Attempt, Destination, Message
from milepost.domain.breaker import POLICY, Breaker, failed
from milepost.domain.instant import Instant
from milepost.sql import attempts
from milepost.store import Store, Transaction


def message(id: str, due: int = 0, tries: int = 0, **more: Any) -> Message:
    return Message(
        id,
        more.pop("to", "dst-1"),
        more.pop("position", 1),
        more.pop("state", "pending"),
        tries,
        Instant(T0 + due),
        **more,
    )


def attempt(message_id: str, number: int, at: int = 0, **more: Any) -> Attempt:
    return Attempt(message_id, number, Instant(T0 + at), 12, more.pop("outcome", "failed"), **more)


OPEN: dict[str, Any] = {"share": 100, "room": {}}
"""Claiming where no lane is full."""


def destination(id: str = "dst-1", **more: Any) -> Destination:
    return Destination(id, "webhook", b"{}", **more)


async def put(store: Store, *destinations: Destination) -> None:
    for each in destinations:
        await store.write(lambda tx, d=each: tx.attempts.put_destination(d))  # type: ignore[misc]


async def enqueue(store: Store, *messages: Message) -> None:
    await store.write(lambda tx: tx.attempts.enqueue(messages))


async def claim(store: Store, at: int = 0, limit: int = 100, **more: Any) -> list[Message]:
    values = {**OPEN, **more}
    now = Instant(T0 + at)
    return await store.write(lambda tx: tx.attempts.claim(now, Instant(now + 30), limit, **values))


async def states(store: Store) -> dict[str, str]:
    return {m.id: m.state for m in await store.read(lambda tx: tx.attempts.messages(None, 500))}


class AttemptsContract:
    async def test_destinations(self, store: Store) -> None:
        full = Destination("dst-2", "webhook", b'{"url":"x"}', ("PACKAGE_DELIVERED",), "bp-1", False)
        plain = Destination("dst-1", "sqs", b"{}")
        for destination in (full, plain, replace(full, settings=b"{}"), full):
            await store.write(lambda tx, d=destination: tx.attempts.put_destination(d))  # type: ignore[misc]
        assert await store.read(lambda tx: tx.attempts.destinations("", 10)) == [plain, full]
        assert await store.read(lambda tx: tx.attempts.destinations("dst-1", 1)) == [full]
        await store.write(lambda tx: tx.attempts.remove_destination("dst-1"))
        assert await store.read(lambda tx: tx.attempts.destinations("", 10)) == [full]

    async def test_every_change_of_a_destination_makes_another_version(self, store: Store) -> None:
        seen = [await store.read(lambda tx: tx.attempts.destinations_version())]

        async def changed(change: Callable[[Transaction], object]) -> None:
            await store.write(change)
            seen.append(await store.read(lambda tx: tx.attempts.destinations_version()))

        for _ in range(2):
            await changed(lambda tx: tx.attempts.put_destination(destination("a")))
            await changed(lambda tx: tx.attempts.put_destination(destination("b")))
            await changed(lambda tx: tx.attempts.put_destination(destination("b", form="amazon")))
            await changed(lambda tx: tx.attempts.disable("a", "by hand"))
            await changed(lambda tx: tx.attempts.enable("a"))
            # As many as before, and none of them newer: still it is another.
            await changed(lambda tx: tx.attempts.remove_destination("b"))
            await changed(lambda tx: tx.attempts.put_destination(destination("c")))
            await changed(lambda tx: tx.attempts.remove_destination("c"))
            await changed(lambda tx: tx.attempts.remove_destination("a"))
        assert len({*seen}) == len(seen)
        assert seen[0][0] == seen[-1][0] == 0

    async def test_a_breaker_goes_with_the_last_destination_of_its_lane(self, store: Store) -> None:
        await put(store, destination("a", endpoint="x"), destination("b", endpoint="x"), destination("c"))
        opened = [Breaker(lane, "open", 0, 1, Instant(T0 + 60)) for lane in ("x", "c")]
        await store.write(lambda tx: tx.attempts.put_breakers(opened))

        async def lanes() -> set[str]:
            return set(await store.read(lambda tx: tx.attempts.breakers()))

        await put(store, destination("a", endpoint="elsewhere"), destination("c", enabled=False))
        assert await lanes() == {"x", "c"}
        await store.write(lambda tx: tx.attempts.remove_destination("c"))
        assert await lanes() == {"x"}
        await put(store, destination("b", endpoint="elsewhere"))
        assert await lanes() == set()

    async def test_a_message_is_enqueued_once(self, store: Store) -> None:
        await store.write(lambda tx: tx.attempts.enqueue([message("m-1"), message("m-1", position=5)]))
        taken = await store.write(lambda tx: tx.attempts.claim(T0, Instant(T0 + 9), 10, **OPEN))
        await store.write(lambda tx: tx.attempts.enqueue([message("m-1"), message("m-2")]))
        assert await store.read(lambda tx: tx.attempts.message("m-1")) == taken[0]
        assert await store.read(lambda tx: tx.attempts.message("m-3")) is None
        assert await store.read(lambda tx: tx.attempts.count()) == {"pending": 2}

    async def test_how_it_goes_at_one_destination(self, store: Store) -> None:
        messages = [message("m-1"), message("m-2"), message("m-3", to="dst-2"), message("m-4", to="dst-2")]
        await enqueue(store, *messages)
        assert await store.read(lambda tx: tx.attempts.last_attempt("dst-1")) is None
        taken = {m.id: m for m in await claim(store)}
        tried = [
            (attempt("m-1", 1, 5, error="the older"), replace(taken["m-1"], tries=1, lease_until=None)),
            (attempt("m-2", 1, 6), replace(taken["m-2"], state="delivered", tries=1, lease_until=None)),
            (attempt("m-3", 1, 9), replace(taken["m-3"], state="failed", tries=1, lease_until=None)),
        ]
        assert await store.write(lambda tx: tx.attempts.record(tried)) == [True] * 3
        assert await store.read(lambda tx: tx.attempts.last_attempt("dst-1")) == tried[1][0]
        assert await store.read(lambda tx: tx.attempts.last_attempt("dst-2")) == tried[2][0]
        recent = await store.read(lambda tx: tx.attempts.recent_attempts("dst-1", 9))
        assert recent == [tried[1][0], tried[0][0]]
        assert await store.read(lambda tx: tx.attempts.recent_attempts("dst-1", 1)) == recent[:1]
        assert await store.read(lambda tx: tx.attempts.recent_attempts("dst-3", 9)) == []
        assert await store.read(lambda tx: tx.attempts.count("dst-1")) == {"pending": 1, "delivered": 1}
        assert await store.read(lambda tx: tx.attempts.count("dst-2")) == {"pending": 1, "failed": 1}
        assert await store.read(lambda tx: tx.attempts.count("dst-3")) == {}

    async def test_the_last_attempt_is_found_however_much_went_elsewhere(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(attempts, "RECENT", 2)
        await enqueue(store, message("old", position=1), *(message(f"m-{n}", to="dst-2") for n in range(5)))
        for n, mine in enumerate(sorted(await claim(store), key=lambda m: m.id != "old")):
            after = replace(mine, state="delivered", tries=1, lease_until=None)
            result = attempt(mine.id, 1, n)
            assert await store.write(lambda tx, r=(result, after): tx.attempts.record([r])) == [True]  # type: ignore[misc]
        found = await store.read(lambda tx: tx.attempts.last_attempt("dst-1"))
        assert found is not None
        assert found.message_id == "old"

    async def test_claims_take_first_tries_first(self, store: Store) -> None:
        given = [
            message("retry early", -9, tries=2),
            message("retry", -1, tries=1),
            message("second", 0),
            message("first", -1),
            message("not yet", 1),
            message("done", -5, state="delivered"),
        ]
        await store.write(lambda tx: tx.attempts.enqueue(given))
        assert await store.read(lambda tx: tx.attempts.next_due()) == T0 - 9
        until = Instant(T0 + 30)
        taken = await store.write(lambda tx: tx.attempts.claim(T0, until, 3, **OPEN))
        assert [m.id for m in taken] == ["first", "second", "retry early"]
        assert {(m.fence, m.lease_until) for m in taken} == {(1, until)}
        taken = await store.write(lambda tx: tx.attempts.claim(T0, until, 3, **OPEN))
        assert [m.id for m in taken] == ["retry"]
        assert await store.write(lambda tx: tx.attempts.claim(T0, until, 3, **OPEN)) == []
        assert await store.read(lambda tx: tx.attempts.next_due()) == T0 + 1

    async def test_a_lease_runs_out_and_the_fence_holds(self, store: Store) -> None:
        await store.write(lambda tx: tx.attempts.enqueue([message("m-1")]))
        until, later = Instant(T0 + 30), Instant(T0 + 60)
        (mine,) = await store.write(lambda tx: tx.attempts.claim(T0, until, 1, **OPEN))
        assert await store.read(lambda tx: tx.attempts.next_due()) == until
        assert await store.write(lambda tx: tx.attempts.claim(Instant(until - 1), later, 1, **OPEN)) == []
        (theirs,) = await store.write(lambda tx: tx.attempts.claim(until, later, 1, **OPEN))
        assert (mine.fence, theirs.fence) == (1, 2)
        sent = replace(mine, state="delivered", tries=1, lease_until=None)
        assert await store.write(lambda tx: tx.attempts.record([(attempt("m-1", 1), sent)])) == [False]
        assert await store.read(lambda tx: tx.attempts.attempts((0, 0), 10)) == []
        retried = replace(theirs, tries=1, lease_until=None, due_at=Instant(T0 + 90))
        failed = attempt("m-1", 1, 31, status=503, error="busy")
        assert await store.write(lambda tx: tx.attempts.record([(failed, retried)])) == [True]
        assert await store.read(lambda tx: tx.attempts.message("m-1")) == retried
        assert await store.read(lambda tx: tx.attempts.next_due()) == T0 + 90
        (last,) = await store.write(
            lambda tx: tx.attempts.claim(Instant(T0 + 90), Instant(T0 + 99), 1, **OPEN)
        )
        sent = replace(last, state="delivered", tries=2, lease_until=None)
        assert await store.write(
            lambda tx: tx.attempts.record([(attempt("m-1", 2, 91, outcome="delivered", status=204), sent)])
        )
        assert await store.read(lambda tx: tx.attempts.next_due()) is None
        assert await store.read(lambda tx: tx.attempts.count()) == {"delivered": 1}
        listed = await store.read(lambda tx: tx.attempts.attempts((0, 0), 10))
        assert listed[0] == failed
        assert [a.number for a in listed] == [1, 2]

    async def test_attempts_are_paged_without_gaps(self, store: Store) -> None:
        names = [f"m-{n}" for n in range(5)]
        await store.write(lambda tx: tx.attempts.enqueue([message(name) for name in names]))
        taken = await store.write(lambda tx: tx.attempts.claim(T0, Instant(T0 + 9), 10, **OPEN))
        for held in taken:  # all at the same millisecond, each its message's first
            await store.write(lambda tx, m=held: tx.attempts.record([(attempt(m.id, 1), m)]))  # type: ignore[misc]
        seen: list[str] = []
        after: tuple[int, int] | tuple[int, int, str] = (0, 0)
        while page := await store.read(lambda tx, at=after: tx.attempts.attempts(at, 2)):  # type: ignore[misc]
            seen.extend(a.message_id for a in page)
            after = (page[-1].started_at, page[-1].number, page[-1].message_id)
        assert seen == names
        assert await store.read(lambda tx: tx.attempts.attempts((T0, 1), 10)) == []
        of_one = await store.read(lambda tx: tx.attempts.attempts((0, 0), 10, "m-3"))
        assert [a.message_id for a in of_one] == ["m-3"]

    async def test_a_destination_by_its_id(self, store: Store) -> None:
        full = destination("dst-2", endpoint="https://x/", enabled=False, reason="it answered 410")
        await put(store, destination(), full)
        assert await store.read(lambda tx: tx.attempts.destination("dst-2")) == full
        assert await store.read(lambda tx: tx.attempts.destination("dst-3")) is None
        found = await store.read(lambda tx: tx.attempts.destinations_of({"dst-1", "dst-2", "dst-3"}))
        assert found == {"dst-1": destination(), "dst-2": full}

    async def test_messages_of_a_disabled_destination_are_held(self, store: Store) -> None:
        await put(store, destination())
        done = message("done", state="delivered")
        await enqueue(store, message("waiting"), message("leased", -1), done, message("other", to="dst-2"))
        (leased,) = await claim(store, limit=1)
        assert leased.id == "leased"
        assert await store.write(lambda tx: tx.attempts.disable("dst-1", "it answered 410"))
        kept = await store.read(lambda tx: tx.attempts.destination("dst-1"))
        assert kept == destination(enabled=False, reason="it answered 410")
        await enqueue(store, message("late"))
        # What was under way comes back: to be tried again, and so held as well.
        again = replace(leased, tries=1, lease_until=None, due_at=Instant(T0 + 5))
        assert await store.write(lambda tx: tx.attempts.record([(attempt("leased", 1), again)])) == [True]
        held = {"waiting": "held", "leased": "held", "late": "held", "done": "delivered", "other": "pending"}
        assert await states(store) == held
        assert [m.id for m in await claim(store, 100)] == ["other"]
        assert await store.read(lambda tx: tx.attempts.next_due()) == T0 + 130
        assert await store.write(lambda tx: tx.attempts.enable("dst-1"))
        assert await store.read(lambda tx: tx.attempts.destination("dst-1")) == destination()
        assert {m.id for m in await claim(store, 100)} == {"waiting", "leased", "late"}
        await put(store, destination(enabled=False))
        assert (await states(store))["late"] == "held"
        await put(store, destination())
        assert (await states(store))["late"] == "pending"
        for moved in ("disable", "enable"):
            call = (lambda tx: tx.attempts.disable("no", "x")) if moved == "disable" else None
            assert not await store.write(call or (lambda tx: tx.attempts.enable("no")))

    async def test_a_lane_gives_what_it_has_room_for(self, store: Store) -> None:
        """Two destinations with one endpoint share a lane; a third has its own."""
        await put(store, destination("a", endpoint="x"), destination("b", endpoint="x"), destination("c"))
        for to in "abc":
            await enqueue(store, *(message(f"{to}{n}", n - 9, to=to, position=n) for n in range(4)))
        taken = await claim(store, share=3)
        assert [m.id for m in taken] == ["a0", "b0", "c0", "a1", "c1", "c2"]
        assert [m.id for m in await claim(store, share=3, room={"x": 0, "c": 0})] == []
        assert [m.id for m in await claim(store, share=3, room={"x": 1, "c": 0})] == ["b1"]
        assert [m.id for m in await claim(store, share=1, room={"x": 9})] == ["a2", "b2", "a3", "b3", "c3"]

    async def test_a_pile_for_a_full_lane_hides_nobody(self, store: Store) -> None:
        await put(store, destination("full"), destination("free"))
        await enqueue(store, *(message(f"p{n}", -100, to="full") for n in range(300)))
        await enqueue(store, message("behind", to="free"))
        assert [m.id for m in await claim(store, limit=5, room={"full": 0})] == ["behind"]

    async def test_what_is_given_back_can_be_claimed_at_once(self, store: Store) -> None:
        await enqueue(store, message("m-1"), message("m-2"))
        mine = await claim(store)
        assert await claim(store, 1) == []
        stale = replace(mine[1], fence=mine[1].fence - 1)
        await store.write(lambda tx: tx.attempts.release([mine[0], stale]))
        (again,) = await claim(store, 1)
        assert (again.id, again.fence, again.tries) == ("m-1", 2, 0)
        # Its first holder's result comes too late.
        sent = replace(mine[0], state="delivered", tries=1, lease_until=None)
        assert await store.write(lambda tx: tx.attempts.record([(attempt("m-1", 1), sent)])) == [False]

    async def test_results_are_kept_in_one_write_each_by_its_fence(self, store: Store) -> None:
        await enqueue(store, *(message(f"m-{n}") for n in range(1_200)))
        taken = await claim(store, limit=2_000, share=2_000)
        stale = {m.id for m in taken[::7]}
        results = [
            (
                attempt(m.id, 1, target="t", response="r", retry_after=5, manual=True, status=200),
                replace(m, state="delivered", tries=1, fence=m.fence - (m.id in stale), lease_until=None),
            )
            for m in taken
        ]
        kept = await store.write(lambda tx: tx.attempts.record(results))
        assert kept == [m.id not in stale for m in taken]
        assert await store.read(lambda tx: tx.attempts.count()) == {
            "delivered": 1_200 - len(stale),
            "pending": len(stale),
        }
        listed = await store.read(lambda tx: tx.attempts.attempts((0, 0), 2_000))
        assert {a.message_id for a in listed} == {m.id for m in taken} - stale
        assert listed[0] == next(a for a, _ in results if a.message_id == listed[0].message_id)
        assert await store.write(lambda tx: tx.attempts.record([])) == []

    async def test_an_open_breaker_gives_one_probe_when_its_pause_is_over(self, store: Store) -> None:
        await put(store, destination("a", endpoint="x"), destination("b", endpoint="x"), destination("c"))
        messages = [message(f"{to}{n}", n, tries=n, to=to) for to in "abc" for n in (0, 1)]
        await enqueue(store, *messages)
        opened = Breaker("x", "open", 0, 1, Instant(T0 + 60))
        weak = Breaker("c", "closed", 2)
        await store.write(lambda tx: tx.attempts.put_breakers([opened, weak]))
        assert await store.read(lambda tx: tx.attempts.breakers()) == {"x": opened, "c": weak}
        assert [m.id for m in await claim(store, 59)] == ["c0", "c1"]
        assert await store.read(lambda tx: tx.attempts.next_due()) == T0 + 60
        assert [m.id for m in await claim(store, 60)] == ["a0"]
        probing = await store.read(lambda tx: tx.attempts.breakers())
        assert (probing["x"].state, probing["x"].until) == ("halfOpen", T0 + 90)
        assert [m.id for m in await claim(store, 89)] == ["c0", "c1"]
        assert await store.read(lambda tx: tx.attempts.next_due()) == T0 + 90
        # The probe was lost: its lease is over, so another goes.
        assert [m.id for m in await claim(store, 90, room={"c": 0})] == ["b0"]
        await store.write(lambda tx: tx.attempts.put_breakers([Breaker("x"), Breaker("c")]))
        assert await store.read(lambda tx: tx.attempts.breakers()) == {}
        assert {m.id for m in await claim(store, 95, room={"c": 0})} == {"a0", "a1", "b1"}

    async def test_a_breaker_whose_pause_is_over_waits_for_something_to_probe_with(
        self, store: Store
    ) -> None:
        opened = failed(Breaker("dst-1", "closed", POLICY.failures - 1), POLICY, Instant(T0 - 10**6))
        await store.write(lambda tx: tx.attempts.put_breakers([opened]))
        assert await claim(store) == []
        assert await store.read(lambda tx: tx.attempts.breakers()) == {"dst-1": opened}
        await enqueue(store, message("m-1"), message("m-2"))
        assert [m.id for m in await claim(store)] == ["m-1"]

    async def test_what_is_delivered_and_counts_by_position(self, store: Store) -> None:
        await put(store, destination())
        await enqueue(store, *(message(f"m-{n}", position=n // 2) for n in range(6)))
        (first, *_) = await claim(store, limit=1)
        result = (attempt(first.id, 1, outcome="delivered"), replace(first, state="delivered", tries=1))
        assert await store.write(lambda tx: tx.attempts.record([result])) == [True]
        asked = [f"m-{n}" for n in range(9)]
        assert await store.read(lambda tx: tx.attempts.delivered(asked)) == {first.id}
        assert await store.read(lambda tx: tx.attempts.delivered([])) == set()
        counts = [await store.read(lambda tx, p=p: tx.attempts.count(position=p)) for p in range(4)]  # type: ignore[misc]
        assert sorted(counts, key=len) == [{}, {"pending": 2}, {"pending": 2}, {"pending": 1, "delivered": 1}]
        assert counts[first.position] == {"pending": 1, "delivered": 1}

    async def test_resending_by_hand(self, store: Store) -> None:
        await put(store, destination())
        given = [
            message("first try", -9),
            message("retry", 500, tries=1, form="legacy", created_at=Instant(T0 - 5)),
            message("delivered", -9, tries=2, state="delivered"),
            message("failed", -9, tries=10, state="failed"),
        ]
        await enqueue(store, *given)
        assert await store.write(lambda tx: tx.attempts.resend("no", T0)) is None
        for n, each in enumerate(given[1:]):
            again = await store.write(lambda tx, i=each.id, a=n: tx.attempts.resend(i, Instant(T0 + a)))  # type: ignore[misc]
            wanted = replace(each, state="pending", due_at=Instant(T0 + n), fence=1, manual=True)
            assert again == wanted
        # Ahead of everything that was due before.
        taken = await claim(store, 10, limit=3)
        assert {m.id for m in taken} == {"retry", "delivered", "failed"}
        # By hand while somebody has it: his result is dropped.
        await store.write(lambda tx: tx.attempts.resend("retry", T0))
        mine = next(m for m in taken if m.id == "retry")
        result = (attempt("retry", 2), replace(mine, tries=2, lease_until=None))
        assert await store.write(lambda tx: tx.attempts.record([result])) == [False]
        (again,) = await claim(store, 10, limit=1)
        assert (again.id, again.manual, again.form) == ("retry", True, "legacy")
        settled = replace(again, state="delivered", tries=2, lease_until=None, manual=False)
        assert await store.write(lambda tx: tx.attempts.record([(attempt("retry", 2), settled)])) == [True]
        assert await store.read(lambda tx: tx.attempts.message("retry")) == settled

    async def test_resending_probes_an_endpoint_that_is_left_alone(self, store: Store) -> None:
        await put(store, destination(endpoint="x"))
        await enqueue(store, message("m-1", -5), message("m-2", -1))
        opened = Breaker("x", "open", 0, 3, Instant(T0 + 600))
        await store.write(lambda tx: tx.attempts.put_breakers([opened]))
        assert await claim(store) == []
        await store.write(lambda tx: tx.attempts.resend("m-2", T0))
        assert [m.id for m in await claim(store)] == ["m-2"]
        await store.write(lambda tx: tx.attempts.disable("dst-1", "by hand"))
        held = await store.write(lambda tx: tx.attempts.resend("m-1", T0))
        assert held is not None
        assert held.state == "held"

    async def test_resending_waits_for_no_probe(self, store: Store) -> None:
        """Not even for its own: what is under way is dropped."""
        await put(store, destination())
        await enqueue(store, message("m-1", -5))
        await store.write(lambda tx: tx.attempts.put_breakers([Breaker("dst-1", "open", 0, 3, T0)]))
        assert [m.id for m in await claim(store)] == ["m-1"]
        assert await claim(store) == []
        await store.write(lambda tx: tx.attempts.resend("m-1", T0))
        assert [m.id for m in await claim(store)] == ["m-1"]

    async def test_at_the_start_nobody_holds_anything(self, store: Store) -> None:
        await put(store, destination("off"), destination("down", endpoint="x"))
        await store.write(lambda tx: tx.attempts.put_breakers([Breaker("x", "open", 0, 3, T0)]))
        await enqueue(store, *(message(f"{to}-1", -5, to=to) for to in ("on", "off", "down")))
        await enqueue(store, message("later", 40, to="on"), message("done", -9, to="on", state="delivered"))
        await store.write(lambda tx: tx.attempts.resend("on-1", T0))
        taken = {m.id: m for m in await claim(store)}
        assert taken.keys() == {"on-1", "off-1", "down-1"}
        await store.write(lambda tx: tx.attempts.disable("off", "by hand"))
        assert await claim(store) == []
        await store.write(lambda tx: tx.attempts.release_all())
        assert (await states(store)) == {
            "on-1": "pending",
            "off-1": "held",
            "down-1": "pending",
            "later": "pending",
            "done": "delivered",
        }
        # Whoever held it comes too late, and the others keep their turn: by hand first, then by time.
        result = (attempt("on-1", 1), replace(taken["on-1"], state="delivered", tries=1))
        assert await store.write(lambda tx: tx.attempts.record([result])) == [False]
        assert [m.id for m in await claim(store)] == ["on-1", "down-1"]
        await store.write(lambda tx: tx.attempts.enable("off"))
        assert [m.id for m in await claim(store)] == ["off-1"]

    async def test_messages_are_paged_and_picked(self, store: Store) -> None:
        order = [(p, f"{p}-{to}") for p in (1, 2, 10) for to in ("dst-1", "dst-2")]
        shuffled = random.Random(1).sample(order, len(order))
        await enqueue(
            store,
            *(message(i, position=p, to=i.partition("-")[2], form=f"f{p}") for p, i in shuffled),
        )
        seen: list[tuple[int, str]] = []
        after: tuple[int, str] | None = None
        while page := await store.read(lambda tx, a=after: tx.attempts.messages(a, 4)):  # type: ignore[misc]
            seen.extend((m.position, m.id) for m in page)
            after = seen[-1]
        assert seen == order

        async def picked(**more: Any) -> list[str]:
            return [m.id for m in await store.read(lambda tx: tx.attempts.messages(None, 9, **more))]

        assert await picked(position=2) == ["2-dst-1", "2-dst-2"]
        assert await picked(destination_id="dst-2") == ["1-dst-2", "2-dst-2", "10-dst-2"]
        assert await picked(state="pending", position=10, destination_id="dst-1") == ["10-dst-1"]
        assert await picked(state="delivered") == []
