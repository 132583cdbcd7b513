"""`/v1/mapping`: what carriers' codes are taken to mean, as versions (T10, scenario 27).

An unknown code is kept and shown, and moves nothing; here stands which ones came, and an operator says what they
mean. The mapping is one for all business products, since a carrier's code means the same to each; so only a key that
is bound to none may change it. `describe`, `look_ahead` and `apply` are what the console's page calls too.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import structlog
from litestar import get, post
from litestar.params import JSONBody
from msgspec import Meta, Struct

from milepost.domain.errors import Conflict, Forbidden, Invalid
from milepost.domain.fact import milestone_code
from milepost.domain.instant import format_instant, parse_instant
from milepost.domain.mapping import (
    MOST_ENTRIES,
    NOTHING,
    PREFIX,
    Entry,
    MappingChange,
    Place,
    changed_entries,
    read_term,
)
from milepost.domain.milestone import KNOWN
from milepost.pipeline import mapping_preview
from milepost.pipeline.mappings import KEY, change_of
from milepost.pipeline.remapping import NAME as REMAPPING
from milepost.store import NewRecord, Transaction
from milepost.web.authentication import OPERATE, Caller
from milepost.web.context import Hub
from milepost.web.documents import Document
from milepost.web.problems import BODY_HANDLERS, problems
from milepost.web.reading import Reach

ROAD = "api"
NEWEST = "mapping"
"""The checkpoint with the position of the newest version, which the projector may not have come to yet."""
NONE = "NONE"
"""How a code that means nothing is written."""
MOST_CODES = 200
MOST_VERSIONS = 100
SAMPLE = 10

_Code = Annotated[str, Meta(min_length=1, max_length=200)]
_Name = Annotated[str, Meta(min_length=1, max_length=200)]

log = structlog.get_logger()


class EntryDocument(Document, forbid_unknown_fields=True):
    """What a code means: one of Amazon's thirteen, NONE (it is shown and says nothing), or null in a change: the
    entry goes, and the code is unmapped again."""

    code: _Code
    meaning: str | None
    carrier_code: Annotated[str, Meta(max_length=200)] | None = None
    """Null: every carrier that has no entry of its own."""


class PreviewRequest(Document, forbid_unknown_fields=True):
    """What would be set, beside what is."""

    entries: Annotated[list[EntryDocument], Meta(min_length=1, max_length=100)]


class MappingRequest(PreviewRequest, forbid_unknown_fields=True):
    """What is to be set."""

    reason: Annotated[str, Meta(min_length=1, max_length=2_000)] = ""
    author: _Name | None = None
    """The API key's id when left out."""
    version: int | None = None
    """The version that it is meant to change; 409 where another came meanwhile."""


class VersionDocument(Document):
    version: int
    at: str | None
    """Null for version 1, which Milepost brought."""
    author: str | None
    reason: str | None
    entries: list[EntryDocument]


class Example(Document):
    business_product_id: str
    carrier_code: str
    tracking_number: str
    order_id: str | None
    raw_code: str


class CodeDocument(Document):
    """A code that isn't Amazon's, and which carrier sent it."""

    code: str
    carrier_code: str
    trackers: int
    meaning: str | None
    """Null: it is unmapped."""
    first_seen: str | None
    """Of a few of its trackers."""
    last_seen: str | None
    example: Example | None


class MappingDocument(Document):
    version: int
    pending: bool
    """Trackers from before the newest version are still being folded anew."""
    entries: list[EntryDocument]
    codes: list[CodeDocument]
    versions: list[VersionDocument]
    """Newest first."""


class ChangeDocument(Document):
    kind: str
    business_product_id: str
    id: str
    order_id: str | None
    before: dict[str, Any]
    after: dict[str, Any]


class PreviewDocument(Document):
    """What would change. No message and no capture follows from a change of the mapping."""

    found: int
    """Trackers with an affected code."""
    looked: int
    """Of these the ones that were folded: the numbers below are of them."""
    trackers: int
    deliveries: int
    orders: int
    messages: int
    captures: int
    examples: list[ChangeDocument]


class Newest(Struct, frozen=True):
    """The version that holds, whether or not the projector has come to it."""

    version: int
    entries: tuple[Entry, ...]
    position: int


def newest_of(tx: Transaction) -> Newest:
    """The newest version there is."""
    position = tx.journal.checkpoint(NEWEST)
    record = tx.journal.records([position]).get(position) if position else None
    if record is None:
        return Newest(1, (), 0)
    change = change_of(record)
    return Newest(change.version, change.entries, position)


def describe(tx: Transaction, reach: Reach) -> MappingDocument:
    """The mapping, the codes that came, and the versions before."""
    newest = newest_of(tx)
    records = tx.journal.of_subjects([KEY]).get(KEY, ())[-MOST_VERSIONS:]
    changes = [change_of(record) for record in reversed(records)]
    versions = [
        VersionDocument(c.version, format_instant(c.at), c.author, c.reason, list(map(_entry, c.entries)))
        for c in changes
    ]
    if len(changes) < MOST_VERSIONS:
        versions.append(VersionDocument(1, None, None, None, []))
    meanings = {entry.place: entry.meaning for entry in newest.entries}
    codes = [
        _code(tx, term, count, meanings, reach) for term, count in tx.views.tally(PREFIX, MOST_CODES, reach)
    ]
    codes.sort(key=lambda code: (code.meaning is not None, -code.trackers, code.code, code.carrier_code))
    pending = newest.position > tx.journal.checkpoint(REMAPPING)
    return MappingDocument(newest.version, pending, list(map(_entry, newest.entries)), codes, versions)


def _entry(entry: Entry) -> EntryDocument:
    return EntryDocument(entry.code, entry.meaning or NONE, entry.carrier_code or None)


