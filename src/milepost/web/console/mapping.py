"""`/mapping`: the inbox of codes that nobody mapped, and changing what codes mean, in three steps without a script.

Say what a code means, see what that would change, make it so. What the mapping is and does is `web.mapping`'s, which
this page calls.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from litestar import Request, Response, get, post
from litestar.params import QueryParameter

from milepost.domain.errors import Forbidden, Invalid
from milepost.domain.milestone import KNOWN
from milepost.web.console.forms import read_form, see_other
from milepost.web.console.pages import ERRORS, page
from milepost.web.console.telling import tell
from milepost.web.context import Hub
from milepost.web.mapping import NONE, EntryDocument, apply, changes_of, describe, look_ahead
from milepost.web.visiting import Looking, Visitor, needs

UNMAP: Final = "UNMAP"
"""The choice that takes an entry away."""
CHOICES: Final = (
    *((code, code.replace("_", " ").capitalize()) for code in sorted(KNOWN)),
    (NONE, "Nothing: show it, and ask no more"),
    (UNMAP, "Unmapped again"),
)
_Text = Annotated[str, QueryParameter(max_length=200)]


@get("/mapping", opt=needs("operate"), exception_handlers=ERRORS, include_in_schema=False)
async def mapping_page(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    code: _Text = "",
    carrier: _Text = "",
    done: _Text = "",
) -> Response[str]:
    """The inbox, the form (filled with `code` and `carrier`), and the versions."""
    shown = await context.store.read(lambda tx: describe(tx, visitor.reach()))
    asked = {"code": code, "carrier": carrier, "meaning": ""}
    return page(
        request,
        visitor,
        "mapping.html",
        now=context.clock(),
        mapping=shown,
        asked=asked,
        seen=None,
        choices=CHOICES,
        done=done == "applied",
    )


@post("/mapping/preview", opt=needs("operate"), exception_handlers=ERRORS, include_in_schema=False)
async def mapping_preview(context: Hub, request: Request[Any, Any, Any], visitor: Looking) -> Response[str]:
    """What the change would do, and a button that makes it so."""
    asked = await read_form(request, visitor)
    changes = changes_of([_entry(asked)])
    _everybodys(visitor)
    shown = await context.store.read(lambda tx: describe(tx, visitor.reach()))
    seen = await context.store.read(lambda tx: look_ahead(tx, changes))
    fields = {name: asked.get(name, "") for name in ("code", "carrier", "meaning")}
    return page(
        request,
        visitor,
        "mapping.html",
        now=context.clock(),
        status=200,
        mapping=shown,
        asked=fields,
        seen=seen,
        choices=CHOICES,
        done=False,
    )


@post("/mapping", opt=needs("operate"), exception_handlers=ERRORS, include_in_schema=False)
async def mapping_apply(context: Hub, request: Request[Any, Any, Any], visitor: Looking) -> Response[str]:
    """Make the next version."""
    asked = await read_form(request, visitor)
    _everybodys(visitor)
    version = asked.get("version", "")
    if not version.isdecimal() or len(version) > 9:
        raise Invalid("version: which one this changes", field="version")
    entry, reason = _entry(asked), asked.get("reason", "")[:2_000]
    made = await apply(context, changes_of([entry]), visitor.name, reason, int(version))
    told = {"code": entry.code, "carrier": entry.carrier_code, "meaning": entry.meaning or UNMAP}
    await tell(context, visitor, "mapping.changed", f"mapping/{made}", told)
    return see_other("/mapping?done=applied")


def _entry(asked: Mapping[str, str]) -> EntryDocument:
    code, meaning = asked.get("code", "").strip()[:200], asked.get("meaning", "")
    if not code:
        raise Invalid("code: which code it is about", field="code")
    carrier = asked.get("carrier", "").strip()[:200]
    return EntryDocument(code, None if meaning == UNMAP else meaning, carrier or None)


def _everybodys(visitor: Visitor) -> None:
    if visitor.reach() is not None:
        raise Forbidden("The mapping is every business product's; you see some of them only.")


HANDLERS = [mapping_page, mapping_preview, mapping_apply]
