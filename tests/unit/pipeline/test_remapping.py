"""Remapping: a new version of the mapping folds history anew, tells nobody, and live equals rebuilt all the while."""

import shutil
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.domain.history import (
    BOX,
    BP,
    ORDER,
    UPS,
    USPS,
    Arrived,
    order_answer,
    package,
    scan,
    tracker_answer,
)
from tests.unit.pipeline.projecting import clock, document, dump, forget, handler, keep, migrated, view

from milepost import sql
from milepost.domain.feed import DATASETS, Row
from milepost.domain.intent import decode
from milepost.domain.mapping import Entry, MappingChange, proposed
from milepost.pipeline import remapping
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.exporting import SOURCES
from milepost.pipeline.loaded import load_order, load_tracker
from milepost.pipeline.mapping_preview import preview
from milepost.pipeline.projector import NAME
from milepost.pipeline.rebuild import verify
from milepost.pipeline.remapping import Remapper
from milepost.store import NewRecord, Store, Transaction

DRONE = Entry("BY_DRONE", "OUT_FOR_DELIVERY")
UPS_VIEW, USPS_VIEW = f"ups/{UPS[1]}", f"usps/{USPS[1]}"
HISTORY = (
    order_answer("2025-03-01T11:00:00Z", package(BOX, "PENDING", tracker=UPS, items=[("item", "1")])),
    tracker_answer("2025-03-02T12:00:00Z", UPS, scan("ByDrone", "2025-03-02T11:00:00Z")),
    tracker_answer("2025-03-02T12:00:00Z", USPS, scan("BY_DRONE", "2025-03-02T11:00:00Z")),
)


@pytest.fixture
def template() -> Path:
    """Made outside of any loop."""
    return migrated()


@pytest.fixture
async def store(template: Path, tmp_path: Path) -> AsyncIterator[Store]:
    shutil.copy(template, tmp_path / "hub.db")
    opened = await sql.open_store(f"sqlite:///{tmp_path}/hub.db", clock=clock, owner="test")
    yield opened
    await opened.close()


async def project(store: Store, batch: int = 500) -> None:
    await Consumer(store, NAME, handler(store), clock, batch=batch).catch_up()


async def mapped(store: Store, version: int, *entries: Entry) -> None:
    """A new version, not folded yet."""
    change = MappingChange(version, entries, clock(), "ada", "The carrier said so.")
    body = msgspec.json.encode(change)
    new = NewRecord("mapping", "", "mapping", clock(), clock(), "api", body)
    await store.write(lambda tx: tx.journal.add([new]))


async def remap(store: Store) -> int:
    """Let the remapper and the projector come to the end; how many trackers were asked for."""
    await project(store)
    last = await store.read(lambda tx: tx.journal.last_position())
    remapper = Remapper(store, clock)
    while await remapper.step():
        await project(store)
    await project(store)
    records = await store.read(lambda tx: tx.journal.after(last, 1_000))
    return sum(record.kind == "remap" for record in records)


async def stage(store: Store, name: str) -> object:
    return (await document(store, "tracker", name))["stage"]


async def intents(store: Store) -> list[str]:
    records = await store.read(lambda tx: tx.journal.after(0, 1_000))
    return [decode(record.body).type for record in records if record.kind == "intent"]


async def test_scenario_27_a_dry_run_says_what_a_remap_then_does_and_nobody_is_told(store: Store) -> None:
    await keep(store, *HISTORY)
    await project(store)
    told, before = await intents(store), await dump(store)
    seen = await store.read(lambda tx: preview(tx, (), (DRONE,)))
    assert (seen.found, seen.looked) == (2, 2)
    assert seen.changed == {"tracker": 2, "delivery": 1, "order": 1}
    shown = {(change.kind, change.id): (change.before, change.after) for change in seen.examples}
    assert shown["tracker", UPS_VIEW] == (
        {"stage": "UNKNOWN", "conditions": ["UNMAPPED_CODE"]},
        {"stage": "OUT_FOR_DELIVERY", "conditions": []},
    )
    assert shown["order", ORDER][1]["state"] == "IN_TRANSIT"
    assert (await dump(store), await intents(store)) == (before, told), "a dry run leaves nothing behind"
    await mapped(store, 2, DRONE)
    assert await remap(store) == 2
    for (kind, name), (_, after) in shown.items():
        found = await document(store, kind, name)
        assert {
            key: found[key] for key in after if key in ("stage", "state", "shippedAt")
        }.items() <= after.items()
    (milestone,) = (await document(store, "tracker", UPS_VIEW))["milestones"]  # type: ignore[misc]
    assert (milestone["code"], milestone["rawCode"]) == ("OUT_FOR_DELIVERY", "ByDrone")
    assert await intents(store) == told
    captures = await store.read(lambda tx: tx.ledger.captures_of_orders([(BP, ORDER)]))
    assert not captures.get((BP, ORDER))
    assert await verify(store, handler(store), clock) == []


