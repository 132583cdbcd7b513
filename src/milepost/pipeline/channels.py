"""What the notifier and its channels tell each other. No behaviour lives here.

A transport implements `Channel`. What one answers decides whether a shopper may get something twice, so it says what
it knows for sure and what it does not.
"""

from typing import Literal, Protocol

from msgspec import Struct

from milepost.domain.instant import Instant
from milepost.domain.notification import Channel as ChannelName
from milepost.domain.notification import Notification
from milepost.shopper.composing import Composed

Result = Literal["sent", "again", "refused", "unknown"]


class Outcome(Struct, frozen=True):
    """What came of sending.

    `sent`: it was taken. `again`: it was certainly not taken, and another try may go better. `refused`: it was
    certainly not taken, and never will be. `unknown`: it may have been taken or not."""

    result: Result
    detail: str = ""
    """For people, and kept: never an address, nor what a server said of one."""
    retry_after: Instant | None = None
    """Not before this, for `again`."""
    is_out: bool = False
    """The channel itself did not work, whatever was to be sent: what comes next would fare no better now."""
    is_nobody: bool = False
    """There is certainly no such mailbox: nothing is to be sent there any more."""


class Channel(Protocol):
    """A way to a shopper. Answers within a deadline of its own and never raises."""

    @property
    def name(self) -> ChannelName: ...

    async def send(
        self, notification: Notification, composed: Composed, address: str, unsubscribe: str | None
    ) -> Outcome:
        """Send it once. `address` is the shopper's as it stands in the order; `unsubscribe` a link, if there is
        one. The notification's id is the same at every try, so that a receiver can tell a copy."""
        ...
