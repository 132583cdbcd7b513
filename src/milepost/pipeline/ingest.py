"""The acknowledgement path after authentication: decode, append once, and keep what cannot be read.

Every road ends here (webhook, API destination, queue). When `ingest` returns, the event is durable and may be
acknowledged; when it raises, the error says whether the body was kept:

- `Malformed`, `UnboundBusinessProduct`: kept in quarantine with the reason, durably, before they are raised;
- `StoreUnavailable`: nothing was kept, the sender must try again.

Authentication, size limits and the limit of requests in flight belong to the transports; what the event means
belongs to the consumers behind the journal.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from milepost.domain.envelope import parse_event
from milepost.domain.errors import (
    Malformed,
    MilepostError,
    NotFound,
    StoreUnavailable,
    UnboundBusinessProduct,
)
from milepost.domain.instant import Instant
from milepost.store import Arrival, Quarantined, Receipt, Store, Transaction

REASON_LENGTH = 500
"""Characters of a reason that are kept; a reason may quote what was sent, and that may be a megabyte."""

_PENDING = Receipt("accepted", 0)


class Verifier(Protocol):
    """Proves that a body came from Buy with Prime (a request signature)."""

    async def verify(self, headers: Mapping[bytes, bytes], body: bytes) -> None:
        """Return when it did. Header names are lower case.

        Raises `Unauthenticated` when it did not, `UpstreamUnavailable` when that cannot be told now."""
        ...


class Ingest:
    """Takes authenticated bodies into the journal, or into quarantine.

    `clock` gives milliseconds UTC. `probe` is told when a body was received and when it was committed but not
    acknowledged yet, for tests that kill the hub there.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], Instant],
        *,
        probe: Callable[[str], None] = lambda point: None,
    ) -> None:
        self._append = store.append
        self._store = store
        self._clock = clock
        self._probe = probe

    async def ingest(
        self, body: bytes, business_product_ids: tuple[str, ...] = (), road: str = "webhook"
    ) -> Receipt:
        """Journal one event durably, or count it as a duplicate.

        `business_product_ids` are those that the sender's credential is bound to; empty means all. `road` is
        noted for a body that cannot be read; a readable one shows its road by its form.
        Raises `Malformed` and `UnboundBusinessProduct` (both after quarantining), `StoreUnavailable`.
        """
        received_at = self._clock()
        self._probe("after-receive")
        try:
            event = parse_event(body)
        except Malformed as error:
            await self._quarantine(body, error, received_at, road, business_product_ids)
            raise
        if business_product_ids and event.business_product_id not in business_product_ids:
            unbound = _unbound(event.business_product_id)
            await self._quarantine(body, unbound, received_at, event.road, business_product_ids)
            raise unbound
        receipts = await self._append((Arrival(event, body, received_at, event.road),))
        self._probe("after-commit")
        return receipts[0]

    async def ingest_together(
        self, bodies: Sequence[bytes], business_product_ids: tuple[str, ...] = (), road: str = "webhook"
    ) -> list[Receipt | MilepostError]:
        """`ingest` for bodies that came at once, which costs less than one by one.

        What could not be read is answered by its error, in its place, and is in quarantine; by
        `StoreUnavailable` when it could not be kept there. Raises `StoreUnavailable` when none was kept."""
        received_at = self._clock()
        self._probe("after-receive")
        outcomes: list[Receipt | MilepostError] = []
        refused: list[tuple[int, bytes, MilepostError, str]] = []
        arrivals: list[Arrival] = []
        for body in bodies:
            try:
                event = parse_event(body)
            except Malformed as error:
                refused.append((len(outcomes), body, error, road))
                outcomes.append(error)
                continue
            if business_product_ids and event.business_product_id not in business_product_ids:
                unbound = _unbound(event.business_product_id)
                refused.append((len(outcomes), body, unbound, event.road))
                outcomes.append(unbound)
                continue
            arrivals.append(Arrival(event, body, received_at, event.road))
            outcomes.append(_PENDING)
        receipts = iter(await self._append(tuple(arrivals)) if arrivals else ())
        for place, body, why, came_by in refused:
            try:
                await self._quarantine(body, why, received_at, came_by, business_product_ids)
            except StoreUnavailable as away:
                outcomes[place] = away
        self._probe("after-commit")
        return [next(receipts) if outcome is _PENDING else outcome for outcome in outcomes]

    async def quarantine(
        self,
        body: bytes,
        error: MilepostError,
        business_product_ids: tuple[str, ...] = (),
        road: str = "webhook",
    ) -> None:
        """Keep a body that its transport could not hand over as an event, with the reason, durably.

        Raises `StoreUnavailable`."""
        await self._quarantine(body, error, self._clock(), road, business_product_ids)

    async def check_store(self) -> None:
        """Return when the store takes a write, for a transport that would fetch the next event in vain otherwise.

        Raises `StoreUnavailable`."""
        await self._store.write(lambda transaction: None)

    async def release(
        self,
        id: int,
        now: Instant,
        business_product_ids: tuple[str, ...] = (),
        *,
        body: bytes | None = None,
        by: str = "",
    ) -> Receipt:
        """Ingest a quarantined body again, after a fix; again on a released one gives its receipt, nothing more.

        With `body` that is ingested in its place, as somebody mended it: the original stays in quarantine beside the
        record, with who did it (`by`).

        `business_product_ids` are those the caller may act for; empty means all. A caller bound to some may
        release only what came from senders bound to nothing beyond, and only events of those: a credential of
        one merchant must not bring in another's events by way of the quarantine.
        Raises `NotFound`, `Malformed` (still unreadable; it stays), `UnboundBusinessProduct`, `StoreUnavailable`.
        """

        def again(transaction: Transaction) -> Receipt:
            entry = transaction.journal.quarantine_entry(id)
            if entry is None or not _visible(entry, business_product_ids):
                raise NotFound(f"there is no quarantined body {id}", id=id)
            given = entry.body if body is None else body
            event = parse_event(given)
            if business_product_ids and event.business_product_id not in business_product_ids:
                raise _unbound(event.business_product_id)
            arrival = Arrival(event, given, entry.received_at, event.road)
            return transaction.journal.append_released(id, arrival, now, by)

        return await self._store.write(again)

    async def _quarantine(
        self,
        body: bytes,
        error: MilepostError,
        received_at: Instant,
        road: str,
        business_product_ids: tuple[str, ...],
    ) -> None:
        # A lone surrogate quoted from the body could not be written as text.
        reason = error.detail[:REASON_LENGTH].encode("utf-8", "replace").decode()

        def keep(transaction: Transaction) -> int:
            return transaction.journal.quarantine(
                body, error.code, reason, received_at, road, business_product_ids
            )

        await self._store.write(keep)


def _unbound(business_product_id: str) -> UnboundBusinessProduct:
    return UnboundBusinessProduct(
        f"business product {business_product_id[:200]!r} is not bound to this credential",
        business_product_id=business_product_id,
    )


def _visible(entry: Quarantined, business_product_ids: tuple[str, ...]) -> bool:
    """What was not read could be about any business product its sender was bound to, so a caller must be bound
    to all of those."""
    if not business_product_ids:
        return True
    senders = set(entry.business_product_ids)
    return bool(senders) and senders <= set(business_product_ids)
