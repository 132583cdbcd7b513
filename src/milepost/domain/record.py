"""Records: what is journalled, under which identity, and what each is about.

A record has a position and an identity. Its kinds:

| kind       | what                                                          | `type`                        |
|------------|---------------------------------------------------------------|-------------------------------|
| event      | a Buy with Prime event, body as received                      | canonical event type          |
| conflict   | a duplicate whose `data` differs from its original's          | canonical event type          |
| snapshot   | what a query of the API answered, and when (`Snapshot`)       | order, packageTracker         |
| condition  | the sweeper raised or cleared a condition (`ConditionChange`) | the condition's code          |
| settlement | how hydration of an event ended (`Settlement`)                | noNewMilestone, gaveUp        |
| intent     | what the projector decided must be told (`intent.Intent`)     | order.updated, capture.ready… |
| note       | what somebody noted about an order (`Note`)                   | note                          |
| authorization | until when payment may be collected (`Authorization`)      | authorization                 |
| correction | what an agent knows of a tracker or a delivery (`Correction`) | correction                    |
| withdrawal | a correction counts no longer (`Withdrawal`)                  | withdrawn, expired            |
| mapping    | what carriers' codes mean from now on (`mapping.MappingChange`) | mapping                     |
| remap      | a tracker is folded anew with that (`mapping.Remap`)          | remap                         |
| erasure    | bodies about these were rewritten: they are folded anew       | erasure                       |

A record never changes, but for an erasure, which rewrites bodies in place (`redaction`) and flags them.

Intents, notes and erasures are no facts: nothing is folded from them, so they stand under subjects of their own
(`told_subject`, `noted_subject`, `erased_subject`), where no fold loads them.

Identity (design, flow 6): a record is (business product, canonical type, resources, idempotencyKey), or the
same with eventId in its place; either match makes a duplicate. The EventBridge `id` plays no part and keys are
never decoded. Each identity is kept as a 16-byte hash. A subject names what a record is about; reading all
records of a subject gives a fold its whole set of facts.
"""

from hashlib import blake2b
from typing import Any, Literal

import msgspec
from msgspec import Struct

from milepost.domain.envelope import Event, parse_event
from milepost.domain.instant import Instant
from milepost.domain.resource import Resource

Kind = Literal[
    "event",
    "conflict",
    "snapshot",
    "condition",
    "settlement",
    "intent",
    "note",
    "authorization",
    "correction",
    "withdrawal",
    "mapping",
    "remap",
    "erasure",
]
QueryName = Literal["order", "packageTracker"]


class Record(Struct, frozen=True):
    """Something journalled. Times are instants (milliseconds, UTC)."""

    position: int
    kind: Kind
    business_product_id: str
    type: str
    received_at: Instant
    """When Milepost took it in (for a snapshot: when the answer was journalled)."""
    published_at: Instant
    """An event's eventTime; a snapshot's observedAt; otherwise when it was decided."""
    road: str
    """webhook, eventbridge or replay; hydration and sweeper for what Milepost journals itself."""
    flags: tuple[str, ...]
    origin: int | None
    """Position of the record that a conflict or a settlement is about."""
    body: bytes

    def event(self) -> Event:
        """The parsed body of an event or a conflict."""
        return parse_event(self.body)