async def test_what_comes_afterwards_is_told_as_ever_and_makes_the_capture(store: Store) -> None:
    await keep(store, *HISTORY)
    await mapped(store, 2, DRONE)
    await remap(store)
    told = await intents(store)
    await keep(store, order_answer("2025-03-03T11:00:00Z", package(BOX, "IN_TRANSIT", tracker=UPS)))
    await project(store)
    new = (await intents(store))[len(told) :]
    assert "delivery.shipped" in new
    assert len((await store.read(lambda tx: tx.ledger.captures_of_orders([(BP, ORDER)])))[BP, ORDER]) == 1


async def test_nothing_is_written_while_there_is_nothing_to_do(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(store, *HISTORY)
    await mapped(store, 2, DRONE)
    assert await remap(store) == 2
    monkeypatch.setattr(store, "write", None)
    assert not await Remapper(store, clock).step()


async def test_of_one_carrier_alone_and_of_all_others(store: Store) -> None:
    await keep(store, *HISTORY)
    await mapped(store, 2, DRONE, Entry("BY_DRONE", "", "usps"))
    await remap(store)
    assert (await stage(store, UPS_VIEW), await stage(store, USPS_VIEW)) == ("OUT_FOR_DELIVERY", "UNKNOWN")
    usps = await document(store, "tracker", USPS_VIEW)
    assert [m["standing"] for m in usps["milestones"]] == ["setAside"]  # type: ignore[attr-defined]
    assert "UNMAPPED_CODE" not in str(usps["conditions"]), "a code that says nothing is known all the same"


async def test_an_entry_that_goes_leaves_the_code_unmapped_again(store: Store) -> None:
    await keep(store, *HISTORY)
    await mapped(store, 2, DRONE)
    await remap(store)
    await mapped(store, 3)
    assert await remap(store) == 2
    assert await stage(store, UPS_VIEW) == "UNKNOWN"


async def test_what_came_after_the_version_needs_no_remap(store: Store) -> None:
    await mapped(store, 2, DRONE)
    await keep(store, *HISTORY)
    assert await remap(store) == 0
    assert await stage(store, UPS_VIEW) == "OUT_FOR_DELIVERY"


async def test_a_remapper_begun_again_passes_what_was_seen_to(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remapping, "PAGE", 1)
    await keep(store, *HISTORY)
    await mapped(store, 2, DRONE)
    await project(store)
    assert await Remapper(store, clock).step()
    assert await verify_copy(store) == [], "half of it is right as far as it goes"
    assert await remap(store) == 1


async def verify_copy(store: Store) -> list[Any]:
    """What a rebuild would make otherwise, of what was projected."""
    await project(store)
    return list(await verify(store, handler(store), clock))


async def test_the_explanation_says_what_was_mapped(store: Store) -> None:
    await keep(store, *HISTORY)
    await mapped(store, 2, DRONE)
    await remap(store)
    loaded = await store.read(lambda tx: load_tracker(tx, BP, *UPS, explain=True))
    assert loaded is not None
    assert any("BY_DRONE, mapped to out for delivery (T10)" in entry.text for entry in loaded.tracker.trace)


# ── Any history ────────────────────────────────────────────────────────────────────────────────────────────

CODES = ("BY_DRONE", "ByBoat", "IN_TRANSIT", "DELIVERED")
MEANINGS = ("", "IN_TRANSIT", "DELIVERED", "DELAYED", "RETURN_TO_SENDER")
AT = st.integers(0, 9).map(lambda day: f"2025-03-{day + 1:02d}T12:00:00Z")
FACT = st.one_of(
    st.builds(
        lambda tracker, codes, at, seen: tracker_answer(seen, tracker, *(scan(c, at) for c in codes)),
        st.sampled_from([UPS, USPS]),
        st.lists(st.sampled_from(CODES), min_size=1, max_size=3, unique=True),
        AT,
        AT,
    ),
    st.builds(
        lambda at, state: order_answer(at, package(BOX, state, tracker=UPS)),
        AT,
        st.sampled_from(["PENDING", "IN_TRANSIT"]),
    ),
)
ENTRIES = st.dictionaries(
    st.tuples(st.sampled_from(["BY_DRONE", "BY_BOAT"]), st.sampled_from(["", "ups"])),
    st.sampled_from(MEANINGS),
    max_size=3,
)
STEP = st.one_of(
    FACT, FACT, ENTRIES, st.just("remap"), st.integers(1, 5), st.integers(1, 5), st.just("rebuild")
)
_NUMBERS = count()


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEP, min_size=6, max_size=20))
async def test_live_is_rebuilt_whatever_is_mapped_in_between(
    template: Path, tmp_path: Path, steps: list[Any]
) -> None:
    path = tmp_path / f"{next(_NUMBERS)}.db"
    shutil.copy(template, path)
    store = await sql.open_store(f"sqlite:///{path}", clock=clock, owner="test")
    try:
        await play(store, steps)
    finally:
        await store.close()


