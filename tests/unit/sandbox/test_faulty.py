"""Faults carried out: which copies an event has, by the seed alone, and what requests run into."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from tests.unit.sandbox.asking import Asking, config

from milepost.domain.attempt import Destination, Message
from milepost.domain.errors import UpstreamUnavailable
from milepost.domain.instant import HOUR, SECOND, Instant
from milepost.pipeline.publisher import Copy, Outcome, Parcel
from milepost.sandbox.faults import ActiveFaults, Faults, parse_options
from milepost.sandbox.faulty import FaultyCopies, FaultySender, RequestFaults
from milepost.sandbox.program import Sandbox

DESTINATION = Destination("subscription-1", "webhook", b'{"url":"http://127.0.0.1:9/"}')


async def copies(
    tmp_path: Path, *options: str, scenario: str = "standard", seed: int = 7
) -> list[list[Copy]]:
    """The copies of every event that some orders cause, in the order of the journal."""
    tmp_path.mkdir(exist_ok=True)
    sandbox = Sandbox(config(tmp_path, seed=seed, faults=parse_options(options)))
    await sandbox.open()
    try:
        await sandbox.keeper.start(4, scenario, 1)
        sandbox.clock.advance(30 * 24 * HOUR)
        await sandbox.keeper.play_due()
        made = FaultyCopies(seed, sandbox.faults)
        records = await sandbox.store.read(lambda tx: tx.journal.after(0, 1_000))
        return await sandbox.store.read(lambda tx: [list(made(tx, r, DESTINATION)) for r in records])
    finally:
        await sandbox.close()


def forms(found: Sequence[Sequence[Copy]]) -> Counter[tuple[str, ...]]:
    return Counter(tuple(copy.form for copy in each) for each in found)


async def test_without_faults_there_is_one_copy_at_once(tmp_path: Path) -> None:
    assert all(each == [Copy()] for each in await copies(tmp_path))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["drop"], ()),
        (["duplicate", "duplicate-count=3"], ("", "", "")),
        (["both-roads"], ("", "bridge")),
        (["two-subscriptions"], ("", "second")),
        (["oversize"], ("", "oversize")),
        (["data-empty"], ("empty",)),
        (["clock-skew"], ("skew",)),
        (["wrong-credentials"], ("wrong-credentials",)),
        (
            ["data-empty", "two-subscriptions", "wrong-credentials"],
            ("empty,wrong-credentials", "empty,second"),
        ),
    ],
)
async def test_each_fault_makes_its_copies(
    tmp_path: Path, options: list[str], expected: tuple[str, ...]
) -> None:
    assert set(forms(await copies(tmp_path, *options))) == {expected}


async def test_only_a_type_that_was_renamed_comes_under_its_former_name(tmp_path: Path) -> None:
    found = forms(await copies(tmp_path, "legacy-names"))
    assert set(found) == {("",), ("", "legacy")}


async def test_a_rate_hits_a_part_and_the_seed_says_which(tmp_path: Path) -> None:
    one = await copies(tmp_path / "one", "duplicate=0.4")
    assert {len(each) for each in one} == {1, 2}
    assert one == await copies(tmp_path / "again", "duplicate=0.4")
    # Another fault beside it hits others, and changes nothing about these.
    both = await copies(tmp_path / "both", "duplicate=0.4", "data-empty=0.4")
    assert [len(each) for each in both] == [len(each) for each in one]


async def test_what_is_held_back_and_what_is_delayed(tmp_path: Path) -> None:
    held = await copies(tmp_path / "held", "reorder", "reorder-within=10s")
    assert all(0 <= copy.delay < 10 * SECOND for (copy,) in held)
    assert len({copy.delay for (copy,) in held}) > 2
    late = await copies(tmp_path / "late", "delay=2h", "delay-types=DELIVERY_COMPLETED")
    assert Counter(copy.delay for (copy,) in late)[2 * HOUR] == 4
    assert {copy.delay for (copy,) in late} == {0, 2 * HOUR}


async def test_a_scenarios_own_faults_hit_its_orders_alone_milestones_too(tmp_path: Path) -> None:
    sandbox = Sandbox(config(tmp_path))
    await sandbox.open()
    (plain,) = await sandbox.keeper.start(1, "happy-path")
    await sandbox.keeper.start(1, "five-copies")
    sandbox.clock.advance(10 * 24 * HOUR)
    await sandbox.keeper.play_due()
    made = FaultyCopies(7, sandbox.faults)
    records = await sandbox.store.read(lambda tx: tx.journal.after(0, 1_000))
    counts = await sandbox.store.read(lambda tx: Counter(len(made(tx, r, DESTINATION)) for r in records))
    await sandbox.close()
    assert plain
    assert counts == {1: 7, 5: 7}


# ── Wrong credentials ──────────────────────────────────────────────────────────────────────────────────────


class Noting:
    """A sender that notes with which authentication it was asked to send what."""

    batch = 10

    def __init__(self) -> None:
        self.sent: list[tuple[str, object]] = []

    async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
        settings = msgspec.json.decode(destination.settings)
        self.sent += [(parcel.message.id, settings["auth"]) for parcel in parcels]
        return [Outcome(200, response=parcel.message.id) for parcel in parcels]


def parcel(id: str, form: str, tries: int = 0) -> Parcel:
    return Parcel(Message(id, "d", 1, "pending", tries, Instant(0), form=form), b"{}")


async def test_only_the_first_attempt_carries_wrong_credentials() -> None:
    good = {"basicAuthConfig": {"username": "u", "password": "p"}}
    destination = Destination("d", "webhook", msgspec.json.encode({"url": "http://h/", "auth": good}))
    noting = Noting()
    sender = FaultySender(noting)
    given = [parcel("a", ""), parcel("b", "empty,wrong-credentials"), parcel("c", "wrong-credentials", 1)]
    outcomes = await sender.send(destination, given)
    assert [outcome.response for outcome in outcomes] == ["a", "b", "c"]
    used = dict(noting.sent)
    assert used["a"] == used["c"] == good
    assert used["b"] != good
    (one,) = await sender.send(destination, [given[1]])
    assert one.response == "b"
    assert sender.batch == 10


# ── Requests ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_rates_hit_a_part_of_the_requests() -> None:
    requests = RequestFaults(1, ActiveFaults(Faults(throttling_rate=0.5)))
    assert {(await requests.of_query()).throttling for _ in range(50)} == {True, False}
    failing = RequestFaults(1, ActiveFaults(Faults(server_error_rate=0.5)))
    failed = 0
    for _ in range(50):
        try:
            await failing.of_query()
        except UpstreamUnavailable:
            failed += 1
    assert 0 < failed < 50


async def test_an_order_query_may_be_ahead_and_then_says_what_will_be(tmp_path: Path) -> None:
    sandbox = Sandbox(config(tmp_path, faults=parse_options(["order-ahead=10d"])))
    await sandbox.open()
    asking = Asking(sandbox)
    (order_id,) = await sandbox.keeper.start(1, "happy-path")
    assert (await asking.order(order_id))["packageInformation"]["summary"]["state"] == "DELIVERED"
    world = await sandbox.keeper.order(order_id, None)
    assert world is not None
    assert world.order["packageInformation"]["summary"]["state"] == "PENDING"
    await asking.close()
    await sandbox.close()
