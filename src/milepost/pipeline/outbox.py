"""The outbox of notifications: what the notifier reads and writes of the ledger, each in one transaction.

`claim` asks the rules about what is due and takes what is to be sent, as SENDING under a lease: committed before
anything is sent. `letter` looks again right before each is sent, since people may have opted out and addresses may
have changed meanwhile. `record` keeps what came of it, unless somebody else has taken it over.

What is SENDING when its lease has run out was lost with its process. By email it becomes UNCERTAIN: it may have gone
out, and is never sent again by itself. A webhook's receiver tells copies by the id, so there it is sent again (rule
15 of tracking.md 11), and never by email instead. What another one tells along with itself (rule 11) is suppressed in
the write that claims that one, whatever becomes of it: nothing may reach a shopper twice.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from traceback import extract_tb
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.contact import (
    Choices,
    Contact,
    contact_of,
    read_choices,
    recipient_ids,
    write_choices,
)
from milepost.domain.instant import DAY, HOUR, MINUTE, Instant
from milepost.domain.notification import Channel, Notification, move
from milepost.domain.notification_policy import NotificationPolicy
from milepost.domain.notification_rules import DIGEST, Decision, Postpone, Send, Suppress, decide
from milepost.domain.record import order_subject
from milepost.domain.retry import STANDARD, Schedule, next_due
from milepost.pipeline.channels import Outcome
from milepost.pipeline.letters import Letter
from milepost.store import Transaction

BY: Final = "notifier"
LEASE: Final = 10 * MINUTE
"""Milliseconds that a claim is good for; longer than twice the deadline of any channel."""
LOOK: Final = 32
"""Most that are judged in one write."""
OLDEST: Final = 3 * DAY
"""What waited so long after its hold (a channel that was out, a hub that was off) is no news any more (rule 7)."""
ASKED: Final = 5 * MINUTE
"""How often is looked whether the API has told who ordered something."""
ANSWERED: Final = DAY
"""After so long nobody will."""
PUZZLED: Final = HOUR
"""When one that cannot be judged is looked at again."""
SCHEDULES: Final[Mapping[Channel, Schedule]] = {
    "email": Schedule((0, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, 12 * HOUR)),
    "webhook": STANDARD,
}
"""When one that was certainly not taken is tried again."""
_REPEATABLE: Final[frozenset[Channel | None]] = frozenset({"webhook"})
"""Channels whose receivers tell copies by the id."""

log = structlog.get_logger()


class End(Struct, frozen=True):
    """What became of a claim."""

    notification: Notification
    outcome: Outcome | None = None
    """None: it was not tried."""
    letter: Letter | None = None
    decision: Decision | None = None
    """What the rules said of one that was not tried; a `Send` or None: it is given back."""
    until: Instant | None = None
    """For one that is given back: not before this."""


class Claims(Struct, frozen=True):
    """What one write took."""

    claimed: Sequence[Notification]
    judged: int
    counts: Counter[str]


class _Standing(Struct, frozen=True):
    """What the rules are asked with."""

    mine: Notification
    siblings: Sequence[Notification]
    order: Mapping[str, Any] | None
    contact: Contact
    recipients: Sequence[str]
    choices: Choices
    is_asked: bool = False
    """Whether the API is yet to say who ordered it."""
    is_erased: bool = False
    """Whether it was erased who ordered it."""

    @property
    def recipient(self) -> str:
        return self.recipients[0] if self.recipients else ""


class Outbox:
    """`secrets` make recipient ids, the newest first; `random` gives numbers from 0 up to 1."""

    def __init__(
        self,
        policy: NotificationPolicy,
        secrets: Sequence[str],
        *,
        random: Callable[[], float],
        schedules: Mapping[Channel, Schedule] = SCHEDULES,
        lease: int = LEASE,
    ) -> None:
        self._policy = policy
        self._secrets = secrets
        self._random = random
        self._schedules = schedules
        self._lease = lease

    # ── Claiming ───────────────────────────────────────────────────────────────────────────────────────────

    def claim(
        self, tx: Transaction, now: Instant, free: Mapping[Channel, int], resting: Mapping[Channel, Instant]
    ) -> Claims:
        """Judge what is due, longest due first, and claim up to so many a channel; what is for a channel that rests
        waits for the end of that."""
        left, counts = Counter(free), Counter[str]()
        claimed: list[Notification] = []
        judged = 0
        for row in tx.notifications.due(now, LOOK):
            if left.total() <= 0 and not resting:
                break
            judged += 1
            if row.state == "SENDING" and not self._taken_back(tx, row, now, counts):
                continue
            standing = self._standing(tx, row)
            if standing.mine.state != "WAITING":
                continue  # told along with one that was just claimed
            decision = self._decision(standing, now)
            if isinstance(decision, Send) and decision.channel in resting:
                decision = Postpone(resting[decision.channel], 0, f"the channel {decision.channel} is out")
            elif isinstance(decision, Send) and decision.channel not in free:
                reason = f"there is no channel {decision.channel} here"
                decision = Postpone(Instant(now + PUZZLED), 0, reason)
            if not isinstance(decision, Send):
                tx.notifications.put([_set_aside(standing.mine, decision, now, counts)])
            elif left[decision.channel] > 0:
                left[decision.channel] -= 1
                claimed.append(self._claimed(tx, standing, decision, now, counts))
        return Claims(claimed, judged, counts)

    def _taken_back(self, tx: Transaction, row: Notification, now: Instant, counts: Counter[str]) -> bool:
        """One whose sender went away: whether it may be sent again."""
        if row.channel in _REPEATABLE:
            reason = "whoever sent it went away; it is sent again under the same id"
            tx.notifications.put([_freed(row, "again", now, reason, due_at=now)])
            return True
        reason = "whoever sent it went away before it was known what came of it"
        tx.notifications.put([_freed(row, "lose", now, reason)])
        counts["lost"] += 1
        return False

    def _decision(self, standing: _Standing, now: Instant) -> Decision:
        mine = standing.mine
        if standing.is_erased:
            return Suppress(16, "it was erased who ordered it, and what they had chosen")
        if now - mine.decided_at > OLDEST and not mine.by_hand:
            return Suppress(7, "it could not be sent for three days")
        try:
            decision = self._decide(standing, now)
        except Exception as e:  # noqa: BLE001 - one that cannot be judged stops no other; it is logged
            log_without_text("notifier.not_judged", mine, e)
            return Postpone(Instant(now + PUZZLED), 0, f"the rules failed: {type(e).__name__}")
        if _is_unanswered(standing, decision) and now - mine.decided_at < ANSWERED:
            return Postpone(Instant(now + ASKED), 16, "who ordered it is not known yet")
        if isinstance(decision, Send) and _may_repeat(mine, decision):
            return Suppress(
                15, f"the {mine.channel} may have told it; by {decision.channel} it could be twice"
            )
        return decision

    def _decide(self, standing: _Standing, now: Instant) -> Decision:
        mine = standing.mine
        return decide(
            mine, standing.siblings, standing.order, standing.choices, standing.contact, self._policy, now
        )

    def _claimed(
        self, tx: Transaction, standing: _Standing, decision: Send, now: Instant, counts: Counter[str]
    ) -> Notification:
        """The notification as SENDING, and what it tells along suppressed."""
        mine = standing.mine
        covered = [sibling for sibling in standing.siblings if sibling.id in decision.covers]
        along = [each for each in covered if each.state == "WAITING" and not each.by_hand]
        reason = f"told along with {mine.id}"
        told = [move(sibling, "suppress", now, BY, rule=DIGEST, reason=reason) for sibling in along]
        counts[f"suppressed_by_{DIGEST}"] += len(told)
        claimed = move(
            mine,
            "claim",
            now,
            BY,
            lease_until=Instant(now + self._lease),
            tries=mine.tries + 1,
            channel=decision.channel,
            recipient=standing.recipient,
            locale=decision.locale,
            covers=decision.covers,
        )
        tx.notifications.put([*told, claimed])
        return claimed

    # ── Right before it is sent ────────────────────────────────────────────────────────────────────────────

    def letter(self, tx: Transaction, claimed: Notification, now: Instant) -> Letter | End:
        """What to send, and to whom; or that it is not to be sent, since the rules say something else by now or it is
        not ours to send any more."""
        found = tx.notifications.get([claimed.id]).get(claimed.id)
        if found is None or not _is_still(found, claimed):
            return End(claimed)
        waiting = replace(found, state="WAITING", lease_until=None, tries=found.tries - 1)
        standing = self._standing(tx, waiting)
        decision = self._decision(standing, now)
        if not isinstance(decision, Send) or standing.order is None:
            return End(claimed, decision=decision)
        if (decision.channel, standing.recipient) != (claimed.channel, claimed.recipient):
            return End(claimed, decision=decision)
        known = tx.notifications.get(claimed.covers)
        covers = [known[each] for each in claimed.covers if each in known]
        address = standing.contact.email or ""
        return Letter(claimed, standing.order, address, standing.recipients, covers)

    def _standing(self, tx: Transaction, row: Notification) -> _Standing:
        """Everything about its order. `row` stands for itself when the ledger says that it is being sent."""
        key = (row.business_product_id, row.order_id)
        siblings = tx.notifications.of_orders([key]).get(key, [])
        mine = next((n for n in siblings if n.id == row.id), row)
        if mine.state == "SENDING" and row.state == "WAITING":
            mine = row
        siblings = [mine if n.id == row.id else n for n in siblings]
        view = tx.views.get([("order", *key)]).get(("order", *key))
        order = None if view is None else msgspec.json.decode(view.document)
        contact = Contact() if order is None else contact_of(order)
        if contact.email is None:
            subjects = [(key[0], order_subject(key[1]))]
            is_asked = any(ask.state == "open" for ask in tx.work.get(subjects).values())
            is_erased = bool(tx.erasures.erased(subjects))
            return _Standing(mine, siblings, order, contact, (), Choices(), is_asked, is_erased)
        recipients = recipient_ids(self._secrets, key[0], contact.email)
        choices = _choices(tx, [(key[0], recipient) for recipient in recipients])
        return _Standing(mine, siblings, order, contact, recipients, choices)

    # ── What came of it ────────────────────────────────────────────────────────────────────────────────────

    def record(self, tx: Transaction, ends: Sequence[End], now: Instant) -> Counter[str]:
        """Keep what came of claims, but for those that are not ours any more."""
        counts = Counter[str]()
        known = tx.notifications.get([end.notification.id for end in ends])
        for end in ends:
            found = known.get(end.notification.id)
            if found is None or not _is_still(found, end.notification):
                log.warning("notifier.not_recorded", notification=end.notification.id)
                counts["fenced"] += 1
                continue
            tx.notifications.put([self._ended(found, end, now, counts)])
            if end.outcome is not None and end.outcome.is_nobody and end.letter is not None:
                _block(tx, end.letter, end.outcome.detail, now)
        return counts

    def _ended(self, found: Notification, end: End, now: Instant, counts: Counter[str]) -> Notification:
        outcome = end.outcome
        if outcome is None:
            reason, tries = "not sent: it was given back", found.tries - 1
            back = _freed(found, "again", now, reason, due_at=end.until or now, tries=tries)
            said = end.decision
            return back if said is None or isinstance(said, Send) else _set_aside(back, said, now, counts)
        counts[outcome.result] += 1
        if outcome.result == "sent":
            return _freed(found, "sent", now, outcome.detail, sent_at=now, by_hand=False)
        if outcome.result == "refused":
            return _freed(found, "refuse", now, outcome.detail)
        if outcome.result == "unknown" and found.channel not in _REPEATABLE:
            return _freed(found, "lose", now, outcome.detail)
        return self._again(found, outcome, now)

    def _again(self, found: Notification, outcome: Outcome, now: Instant) -> Notification:
        assert found.channel is not None
        asked = None if outcome.retry_after is None else max(0, outcome.retry_after - now)
        due = next_due(self._schedules[found.channel], found.tries, now, asked, self._random)
        if due is None:
            return _freed(
                found, "refuse", now, f"given up after {found.tries} tries; at last: {outcome.detail}"
            )
        return _freed(found, "again", now, outcome.detail, due_at=due)


def _set_aside(
    mine: Notification, decision: Suppress | Postpone, now: Instant, counts: Counter[str]
) -> Notification:
    """One that the rules do not let go, or not now."""
    rule, reason = decision.rule, decision.reason
    if isinstance(decision, Suppress):
        counts[f"suppressed_by_{rule}"] += 1
        return move(mine, "suppress", now, BY, rule=rule, reason=reason)
    counts["postponed"] += 1
    due_at = max(decision.until, Instant(now + 1))
    return move(mine, "postpone", now, BY, rule=rule, reason=reason, due_at=due_at)


def _is_unanswered(standing: _Standing, decision: Decision) -> bool:
    """Whether there is nobody to tell (rule 16) only because no answer of the API has named anybody so far: an event
    is folded before that, and the API may be out for longer than a hold. A channel that needs no address waits while
    the API is being asked, since what they chose is not known before (rule 13)."""
    if standing.order is None or standing.order.get("customer") is not None:
        return False
    if isinstance(decision, Send):
        return standing.is_asked
    return isinstance(decision, Suppress) and decision.rule == 16


def _may_repeat(mine: Notification, decision: Send) -> bool:
    """Whether it was tried by a channel whose receiver tells copies, and would now go by one whose reader can't."""
    tried = mine.tries > 0 and mine.channel in _REPEATABLE
    return tried and decision.channel != mine.channel and not mine.by_hand


