"""Destinations, messages, attempts and breakers as every store has them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from milepost.domain.attempt import Attempt, Destination, Message, MessageState, Replay, ReplayState
from milepost.domain.breaker import Breaker
from milepost.domain.instant import Instant


class Attempts(Protocol):
    """A message of a disabled destination is never pending: whatever would make it so makes it `held`."""

    def destinations_version(self) -> tuple[int, int]:
        """Something that is another whenever any destination was put, changed or removed."""
        ...

    def put_destination(self, destination: Destination) -> None:
        """Insert or replace; its pending messages become held when it is disabled, and the other way round."""
        ...

    def destination(self, id: str) -> Destination | None: ...

    def destinations(self, after: str, limit: int) -> list[Destination]: ...

    def destinations_of(self, ids: Collection[str]) -> dict[str, Destination]: ...

    def remove_destination(self, id: str, at: Instant | None = None) -> None:
        """Forget a destination. What was held or waiting for it is dropped, its replays are cancelled and ended `at`;
        the rest is a history and stays."""
        ...

    def disable(self, id: str, reason: str) -> bool:
        """Keep its messages held, the reason beside it. False when there is no such destination."""
        ...

    def enable(self, id: str) -> bool:
        """Make its held messages pending again; that it was failing is forgotten. False when there is no such
        destination."""
        ...

    def enqueue(self, messages: Sequence[Message]) -> None:
        """Add messages; one that is there already (same id) stays as it is.

        One of a sequence with an unsettled message at a lower position (or added before it) is `waiting`."""
        ...

    def again(self, messages: Sequence[Message]) -> None:
        """As `enqueue`, for a replay under the same ids: one that is there and settled is sent again, its tries go
        on and its schedule begins anew; one that is not settled is sent anyway and stays as it is."""
        ...

    def drop(self, positions: Collection[int], reason: str) -> int:
        """Messages about these positions that are not delivered are not sent any more; how many there were.
        What waits behind them goes on."""
        ...

    def drop_outside(self, destination_id: str, business_product_ids: Collection[str], reason: str) -> int:
        """What is still to be sent to a destination is not sent any more, but for records of these business products;
        how many there were. What waits behind them goes on."""
        ...

    def hold(self, positions: Collection[int]) -> None:
        """Pending messages about these positions are held, until `unhold` or until their destination is enabled.
        What waits behind another goes on waiting, and what was settled stays so."""
        ...

    def unhold(self, positions: Collection[int]) -> None:
        """Held messages about these positions are pending again, unless their destination is disabled."""
        ...

    def claim(
        self,
        at: Instant,
        lease_until: Instant,
        limit: int,
        *,
        share: int,
        room: Mapping[str, int],
        paced: Mapping[str, int] | None = None,
    ) -> list[Message]:
        """Take due messages that nobody holds: first tries ahead of late ones, then earliest; `fence` goes up.

        A lane gives at most its `room`, or `share` where that names none; one whose breaker is open gives
        nothing, or, once its pause is over, one message as the probe, which is noted in the breaker. A destination
        with a rate gives at most what `paced` says of it, or one where that says nothing."""
        ...

    def release(self, messages: Sequence[Message]) -> None:
        """Give claimed messages back unsent; those whose fence is no longer the newest stay as they are."""
        ...

    def release_all(self) -> None:
        """Give back everything that is claimed, probes too: for whoever has the store to himself, at his start,
        since whoever held it is gone. What that one may still answer is refused as ever."""
        ...

    def record(self, results: Sequence[tuple[Attempt, Message]]) -> list[bool]:
        """Keep attempts, each with its message's new state. False, and nothing kept, where `message.fence` is
        no longer the newest. At most one result a message. Behind one that is settled for good the next of its
        sequence becomes pending. What was dropped or held meanwhile stays so, unless it was delivered.
        Destinations learn since when they have been failing, or that they don't."""
        ...

    def next_due(self, resting: Mapping[str, Instant] | None = None) -> Instant | None:
        """When the next message can be claimed: leases and breakers considered, lanes' shares not. `resting` are
        destinations that nothing more may be sent to before then."""
        ...

    def backlog(self, destination_id: str, most: int) -> int:
        """How many messages are still to be sent to a destination, counted up to `most`."""
        ...

    def breakers(self) -> dict[str, Breaker]:
        """Those that are not plain, by lane."""
        ...

    def put_breakers(self, breakers: Sequence[Breaker]) -> None: ...

    def message(self, id: str) -> Message | None: ...

    def messages(
        self,
        after: tuple[int, str] | None,
        limit: int,
        *,
        position: int | None = None,
        destination_id: str | None = None,
        state: MessageState | None = None,
    ) -> list[Message]:
        """Messages, oldest first; `after` is (position, id)."""
        ...

    def resend(self, id: str, at: Instant) -> Message | None:
        """Make a message due at once, by hand: whatever became of it, ahead of the schedule, as its endpoint's
        probe if that is left alone. A result that is still under way is dropped. None: no such message."""
        ...

    def attempts(
        self, after: tuple[int, int] | tuple[int, int, str], limit: int, message_id: str | None = None
    ) -> list[Attempt]:
        """Attempts, oldest first; `after` is (started_at, number, message id). Without the message id, those
        of other messages that began in the same millisecond are passed over too."""
        ...

    def last_attempt(self, destination_id: str) -> Attempt | None:
        """The newest attempt of whatever message to a destination."""
        ...

    def recent_attempts(self, destination_id: str, limit: int) -> list[Attempt]:
        """The newest attempts of whatever messages to a destination, newest first: those among the newest of all, or
        of its newest messages."""
        ...

    def delivered(self, ids: Collection[str]) -> set[str]:
        """Those of these messages that are delivered."""
        ...

    def unsettled(self, positions: Collection[int]) -> set[int]:
        """Those of these positions that a message is still to be sent for, or is held for."""
        ...

    def forget(self, positions: Collection[int]) -> int:
        """Remove the messages about records that are taken away, with every attempt; returns how many messages."""
        ...

    def put_replay(self, replay: Replay) -> None:
        """Insert or replace."""
        ...

    def replay(self, id: str) -> Replay | None: ...

    def replays(
        self, after: str, limit: int, *, destination_id: str | None = None, state: ReplayState | None = None
    ) -> list[Replay]:
        """Replays by id, which is by age."""
        ...

    def newest_replays(self, destination_id: str, limit: int) -> list[Replay]:
        """The newest replays to a destination, newest first."""
        ...

    def drop_replay(self, replay: Replay, reason: str) -> int:
        """What is still to be sent of a replay is not sent any more (of a backfill: everything that is still to be
        sent to its destination); how many there were. What had been delivered before is delivered again."""
        ...

    def count(self, destination_id: str | None = None, *, position: int | None = None) -> dict[str, int]:
        """Messages by state: those of one destination, those about one position, or all."""
        ...
