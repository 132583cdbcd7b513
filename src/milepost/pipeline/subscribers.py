"""Which record is for which subscriber.

`Matching` is what the hub's publisher asks for every record and every subscriber. A record is read once, and only
as far as somebody's filter looks into it; a filter is read, and its CEL expression compiled, once a content. A
subscriber of form `amazon` takes events, one of form `milepost` takes intents; a test message is for one subscriber
and comes without being asked about here.

An expression sees the fields of the message as variables (`type`, `data`, …) and all of it as `message`. It must be
true; where it fails (a field that this message has not) the message is not wanted. So that none can hold up a hub, it
is short, and only two of its macros go through lists.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from milepost.domain.attempt import Destination
from milepost.domain.errors import Invalid
from milepost.domain.intent import TEST, Intent, decode
from milepost.domain.message import amazon_document, told
from milepost.domain.record import Record, subjects_of
from milepost.domain.subscriber import Filter

if TYPE_CHECKING:
    # Imported where an expression is used: it brings a toolkit for terminals, and most hubs have no expression.
    import cel

LONGEST_EXPRESSION = 1_000
MOST_MACROS = 2
"""Each goes through a list, and one in another multiplies."""
FILTERS = 16_384
"""Filters that are kept ready."""

MILEPOST_FIELDS = frozenset(("type", "timestamp", "version", "businessProductId", "reason", "data"))
AMAZON_FIELDS = frozenset(
    (
        "idempotencyKey",
        "eventDescriptor",
        "resources",
        "eventId",
        "apiVersion",
        "subscriptionId",
        "eventTime",
        "data",
    )
)
"""What a document of each form has. A variable that no message has makes an expression that never holds."""
_MACROS = re.compile(r"\.\s*(?:all|exists|exists_one|existsOne|map|filter)\s*\(")
_OWN_NAMES = re.compile(r"\(\s*([A-Za-z_]\w*)\s*,")
"""What a macro calls an element."""

log = structlog.get_logger()


def compile_expression(text: str, form: str) -> "cel.Program":
    """A CEL expression, ready. Raises `Invalid` in words for one that cannot be used on messages of this form."""
    if len(text) > LONGEST_EXPRESSION:
        raise Invalid(
            f"expression has {len(text)} characters; {LONGEST_EXPRESSION} are allowed", field="expression"
        )
    if len(_MACROS.findall(text)) > MOST_MACROS:
        raise Invalid(f"expression goes through lists more than {MOST_MACROS} times", field="expression")
    try:
        program = _program(text)
    except ValueError as e:
        words = str(e).split("\n")[0]
        raise Invalid(f"expression is not CEL: {words[-300:]}", field="expression") from e
    known = {"message", "type"} | (AMAZON_FIELDS if form == "amazon" else MILEPOST_FIELDS)
    unknown = sorted(set(program.variables()) - known - set(_OWN_NAMES.findall(text)))
    if unknown:
        names = ", ".join(sorted(known))
        raise Invalid(f"expression uses {unknown[0]}; a message has {names}", field="expression")
    return program


def _program(text: str) -> "cel.Program":
    """Raises ValueError for what is not CEL."""
    import cel

    return cel.compile(text)


class _Compiled:
    """A filter, ready to be asked."""

    __slots__ = ("carriers", "products", "program")

    def __init__(self, wanted: Filter) -> None:
        self.products = frozenset(wanted.business_product_ids)
        self.carriers = frozenset(map(str.lower, wanted.carriers))
        self.program = _program(wanted.expression) if wanted.expression else None


@lru_cache(maxsize=FILTERS)
def _compiled(text: bytes) -> _Compiled | None:
    """None for a filter that cannot be used, though it could when it was put: it lets nothing through, since nobody
    knows what it was to keep back, and a replay makes up for that. It must not stop what others get."""
    try:
        return _Compiled(msgspec.json.decode(text, type=Filter))
    except (ValueError, msgspec.MsgspecError) as e:
        log.error("subscribers.filter_unusable", error=str(e)[:300])
        return None


class _Read:
    """One record, read as far as it was asked for."""

    __slots__ = ("_carriers", "_context", "_intent", "record")

    def __init__(self, record: Record) -> None:
        self.record = record
        self._intent: Intent | None = None
        self._carriers: frozenset[str] | None = None
        self._context: cel.Context | None = None

    @property
    def carriers(self) -> frozenset[str]:
        """Codes of the carriers that it is about, in lower case."""
        if self._carriers is None:
            found = self._intents().carrier_codes if self.record.kind == "intent" else _carriers(self.record)
            self._carriers = frozenset(map(str.lower, found))
        return self._carriers

    @property
    def context(self) -> "cel.Context":
        """Its message, as an expression sees it."""
        if self._context is None:
            import cel

            record = self.record
            if record.kind == "intent":
                body = told(record.business_product_id, self._intents())
            else:
                body = amazon_document(record.body)
            message: dict[str, Any] = msgspec.json.decode(body)
            self._context = cel.Context(variables={**message, "type": record.type, "message": message})
        return self._context

    def _intents(self) -> Intent:
        if self._intent is None:
            self._intent = decode(self.record.body)
        return self._intent


class Matching:
    """Says of records and subscribers whether they belong together. It may be asked by several threads: what it
    keeps of the last record is replaced as a whole."""

    def __init__(self) -> None:
        self._last: _Read | None = None

    def wants(self, destination: Destination, record: Record) -> bool:
        """Whether a record is for a subscriber, wherever that begins; for a disabled one it is kept."""
        if record.kind != ("event" if destination.form == "amazon" else "intent") or record.type == TEST:
            return False
        if destination.event_types and record.type not in destination.event_types:
            return False
        if destination.business_product_id not in ("", record.business_product_id):
            return False
        return not destination.filter or self._passes(_compiled(destination.filter), record)

    def _passes(self, compiled: _Compiled | None, record: Record) -> bool:
        if compiled is None:
            return False
        if compiled.products and record.business_product_id not in compiled.products:
            return False
        if compiled.carriers and compiled.carriers.isdisjoint(self._read(record).carriers):
            return False
        return compiled.program is None or _holds(compiled.program, self._read(record))

    def _read(self, record: Record) -> _Read:
        last = self._last
        if last is None or last.record is not record:
            last = self._last = _Read(record)
        return last


def _holds(program: "cel.Program", read: _Read) -> bool:
    try:
        return program.execute(read.context) is True
    except Exception:  # noqa: BLE001 (whatever an expression stumbles over; it has no root of its own)
        return False


def _carriers(record: Record) -> list[str]:
    """Of an event: of the trackers that it names."""
    subjects = (subject.split("/", 2) for subject in subjects_of(record))
    return [parts[1] for parts in subjects if parts[0] == "tracker"]
