"""What the publisher, its senders and those who shape its messages tell each other. No behaviour lives here.

A transport implements `Sender`; whoever publishes may say how many copies of a record there are (`Copies`) and
which bytes one is (`Render`), and keep books of some (`Ledgering`).
"""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from msgspec import Struct

from milepost.domain.attempt import Attempt, Destination, Message
from milepost.domain.record import Record
from milepost.store import Transaction

GONE = 410
"""The one status by which a destination says that it never wants this again."""

EXCERPT = 1_024
"""Bytes of an answer's body that are kept with an attempt."""


class Outcome(Struct, frozen=True):
    """What came of sending: an HTTP status, or an error in words where no answer came."""

    status: int | None
    error: str = ""
    retry_after: int | None = None
    """What the destination asked us to wait, in milliseconds."""
    duration_ms: int = 0
    reached: bool = True
    """False when the destination certainly did not get it (no connection, no token, address refused)."""
    target: str = ""
    """Where it went."""
    response: str = ""
    """The beginning of the answer's body, at most `EXCERPT` bytes."""
    ends: bool = False
    """Another attempt can be of no use (larger than the destination takes): the message has failed."""


class Parcel(Struct, frozen=True):
    """A message with the bytes to send for it."""

    message: Message
    body: bytes


class Sender(Protocol):
    """Sends parcels to their destination. Answers an `Outcome` a parcel, in their order, for whatever happens
    within its own deadline; an exception counts as an unknown outcome of each."""

    @property
    def batch(self) -> int:
        """The most parcels that one call takes."""
        ...

    async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]: ...


class Ruling(Struct, frozen=True):
    """Positions whose messages must not be sent: not now (`hold`, until somebody says `unhold`), or not at all."""

    hold: Collection[int] = ()
    drop: Collection[int] = ()
    reason: str = ""
    """Of those that are dropped."""


class Told(Struct, frozen=True):
    """An attempt that was kept, and the message afterwards: delivered, failed for good, or to be tried again."""

    attempt: Attempt
    message: Message


class Ledgering(Protocol):
    """Whoever keeps books of what is sent for certain records (captures). Both are called inside a write."""

    def concerns(self, record: Record) -> bool:
        """Whether this is such a record; called for every one, so it must cost nothing."""
        ...

    def may_send(self, tx: Transaction, records: Sequence[Record]) -> Ruling:
        """Asked right before messages about these records are sent, at every attempt."""
        ...

    def sent(self, tx: Transaction, record: Record, destination_id: str, outcome: Told) -> None:
        """An attempt to send it was made, and has been kept."""
        ...


Wants = Callable[[Destination, Record], bool]
"""Whether a record is for a destination, wherever that begins (`Destination.after` is looked at beside it). For one
that is disabled it is kept until that is enabled."""

SequenceOf = Callable[[Record], str]
"""What a record is about, for destinations that want one thing after the other; empty: in no order."""


class Copy(Struct, frozen=True):
    """One message to be made of a record: due so many milliseconds from now, and rendered in this form."""

    delay: int = 0
    form: str = ""


Copies = Callable[[Transaction, Record, Destination], Sequence[Copy]]
"""What a destination gets of a record that it wants: one copy, at once, unless a publisher is made to
misbehave. Called inside a read of the store."""

Render = Callable[[Record, Destination, Message], bytes]
"""The bytes to send. The same message is rendered the same at every attempt."""

_ONE = (Copy(),)


def one_copy(tx: Transaction, record: Record, destination: Destination) -> Sequence[Copy]:
    """A `Copies`: the usual one."""
    return _ONE


def as_journalled(record: Record, destination: Destination, message: Message) -> bytes:
    """A `Render`: the bytes of the record."""
    return record.body
