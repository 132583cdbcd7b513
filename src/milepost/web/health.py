"""`/healthz`, `/readyz` and `/metrics`: whether the process lives, whether it can do its work, and its numbers.

The numbers come from one read of the store, so the laws between them hold at every scrape (event-delivery.md,
bar 37): arrivals = events + duplicates + quarantined, and records = folded + pending.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence

import structlog
from litestar import Response, get
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from msgspec import Struct
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from milepost.domain.errors import Forbidden, StoreUnavailable
from milepost.domain.instant import Instant
from milepost.domain.roads import Measured, RoadUse
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.store import Counts, Store, Transaction
from milepost.web.authentication import PUBLIC, Caller
from milepost.web.context import Context, Hub
from milepost.web.documents import Document
from milepost.web.missing import Looked, metrics_of
from milepost.web.missing import look as look_for_missing
from milepost.web.problems import problems
from milepost.web.roads import look

STORE_ANSWERS_WITHIN_S = 3.0
"""A store that takes longer for an empty commit is not ready."""

PROBE_EVERY_MS = 1_000
"""Anybody may ask, so the store is written to no more often than this for it."""

MISSING_EVERY_MS = 5 * 60_000
"""What is missing changes slowly and is read from many records: a scrape in between tells what the last one found."""

COUNTED_EVERY_MS = 60_000
"""All messages and notifications there ever were are counted: a scrape in between tells what the last one found."""

READINESS = "readiness"
"""The checkpoint that a readiness probe writes, to see that the database takes writes."""

log = structlog.get_logger()


class Health(Document):
    status: str
    version: str


class Readiness(Document):
    """Whether the hub can take and process events, and which part can't."""

    ready: bool
    store: str
    """ok, or why it takes no writes."""
    consumers: dict[str, object]
    """`parts` says of each whether this hub leads it or stands by, and who leads."""


@get("/healthz", summary="Is the process alive?", tags=["Health"], opt=PUBLIC)
async def healthz(context: Hub) -> Health:
    """200 as long as the process answers."""
    return Health("ok", context.version)


@get(
    "/readyz",
    summary="Can it do its work?",
    tags=["Health"],
    opt=PUBLIC,
    responses={503: ResponseSpec(Readiness, description="Not ready.", generate_examples=False)},
)
async def readyz(context: Hub, state: State) -> Response[Readiness]:
    """200 when the store takes writes and the consumers move, otherwise 503. A hub that stands by, since another
    one on its database has the lease, is ready."""
    now, known = context.clock(), state.get("store_state")
    if known is None or not 0 <= now - known[0] < PROBE_EVERY_MS:
        known = state.store_state = now, await _store_state(context)
    store = known[1]
    moving, consumers = context.ready()
    ready = moving and store == "ok" and not context.closing.is_set()
    return Response(Readiness(ready, store, consumers), status_code=200 if ready else 503)


async def _store_state(context: Context) -> str:
    def write(tx: Transaction) -> None:
        tx.journal.set_checkpoint(READINESS, context.clock())

    try:
        async with asyncio.timeout(STORE_ANSWERS_WITHIN_S):
            await context.store.write(write)
    except StoreUnavailable as e:
        return e.code
    except TimeoutError:
        return "timeout"
    return "ok"


class _Numbers(Struct):
    counts: Counts
    asks: dict[str, int]
    messages: dict[str, int]
    captures: dict[str, int]
    notifications: dict[str, int]
    suppressed: dict[int, int]
    notifications_due: Instant | None
    roads: Measured
    missing: Looked


class _Collector(Collector):
    """One scrape's numbers, already read."""

    def __init__(
        self,
        numbers: _Numbers,
        counters: Mapping[str, int],
        leases: Mapping[str, bool],
        version: str,
        now: Instant,
    ) -> None:
        self._numbers = numbers
        self._now = now
        self._counters = counters
        self._leases = leases
        self._version = version

    def collect(self) -> Iterator[Metric]:
        counts = self._numbers.counts
        for name, text, value in (
            ("arrivals", "Authenticated arrivals: events + duplicates + quarantined.", counts.arrivals),
            ("events", "Events journalled.", counts.events),
            (
                "duplicates",
                "Arrivals of events that were journalled already, conflicts among them.",
                counts.duplicates,
            ),
            ("conflicts", "Duplicates whose data differed from their original's.", counts.conflicts),
            ("records", "Records journalled, of every kind: folded + pending.", counts.records),
            ("removed", "Records that retention took away.", counts.removed),
            ("folded", "Records the projector has processed, failed folds among them.", counts.folded),
        ):
            yield CounterMetricFamily(f"milepost_{name}", text, value)
        for name, text, value in (
            ("quarantined", "Arrivals now in quarantine.", counts.quarantined),
            ("dismissed", "Of those, about which nothing is to be done.", counts.dismissed),
            ("pending", "Records that the projector has not processed yet.", counts.pending),
            ("failed_folds", "Records or subjects that a consumer could not process.", counts.failed_folds),
            ("last_position", "The journal's last position.", counts.last_position),
        ):
            yield GaugeMetricFamily(f"milepost_{name}", text, value)
        yield _by_state(
            "hydration_asks", "Questions to the Buy with Prime API, by state.", self._numbers.asks
        )
        yield _by_state("messages", "Messages to destinations, by state.", self._numbers.messages)
        yield _by_state("captures", "Payments that may be collected, by state.", self._numbers.captures)
        yield _by_state("notifications", "Messages to shoppers, by state.", self._numbers.notifications)
        suppressed = GaugeMetricFamily(
            "milepost_notifications_suppressed",
            "Messages to shoppers that were not sent, by the rule that did it.",
            labels=["rule"],
        )
        for rule, count in sorted(self._numbers.suppressed.items()):
            suppressed.add_metric([str(rule)], count)
        yield suppressed
        yield _behind(self._numbers.notifications_due, self._now)
        yield from _roads(self._numbers.roads.roads)
        yield from metrics_of(self._numbers.missing)
        process = CounterMetricFamily(
            "milepost_process", "Counts since this process started.", labels=["name"]
        )
        for name, value in sorted(self._counters.items()):
            process.add_metric([name], value)
        yield process
        held = GaugeMetricFamily(
            "milepost_lease_held", "1 while this process does what only one hub may do.", labels=["name"]
        )
        for name, is_held in sorted(self._leases.items()):
            held.add_metric([name], is_held)
        yield held
        build = GaugeMetricFamily(
            "milepost_build_info", "1, with the version as a label.", labels=["version"]
        )
        build.add_metric([self._version], 1)
        yield build