async def play(store: Store, steps: list[Any]) -> None:
    version, entries, remapper = 1, (), Remapper(store, clock)
    for step in steps:
        if isinstance(step, Arrived):
            await keep(store, step)
        elif isinstance(step, dict):
            version += 1
            entries = tuple(
                Entry(code, meaning, carrier) for (code, carrier), meaning in sorted(step.items())
            )
            await mapped(store, version, *entries)
        elif step == "remap":
            await remapper.step()
        elif step == "rebuild":
            assert await verify(store, handler(store), clock) == [], "at any moment"
            remapper = Remapper(store, clock)
        else:
            await Consumer(store, NAME, handler(store), clock, batch=step).step()
    await project(store)
    live = await dump(store)
    for batch in (1, 500):
        await forget(store)
        await project(store, batch)
        assert await dump(store) == live, f"batches of {batch}"
    await remap(store)
    assert await verify(store, handler(store), clock) == []
    newest = proposed(entries)
    for name in (UPS_VIEW, USPS_VIEW):
        found, (carrier, _, number) = await view(store, "tracker", name), name.partition("/")
        if found is not None:
            wanted = await store.read(
                lambda tx, c=carrier, n=number: load_tracker(tx, BP, c, n, mappings=newest)
            )
            assert wanted is not None
            assert msgspec.json.decode(found.document) == msgspec.json.decode(
                msgspec.json.encode(wanted.tracker.document)
            ), "everything is as the newest version says"
    order = await store.read(lambda tx: load_order(tx, BP, ORDER, mappings=newest))
    if order is not None and (found := await view(store, "order", ORDER)) is not None:
        assert found.state == order.order.state


async def exported(store: Store, dataset: str) -> list[tuple[object, object, object, object]]:
    """(position, code, what it is taken to mean, by which version) of the scans in an export."""
    source, columns = SOURCES[dataset], [column.name for column in DATASETS[dataset].columns]

    def read(tx: Transaction) -> list[Row]:
        return source.read(tx, None, 0, source.extent(tx, None)[1]).rows

    rows = [dict(zip(columns, row, strict=True)) for row in await store.read(read)]
    return [
        (row["position"], row["code"], row["mapped"], row["mappingVersion"])
        for row in rows
        if row.get("kind", "milestone") == "milestone"
    ]


async def test_exports_tell_what_a_code_meant_and_by_which_version(store: Store) -> None:
    """A fact goes by the version of its day, whether or not anybody has folded it yet; a scan of a tracker by the
    one that the tracker is folded with."""
    await keep(store, HISTORY[1])
    await mapped(store, 2, DRONE)
    await keep(store, HISTORY[2])
    facts = [(1, "BY_DRONE", None, 1), (3, "BY_DRONE", "OUT_FOR_DELIVERY", 2)]
    assert await exported(store, "facts") == facts
    await project(store)
    assert await exported(store, "facts") == facts
    assert await exported(store, "milestones") == [
        (1, "BY_DRONE", None, 1),
        (3, "OUT_FOR_DELIVERY", "OUT_FOR_DELIVERY", 2),
    ]
    assert await remap(store) == 1
    assert await exported(store, "facts") == facts
    scans = await exported(store, "milestones")
    assert [(means, version) for _, _, means, version in scans] == [("OUT_FOR_DELIVERY", 2)] * 2