def _is_still(found: Notification, claimed: Notification) -> bool:
    """Whether a claim is the newest one, and nothing came of it yet."""
    return (found.state, found.tries, found.lease_until) == ("SENDING", claimed.tries, claimed.lease_until)


def _freed(found: Notification, action: Any, now: Instant, reason: str, **changes: Any) -> Notification:
    """One that is not being sent any more."""
    return move(found, action, now, BY, reason=reason, lease_until=None, **changes)


def log_without_text(event: str, notification: Notification, error: Exception) -> None:
    """Where it failed, and nothing of what it was about: an error's own words may hold a name or an address."""
    frame = extract_tb(error.__traceback__)[-1]
    where = f"{frame.name}:{frame.lineno}"
    log.error(event, notification=notification.id, error=type(error).__name__, at=where)


def _block(tx: Transaction, letter: Letter, reason: str, now: Instant) -> None:
    """Nothing more goes to somebody who is not there (rule 13: the suppression list)."""
    keys = [(letter.notification.business_product_id, recipient) for recipient in letter.recipients]
    # Read anew: what they chose while it was on its way stays.
    choices = _choices(tx, keys)
    if choices.blocked or not keys:
        return
    choices = replace(choices, blocked=reason, blocked_at=now, changed_at=now)
    tx.notifications.choose({keys[0]: write_choices(choices)})


def _choices(tx: Transaction, keys: Sequence[tuple[str, str]]) -> Choices:
    """What holds of what stands under a recipient's keys."""
    found = tx.notifications.choices(keys)
    return read_choices(found.get(key) for key in keys)
