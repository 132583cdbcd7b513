"""Notifications, and what people chose about them, as every store has them. Histories: no rebuild touches them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from milepost.domain.instant import Instant
from milepost.domain.notification import Notification, NotificationState


class Notifications(Protocol):
    def add(self, notifications: Sequence[Notification]) -> int:
        """Insert those whose id is not there yet, and leave the others as they are; how many were new."""
        ...

    def put(self, notifications: Sequence[Notification]) -> None:
        """Replace what is there under these ids."""
        ...

    def get(self, ids: Collection[str]) -> dict[str, Notification]: ...

    def due(self, now: Instant, limit: int) -> list[Notification]:
        """Those that are WAITING and due, and those that are SENDING and whose lease ran out, longest due first."""
        ...

    def next_due(self) -> Instant | None:
        """When the next of them is due, or its lease runs out."""
        ...

    def of_orders(self, orders: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Notification]]:
        """By (business product, order id), in the order in which they were decided."""
        ...

    def page(
        self,
        after: int,
        limit: int,
        business_products: Collection[str] | None,
        states: Collection[NotificationState] = (),
    ) -> list[tuple[int, Notification]]:
        """Notifications of these states (none named: all) with a number above `after`, lowest first."""
        ...

    def extent(self, business_products: Collection[str] | None) -> tuple[int, int]:
        """(how many there are, the highest number or 0)."""
        ...

    def count(self) -> dict[str, int]:
        """How many, by state."""
        ...

    def suppressed(self) -> dict[int, int]:
        """How many are SUPPRESSED, by the number of the rule that did it."""
        ...

    def health(self, business_products: Collection[str] | None) -> tuple[dict[str, int], dict[int, int], int]:
        """(how many by state, how many SUPPRESSED by rule, how many orders any was decided for)."""
        ...

    def choices(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        """What people chose, by (business product, recipient id); JSON that `domain.contact` understands."""
        ...

    def choose(self, choices: Mapping[tuple[str, str], bytes]) -> None:
        """From now on this holds. An empty document forgets."""
        ...

    def choice_page(
        self, after: tuple[str, str], limit: int, business_products: Collection[str] | None
    ) -> list[tuple[tuple[str, str], bytes]]:
        """Choices with a key above `after`, lowest first."""
        ...
