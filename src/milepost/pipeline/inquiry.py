"""One ask, asked: the query, what its answer means, and writing both down.

`Inquirer.ask` queries the API outside any transaction, judges the answer by `domain.hydration`'s rules, and in one
write journals the snapshot, the settlements of events that ended without an answer, and the ask's new state. Which
ask is due, and how many run at once, is `hydrator`'s. An ask that no event waits for is the reconciler's: it is asked
once, and its answer is kept when it says something new.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from random import Random
from typing import Any, Literal, Protocol

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.errors import (
    LeaseLost,
    StoreUnavailable,
    UpstreamDenied,
    UpstreamError,
    UpstreamNotFound,
    UpstreamRejected,
    UpstreamThrottled,
    UpstreamUnavailable,
)
from milepost.domain.fact import EventFact, Fact, SnapshotFact, fact_of
from milepost.domain.hydration import Trouble, Verdict, Waiting, fingerprint, judge, next_delay, wants
from milepost.domain.instant import Instant
from milepost.domain.record import (
    QueryName,
    Record,
    Settlement,
    Snapshot,
    order_subject,
    subjects_of,
    tracker_identity,
    tracker_subject,
)
from milepost.pipeline.circuit import Circuit
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.store import Ask, NewRecord, Store, Transaction

ROAD = "hydration"
QUERY_TIMEOUT_S = 30.0
"""The longest a client may take, a new token included; each of its requests has a shorter deadline."""

_NOT_SHOWN: dict[QueryName, str] = {
    "order": "the order does not show the claimed state and its tracker yet",
    "packageTracker": "the tracker is not there yet, or shows no new milestone",
}
_UNINDEXED = 2_000
"""Records above the projector's checkpoint that are searched for a subject. Should it lag behind further, an
answer may be judged without an earlier event: then a query more or one less is asked, and no fact is lost."""
_PROVISIONAL = 2**62
"""The position of an answer that is judged before it is journalled: above every other."""

Outcome = Literal["noNewMilestone", "gaveUp"]

Key = tuple[str, str]
"""(business product, target)."""

log = structlog.get_logger()


class ApiClient(Protocol):
    """The Buy with Prime API of one business product's credentials. Both raise `UpstreamError`s; in the context
    of one may stand `retry_after` (seconds) and `answered` (False: the API as a whole did not answer)."""

    async def order(self, order_id: str, business_product_id: str) -> dict[str, Any] | None:
        """The order object, or None when the API answers null."""
        ...

    async def package_tracker(
        self, carrier_code: str, tracking_number: str, business_product_id: str
    ) -> dict[str, Any] | None:
        """The package tracker, or None while the API has none."""
        ...


class Line(Struct, frozen=True):
    """A client and the pause that all its asks share."""

    client: ApiClient
    circuit: Circuit


class LastError(Struct, frozen=True):
    """The newest failure of a query."""

    business_product_id: str
    query: QueryName
    code: str
    detail: str
    at: Instant


class Job(Struct, frozen=True):
    """An ask that was taken, with the events that were waiting then."""

    ask: Ask
    line: Line
    waiting: tuple[Waiting, ...]
    upto: int
    """The journal's last position when it was taken: events above it were not there when it was asked."""

    @property
    def key(self) -> Key:
        return self.ask.business_product_id, self.ask.target

    @property
    def is_check(self) -> bool:
        """Whether no event waits: it is asked because nothing was heard (`reconciler`)."""
        return not self.ask.waiting

    @property
    def query(self) -> QueryName:
        return "order" if self.ask.target.startswith("order/") else "packageTracker"

    @property
    def order_id(self) -> str:
        return self.ask.target.partition("/")[2]

    @property
    def tracking_number(self) -> str:
        return self.ask.target.split("/", 2)[2]


def waiting_of(ask: Ask, records: Mapping[int, Record]) -> tuple[Waiting, ...]:
    """The events that wait for an ask, with what each wants of it."""
    found: list[Waiting] = []
    for position in ask.waiting:
        record = records.get(position)
        if record is None:
            continue
        fact = fact_of(record)
        assert isinstance(fact, EventFact)
        own = [w for w in wants(fact, record.event().resources) if w.target == ask.target]
        found.extend(Waiting(fact, want) for want in own)
    return tuple(found)


def _records_about(tx: Transaction, keys: Collection[Key]) -> dict[Key, list[Record]]:
    """All records of these targets, lowest position first, those that the projector has not indexed yet too."""
    found = {key: {r.position: r for r in rs} for key, rs in tx.journal.of_subjects(keys).items()}
    for record in tx.journal.after(tx.journal.checkpoint(PROJECTOR), _UNINDEXED):
        for subject in subjects_of(record):
            key = record.business_product_id, subject
            if key in keys:
                found.setdefault(key, {})[record.position] = record
    return {key: [r for _, r in sorted(found.get(key, {}).items())] for key in keys}