def _counted(last: tuple[Store, Instant, _Numbers] | None, store: Store, now: Instant) -> _Numbers | None:
    """What was counted in this store of late; None when that is too long ago."""
    if last is None or last[0] is not store or not 0 <= now - last[1] < COUNTED_EVERY_MS:
        return None
    return last[2]


def _by_state(name: str, text: str, counts: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(f"milepost_{name}", text, labels=["state"])
    for state, count in sorted(counts.items()):
        family.add_metric([state], count)
    return family


def _behind(due: Instant | None, now: Instant) -> Metric:
    """How late the notifier is."""
    return GaugeMetricFamily(
        "milepost_notifications_behind_seconds",
        "For how long the notification that is due longest has been; 0 when none is.",
        0 if due is None else max(0, now - due) / 1_000,
    )


def _roads(roads: Sequence[RoadUse]) -> Iterator[Metric]:
    for name, text, values in (
        ("arrivals", "Of the newest arrivals, those by this road.", [r.arrivals for r in roads]),
        ("first", "Of the newest events, those that this road brought first.", [r.first for r in roads]),
        (
            "expected",
            "Of the newest events, those that this road should have brought.",
            [r.expected for r in roads],
        ),
        ("missed", "Of those expected, the ones that this road did not bring.", [r.missed for r in roads]),
        ("crossings", "Events whose lag on this road was measured.", [r.behind.n for r in roads]),
    ):
        family = GaugeMetricFamily(f"milepost_road_{name}", text, labels=["road"])
        for road, value in zip(roads, values, strict=True):
            family.add_metric([road.road], value)
        yield family
    lag = GaugeMetricFamily(
        "milepost_road_lag_seconds",
        "How far this road was behind the first, over its newest crossings.",
        labels=["road", "quantile"],
    )
    last = GaugeMetricFamily(
        "milepost_road_last_arrival_timestamp_seconds",
        "When this road last brought an event.",
        labels=["road"],
    )
    for road in roads:
        behind = road.behind
        for quantile, value_ms in (("0.5", behind.p50_ms), ("0.9", behind.p90_ms), ("0.99", behind.p99_ms)):
            if value_ms is not None:
                lag.add_metric([road.road, quantile], value_ms / 1_000)
        if road.last_at is not None:
            last.add_metric([road.road], road.last_at / 1_000)
    yield lag
    yield last


@get(
    "/metrics",
    summary="The hub's numbers, for Prometheus",
    tags=["Health"],
    media_type="text/plain",
    responses=problems(),
)
async def metrics(context: Hub, caller: Caller, state: State) -> Response[bytes]:
    """Prometheus text. They count all business products, so a key that is bound to some is refused."""
    if caller.business_products is not None:
        raise Forbidden("The numbers are of all business products; this key is bound to some.")

    now, known = context.clock(), state.get("missing")
    kept: Looked | None = known[1] if known and 0 <= now - known[0] < MISSING_EVERY_MS else None
    counted = _counted(state.get("counted"), context.store, now)

    def read(tx: Transaction) -> _Numbers:
        missing = kept or look_for_missing(tx, None, now)
        return _Numbers(
            tx.journal.counts(PROJECTOR),
            tx.work.count(),
            tx.attempts.count() if counted is None else counted.messages,
            tx.ledger.count_captures(),
            tx.notifications.count() if counted is None else counted.notifications,
            tx.notifications.suppressed() if counted is None else counted.suppressed,
            tx.notifications.next_due(),
            look(tx, None, now).measured,
            missing,
        )

    numbers = await context.store.read(read)
    if kept is None:
        state.missing = now, numbers.missing
    if counted is None:
        state.counted = context.store, now, numbers
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(numbers, context.counters(), context.leases(), context.version, now))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


HANDLERS = [healthz, readyz, metrics]
