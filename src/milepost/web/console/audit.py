"""`/audit`: who did what, the newest first, for admins. As `/v1/audit` has it."""

from typing import Annotated, Any, Final
from urllib.parse import urlencode

from litestar import Request, Response, get
from litestar.params import QueryParameter

from milepost.store import Transaction
from milepost.web.audit import AuditDocument, entries
from milepost.web.console.pages import ERRORS, page
from milepost.web.console.wording import deed
from milepost.web.context import Hub
from milepost.web.user_actions import visible_users
from milepost.web.visiting import Looking, needs

A_PAGE: Final = 50
_PEOPLE: Final = 200
"""Users that the filter offers."""
_ACTIONS: Final = 60


@get("/audit", opt=needs("admin"), exception_handlers=ERRORS, include_in_schema=False)
async def show_audit(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    actor: Annotated[str, QueryParameter(name="actor", max_length=128)] = "",
    action: Annotated[str, QueryParameter(name="action", max_length=128)] = "",
    before: Annotated[int, QueryParameter(name="before", ge=0, le=2**62)] = 0,
) -> Response[str]:
    """A page of entries, those of one person or one action when asked."""

    def read(tx: Transaction) -> tuple[list[AuditDocument], list[tuple[str, str]], list[str]]:
        reach = visitor.business_products
        rows = entries(tx, before, A_PAGE + 1, reach, actor, action, newest_first=True)
        people = [(user.id, user.name) for user in visible_users(tx, visitor, "", _PEOPLE)]
        return rows, people, tx.audit.actions(_ACTIONS)

    rows, people, actions = await context.store.read(read)
    shown = rows[:A_PAGE]
    wanted = {name: value for name, value in (("actor", actor), ("action", action)) if value}
    older = ""
    if len(rows) > A_PAGE:
        older = f"/audit?{urlencode({**wanted, 'before': shown[-1].number})}"
    return page(
        request,
        visitor,
        "audit.html",
        now=context.clock(),
        entries=shown,
        people=_with(people, actor),
        actions=_with([(each, deed(each)) for each in actions], action),
        actor=actor,
        action=action,
        older=older,
        newest=f"/audit?{urlencode(wanted)}" if before else "",
    )


def _with(options: list[tuple[str, str]], chosen: str) -> list[tuple[str, str]]:
    """The options of a filter, the chosen one among them even when it is none of the usual ones."""
    known = {value for value, _ in options} | {""}
    return [("", "All"), *options, *([(chosen, chosen)] if chosen not in known else [])]


HANDLERS = [show_audit]
