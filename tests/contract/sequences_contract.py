"""The contract of messages that go in order, and of those that must not be sent or are sent again."""

import random
from typing import Any

from msgspec.structs import replace
from tests.contract.attempts_contract import attempt, claim, destination, enqueue, message, put, states
from tests.contract.harness import T0

from milepost.domain.attempt import Message, Replay
from milepost.domain.instant import Instant
from milepost.store import NewRecord, Store

REPLAY = Replay("r-1", "dst-1", "replay", "running", 0, 9, T0)


async def settle(store: Store, claimed: Message, outcome: str, **more: Any) -> None:
    """Keep an attempt of it: delivered, failed for good, or (pending) to be tried again."""
    state: Any = outcome
    number = claimed.tries + 1
    after = replace(claimed, state=state, tries=number, lease_until=None, manual=False, **more)
    result = attempt(claimed.id, number, outcome="delivered" if outcome == "delivered" else "failed")
    assert await store.write(lambda tx: tx.attempts.record([(result, after)])) == [True]


def line(*numbers: int, of: str = "o-1", to: str = "dst-1", **more: Any) -> list[Message]:
    return [message(f"{of}-{n}-{to}", position=n, to=to, sequence=of, **more) for n in numbers]


class SequencesContract:
    async def test_only_the_head_of_a_sequence_is_pending(self, store: Store) -> None:
        await put(store, destination(), destination("dst-2"))
        await enqueue(store, *line(1, 2, 3), *line(2, of="o-2"), *line(1, to="dst-2"), message("loose"))
        taken = {m.id: m for m in await claim(store)}
        assert taken.keys() == {"o-1-1-dst-1", "o-2-2-dst-1", "o-1-1-dst-2", "loose"}
        assert (await states(store))["o-1-2-dst-1"] == "waiting"
        await settle(store, taken["o-1-1-dst-1"], "pending", due_at=Instant(T0 + 500))
        assert await claim(store, 1) == []
        (again,) = [m for m in await claim(store, 500) if m.id == "o-1-1-dst-1"]
        await settle(store, again, "delivered")
        found = await store.read(lambda tx: tx.attempts.message("o-1-2-dst-1"))
        assert found == replace(line(2)[0], state="pending")
        (second,) = [m for m in await claim(store, 500) if m.id == "o-1-2-dst-1"]
        await settle(store, second, "failed")
        assert (await states(store))["o-1-3-dst-1"] == "pending"

    async def test_what_is_added_behind_an_unsettled_one_waits_whatever_its_position(
        self, store: Store
    ) -> None:
        await put(store, destination())
        await enqueue(store, *line(5))
        await enqueue(store, *line(9), *line(3))
        (head,) = await claim(store)
        assert head.position == 5
        await settle(store, head, "delivered")
        assert [m.position for m in await claim(store)] == [3]

    async def test_one_that_is_there_already_leaves_nobody_waiting(self, store: Store) -> None:
        await put(store, destination())
        await enqueue(store, *line(1))
        (head,) = await claim(store)
        await settle(store, head, "delivered")
        await enqueue(store, *line(1, 2))
        assert await states(store) == {"o-1-1-dst-1": "delivered", "o-1-2-dst-1": "pending"}

    async def test_a_sequence_of_a_disabled_destination_goes_on_in_order(self, store: Store) -> None:
        await put(store, destination(enabled=False))
        await enqueue(store, *line(1, 2))
        assert await states(store) == {"o-1-1-dst-1": "held", "o-1-2-dst-1": "waiting"}
        assert await claim(store) == []
        await store.write(lambda tx: tx.attempts.enable("dst-1"))
        (head,) = await claim(store)
        await store.write(lambda tx: tx.attempts.disable("dst-1", "by hand"))
        await settle(store, head, "delivered")
        assert await states(store) == {"o-1-1-dst-1": "delivered", "o-1-2-dst-1": "held"}

    async def test_dropping_lets_what_waits_go_on(self, store: Store) -> None:
        await put(store, destination())
        await enqueue(store, *line(1, 2, 3, 4), message("other", position=9))
        (head, _) = await claim(store)
        assert await store.write(lambda tx: tx.attempts.drop([1, 2], "void")) == 2
        assert await store.write(lambda tx: tx.attempts.drop([1, 2], "void")) == 0
        found = await store.read(lambda tx: tx.attempts.message("o-1-2-dst-1"))
        assert (found.state, found.reason) == ("dropped", "void")  # type: ignore[union-attr]
        (third,) = await claim(store)
        assert third.position == 3
        # What was under way when it was dropped is known all the same, and not sent again.
        await settle(store, head, "pending")
        assert (await states(store))["o-1-1-dst-1"] == "dropped"
        assert (await states(store))["o-1-4-dst-1"] == "waiting"
        assert len(await store.read(lambda tx: tx.attempts.attempts((0, 0), 9))) == 1

    async def test_what_was_delivered_while_it_was_dropped_is_delivered(self, store: Store) -> None:
        await enqueue(store, message("m-1"))
        (mine,) = await claim(store)
        await store.write(lambda tx: tx.attempts.drop([1], "void"))
        await settle(store, mine, "delivered")
        assert await states(store) == {"m-1": "delivered"}

    async def test_what_had_arrived_stays_so_whatever_comes_of_sending_it_by_hand(self, store: Store) -> None:
        await enqueue(store, message("m-1"))
        (mine,) = await claim(store)
        await settle(store, mine, "delivered")
        await store.write(lambda tx: tx.attempts.resend("m-1", T0))
        (again,) = await claim(store)
        assert await store.write(lambda tx: tx.attempts.drop([1], "void")) == 1
        assert await states(store) == {"m-1": "delivered"}
        await settle(store, again, "pending")
        assert await states(store) == {"m-1": "delivered"}
        assert await claim(store, 500) == []

    async def test_holding_and_letting_go(self, store: Store) -> None:
        await put(store, destination(), destination("off", enabled=False))
        done = message("done", position=2, state="delivered")
        off = message("off", position=2, to="off")
        await enqueue(store, message("m-1", position=2), done, off, message("other"))
        taken = {m.id: m for m in await claim(store)}
        await store.write(lambda tx: tx.attempts.hold([2]))
        # What was under way comes back and is held as well.
        await settle(store, taken["m-1"], "pending")
        wanted = {"m-1": "held", "done": "delivered", "off": "held", "other": "pending"}
        assert await states(store) == wanted
        await store.write(lambda tx: tx.attempts.unhold([2]))
        assert await states(store) == {**wanted, "m-1": "pending"}

    async def test_a_held_head_keeps_the_others_waiting(self, store: Store) -> None:
        await put(store, destination())
        await enqueue(store, *line(1, 2))
        await store.write(lambda tx: tx.attempts.hold([1, 2]))
        assert await states(store) == {"o-1-1-dst-1": "held", "o-1-2-dst-1": "waiting"}
        assert await claim(store) == []
        await store.write(lambda tx: tx.attempts.unhold([1, 2]))
        assert [m.position for m in await claim(store)] == [1]

    async def test_waiting_is_unsettled_and_forgetting_lets_go_on(self, store: Store) -> None:
        await put(store, destination())
        await enqueue(store, *line(1, 2, 3))
        assert await store.read(lambda tx: tx.attempts.unsettled([1, 2, 7])) == {1, 2}
        assert await store.write(lambda tx: tx.attempts.forget([1, 2])) == 2
        assert await states(store) == {"o-1-3-dst-1": "pending"}

    async def test_what_waits_for_a_removed_destination_is_dropped(self, store: Store) -> None:
        await put(store, destination(), destination("off", enabled=False))
        await enqueue(store, *line(1, 2), message("held", to="off"))
        await store.write(lambda tx: tx.attempts.remove_destination("dst-1"))
        await store.write(lambda tx: tx.attempts.remove_destination("off"))
        assert await states(store) == {
            "o-1-1-dst-1": "pending",
            "o-1-2-dst-1": "dropped",
            "held": "dropped",
        }

    async def test_in_any_story_one_of_a_sequence_goes_and_all_are_settled(self, store: Store) -> None:
        seed = random.randrange(10**6)
        print(f"seed {seed}")
        draw = random.Random(seed)
        await put(store, destination())
        waiting = [m for of in ("o-1", "o-2") for m in line(*range(12), of=of)]
        sent: list[tuple[str, int]] = []
        for now in range(200):
            count = draw.randrange(3)
            some, waiting = waiting[:count], waiting[count:]
            await enqueue(store, *some)
            if draw.random() < 0.1:
                at = draw.randrange(12)
                await store.write(lambda tx, p=at: tx.attempts.drop([p], "drawn"))  # type: ignore[misc]
            for mine in await claim(store, now * 100):
                sent.append((mine.sequence, mine.position))
                await settle(store, mine, draw.choice(["delivered", "failed", "pending"]))
        for of in ("o-1", "o-2"):
            positions = [p for sequence, p in sent if sequence == of]
            assert positions == sorted(positions)
        assert set((await states(store)).values()) <= {"delivered", "failed", "dropped"}

    async def test_again_under_the_same_id(self, store: Store) -> None:
        await put(store, destination())
        await enqueue(store, message("m-1"), message("m-2"), message("m-3"))
        taken = {m.id: m for m in await claim(store)}
        await settle(store, taken["m-1"], "delivered")
        await settle(store, taken["m-2"], "failed")
        asked = [message(f"m-{n}", 50, replay="r-1", created_at=Instant(T0 + 50)) for n in (1, 2, 3, 4)]
        await store.write(lambda tx: tx.attempts.again(asked))
        found = {m.id: m for m in await store.read(lambda tx: tx.attempts.messages(None, 9))}
        for name in ("m-1", "m-2"):
            wanted = replace(asked[0], id=name, tries=1, earlier=1, fence=1)
            assert found[name] == wanted
        assert found["m-3"] == taken["m-3"]
        assert found["m-4"] == asked[3]
        await settle(store, taken["m-3"], "delivered")
        again = {m.id: m for m in await claim(store, 60)}
        assert again.keys() == {"m-1", "m-2", "m-4"}
        await settle(store, again["m-1"], "delivered")
        assert [a.number for a in await store.read(lambda tx: tx.attempts.attempts((0, 0), 9, "m-1"))] == [
            1,
            2,
        ]

    async def test_a_replay_goes_in_order_too(self, store: Store) -> None:
        await put(store, destination())
        await enqueue(store, *line(1, 2, 3))
        for _ in range(3):
            (head,) = await claim(store)
            await settle(store, head, "delivered")
        await store.write(lambda tx: tx.attempts.again(line(1, 2, 3, replay="r-1")))
        await enqueue(store, *line(4))
        order = []
        while taken := await claim(store):
            order.extend(m.position for m in taken)
            await settle(store, taken[0], "delivered")
        assert order == [1, 2, 3, 4]

    async def test_a_cancelled_replay_leaves_things_as_they_were(self, store: Store) -> None:
        await put(store, destination())
        await enqueue(store, message("m-1"), message("m-2"), message("other"))
        taken = {m.id: m for m in await claim(store)}
        await settle(store, taken["m-1"], "delivered")
        await settle(store, taken["m-2"], "failed")
        again = [message(f"m-{n}", replay="r-1") for n in (1, 2)]
        await store.write(lambda tx: tx.attempts.again(again))
        await enqueue(store, message("m-1~r", origin="m-1", replay="r-1"), message("m-1~s", replay="r-2"))
        assert await store.write(lambda tx: tx.attempts.drop_replay(REPLAY, "cancelled")) == 3
        assert await states(store) == {
            "m-1": "delivered",
            "m-2": "dropped",
            "m-1~r": "dropped",
            "m-1~s": "pending",
            "other": "pending",
        }
        backfill = replace(REPLAY, kind="backfill")
        assert await store.write(lambda tx: tx.attempts.drop_replay(backfill, "cancelled")) == 2

    async def test_what_is_about_other_business_products_is_dropped_for_one_destination(
        self, store: Store
    ) -> None:
        await put(store, destination(), destination("dst-2"))
        products = ("bp-1", "bp-2", "bp-2", "bp-1", "bp-3")
        records = [NewRecord("intent", product, "t", T0, T0, "", b"{}") for product in products]
        assert await store.write(lambda tx: tx.journal.add(records)) == [1, 2, 3, 4, 5]
        await enqueue(store, *line(2, 4), *line(3, of="o-2"), *line(5, of="o-3"), *line(2, to="dst-2"))
        await enqueue(store, *line(9, of="o-4"))
        (taken,) = [m for m in await claim(store) if m.id == "o-3-5-dst-1"]
        await settle(store, taken, "delivered")
        dropped = await store.write(
            lambda tx: tx.attempts.drop_outside("dst-1", ["bp-1", "bp-9"], "narrowed")
        )
        assert dropped == 3
        assert await states(store) == {
            "o-1-2-dst-1": "dropped",
            "o-1-4-dst-1": "pending",
            "o-2-3-dst-1": "dropped",
            "o-3-5-dst-1": "delivered",
            "o-4-9-dst-1": "dropped",
            "o-1-2-dst-2": "pending",
        }
        found = await store.read(lambda tx: tx.attempts.message("o-2-3-dst-1"))
        assert found is not None
        assert found.reason == "narrowed"

    async def test_replays_are_kept_and_picked(self, store: Store) -> None:
        full = Replay("r-2", "dst-2", "backfill", "done", 7, None, T0, b"{}", True, 2.5, 3, Instant(T0 + 1))
        for each in (REPLAY, full, replace(REPLAY, cursor=4)):
            await store.write(lambda tx, r=each: tx.attempts.put_replay(r))  # type: ignore[misc]
        assert await store.read(lambda tx: tx.attempts.replay("r-2")) == full
        assert await store.read(lambda tx: tx.attempts.replay("r-3")) is None

        async def picked(after: str = "", limit: int = 9, **more: Any) -> list[str]:
            return [r.id for r in await store.read(lambda tx: tx.attempts.replays(after, limit, **more))]

        assert await store.read(lambda tx: tx.attempts.replays("", 1)) == [replace(REPLAY, cursor=4)]
        assert await picked("r-1") == ["r-2"]
        assert await picked(destination_id="dst-1") == ["r-1"]
        assert await picked(state="done") == ["r-2"]

    async def test_a_rate_bounds_what_is_claimed_and_when_the_next_can_be(self, store: Store) -> None:
        await put(store, destination(rate=2.0), destination("free"))
        await enqueue(store, *(message(f"m-{n}", position=n) for n in range(300)))
        await enqueue(store, *(message(f"f-{n}", position=n, to="free") for n in range(3)))
        assert [m.id for m in await claim(store, limit=9)] == ["f-0", "m-0", "f-1", "f-2"]
        assert [m.id for m in await claim(store, limit=9, paced={"dst-1": 2})] == ["m-1", "m-2"]
        assert await claim(store, limit=9, paced={"dst-1": 0}) == []
        assert await store.read(lambda tx: tx.attempts.next_due()) == T0
        resting = {"dst-1": Instant(T0 + 7)}
        assert await store.read(lambda tx: tx.attempts.next_due(resting)) == T0 + 7
        assert await store.read(lambda tx: tx.attempts.backlog("dst-1", 50)) == 50
        assert await store.read(lambda tx: tx.attempts.backlog("dst-1", 500)) == 300
        await put(store, destination("line"))
        await enqueue(store, *line(*range(20), to="line"))
        assert await store.read(lambda tx: tx.attempts.backlog("line", 500)) == 20

    async def test_destinations_learn_since_when_they_have_been_failing(self, store: Store) -> None:
        await put(store, destination(), destination("dst-2"))
        version = await store.read(lambda tx: tx.attempts.destinations_version())
        await enqueue(store, *(message(f"m-{n}") for n in range(9)), message("x", to="dst-2"))
        taken = {m.id: m for m in await claim(store)}

        async def since() -> list[int | None]:
            found = await store.read(lambda tx: tx.attempts.destinations("", 9))
            return [d.failing_since for d in found]

        async def results(*given: tuple[str, int, str]) -> None:
            kept = [
                (attempt(name, 1, at, outcome=outcome), replace(taken[name], tries=1, lease_until=None))
                for name, at, outcome in given
            ]
            await store.write(lambda tx: tx.attempts.record(kept))

        await results(("m-1", 20, "failed"), ("m-0", 10, "unknown"), ("x", 5, "delivered"))
        assert await since() == [T0 + 10, None]
        await results(("m-2", 30, "failed"))
        assert await since() == [T0 + 10, None]
        await results(("m-4", 50, "failed"), ("m-3", 40, "delivered"))
        assert await since() == [T0 + 50, None]
        await results(("m-5", 60, "delivered"))
        assert await since() == [None, None]
        await results(("m-6", 70, "failed"))
        assert await store.read(lambda tx: tx.attempts.destinations_version()) == version
        await store.write(lambda tx: tx.attempts.disable("dst-1", "for days"))
        await store.write(lambda tx: tx.attempts.enable("dst-1"))
        assert await since() == [None, None]
        assert await store.read(lambda tx: tx.attempts.destinations_version()) != version
