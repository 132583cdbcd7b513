"""What the read side needs of the program around it: the store, a clock, and a few things it can ask for.

The hub builds one `Context` and passes it to `app.create_app`. Nothing here opens, starts or closes anything.
"""

import asyncio
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from litestar.di import NamedDependency
from litestar.params import SkipValidation
from msgspec import Struct

from milepost.domain.condition import Policy
from milepost.domain.instant import Instant
from milepost.domain.notification import KINDS
from milepost.pipeline.eraser import Eraser
from milepost.pipeline.insights import Insights
from milepost.pipeline.retention import Retention
from milepost.shopper.composing import Brand
from milepost.store import Receipt, Store
from milepost.web.allowance import Lookups


class Ingest(Protocol):
    """The part of the acknowledgement path that an operator may call."""

    async def release(
        self,
        id: int,
        now: Instant,
        business_product_ids: tuple[str, ...] = (),
        *,
        body: bytes | None = None,
        by: str = "",
    ) -> Receipt:
        """Ingest a quarantined body again, or `body` in its place, for a caller bound to these business products
        (empty: to all).

        Raises `NotFound`, `Malformed` while it still can't be read, `UnboundBusinessProduct`."""
        ...


class Hydrator(Protocol):
    """The part of hydration that an operator may call."""

    async def retry(self, business_product_id: str, target: str) -> object:
        """Ask again now, whether the ask is open or was given up."""
        ...

    async def ask(self, wanted: Mapping[tuple[str, str], str]) -> int:
        """Ask about these (business product, subject) now, asked before or not; the values are carrier codes."""
        ...


def _no_counters() -> Mapping[str, int]:
    return {}


def _no_leases() -> Mapping[str, bool]:
    return {}


def _nothing() -> None:
    pass


def _anywhere(url: str) -> bool:
    return True


def _ready() -> tuple[bool, dict[str, object]]:
    return True, {}


class Shop(Struct, frozen=True):
    """What shoppers meet when they are told of their orders."""

    brand: Brand = Brand("Your shop", None, "#2457a6", None, None)
    locale: str = "en"
    """When nobody chose another."""
    kinds: tuple[str, ...] = KINDS
    """Kinds of notifications that are switched on."""
    lookup: bool = True
    """Whether a shopper finds an order by its number and an email address."""


@dataclass(frozen=True)
class Context:
    """What the hub hands to the web floor."""

    store: Store
    clock: Callable[[], Instant]
    ingest: Ingest
    version: str
    insights: Insights
    """Numbers over many parcels."""
    hydrator: Hydrator | None = None
    """None when no Buy with Prime API is configured."""
    hydration_budget: Callable[[], tuple[int, int]] | None = None
    """(queries asked of the API within the last minute, how many may be), of this process."""
    answered_in_part: Callable[[], Mapping[str, str]] = dict
    """Queries that this process asks in a smaller form, or that are answered in part, each with the reason."""
    retention: Retention | None = None
    """Over the plain store; None in a program that removes nothing."""
    policy: Policy = field(default_factory=Policy)
    """The limits of the conditions."""
    admin_key: str | None = None
    """The setting API_KEY: scope admin, every business product."""
    insecure: bool = False
    """Without `admin_key`, requests from this machine need no key. For a laptop."""
    counters: Callable[[], Mapping[str, int]] = _no_counters
    """Counts of this process by name (the acknowledgement path, the hydrator), for `/metrics`."""
    ready: Callable[[], tuple[bool, dict[str, object]]] = _ready
    """Whether the consumers move, and what to tell of it; no secrets, since `/readyz` needs no key."""
    leases: Callable[[], Mapping[str, bool]] = _no_leases
    """Each piece of work that only one hub does at a time, and whether this one does, for `/metrics`."""
    may_reach: Callable[[str], bool] = _anywhere
    """Whether a URL may be sent to, by what it says of its address."""
    disable_after_days: float = 5.0
    """Days of nothing but failures after which a subscriber is disabled; 0: never."""
    tracking_secrets: tuple[str, ...] = ()
    """What signs links to an order's status, the newest first; empty: there are no such links."""
    published: Callable[[], None] = _nothing
    """To be called after a write that changed destinations, messages or replays, so that the publisher looks now."""
    shop: Shop = field(default_factory=Shop)
    lookups: Lookups = field(default_factory=Lookups)
    """What shoppers may still look up."""
    notifying: bool = False
    """Whether shoppers are told."""
    notified: Callable[[], None] = _nothing
    """To be called after a write that made a notification due, so that the notifier looks now."""
    eraser: Eraser | None = None
    """To be nudged after a write that asked for an erasure; None in a program that erases nothing."""
    public_url: str | None = None
    """Under which address others reach this hub; with https, cookies are for https only."""
    proxies: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] = ()
    """Whose `X-Forwarded-For` is believed."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set before the server stops, so that streams end; a server waits for its open responses first."""
    heartbeat_s: float = 15.0
    """A stream with nothing to say sends a comment this often, in seconds."""
    fold_wait_s: float = 2.0
    """The longest that a form's answer waits for what the form wrote to be folded, in seconds."""


Hub = NamedDependency[SkipValidation[Context]]
"""The context as a handler's parameter `context`."""
