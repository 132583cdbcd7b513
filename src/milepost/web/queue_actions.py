"""What is done to items of a work queue, up to 200 at once, by API key or by a person of the console.

Assigning, snoozing and marking as handled are notes of people about an item (`Mark`), good for as long as it is
raised that time. The other actions are those of the order, the tracker or the capture behind it, done as their own
pages do them. An item that left its queue meanwhile, or is nobody's that may do this, is counted as gone.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Final

import structlog
from msgspec import Meta
from msgspec.structs import replace

from milepost.domain.errors import Conflict, Forbidden, Invalid, NotFound
from milepost.domain.instant import DAY, Instant
from milepost.domain.queue import OF_CAPTURES, Mark, QueueItem, QueueName
from milepost.domain.queue_guide import ACTIONS, GUIDES, QueueAction
from milepost.domain.record import order_subject, tracker_subject
from milepost.pipeline.capturing import resend, transition
from milepost.store import ItemKey, Transaction
from milepost.web.context import Context
from milepost.web.documents import Document
from milepost.web.notes import NoteRequest, put_note
from milepost.web.queue_lists import item_of_capture, key_of, read_ids
from milepost.web.reading import Reach, find_view, parse_time

MOST: Final = 200
"""Items at once."""
LONGEST_SNOOZE: Final = 366 * DAY
OF_MONEY: Final[frozenset[QueueAction]] = frozenset({"release", "resend"})
"""Actions that need more than serving shoppers."""

log = structlog.get_logger()


class ActionRequest(Document, forbid_unknown_fields=True):
    """What to do, and to which items."""

    action: Annotated[str, Meta(max_length=20)]
    """One of the queue's `actions`."""
    ids: Annotated[list[Annotated[str, Meta(max_length=4_000)]], Meta(min_length=1, max_length=MOST)]
    assignee: Annotated[str, Meta(max_length=200)] = ""
    """For `assign`: who has it from now on; empty: nobody."""
    until: Annotated[str, Meta(max_length=40)] = ""
    """For `snooze`: when it comes back, as ISO 8601."""
    text: Annotated[str, Meta(max_length=4_000)] = ""
    """For `note` what to note; for `snooze` and `handled` the reason."""


class Refusal(Document):
    """Why it was not done to one of them."""

    id: str
    detail: str


class ActionResult(Document):
    """What became of it."""

    action: str
    done: int
    gone: int
    """Not in this queue any more."""
    refused: list[Refusal]


async def act(
    context: Context, queue: QueueName, data: ActionRequest, reach: Reach, by: str, *, money: bool = True
) -> ActionResult:
    """Do it, in one transaction; `by` is who, as others will read it. Raises `Invalid`, `Forbidden` without `money`
    for what concerns payments, `Conflict` for asking where no API is configured."""
    now = context.clock()
    action = _checked(queue, data, now, money)
    named = read_ids(data.ids, queue)
    keys = {key: text for key, text in named.items() if reach is None or key.business_product_id in reach}
    if action == "ask":
        done, refused = await _ask(context, keys), list[Refusal]()
    else:
        done, refused = await context.store.write(lambda tx: _do(tx, action, keys, data, by, now))
        if action in OF_MONEY:
            context.published()
    result = ActionResult(action, done, len(named) - done - len(refused), refused)
    log.info("queue.acted", queue=queue, action=action, done=done, gone=result.gone, by=by)
    return result


def _checked(queue: QueueName, data: ActionRequest, now: Instant, money: bool) -> QueueAction:
    offered = GUIDES[queue].actions
    action = next((known for known in ACTIONS if known == data.action and known in offered), None)
    if action is None:
        raise Invalid(f"action must be one of {', '.join(offered)}", field="action")
    if action in OF_MONEY and not money:
        raise Forbidden("Your role may not do what concerns payments.", permission="operate")
    if action == "note" and not data.text.strip():
        raise Invalid("text: there is nothing in it", field="text")
    if action == "snooze":
        until = parse_time(data.until or None, "until")
        if until is None or not now < until <= now + LONGEST_SNOOZE:
            raise Invalid("until must be a time from now to a year from now", field="until")
    return action


def _do(
    tx: Transaction,
    action: QueueAction,
    keys: Mapping[ItemKey, str],
    data: ActionRequest,
    by: str,
    now: Instant,
) -> tuple[int, list[Refusal]]:
    found = _find(tx, keys)
    if action in ("assign", "snooze", "handled", "reopen"):
        marks = tx.queues.marks(found)
        changed = {
            key: _changed(marks.get(key, Mark()), action, item, data, by, now) for key, item in found.items()
        }
        tx.queues.mark(changed)
        return len(changed), []
    refused: list[Refusal] = []
    for key, item in found.items():
        try:
            _do_one(tx, action, item, data, by, now)
        except (Conflict, Invalid, NotFound) as e:
            refused.append(Refusal(keys[key], e.detail))
    return len(found) - len(refused), refused


def _find(tx: Transaction, keys: Collection[ItemKey]) -> Mapping[ItemKey, QueueItem]:
    """Those that are in their queue as they were when somebody chose them."""
    if not any(key.queue in OF_CAPTURES for key in keys):
        return tx.queues.find(keys)
    found: dict[ItemKey, QueueItem] = {}
    for key in keys:
        capture = tx.ledger.capture(key.subject)
        if capture is not None and capture.state == OF_CAPTURES[key.queue]:
            item = item_of_capture(key.queue, capture)
            if key_of(item) == key:
                found[key] = item
    return found


def _changed(
    mark: Mark, action: QueueAction, item: QueueItem, data: ActionRequest, by: str, now: Instant
) -> Mark:
    mark = replace(mark, by=by, at=now)
    if action == "assign":
        return replace(mark, assignee=data.assignee.strip())
    if action == "snooze":
        until = parse_time(data.until, "until")
        return replace(mark, snoozed_until=until, handled_count=None, reason=data.text.strip())
    if action == "handled":
        return replace(mark, snoozed_until=None, handled_count=item.count, reason=data.text.strip())
    return replace(mark, snoozed_until=None, handled_count=None, reason="")


def _do_one(
    tx: Transaction, action: QueueAction, item: QueueItem, data: ActionRequest, by: str, now: Instant
) -> None:
    if action == "note":
        order = find_view(tx, "order", item.order_id, {item.business_product_id})
        put_note(tx, order, NoteRequest(data.text, delivery_id=item.delivery_id or None), by, now)
    elif action == "release":
        transition(tx, item.subject, "release", by, data.text.strip(), now)
    else:
        resend(tx, item.subject, now)


async def _ask(context: Context, keys: Collection[ItemKey]) -> int:
    """Ask the API about their orders and trackers now."""
    if context.hydrator is None:
        raise Conflict("No Buy with Prime API is configured (BWP_API_URL).")
    found = await context.store.read(lambda tx: _find(tx, keys))
    wanted: dict[tuple[str, str], str] = {}
    for item in found.values():
        if item.order_id:
            wanted[item.business_product_id, order_subject(item.order_id)] = ""
        if item.tracking_number:
            subject = tracker_subject(item.carrier_code, item.tracking_number)
            wanted[item.business_product_id, subject] = item.carrier_code
    if wanted:
        await context.hydrator.ask(wanted)
    return len(found)
