"""Partner event sources of this sandbox: which there are, whose they are, and what is associated with them.

Each EventBridge subscription has one, under a name that is unique among all subscribers (buy-with-prime.md 2.3).
It is kept as a view of kind `eventSource` whose id is the whole name, `aws.partner/buywithprime/NAME`. Every
function here works inside a transaction of the caller's. Two ways lead on from a source:

- the local bus (`local_bus`): the source is PENDING until the receiver gives it a target, a URL with its
  authentication as the connection of an API destination has it, and ACTIVE from then on;
- an EventBridge endpoint (`announcing`): `call` is what the endpoint has still to be told, with tries and the
  last error beside it; the state is then the endpoint's to say.

A source whose subscription was deleted is DELETED as long as somebody still holds on to it: a target here, or
the endpoint. Neither HTTP nor EventBridge's API is known here.
"""

import re
from collections.abc import Iterator
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.errors import Conflict, Invalid, NotFound
from milepost.domain.instant import Instant
from milepost.sandbox.events import SOURCE_PREFIX
from milepost.store import Transaction, View, ViewKind
from milepost.transports.webhook_sender import BasicAuthConfig, OAuthConfig, Pair

KIND: ViewKind = "eventSource"
LONGEST_NAME = 256
_NAME = re.compile(r"aws\.partner(/[.\-_A-Za-z0-9]+){2,}")
"""AWS's own pattern of an event source's name."""
_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]{2,12}){1,2}-[0-9]{1,2}")

State = Literal["PENDING", "ACTIVE", "DELETED"]
Call = Literal["create", "delete"]


class DestinationNameTaken(Conflict):
    """Another subscription has a partner event source of this name: it must be globally unique."""


class Target(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Where the local bus posts the events of a source: what an API destination and its connection say at AWS.

    At most one kind of authentication."""

    url: str
    basic_auth_config: BasicAuthConfig | None = None
    api_key_config: Pair | None = None
    """A header's name and its value."""
    oauth: OAuthConfig | None = msgspec.field(default=None, name="oAuthConfig")


class EventSource(Struct, frozen=True, rename="camel"):
    """One partner event source."""

    name: str
    """The whole name: what stands as `source` in its events."""
    account: str
    region: str
    target_id: str
    """Whose subscription it belongs to."""
    deleted: bool = False
    target: Target | None = None
    call: Call | None = "create"
    """What an EventBridge endpoint has still to be told of it; the local bus needs no telling."""
    tries: int = 0
    due_at: Instant = Instant(0)
    """When the endpoint is told next."""
    error: str = ""
    """Why telling it failed the last time."""

    @property
    def arn(self) -> str:
        return f"arn:aws:events:{self.region}::event-source/{self.name}"

    @property
    def state(self) -> State:
        """Its state at the local bus."""
        if self.deleted:
            return "DELETED"
        return "PENDING" if self.target is None else "ACTIVE"


def whole_name(name: str) -> str:
    """`NAME`, as a subscriber chose it, to the whole name; that stays as it is."""
    return name if name.startswith(SOURCE_PREFIX) else SOURCE_PREFIX + name


def create(tx: Transaction, name: str, account: str, region: str, target_id: str) -> EventSource:
    """A new source, PENDING. Raises `DestinationNameTaken`, or `Invalid` for what AWS would not take."""
    whole = whole_name(name)
    if not _NAME.fullmatch(whole) or len(whole) > LONGEST_NAME:
        raise Invalid(
            f"a partner event source's name has letters, digits and . - _ / only, at most {LONGEST_NAME} with "
            f"{SOURCE_PREFIX} before it",
            field="name",
        )
    if not _ACCOUNT.fullmatch(account):
        raise Invalid("an AWS account id has 12 digits", field="account")
    if not _REGION.fullmatch(region):
        raise Invalid("that is not the name of an AWS region", field="region")
    known = get(tx, whole)
    if known is not None and not (known.deleted and known.call is None):
        why = (
            "is there already"
            if not known.deleted
            else "is gone, which the EventBridge endpoint is not told yet"
        )
        raise DestinationNameTaken(f"a partner event source named {whole} {why}", name=whole)
    source = EventSource(whole, account, region, target_id)
    put(tx, source)
    return source


def remove(tx: Transaction, name: str) -> bool:
    """Its subscription was deleted: nothing comes of it any more. False when there is no such source."""
    known = get(tx, name)
    if known is None or known.deleted:
        return False
    told = known.call is None or known.tries > 0
    call: Call | None = "delete" if told else None
    put(tx, replace(known, deleted=True, call=call, tries=0, due_at=Instant(0), error=""))
    return True


def get(tx: Transaction, name: str) -> EventSource | None:
    key = (KIND, "", whole_name(name))
    view = tx.views.get([key]).get(key)
    return None if view is None else _decoded(view)


def put(tx: Transaction, source: EventSource) -> None:
    """Keep what is known of a source; one that is deleted and that nobody holds on to is forgotten."""
    if source.deleted and source.target is None and source.call is None:
        tx.views.remove([(KIND, "", source.name)])
        return
    document = msgspec.json.encode(source)
    tx.views.put([View(KIND, "", source.name, document, source.state, check_at=None)])


def page(tx: Transaction, after: tuple[int, str] | None, limit: int) -> list[tuple[int, EventSource]]:
    """Sources, oldest first, each with its number; `after` is number and name of the one before."""
    where = None if after is None else (after[0], "", after[1])
    return [(number, _decoded(view)) for number, view in tx.views.page(KIND, where, limit, None)]


def every(tx: Transaction) -> Iterator[EventSource]:
    """All of them, oldest first."""
    after = None
    while found := page(tx, after, 100):
        yield from (source for _, source in found)
        after = (found[-1][0], found[-1][1].name)


def associate(tx: Transaction, name: str, target: Target) -> EventSource:
    """From now on its events go to `target`. Raises `NotFound`, and `Conflict` for a deleted one."""
    known = _known(tx, name)
    if known.deleted:
        raise Conflict(f"the subscription of {known.name} was deleted", name=known.name)
    source = replace(known, target=target)
    put(tx, source)
    return source


def dissociate(tx: Transaction, name: str) -> EventSource:
    """Back to PENDING (a deleted one is gone then). Raises `NotFound`."""
    source = replace(_known(tx, name), target=None)
    put(tx, source)
    return source


def _known(tx: Transaction, name: str) -> EventSource:
    known = get(tx, name)
    if known is None:
        raise NotFound(f"there is no partner event source {whole_name(name)}", name=whole_name(name))
    return known


def _decoded(view: View) -> EventSource:
    return msgspec.json.decode(view.document, type=EventSource)
