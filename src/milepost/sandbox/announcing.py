"""Telling an EventBridge endpoint which event sources there are, as Buy with Prime tells AWS.

When a subscription is made, CreatePartnerEventSource is called; when it is deleted, DeletePartnerEventSource.
A call that failed is visible at its source and made again on the publisher's schedule, at its last pace until it
succeeds: a source that the endpoint does not know takes no events. A call is counted before it is made, so that
a subscription deleted meanwhile, or after a crash, is taken back at the endpoint too; both calls may be repeated.
Which state a source is in, the endpoint says.

Sending the events is `transports.eventbridge`'s; what is kept of a source is `event_sources`'.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog
from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.errors import StoreUnavailable
from milepost.domain.instant import SECOND, Instant
from milepost.domain.retry import STANDARD, Schedule, next_due
from milepost.pipeline.waiting import Wait
from milepost.sandbox import event_sources
from milepost.sandbox.event_sources import EventSource
from milepost.store import Store, Transaction
from milepost.transports.eventbridge import Answer, EventBridgeClient

STATES = ("PENDING", "ACTIVE", "DELETED")

log = structlog.get_logger()


class Seen(Struct, frozen=True):
    """What the endpoint says of a source: its state, or why it said none."""

    state: str | None
    error: str = ""


class Announcer:
    """Makes the open calls of event sources at one endpoint. Times are `clock`'s; `wait` waits by it."""

    def __init__(
        self,
        store: Store,
        client: EventBridgeClient,
        clock: Callable[[], Instant],
        *,
        wait: Wait,
        random: Callable[[], float],
        schedule: Schedule = STANDARD,
        look_again: int = SECOND,
    ) -> None:
        """`look_again` (milliseconds of the clock) is the longest that a new source waits without `notify`."""
        self._store = store
        self._client = client
        self._clock = clock
        self._wait = wait
        self._random = random
        self._schedule = schedule
        self._look_again = look_again
        self._wake = asyncio.Event()

    def notify(self) -> None:
        """Look for open calls now: a source was made or removed."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Make the calls that are due until `stop` is set."""
        watcher = asyncio.create_task(self._wake_on(stop))
        try:
            while not stop.is_set():
                self._wake.clear()
                try:
                    if await self.announce_due():
                        continue
                except StoreUnavailable as e:
                    log.warning("sandbox.announcer_store_unavailable", error=e.detail)
                await self._wait(Instant(self._clock() + self._look_again), self._wake)
        finally:
            watcher.cancel()

    async def announce_due(self) -> int:
        """Make every call that is due, and say how many those were."""
        now = self._clock()
        due = await self._store.write(lambda tx: _taken(tx, now))
        for source in due:
            answer = await self._call(source)
            await self._store.write(lambda tx, source=source, answer=answer: self._keep(tx, source, answer))  # type: ignore[misc]
        return len(due)

    async def states(self, sources: Sequence[EventSource]) -> list[Seen]:
        """The endpoint's state of each; of one it was not told of yet, that telling it is still to come."""
        return await asyncio.gather(*map(self._seen, sources))

    async def _wake_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    async def _call(self, source: EventSource) -> Answer:
        operation = f"{source.call}_partner_event_source"
        answer = await self._client.call(source.region, operation, Name=source.name, Account=source.account)
        if source.call == "create" and answer.code == "ResourceAlreadyExistsException":
            # Ours, when an earlier call was made and its answer lost; somebody else's otherwise.
            seen = await self._seen(replace(source, call=None))
            return answer if seen.state is None else Answer({}, answer.status)
        if source.call == "delete" and answer.code == "ResourceNotFoundException":
            return Answer({}, answer.status)
        return answer

    def _keep(self, tx: Transaction, called: EventSource, answer: Answer) -> None:
        """Keep what came of a call, unless the source has changed since: then the next call says the last word."""
        known = event_sources.get(tx, called.name)
        if known is None or known.call != called.call or known.tries != called.tries:
            return
        log.info("sandbox.event_source", name=known.name, call=known.call, error=answer.error)
        if answer.value is not None:
            event_sources.put(tx, replace(known, call=None, tries=0, error=""))
            return
        # The schedule's last pace goes on: without a source nothing can ever be delivered.
        tries = min(known.tries, len(self._schedule.delays) - 1)
        due = next_due(self._schedule, tries, self._clock(), answer.retry_after, self._random)
        assert due is not None
        event_sources.put(tx, replace(known, due_at=due, error=answer.error))

    async def _seen(self, source: EventSource) -> Seen:
        if source.call == "create":
            return Seen("PENDING", source.error or "the endpoint has not been told of it yet")
        if source.call == "delete":
            return Seen("DELETED", source.error or "the endpoint has not been told so yet")
        answer = await self._client.call(
            source.region, "list_partner_event_source_accounts", EventSourceName=source.name
        )
        listed = (answer.value or {}).get("PartnerEventSourceAccounts") or ()
        for account in listed:
            if account.get("Account") == source.account and account.get("State") in STATES:
                return Seen(account["State"])
        return Seen(None, answer.error or f"the endpoint has no such source for account {source.account}")


def _taken(tx: Transaction, now: Instant) -> list[EventSource]:
    """The sources whose calls are due, each with this try counted."""
    due = [s for s in event_sources.every(tx) if s.call is not None and s.due_at <= now]
    taken = [replace(source, tries=source.tries + 1) for source in due]
    for source in taken:
        event_sources.put(tx, source)
    return taken
