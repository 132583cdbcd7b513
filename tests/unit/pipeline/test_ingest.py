"""Ingest over the real store: what is journalled, what is quarantined, and what each error promises."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milepost.domain.errors import (
    Malformed,
    NotFound,
    StoreUnavailable,
    UnboundBusinessProduct,
)
from milepost.domain.instant import Instant
from milepost.pipeline.ingest import Ingest
from milepost.sql import open_store
from milepost.store import Quarantined, Receipt, Store

NOW = Instant(1_737_376_496_000)
LATER = Instant(NOW + 60_000)


def event(n: int = 1, product: str = "bp-1", **changes: Any) -> bytes:
    document = {
        "idempotencyKey": f"key-{n}",
        "eventDescriptor": "PACKAGE_DELIVERED",
        "resources": [f"businessProduct/{product}/order/o-{n}/delivery/d-{n}"],
        "eventId": f"event-{n}",
        "apiVersion": "2024-11-01",
        "subscriptionId": "s-1",
        "eventTime": "2025-01-20T12:34:50Z",
        "data": {},
        **changes,
    }
    return json.dumps({k: v for k, v in document.items() if v is not None}).encode()


BROKEN = event(resources=["order/o-1"])


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path}/m.db", clock=lambda: NOW)
    yield opened
    await opened.close()


@pytest.fixture
def ingest(store: Store) -> Ingest:
    return Ingest(store, lambda: NOW)


async def quarantined(store: Store) -> list[Quarantined]:
    return await store.read(lambda tx: tx.journal.quarantined(0, 100, None, None))


async def test_an_event_is_journalled_once_and_its_copy_counted(store: Store, ingest: Ingest) -> None:
    first, copy = await ingest.ingest(event()), await ingest.ingest(event())

    assert first == Receipt("accepted", 1)
    assert copy == Receipt("duplicate", 1)
    record = (await store.read(lambda tx: tx.journal.records([1])))[1]
    assert (record.body, record.received_at, record.road) == (event(), NOW, "webhook")
    assert len((await store.read(lambda tx: tx.journal.arrivals([1])))[1]) == 2


async def test_the_form_of_the_document_is_its_road(store: Store, ingest: Ingest) -> None:
    document = {"version": "0", "id": "x", "detail-type": "PACKAGE_DELIVERED", "detail": json.loads(event())}
    await ingest.ingest(json.dumps(document).encode())

    assert (await store.read(lambda tx: tx.journal.records([1])))[1].road == "eventbridge"


async def test_what_cannot_be_read_is_kept_with_the_reason_before_it_is_refused(
    store: Store, ingest: Ingest
) -> None:
    with pytest.raises(Malformed) as refused:
        await ingest.ingest(BROKEN, ("bp-1", "bp-2"), "eventbridge")

    (kept,) = await quarantined(store)
    assert (kept.body, kept.code, kept.reason) == (BROKEN, "malformed_event", refused.value.detail)
    assert (kept.received_at, kept.road) == (NOW, "eventbridge")
    assert kept.business_product_ids == ("bp-1", "bp-2")


async def test_an_event_of_another_business_product_is_kept_and_refused(store: Store, ingest: Ingest) -> None:
    with pytest.raises(UnboundBusinessProduct, match="bp-3"):
        await ingest.ingest(event(product="bp-3"), ("bp-1", "bp-2"))

    (kept,) = await quarantined(store)
    assert (kept.code, kept.body) == ("unbound_business_product", event(product="bp-3"))
    assert await ingest.ingest(event(product="bp-2"), ("bp-1", "bp-2")) == Receipt("accepted", 1)
    assert (await ingest.ingest(event(product="bp-3"))).status == "accepted"


async def test_a_release_after_a_fix_moves_the_count_and_again_changes_nothing(
    store: Store, ingest: Ingest
) -> None:
    with pytest.raises(UnboundBusinessProduct):
        await ingest.ingest(event(), ("bp-2",))
    before = await store.read(lambda tx: tx.journal.counts("projector"))

    first = await ingest.release(1, LATER)
    again = await ingest.release(1, LATER)

    after = await store.read(lambda tx: tx.journal.counts("projector"))
    assert (first, again) == (Receipt("accepted", 1), Receipt("duplicate", 1))
    assert (before.events, before.quarantined) == (0, 1)
    assert (after.events, after.duplicates, after.quarantined) == (1, 0, 0)
    assert before.arrivals == after.arrivals == 1
    (entry,) = await quarantined(store)
    assert (entry.released_at, entry.position) == (LATER, 1)
    record = (await store.read(lambda tx: tx.journal.records([1])))[1]
    assert record.received_at == NOW


async def test_what_still_cannot_be_read_stays(store: Store, ingest: Ingest) -> None:
    with pytest.raises(Malformed):
        await ingest.ingest(BROKEN)

    with pytest.raises(Malformed):
        await ingest.release(1, LATER)
    with pytest.raises(NotFound):
        await ingest.release(2, LATER)
    (kept,) = await quarantined(store)
    assert kept.released_at is None


async def test_a_bound_caller_releases_only_what_is_its_own(ingest: Ingest) -> None:
    for body, sender in (
        (event(1, "bp-9"), ("bp-1",)),
        (event(2, "bp-9"), ("bp-1", "bp-2")),
        (event(3, "bp-1"), ("bp-9",)),
    ):
        with pytest.raises(UnboundBusinessProduct):
            await ingest.ingest(body, sender)

    with pytest.raises(UnboundBusinessProduct):
        await ingest.release(1, LATER, ("bp-1",))
    for entry in (2, 3):
        with pytest.raises(NotFound):
            await ingest.release(entry, LATER, ("bp-1",))
    assert (await ingest.release(1, LATER, ("bp-1", "bp-9"))).status == "accepted"


async def test_nothing_is_promised_when_nothing_can_be_kept(store: Store, ingest: Ingest) -> None:
    await store.close()

    for body, bound in ((event(), ()), (BROKEN, ()), (event(), ("bp-2",))):
        with pytest.raises(StoreUnavailable):
            await ingest.ingest(body, bound)


async def test_the_probe_stands_around_the_commit(store: Store) -> None:
    passed: list[str] = []
    await Ingest(store, lambda: NOW, probe=passed.append).ingest(event())

    assert passed == ["after-receive", "after-commit"]


async def test_a_long_reason_is_cut_and_a_lone_surrogate_in_it_is_written(
    store: Store, ingest: Ingest
) -> None:
    for text in ("x" * 100_000, "\ud800/\ud800/x"):
        with pytest.raises(Malformed):
            await ingest.ingest(event(resources=[text]))

    kept = await quarantined(store)
    assert len(kept) == 2
    assert all(len(entry.reason) <= 500 for entry in kept)


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
_FIELDS = ("idempotencyKey", "eventDescriptor", "resources", "eventId", "eventTime", "data", "detail")
_BODIES = st.one_of(
    st.binary(max_size=200),
    st.fixed_dictionaries({}, optional=dict.fromkeys(_FIELDS, _JSON)).map(lambda changes: event(**changes)),
    st.sampled_from(
        [b"", b"[" * 100_000, b'{"data":' * 300 + b"1" + b"}" * 300, b"NaN", b'{"eventId":"a","eventId":"b"}']
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(body=_BODIES)
async def test_any_body_is_journalled_or_quarantined(store: Store, ingest: Ingest, body: bytes) -> None:
    before = await store.read(lambda tx: tx.journal.counts("projector"))
    with contextlib.suppress(Malformed):
        await ingest.ingest(body)
    after = await store.read(lambda tx: tx.journal.counts("projector"))

    assert after.arrivals == before.arrivals + 1
    assert after.arrivals == after.events + after.duplicates + after.quarantined