class Snapshot(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a query answered: the body of a snapshot record. `answer` is the object under the query's name,
    as the API gave it; None is a null answer (a tracker that isn't there yet)."""

    query: QueryName
    asked_at: Instant
    observed_at: Instant
    answer: dict[str, Any] | None
    order_id: str | None = None
    carrier_code: str | None = None
    tracking_number: str | None = None


class ConditionChange(Struct, frozen=True, rename="camel"):
    """The body of a condition record: `code` was raised or cleared for `subject` at `at`, seen from `evidence`."""

    subject: str
    """order/{orderId}, delivery/{deliveryId} or tracker/{carrierCode}/{trackingNumber}."""
    code: str
    raised: bool
    at: Instant
    about: tuple[str, ...]
    """The subjects whose views show it (the delivery's order, the tracker)."""
    evidence: dict[str, Any] = {}


class Settlement(Struct, frozen=True, rename="camel"):
    """The body of a settlement record: hydration of the event at `position` ended without a fitting answer."""

    position: int
    outcome: Literal["noNewMilestone", "gaveUp"]
    at: Instant
    tries: int
    reason: str
    about: tuple[str, ...]


class Note(Struct, frozen=True, rename="camel"):
    """The body of a note record: words of an agent about an order, or one delivery of it."""

    order_id: str
    text: str
    author: str
    at: Instant
    about: tuple[str, ...]
    delivery_id: str | None = None


class Authorization(Struct, frozen=True, rename="camel"):
    """The body of an authorization record: when payment of an order was authorised, and until when it may be
    collected (tracking.md 10). The newest `at` holds."""

    order_id: str
    capture_before: Instant
    at: Instant
    about: tuple[str, ...]
    authorized_at: Instant | None = None


class Correction(Struct, frozen=True, rename="camel"):
    """The body of a correction record: what an agent knows of a tracker or a delivery (T11)."""

    id: str
    subject: str
    """delivery/{deliveryId} or tracker/{carrierCode}/{trackingNumber}."""
    order_id: str
    state: str
    """A delivery's state or a tracker's stage, one of those that `correction` allows."""
    occurred_at: str
    """Since when it is so, as ISO 8601 as the agent wrote it: its local day and zone count."""
    at: Instant
    """When it was told."""
    author: str
    reason: str
    about: tuple[str, ...]
    """The subjects whose views show it: the order, and the tracker where it is one's."""
    expires_at: Instant | None = None


class Withdrawal(Struct, frozen=True, rename="camel"):
    """The body of a withdrawal record: from here on a correction counts no longer, as if it had not been told."""

    correction: str
    """The correction's id."""
    outcome: Literal["withdrawn", "expired"]
    at: Instant
    author: str
    about: tuple[str, ...]
    """As the correction's."""
    reason: str = ""


class Erased(Struct, frozen=True, rename="camel"):
    """The body of an erasure record. It names subjects alone."""

    erasure: str
    """The erasure's id; empty for trackers that were heard of after it."""
    about: tuple[str, ...]
    """`erased_subject` of everything that is folded anew."""


class _About(Struct):
    """What every body that Milepost writes itself says of what it is about."""

    about: tuple[str, ...] = ()


_decode_about = msgspec.json.Decoder(_About).decode


def told_subject(subject: str) -> str:
    """Where the intents about an order or a tracker stand: not among its facts."""
    return f"told/{subject}"


def noted_subject(subject: str) -> str:
    """Where the notes about an order stand: not among its facts."""
    return f"noted/{subject}"


def erased_subject(subject: str) -> str:
    """Where the erasures of an order or a tracker stand: not among its facts."""
    return f"erased/{subject}"


def beside_facts(subject: str) -> str | None:
    """The order or tracker that intents, notes or erasures under this subject are about; None for any other."""
    kind, _, about = subject.partition("/")
    return about if kind in ("told", "noted", "erased") else None


def order_subject(order_id: str) -> str:
    return f"order/{order_id}"


def tracker_subject(carrier_code: str, tracking_number: str) -> str:
    """Carrier codes are compared without case; a tracking number alone is no safe key (buy-with-prime.md 5.1)."""
    return f"tracker/{carrier_code.lower()}/{tracking_number}"


def event_subject(event_id: str) -> str:
    return f"event/{event_id}"


def key_subject(idempotency_key: str) -> str:
    return f"key/{idempotency_key}"


def delivery_subject(delivery_id: str) -> str:
    return f"delivery/{delivery_id}"


def identity_hashes(event: Event) -> tuple[bytes | None, bytes | None]:
    """(by idempotencyKey, by eventId), 16 bytes each; None where the event has no such id."""
    resources = event.resources
    texts = [str(resources[0])] if len(resources) == 1 else sorted(map(str, resources))
    stem = "\x00".join((event.business_product_id, event.type, *texts))
    by_key = by_event_id = None
    if event.idempotency_key:
        by_key = _hash(f"{stem}\x01k\x00{event.idempotency_key}")
    if event.event_id:
        by_event_id = _hash(f"{stem}\x01e\x00{event.event_id}")
    return by_key, by_event_id


def conflict_hash(original_position: int, event: Event) -> bytes:
    """A conflict is unique on (original position, hash of canonical `data`)."""
    return _hash(f"conflict\x00{original_position}\x00{canonical_data(event).decode()}")


def canonical_data(event: Event) -> bytes:
    """`data` with sorted keys and no white space: what two copies of one event are compared by."""
    return msgspec.json.encode(event.decoded_data(), order="sorted")


def _hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def subjects_of(record: Record) -> tuple[str, ...]:
    """Every subject this record is about, each once; within the record's business product.

    A record is indexed under all of them. Total: a snapshot whose answer has an unexpected shape gives the
    subjects that can be read.
    """
    found: dict[str, None] = {}
    if record.kind in ("event", "conflict"):
        _event_subjects(found, record)
    elif record.kind == "snapshot":
        _snapshot_subjects(found, record)
    else:
        found.update(dict.fromkeys(_decode_about(record.body).about))
    return tuple(found)


def _event_subjects(found: dict[str, None], record: Record) -> None:
    event = record.event()
    if event.event_id:
        found[event_subject(event.event_id)] = None
    if event.idempotency_key:
        found[key_subject(event.idempotency_key)] = None
    for resource in event.resources:
        found.update(dict.fromkeys(resource_subjects(resource)))
    order = event.decoded_data().get("order")
    orders = {resource.order_id for resource in event.resources} - {None}
    named = order.get("id") if isinstance(order, dict) else None
    if orders and not (isinstance(named, str) and named in orders):
        # `resources` holds: what `data` says of another order is no fact, so its trackers are not heard of here.
        return
    for carrier, number in trackers_in_order(order):
        found[tracker_subject(carrier, number)] = None


def resource_subjects(resource: Resource) -> tuple[str, ...]:
    """The order and the tracker that a resource names, as subjects."""
    subjects: list[str] = []
    ids = resource.ids
    if (order_id := ids.get("order")) is not None:
        subjects.append(order_subject(order_id))
    carrier, number = ids.get("carrier"), ids.get("tracker")
    if carrier is not None and number is not None:
        subjects.append(tracker_subject(carrier, number))
    return tuple(subjects)


def _snapshot_subjects(found: dict[str, None], record: Record) -> None:
    snapshot = msgspec.json.decode(record.body, type=Snapshot)
    if snapshot.order_id is not None:
        found[order_subject(snapshot.order_id)] = None
    if snapshot.carrier_code is not None and snapshot.tracking_number is not None:
        found[tracker_subject(snapshot.carrier_code, snapshot.tracking_number)] = None
    if snapshot.query == "order":
        for carrier, number in trackers_in_order(snapshot.answer):
            found[tracker_subject(carrier, number)] = None


def package_details(order: object) -> list[dict[str, Any]]:
    """`packageInformation.details` at order level and at line-item level, in union, order level first
    (design, flow 8). An element may stand at both; its id says so. Anything of another shape is passed over."""
    if not isinstance(order, dict):
        return []
    line_items = order.get("lineItems")
    holders = [order, *(line_items if isinstance(line_items, list) else ())]
    found: list[dict[str, Any]] = []
    for holder in holders:
        information = holder.get("packageInformation") if isinstance(holder, dict) else None
        details = information.get("details") if isinstance(information, dict) else None
        if isinstance(details, list):
            found.extend(d for d in details if isinstance(d, dict))
    return found


def trackers_in_order(order: object) -> list[tuple[str, str]]:
    """(carrierCode, trackingNumber) of every package tracker in an order object, in the order found."""
    found: dict[tuple[str, str], None] = {}
    for detail in package_details(order):
        if (key := tracker_identity(detail.get("packageTracker"))) is not None:
            found[key] = None
    return list(found)


def tracker_identity(tracker: object) -> tuple[str, str] | None:
    """(carrierCode, trackingNumber) of a `packageTracker` object, or None when it has none."""
    identifier = tracker.get("packageTrackerIdentifier") if isinstance(tracker, dict) else None
    if not isinstance(identifier, dict):
        return None
    carrier, number = identifier.get("carrierCode"), identifier.get("trackingNumber")
    if isinstance(carrier, str) and isinstance(number, str) and carrier and number:
        return carrier, number
    return None