def facts_about(tx: Transaction, keys: Collection[Key]) -> dict[Key, list[Fact]]:
    """The facts of these targets; only of those that were snapshotted, since no other can be known already."""
    return {
        key: [fact_of(r) for r in records] if any(r.kind == "snapshot" for r in records) else []
        for key, records in _records_about(tx, keys).items()
    }


class Inquirer:
    """Asks the API and writes down what came of it. `counts` are this process's."""

    def __init__(
        self, store: Store, clock: Callable[[], Instant], random: Random, probe: Callable[[str], None]
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.last_error: LastError | None = None
        self._store = store
        self._clock = clock
        self._random = random
        self._probe = probe

    async def ask(self, job: Job) -> None:
        """Ask once. Raises `StoreUnavailable` when what came of it can't be written, and `LeaseLost` when it may
        not be: it will be asked again, by whoever does it then."""
        if not job.waiting and not job.is_check:
            await self._store.write(lambda tx: tx.work.done([job.key]))
            return
        # Never before an arrival that it is asked for: a clock set back must not undo what came first.
        asked_at = max([self._clock(), *(w.event.received_at for w in job.waiting)])
        try:
            answer = await self._query(job)
            job.line.circuit.answered()
            await self._settle(job, answer, asked_at)
        except (StoreUnavailable, LeaseLost):
            raise
        except UpstreamError as e:
            await self._failed(job, e)
        except Exception as e:
            log.exception("hydration.failed", query=job.query, business_product=job.ask.business_product_id)
            await self._try_later(job, "failing", f"{type(e).__name__} while reading the answer", "failed")

    async def _query(self, job: Job) -> dict[str, Any] | None:
        bp, client = job.ask.business_product_id, job.line.client
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                if job.query == "order":
                    answer = await client.order(job.order_id, bp)
                    same = answer is None or order_subject(str(answer.get("id"))) == job.ask.target
                else:
                    carrier = job.ask.carrier_code
                    answer = await client.package_tracker(carrier, job.tracking_number, bp)
                    identity = tracker_identity(answer)
                    same = identity is None or tracker_subject(*identity) == job.ask.target
        except TimeoutError as e:
            raise UpstreamUnavailable("the API did not answer in time", answered=False) from e
        if not same:
            raise UpstreamRejected(f"the API answered with another {job.query} than the one asked for")
        return answer

    # ── An answer ──────────────────────────────────────────────────────────────────────────────────────────

    async def _settle(self, job: Job, answer: dict[str, Any] | None, asked_at: Instant) -> None:
        observed_at = max(self._clock(), asked_at)
        order = job.query == "order"
        snapshot = Snapshot(
            job.query,
            asked_at,
            observed_at,
            answer,
            order_id=job.order_id if order else None,
            carrier_code=None if order else job.ask.carrier_code,
            tracking_number=None if order else job.tracking_number,
        )
        body = msgspec.json.encode(snapshot)
        bp = job.ask.business_product_id
        new = NewRecord("snapshot", bp, job.query, observed_at, observed_at, ROAD, body)
        about = (await self._store.read(lambda tx: _records_about(tx, {job.key})))[job.key]
        known = [r for r in about if r.position <= job.upto]
        mark = fingerprint(answer)
        verdict = self._judge(job, new, known, same=mark == _last_mark(job, known))
        self._probe("mid-hydration")
        result = await self._store.write(lambda tx: self._write(tx, job, new, verdict, mark))
        self._count(job, verdict, null=answer is None, gave_up=result)

    def _judge(self, job: Job, new: NewRecord, known: Iterable[Record], *, same: bool) -> Verdict:
        provisional = Record(
            _PROVISIONAL,
            "snapshot",
            new.business_product_id,
            new.type,
            new.received_at,
            new.published_at,
            ROAD,
            (),
            None,
            new.body,
        )
        snapshot = fact_of(provisional)
        assert isinstance(snapshot, SnapshotFact)
        facts = [fact_of(r) for r in known]
        facts.extend(w.event for w in job.waiting)
        ask = job.ask
        return judge(job.waiting, snapshot, facts, same=same, tries=ask.tries + 1, unchanged=ask.unchanged)

    def _write(self, tx: Transaction, job: Job, new: NewRecord, verdict: Verdict, mark: str) -> int:
        """Write an answer and what it means; returns how many events were given up."""
        current = tx.work.get([job.key]).get(job.key)
        if current is None:
            return 0
        if verdict.keep:
            tx.journal.add([new])
        reason = f"{verdict.unchanged} unchanged answers showed no new milestone"
        tx.journal.add(
            self._settlements(job, "noNewMilestone", verdict.no_new_milestone, verdict.tries, reason)
        )
        waiting = tuple(p for p in current.waiting if p in verdict.still or p not in job.ask.waiting)
        if not waiting:
            tx.work.done([job.key])
            return 0
        left = replace(current, waiting=waiting, fingerprint=mark)
        if not set(waiting) <= set(job.ask.waiting):
            # Some came while the query was under way: it was asked too early for them.
            tx.work.put([left])
            return 0
        left = replace(left, unchanged=verdict.unchanged)
        return self._later(tx, job, left, "notYet", _NOT_SHOWN[job.query])

    def _count(self, job: Job, verdict: Verdict, *, null: bool, gave_up: int) -> None:
        outcome = "null" if null else "answered" if verdict.answered else "notYet"
        if job.is_check:
            outcome = "news" if verdict.keep else "noNews"
        self.counts["coalesced"] += max(0, len(job.waiting) - 1)
        self.counts["answered"] += len(verdict.answered)
        self.counts["noNewMilestone"] += len(verdict.no_new_milestone)
        self.counts["gaveUp"] += gave_up
        self._log(job, outcome)

    # ── No answer ──────────────────────────────────────────────────────────────────────────────────────────

    async def _failed(self, job: Job, error: UpstreamError) -> None:
        circuit, now = job.line.circuit, self._clock()
        self.last_error = LastError(job.ask.business_product_id, job.query, error.code, error.detail, now)
        outage = isinstance(error, UpstreamThrottled) or error.context.get("answered") is False
        outcome = error.code.removeprefix("upstream_")
        if not outage:
            circuit.answered()
            trouble: Trouble = "failing"
            if isinstance(error, UpstreamNotFound):
                trouble = "notYet"
            elif isinstance(error, UpstreamDenied | UpstreamRejected):
                trouble = "refused"
            await self._try_later(job, trouble, error.detail, outcome)
            return
        # The API as a whole: every ask waits, and none uses up a try.
        retry_after = error.context.get("retry_after")
        until = circuit.failed(now, retry_after if isinstance(retry_after, int | float) else None)
        self._log(job, outcome)

        def write(tx: Transaction) -> None:
            current = tx.work.get([job.key]).get(job.key)
            if current is not None:
                tx.work.put([replace(current, due_at=until, error=error.detail)])

        await self._store.write(write)

    async def _try_later(self, job: Job, trouble: Trouble, error: str, outcome: str) -> None:
        def write(tx: Transaction) -> int:
            current = tx.work.get([job.key]).get(job.key)
            if current is None:
                return 0
            if current.waiting != job.ask.waiting:
                # Some came while the query was under way, and are due now.
                tx.work.put([replace(current, error=error)])
                return 0
            return self._later(tx, job, current, trouble, error)

        self.counts["gaveUp"] += await self._store.write(write)
        self._log(job, outcome)

    def _later(self, tx: Transaction, job: Job, ask: Ask, trouble: Trouble, error: str) -> int:
        """Put an ask off to its next try, or give it up; returns how many events were given up. What no event waits
        for is asked again when the reconciler wants it."""
        if not ask.waiting:
            tx.work.done([job.key])
            return 0
        now, tries = self._clock(), job.ask.tries + 1
        delay = next_delay(trouble, tries, self._random.random())
        if delay is not None:
            tx.work.put([replace(ask, due_at=Instant(now + delay), tries=tries, error=error)])
            return 0
        tx.work.put([replace(ask, state="gaveUp", due_at=now, tries=tries, error=error)])
        tx.journal.add(self._settlements(job, "gaveUp", ask.waiting, tries, error))
        return len(ask.waiting)

    def _settlements(
        self, job: Job, outcome: Outcome, positions: Iterable[int], tries: int, reason: str
    ) -> list[NewRecord]:
        now, bp, about = self._clock(), job.ask.business_product_id, (job.ask.target,)
        return [
            NewRecord(
                "settlement",
                bp,
                outcome,
                now,
                now,
                ROAD,
                msgspec.json.encode(Settlement(position, outcome, now, tries, reason, about)),
                origin=position,
            )
            for position in positions
        ]

    def _log(self, job: Job, outcome: str) -> None:
        self.counts[f"queries.{outcome}"] += 1
        log.info(
            "hydration.query",
            query=job.query,
            business_product=job.ask.business_product_id,
            outcome=outcome,
            events=len(job.waiting),
            first_position=job.waiting[0].event.position if job.waiting else None,
            tries=job.ask.tries + 1,
        )


def _last_mark(job: Job, known: Iterable[Record]) -> str:
    """The fingerprint of the last answer of this query about this target; empty when there was none."""
    if job.ask.fingerprint:
        return job.ask.fingerprint
    bodies = [r.body for r in known if r.kind == "snapshot" and r.type == job.query]
    return fingerprint(msgspec.json.decode(bodies[-1], type=Snapshot).answer) if bodies else ""
