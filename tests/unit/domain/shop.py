"""A shop for the tests of notifications: facts come in, are folded and noticed, and what is due is decided and sent.

It does in memory what follower, ledger and notifier do: one entry per id for life, the rules asked of one after the
other when they are due, what is covered suppressed with what covers it.
"""

from typing import Any

from msgspec.structs import replace
from tests.unit.domain.history import BP, ORDER, Arrived, fold, order_answer, package

from milepost.domain.contact import Choices, Contact, contact_of
from milepost.domain.instant import MINUTE, Instant, parse_instant
from milepost.domain.noticing import notice_order, notification_of
from milepost.domain.notification import KINDS, Notification, move
from milepost.domain.notification_policy import NotificationPolicy
from milepost.domain.notification_rules import DIGEST, Postpone, Send, Suppress, decide

EMAIL = "ann@shopper.example"
ZONE = "America/Los_Angeles"
TOLD = frozenset(KINDS) - {"in_transit", "correction"}
POLICY = NotificationPolicy(kinds=TOLD, timezone=ZONE)
EVERYTHING = replace(POLICY, kinds=frozenset(KINDS))


def t(text: str) -> Instant:
    return parse_instant(text)


def known(at: str, *packages: dict[str, Any], email: str | None = EMAIL) -> Arrived:
    """An order answer that names a shopper."""
    contact = {"contact": {"name": "Ann", **({"email": email} if email else {})}}
    return order_answer(at, *(packages or (package(),)), customer=contact)


class Shop:
    """Notifications of one order from its facts, on a clock that is stepped."""

    def __init__(
        self, policy: NotificationPolicy = POLICY, choices: Choices | None = None, since: str | None = None
    ) -> None:
        self.policy, self.choices = policy, choices or Choices()
        self.since = Instant(0) if since is None else t(since)
        self.now = Instant(0)
        self.facts: list[Arrived] = []
        self._folded: dict[str, Any] | None = None
        self.standing: bytes | None = None
        self.ledger: dict[str, Notification] = {}
        self.sent: list[Notification] = []
        """What went out, in order, as it stood then."""

    @property
    def order(self) -> dict[str, Any]:
        """The view as the facts that came make it."""
        if self._folded is None:
            self._folded = fold(*self.facts).document
        return self._folded

    def come(self, at: str, *facts: Arrived) -> None:
        """These come in at that time and are folded in one batch; what was due before is sent before."""
        self.until(at)
        self.facts += facts
        self._folded = None
        self.notice(max(fact.published_at for fact in facts))

    def notice(self, at: Instant | None = None) -> int:
        """How many notifications were new."""
        noticed = notice_order(self.order, self.standing, at or self.now, self.now, self.policy)
        if noticed is None:
            return 0
        self.standing = noticed.standing
        count = len(self.ledger)
        for occasion in noticed.occasions:
            made = notification_of(BP, ORDER, occasion, self.since, self.now, self.policy)
            self.ledger.setdefault(made.id, made)
        return len(self.ledger) - count

    def until(self, at: str | Instant) -> None:
        """The clock goes on, and what falls due on the way is decided."""
        end = t(at) if isinstance(at, str) else at
        while (due := self._next_due()) is not None and due.due_at <= end:
            self.now = max(self.now, due.due_at)
            self.ask(due)
        self.now = end

    def wait(self, minutes: float) -> None:
        self.until(Instant(self.now + round(minutes * MINUTE)))

    def ask(self, notification: Notification) -> None:
        """Decide, and do as was decided."""
        order = self.order
        siblings = list(self.ledger.values())
        contact = self.contact(order)
        decision = decide(notification, siblings, order, self.choices, contact, self.policy, self.now)
        self.act(notification, decision)

    def contact(self, order: dict[str, Any]) -> Contact:
        return contact_of(order)

    def act(self, notification: Notification, decision: Send | Suppress | Postpone) -> None:
        now = self.now
        if isinstance(decision, Postpone):
            assert decision.until > now, f"{decision} is not later than {now}"
            why = {"rule": decision.rule, "reason": decision.reason}
            self._keep(move(notification, "postpone", now, "notifier", due_at=decision.until, **why))
        elif isinstance(decision, Suppress):
            self._keep(
                move(notification, "suppress", now, "notifier", rule=decision.rule, reason=decision.reason)
            )
        else:
            for covered in decision.covers:
                reason = "It was told with another delivery."
                self._keep(
                    move(self.ledger[covered], "suppress", now, "notifier", rule=DIGEST, reason=reason)
                )
            claimed = move(
                notification,
                "claim",
                now,
                "notifier",
                channel=decision.channel,
                locale=decision.locale,
                covers=decision.covers,
            )
            sent = move(claimed, "sent", now, "notifier", sent_at=now)
            self._keep(sent)
            self.sent.append(sent)

    def _keep(self, notification: Notification) -> None:
        self.ledger[notification.id] = notification

    def _next_due(self) -> Notification | None:
        waiting = [n for n in self.ledger.values() if n.state == "WAITING"]
        return min(waiting, key=lambda n: n.due_at, default=None)

    @property
    def told(self) -> list[str]:
        """The kinds that went out, with their ordinals."""
        return [f"{n.kind}/{n.ordinal}" if n.ordinal else n.kind for n in self.sent]

    def of(self, kind: str, ordinal: str = "", delivery: str | None = None) -> Notification:
        """The one of a kind; it is there once."""
        found = [
            n
            for n in self.ledger.values()
            if (n.kind, n.ordinal) == (kind, ordinal) and delivery in (None, n.delivery_id)
        ]
        assert len(found) == 1, f"{kind}/{ordinal}: {[n.kind for n in self.ledger.values()]}"
        return found[0]

    def fate(self, kind: str, ordinal: str = "", delivery: str | None = None) -> tuple[str, int]:
        """State and rule of the one of a kind."""
        notification = self.of(kind, ordinal, delivery)
        return notification.state, notification.rule
