"""`/events/live`: the inbox's new rows as they come, as server-sent events of HTML.

A message named `row` is one row, for the page to put on top, or in the place of the one that it shows for the same
position: an event is sent when it was journalled, and once more when it was folded and it is known what became of it.
The id is the highest position looked at, so that a browser which lost the connection goes on where it was. A stream
ends with its visitor's session, and by itself after a while, when the browser comes again: so whoever signed out, was
disabled or lost a role sees no more of it.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from litestar import Request, Response, get
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import Stream
from msgspec import Struct

from milepost.domain.errors import Overloaded, StoreUnavailable
from milepost.domain.record import Record
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.store import Transaction
from milepost.web.console.events import asked, read_wanted
from milepost.web.console.outcome_words import OUTCOMES
from milepost.web.console.pages import ERRORS, environment
from milepost.web.context import Context, Hub
from milepost.web.events import EventItem, event_items
from milepost.web.inbox import PAGE, Wanted, matches
from milepost.web.reading import Reach
from milepost.web.sessions import is_signed_in
from milepost.web.stream import MOST, OPEN, until_closing
from milepost.web.visiting import Looking, Visitor, needs

LONGEST_S: Final = 300.0
"""A stream ends after so long; the browser opens another one."""
UNFOLDED: Final = 500
"""Rows that were sent and not folded yet, of which one is remembered so long; the oldest are forgotten first."""
_FIRST_LOOK_S: Final = 0.05


class _News(Struct):
    """What one look found."""

    items: list[EventItem]
    position: int
    is_full: bool


class _Watcher:
    """One browser's way along the journal."""

    def __init__(self, context: Context, visitor: Visitor, reach: Reach, wanted: Wanted) -> None:
        self._context = context
        self._visitor = visitor
        self._reach = reach
        self._wanted = wanted
        self._unfolded: dict[int, None] = {}

    async def messages(self, after: int) -> AsyncIterator[bytes]:
        """Encoded messages until the hub closes, the time is up, the session ends or the browser goes."""
        context, position, ends = self._context, after, self._context.clock() + LONGEST_S * 1000
        pause = _FIRST_LOOK_S
        yield b"retry: 2000\n: following\n\n"
        try:
            while not context.closing.is_set() and context.clock() < ends:
                news = await context.store.read(lambda tx, p=position: self._look(tx, p))  # type: ignore[misc]
                if news is None:
                    return
                position = news.position
                for item in news.items:
                    yield message(self._row(item), position)
                if news.is_full:
                    continue
                pause = _FIRST_LOOK_S if news.items else min(pause * 2, context.heartbeat_s)
                wait_s = pause if self._unfolded else context.heartbeat_s
                last = await until_closing(context, context.store.changed(position, wait_s))
                if last is not None and last <= position and not self._unfolded:
                    yield b": nothing new\n\n"
        except StoreUnavailable:
            return

    def _look(self, tx: Transaction, position: int) -> _News | None:
        """None when the visitor is not signed in any more, or not as who they were."""
        if not is_signed_in(tx, self._visitor, self._context.clock()):
            return None
        records = tx.journal.after(position, PAGE)
        mine = [record for record in records if self._is_mine(record)]
        checkpoint = tx.journal.checkpoint(PROJECTOR)
        folded = [at for at in self._unfolded if at <= checkpoint]
        again = tx.journal.records(folded)
        for at in folded:
            del self._unfolded[at]
        self._unfolded |= {record.position: None for record in mine if record.position > checkpoint}
        for at in list(self._unfolded)[:-UNFOLDED]:
            del self._unfolded[at]
        items = event_items(tx, [*again.values(), *mine], with_outcomes=True)
        shown = [item for item in items if matches(self._wanted, item)]
        last = records[-1].position if records else position
        return _News(shown, last, len(records) == PAGE)

    def _is_mine(self, record: Record) -> bool:
        mine = self._reach is None or record.business_product_id in self._reach
        return mine and record.kind in ("event", "conflict")

    def _row(self, item: EventItem) -> str:
        template = environment.get_template("event_row.html")
        return template.render(item=item, outcomes=OUTCOMES, now=self._context.clock(), fresh=True)


def message(html: str, position: int) -> bytes:
    """One server-sent message named `row`; every line of it begins with `data:`."""
    lines = "".join(f"data: {line}\n" for line in html.splitlines() if line.strip())
    return f"event: row\nid: {position}\n{lines}\n".encode()


@get("/events/live", opt=needs("operate"), exception_handlers=ERRORS, include_in_schema=False)
async def live(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    after: Annotated[int | None, QueryParameter(name="after", ge=0, lt=1 << 53)] = None,
    last_event_id: Annotated[int | None, HeaderParameter(name="Last-Event-ID", ge=0, lt=1 << 53)] = None,
) -> Response[Any]:
    """New rows of the inbox as it is narrowed; from now on, or behind a position."""
    if OPEN.count >= MOST:
        raise Overloaded(f"{MOST} streams are open; close one.")
    query = asked(request.query_params)
    wanted, _ = read_wanted(query)
    reach = visitor.reach(query.get("product") or None)
    start = after if last_event_id is None else last_event_id
    if start is None:
        start = await context.store.read(lambda tx: tx.journal.last_position())
    watcher = _Watcher(context, visitor, reach, wanted)
    return Stream(OPEN.counted(watcher.messages(start)), media_type="text/event-stream")


HANDLERS = [live]
