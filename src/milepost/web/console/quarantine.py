"""`/quarantine`: bodies that could not be read or were not allowed in; `/quarantine/{id}`: one, mended and retried.

A mended body goes the way of every event; the original stays, with who mended it. What is dismissed stays too, and is
listed apart.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from litestar import Request, Response, get, post
from litestar.params import PathParameter, QueryParameter

from milepost.domain.errors import Conflict, Malformed, NotFound, UnboundBusinessProduct
from milepost.store import Quarantined, QuarantineState, Transaction
from milepost.web.console.acting import acting, said
from milepost.web.console.event_facts import pretty
from milepost.web.console.forms import read_form, see_other
from milepost.web.console.pages import ERRORS, page
from milepost.web.console.telling import only_one, tell
from milepost.web.context import Context, Hub
from milepost.web.quarantine import LARGEST_MENDED, dismiss_quarantined, retry, visible_entry
from milepost.web.visiting import Looking, Visitor, needs

PAGE: Final = 50
RETRIED: Final = 100
"""Bodies that one press of a button retries at most."""
COUNTED: Final = 1_000
"""The newest that wait are counted by their reason."""
_HEX_LINES: Final = 512
STATES: Final[tuple[QuarantineState, ...]] = ("waiting", "released", "dismissed")
ADVICE: Final = {
    "malformed_event": "The body is no event that Milepost can read. If it is cut or mangled, mend it here. If Buy"
    " with Prime changed its form, update Milepost and retry it as it is.",
    "unbound_business_product": "The event is of a business product that its sender's credential is not bound to."
    " Bind the credential to it in the settings if it should be, then retry; if not, dismiss it and look who sends.",
    "too_large": "The body is larger than an event may be. Look at what the subscription's query selects.",
}
OTHERWISE: Final = (
    "Its transport could not hand it over as an event. Read the reason, then mend or dismiss it."
)

EntryId = Annotated[int, PathParameter(ge=1, lt=1 << 53)]


@get("/quarantine", opt=needs("operate"), exception_handlers=ERRORS, include_in_schema=False)
async def quarantine(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    before: Annotated[int | None, QueryParameter(name="before", ge=1, lt=1 << 53)] = None,
) -> Response[str]:
    query = request.query_params
    named = query.get("state", "")
    state: QuarantineState = named if named in STATES else "waiting"
    code, reach = query.get("code", "")[:100] or None, visitor.business_products

    def read(tx: Transaction) -> tuple[list[Quarantined], Counter[str]]:
        rows = tx.journal.newest_quarantined(before, PAGE + 1, reach, state=state, code=code)
        waiting = tx.journal.newest_quarantined(None, COUNTED, reach, state="waiting")
        return rows, Counter(row.code for row in waiting)

    rows, reasons = await context.store.read(read)
    further = {"state": state} | ({"code": code} if code else {})
    return page(
        request,
        visitor,
        "quarantine.html",
        now=context.clock(),
        rows=rows[:PAGE],
        state=state,
        states=STATES,
        code=code,
        reasons=reasons,
        counted=COUNTED,
        retried=RETRIED,
        done=query.get("done", ""),
        count={name: _number(query.get(name, "")) for name in ("released", "left")},
        older=""
        if len(rows) <= PAGE
        else "/quarantine?" + urlencode(further | {"before": rows[PAGE - 1].id}),
        newest="" if before is None else "/quarantine?" + urlencode(further),
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0


@post("/quarantine/retry", opt=needs("operate"), exception_handlers=ERRORS, include_in_schema=False)
async def retry_reason(context: Hub, request: Request[Any, Any, Any], visitor: Looking) -> Response[str]:
    """Those that wait for one reason, the oldest of the newest `RETRIED` first, each as it came."""
    form = await read_form(request, visitor)
    code, reach = form.get("code", ""), visitor.business_products
    rows = await context.store.read(
        lambda tx: tx.journal.newest_quarantined(None, RETRIED, reach, state="waiting", code=code)
    )
    released = 0
    for row in reversed(rows):
        try:
            receipt = await retry(context, acting(visitor), row.id, None)
            released += 1
        except (Malformed, UnboundBusinessProduct, NotFound):
            continue
        await _tell(context, visitor, "quarantine.released", row.id, {"position": receipt.position})
    found = urlencode({"done": "retried", "released": released, "left": len(rows) - released})
    return see_other(f"/quarantine?{found}")


@get("/quarantine/{entry_id:int}", opt=needs("operate"), exception_handlers=ERRORS, include_in_schema=False)
async def entry(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, entry_id: EntryId
) -> Response[str]:
    return await _entry_page(context, request, visitor, entry_id)


async def _entry_page(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    entry_id: int,
    *,
    mended: str | None = None,
    error: str = "",
    status: int = 400,
) -> Response[str]:
    row = await context.store.read(lambda tx: visible_entry(tx, entry_id, acting(visitor)))
    text = text_of(row.body)
    return page(
        request,
        visitor,
        "quarantined.html",
        now=context.clock(),
        status=status if error else 200,
        entry=row,
        text=text,
        hex=None if text is not None else hex_of(row.body),
        is_cut=text is None and len(row.body) > 16 * _HEX_LINES,
        mended=pretty(row.body) if mended is None else mended,
        advice=ADVICE.get(row.code, OTHERWISE),
        error=error,
        done=request.query_params.get("done", ""),
    )


@post(
    "/quarantine/{entry_id:int}/retry",
    opt=needs("operate"),
    exception_handlers=ERRORS,
    include_in_schema=False,
    request_max_body_size=LARGEST_MENDED,
)
async def retry_entry(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, entry_id: EntryId
) -> Response[str]:
    """As it came, or (the field `body`) as it was mended."""
    form = await read_form(request, visitor)
    body = form.get("body")
    try:
        receipt = await retry(
            context, acting(visitor), entry_id, None if body is None else body.encode("utf-8", "replace")
        )
    except (Malformed, UnboundBusinessProduct) as e:
        return await _entry_page(context, request, visitor, entry_id, mended=body, error=said(e))
    told = {"position": receipt.position, "mended": None if body is None else "yes"}
    await _tell(context, visitor, "quarantine.released", entry_id, told)
    return see_other(f"/quarantine/{entry_id}?done={receipt.status}")


@post(
    "/quarantine/{entry_id:int}/dismiss",
    opt=needs("operate"),
    exception_handlers=ERRORS,
    include_in_schema=False,
)
async def dismiss(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, entry_id: EntryId
) -> Response[str]:
    await read_form(request, visitor)
    try:
        await dismiss_quarantined.fn(context, acting(visitor), entry_id)
    except Conflict as e:
        return await _entry_page(context, request, visitor, entry_id, error=said(e), status=409)
    await _tell(context, visitor, "quarantine.dismissed", entry_id, {})
    return see_other(f"/quarantine/{entry_id}?done=dismissed")


async def _tell(
    context: Context, visitor: Visitor, action: str, entry_id: int, details: Mapping[str, object]
) -> None:
    row = await context.store.read(lambda tx: visible_entry(tx, entry_id, acting(visitor)))
    product = only_one(row.business_product_ids)
    await tell(context, visitor, action, str(entry_id), details, product=product)


def text_of(body: bytes) -> str | None:
    """A body as text; None where it is no UTF-8."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def hex_of(body: bytes) -> str:
    """The beginning of a body as a hex dump: offset, sixteen bytes, and what of them can be printed."""
    lines = []
    for start in range(0, min(len(body), 16 * _HEX_LINES), 16):
        part = body[start : start + 16]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{start:06x}  {part.hex(' '):<47}  {shown}")
    return "\n".join(lines)


HANDLERS = [quarantine, retry_reason, entry, retry_entry, dismiss]