def _code(
    tx: Transaction, term: str, count: int, meanings: Mapping[Place, str], reach: Reach
) -> CodeDocument:
    code, carrier = read_term(term)
    found = [f for f in tx.views.search(term, SAMPLE, reach) if f.term == term]
    views = tx.views.get([(f.kind, f.business_product_id, f.id) for f in found])
    seen: list[str] = []
    example: Example | None = None
    for view in views.values():
        tracker = msgspec.json.decode(view.document)
        mine = [m for m in tracker["milestones"] if milestone_code(m["rawCode"]).lower() == code]
        seen += [m["observedAt"] for m in mine]
        if example is None and mine:
            orders = tracker["orders"]
            example = Example(
                view.business_product_id,
                tracker["carrierCode"],
                tracker["trackingNumber"],
                orders[0]["orderId"] if orders else None,
                mine[-1]["rawCode"],
            )
    seen.sort(key=parse_instant)
    meaning = meanings.get((code, carrier), meanings.get((code, "")))
    written = None if meaning is None else meaning or NONE
    first, last = (seen[0], seen[-1]) if seen else (None, None)
    return CodeDocument(code.upper(), carrier, count, written, first, last, example)


def changes_of(entries: list[EntryDocument]) -> dict[Place, Entry | None]:
    """Changes as they were asked for. Raises `Invalid`."""
    found: dict[Place, Entry | None] = {}
    for asked in entries:
        code = milestone_code(asked.code)
        if code in KNOWN:
            raise Invalid(f"{code} is Amazon's own code and keeps its meaning.", field="code")
        if asked.meaning is not None and asked.meaning not in KNOWN and asked.meaning != NONE:
            allowed = ", ".join(sorted(KNOWN))
            raise Invalid(f"meaning must be one of {allowed}, {NONE}, or null", field="meaning")
        meaning = NOTHING if asked.meaning == NONE else asked.meaning
        place = (code.lower(), (asked.carrier_code or "").lower())
        found[place] = None if meaning is None else Entry(code, meaning, place[1])
    return found


def look_ahead(tx: Transaction, changes: Mapping[Place, Entry | None]) -> PreviewDocument:
    """What these changes would do: folded, counted, thrown away."""
    before = newest_of(tx).entries
    seen = mapping_preview.preview(tx, before, changed_entries(before, changes))
    examples = [
        ChangeDocument(c.kind, c.business_product_id, c.id, c.order_id, c.before, c.after)
        for c in seen.examples
    ]
    counted = seen.changed
    return PreviewDocument(
        seen.found, seen.looked, counted["tracker"], counted["delivery"], counted["order"], 0, 0, examples
    )


async def apply(
    context: Hub, changes: Mapping[Place, Entry | None], author: str, reason: str, version: int | None = None
) -> int:
    """Journal a new version; its number. Raises `Conflict` where `version` is not the newest any more, `Invalid`
    where nothing would change or there would be too many entries."""
    now = context.clock()
    if not reason.strip():
        raise Invalid("reason: say why", field="reason")

    def write(tx: Transaction) -> int:
        newest = newest_of(tx)
        if version is not None and version != newest.version:
            raise Conflict(f"The mapping is at version {newest.version} by now.", version=newest.version)
        entries = changed_entries(newest.entries, changes)
        if entries == newest.entries:
            raise Invalid("The mapping says so already; nothing would change.", field="entries")
        if len(entries) > MOST_ENTRIES:
            raise Invalid(f"A mapping has {MOST_ENTRIES} entries at most.", field="entries")
        change = MappingChange(newest.version + 1, entries, now, author, reason)
        body = msgspec.json.encode(change)
        (position,) = tx.journal.add([NewRecord("mapping", "", "mapping", now, now, ROAD, body)])
        tx.journal.set_checkpoint(NEWEST, position)
        return change.version

    made = await context.store.write(write)
    log.info("mapping.changed", version=made, by=author)
    return made


def _everybodys(reach: Reach) -> None:
    if reach is not None:
        raise Forbidden(
            "The mapping is every business product's; a key that is bound to some can't change it."
        )


@get("/v1/mapping", summary="Show what carriers' codes mean", tags=["Operations"], responses=problems())
async def get_mapping(context: Hub, caller: Caller) -> MappingDocument:
    """The entries that hold, the codes that came and aren't Amazon's (unmapped ones first; counted within the key's
    business products, 200 at most), and the versions, newest first."""
    reach = caller.reach(None)
    return await context.store.read(lambda tx: describe(tx, reach))


@post(
    "/v1/mapping/preview",
    summary="Show what a change of the mapping would do",
    tags=["Operations"],
    opt=OPERATE,
    status_code=200,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403),
)
async def preview_mapping(context: Hub, caller: Caller, data: JSONBody[PreviewRequest]) -> PreviewDocument:
    """A dry run: 300 trackers at most are folded with it. Nothing is written."""
    _everybodys(caller.reach(None))
    changes = changes_of(data.entries)
    return await context.store.read(lambda tx: look_ahead(tx, changes))


@post(
    "/v1/mapping",
    summary="Change what carriers' codes mean",
    tags=["Operations"],
    opt=OPERATE,
    status_code=200,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 409),
)
async def change_mapping(context: Hub, caller: Caller, data: JSONBody[MappingRequest]) -> MappingDocument:
    """Makes the next version. What was known of the trackers with these codes is folded anew, a page at a time;
    nobody is told of it and no capture is made by it."""
    reach = caller.reach(None)
    _everybodys(reach)
    await apply(context, changes_of(data.entries), data.author or caller.id, data.reason, data.version)
    return await context.store.read(lambda tx: describe(tx, reach))


HANDLERS = [get_mapping, preview_mapping, change_mapping]
