"""The audit log: writing an entry, from whatever form or route did something, and `/v1/audit` to read them.

What is done about users is written in the transaction that does it, so that none of it is done without an entry. The
rest that people do in the console is written right after (`console.telling`). No entry tells of what was not done.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Annotated, Protocol

from litestar import get
from litestar.params import QueryParameter

from milepost.domain.audit_entry import LONGEST_DETAIL, AuditEntry
from milepost.domain.instant import Instant, format_instant
from milepost.store import Transaction
from milepost.web.authentication import ADMIN, Caller
from milepost.web.context import Hub
from milepost.web.documents import Document
from milepost.web.paging import After, Limit, Page, cut, decode_cursor, page_size
from milepost.web.problems import problems
from milepost.web.reading import BusinessProduct

_NOTHING: Mapping[str, object] = MappingProxyType({})


class Actor(Protocol):
    """A `Visitor` of the console or a `Principal` of the API."""

    @property
    def id(self) -> str: ...


class AuditDocument(Document):
    """One thing that somebody did."""

    number: int
    at: str
    actor: str
    """A user's id, or an API key's; `API_KEY` is the key of the settings, `nobody` a try to sign in that failed."""
    actor_name: str | None
    """The user's name, as it is now."""
    action: str
    subject: str
    """What it was done to: an id."""
    subject_name: str | None
    business_product_id: str | None
    details: dict[str, str]


def audit(
    tx: Transaction,
    actor: Actor | str,
    action: str,
    subject: str,
    details: Mapping[str, object] = _NOTHING,
    *,
    at: Instant,
    business_product_id: str = "",
) -> None:
    """Write down that `actor` did `action` (`thing.done`) to `subject` (an id), of this business product (empty: of
    several, or of the hub). No secret and nothing of a shopper goes into `details`; a None is left out."""
    told = {name: str(value)[:LONGEST_DETAIL] for name, value in details.items() if value is not None}
    who = actor if isinstance(actor, str) else actor.id
    tx.audit.add(AuditEntry(at, who, action, subject, business_product_id, told))


def entries(
    tx: Transaction,
    beyond: int,
    limit: int,
    reach: Collection[str] | None,
    actor: str | None = None,
    action: str | None = None,
    *,
    newest_first: bool = False,
) -> list[AuditDocument]:
    """Entries as they are shown, with the names of users."""
    rows = tx.audit.page(beyond, limit, reach, actor or None, action or None, newest_first=newest_first)
    names = tx.users.named({each for _, entry in rows for each in (entry.actor, entry.subject)})
    return [_document(number, entry, names) for number, entry in rows]


@get("/v1/audit", summary="List what people did", tags=["Users"], opt=ADMIN, responses=problems(403, 404))
async def list_audit(
    context: Hub,
    caller: Caller,
    business_product_id: BusinessProduct = None,
    actor: Annotated[
        str | None, QueryParameter(name="actor", description="Only of this user or key.", max_length=128)
    ] = None,
    action: Annotated[
        str | None, QueryParameter(name="action", description="Only this action.", max_length=128)
    ] = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[AuditDocument]:
    """The audit log, oldest first: who did what to what, when. A key that is bound to business products sees what was
    done to theirs."""
    reach, size = caller.reach(business_product_id), page_size(limit)
    start = 0 if after is None else decode_cursor("audit", after, int)
    rows = await context.store.read(lambda tx: entries(tx, start, size + 1, reach, actor, action))
    return cut("audit", rows, size, lambda row: row.number, lambda row: row)


def _document(number: int, entry: AuditEntry, names: Mapping[str, str]) -> AuditDocument:
    return AuditDocument(
        number,
        format_instant(entry.at),
        entry.actor,
        names.get(entry.actor),
        entry.action,
        entry.subject,
        names.get(entry.subject),
        entry.business_product_id or None,
        dict(entry.details),
    )


HANDLERS = [list_audit]
