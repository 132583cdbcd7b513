"""What each kind of notification says: subject, headline and sentences, for one parcel and for several.

Plain words, and honest ones: what the carrier says is told as the carrier's word, bad news is called by its name,
and nothing is promised that nobody knows. A sentence that names the carrier begins with the name, so that "The
carrier" can stand in its place. The English text is the key of the catalogues (`locales/`): whoever mends one mends
them all.
"""

from collections.abc import Callable, Mapping
from gettext import NullTranslations
from typing import Final

from msgspec import Struct


class Scene(Struct, frozen=True):
    """What sentences may speak of; a text is empty when nobody knows it."""

    says: NullTranslations
    count: int
    """How many parcels the message is about."""
    shop: str
    carrier: str
    """As a sentence begins with it."""
    day: str = ""
    """The local day on which it happened; of `estimate_missed` the last day that was promised."""
    before: str = ""
    """The last day that was expected before the estimate moved."""
    attempt: int = 0
    """The number of a failed attempt; 0 where nobody counted."""
    undeliverable: bool = False
    """Of an exception: the carrier says that it cannot be delivered at all."""
    expected: bool = False
    """Whether there is an estimate to show."""

    def one(self, message: str) -> str:
        """The message in the shopper's language, filled in."""
        return self._filled(self.says.gettext(message))

    def some(self, of_one: str, of_several: str) -> str:
        """The message for as many parcels as there are, filled in."""
        return self._filled(self.says.ngettext(of_one, of_several, self.count))

    def _filled(self, message: str) -> str:
        return message % {
            "count": self.count,
            "shop": self.shop,
            "carrier": self.carrier,
            "day": self.day,
            "before": self.before,
            "attempt": self.attempt,
        }


class Wording(Struct, frozen=True):
    """What a message says above its parcels."""

    subject: str
    headline: str
    sentences: tuple[str, ...]


def wording_of(kind: str, scene: Scene) -> Wording:
    """The words of a kind. Raises KeyError for one that there is not."""
    return _WORDINGS[kind](scene)


# ── On the way ─────────────────────────────────────────────────────────────────────────────────────────────


def _shipped(s: Scene) -> Wording:
    scanned = s.some("%(carrier)s has had it since %(day)s.", "%(carrier)s has had them since %(day)s.")
    told = s.some(
        "It has been shipped. The carrier’s first scan can take a day to show.",
        "They have been shipped. The carrier’s first scans can take a day to show.",
    )
    return Wording(
        s.some("Your parcel from %(shop)s is on its way", "%(count)s parcels from %(shop)s are on their way"),
        s.some("Your parcel is on its way", "Your parcels are on their way"),
        (scanned if s.day else told,),
    )


def _in_transit(s: Scene) -> Wording:
    return Wording(
        s.some("Your parcel from %(shop)s is moving", "%(count)s parcels from %(shop)s are moving"),
        s.some("Your parcel is moving", "Your parcels are moving"),
        (
            s.some(
                "%(carrier)s has scanned it, and it is on its way to you.",
                "%(carrier)s has scanned them, and they are on their way to you.",
            ),
        ),
    )


def _out_for_delivery(s: Scene) -> Wording:
    dated = s.some(
        "%(carrier)s plans to deliver it on %(day)s.", "%(carrier)s plans to deliver them on %(day)s."
    )
    undated = s.some("%(carrier)s is out to deliver it.", "%(carrier)s is out to deliver them.")
    return Wording(
        s.some(
            "Out for delivery: your parcel from %(shop)s", "Out for delivery: %(count)s parcels from %(shop)s"
        ),
        s.some("Your parcel is out for delivery", "Your parcels are out for delivery"),
        (dated if s.day else undated,),
    )


def _delivered(s: Scene) -> Wording:
    dated = s.some("%(carrier)s delivered it on %(day)s.", "%(carrier)s delivered them on %(day)s.")
    undated = s.some("It has been delivered.", "They have been delivered.")
    return Wording(
        s.some("Delivered: your parcel from %(shop)s", "Delivered: %(count)s parcels from %(shop)s"),
        s.some("Your parcel was delivered", "Your parcels were delivered"),
        (dated if s.day else undated, _not_found(s)),
    )


def _all_delivered(s: Scene) -> Wording:
    return Wording(
        s.one("All parcels of your order from %(shop)s were delivered"),
        s.one("All your parcels were delivered"),
        (
            s.some(
                "It was the only parcel of your order.",
                "%(count)s parcels have been delivered, and no other is on its way.",
            ),
            _not_found(s),
        ),
    )


def _not_found(s: Scene) -> str:
    return s.some(
        "If you cannot find it, please ask your neighbours and look around your door; then get in touch with us.",
        "If you cannot find one, please ask your neighbours and look around your door; then get in touch with us.",
    )


# ── The shopper has something to do ────────────────────────────────────────────────────────────────────────


def _attempt_failed(s: Scene) -> Wording:
    dated = s.some(
        "%(carrier)s tried on %(day)s and could not hand it over.",
        "%(carrier)s tried on %(day)s and could not hand them over.",
    )
    undated = s.some(
        "%(carrier)s tried and could not hand it over.", "%(carrier)s tried and could not hand them over."
    )
    counted = (s.one("That was attempt number %(attempt)s."),) if s.attempt > 1 else ()
    return Wording(
        s.some(
            "Your parcel from %(shop)s could not be delivered",
            "%(count)s parcels from %(shop)s could not be delivered",
        ),
        s.some("Your parcel could not be delivered", "Your parcels could not be delivered"),
        (
            dated if s.day else undated,
            *counted,
            s.one("The carrier can tell you whether there will be another attempt, and what you can do."),
        ),
    )


def _ready_for_pickup(s: Scene) -> Wording:
    dated = s.some(
        "It has been waiting for you since %(day)s.", "They have been waiting for you since %(day)s."
    )
    undated = s.some("It is waiting for you.", "They are waiting for you.")
    return Wording(
        s.some(
            "Ready for pickup: your parcel from %(shop)s", "Ready for pickup: %(count)s parcels from %(shop)s"
        ),
        s.some("Your parcel is ready for pickup", "Your parcels are ready for pickup"),
        (
            dated if s.day else undated,
            s.one("The carrier can tell you where to collect it, and until when."),
        ),
    )


def _pickup_reminder(s: Scene) -> Wording:
    dated = s.some(
        "It has been at the pickup point since %(day)s.", "They have been at the pickup point since %(day)s."
    )
    undated = s.some("It is still at the pickup point.", "They are still at the pickup point.")
    return Wording(
        s.some(
            "Your parcel from %(shop)s is still waiting for you",
            "%(count)s parcels from %(shop)s are still waiting for you",
        ),
        s.some("Your parcel is still waiting for you", "Your parcels are still waiting for you"),
        (
            dated if s.day else undated,
            s.one(
                "What nobody collects goes back to the sender. The carrier can tell you where it is kept, and"
                " until when."
            ),
        ),
    )


def _customer_action(s: Scene) -> Wording:
    return Wording(
        s.some("Action needed: your parcel from %(shop)s", "Action needed: %(count)s parcels from %(shop)s"),
        s.some("Your parcel needs something from you", "Your parcels need something from you"),
        (
            s.some(
                "%(carrier)s needs something from you before it can be delivered.",
                "%(carrier)s needs something from you before they can be delivered.",
            ),
            s.one(
                "Please look at the carrier’s page or call the carrier soon; otherwise it may go back to the sender."
            ),
        ),
    )


# ── Bad news ───────────────────────────────────────────────────────────────────────────────────────────────


def _delayed(s: Scene) -> Wording:
    return Wording(
        s.some("Your parcel from %(shop)s is delayed", "%(count)s parcels from %(shop)s are delayed"),
        s.some("Your parcel is delayed", "Your parcels are delayed"),
        (
            s.one("%(carrier)s reports a delay. We are sorry about that."),
            *(() if s.expected else (s.one("There is no new date yet."),)),
        ),
    )


def _estimate_moved(s: Scene) -> Wording:
    known = (s.one("Until now it was expected by %(before)s."),) if s.before else ()
    return Wording(
        s.some(
            "New delivery date for your parcel from %(shop)s",
            "New delivery date for %(count)s parcels from %(shop)s",
        ),
        s.some("Your parcel has a new delivery date", "Your parcels have a new delivery date"),
        (s.one("%(carrier)s has changed the estimated delivery."), *known),
    )


def _estimate_missed(s: Scene) -> Wording:
    dated = s.some(
        "It should have arrived by %(day)s and has not. We are sorry about that.",
        "They should have arrived by %(day)s and have not. We are sorry about that.",
    )
    undated = s.some(
        "It should have arrived and has not. We are sorry about that.",
        "They should have arrived and have not. We are sorry about that.",
    )
    return Wording(
        s.some("Your parcel from %(shop)s is late", "%(count)s parcels from %(shop)s are late"),
        s.some("Your parcel is late", "Your parcels are late"),
        (
            dated if s.day else undated,
            s.one("It may still arrive. If you cannot wait, please get in touch with us."),
        ),
    )


def _exception(s: Scene) -> Wording:
    problem = (
        s.some(
            "%(carrier)s reports a problem on the way. It may arrive later than planned.",
            "%(carrier)s reports a problem on the way. They may arrive later than planned.",
        ),
        s.one("As far as we know, you do not need to do anything now."),
    )
    end = (
        s.some(
            "%(carrier)s says that it cannot be delivered. We are sorry about that.",
            "%(carrier)s says that they cannot be delivered. We are sorry about that.",
        ),
        s.one("Please get in touch with us, so that we can find a solution."),
    )
    return Wording(
        s.some("A problem with your parcel from %(shop)s", "A problem with %(count)s parcels from %(shop)s"),
        s.some("There is a problem with your parcel", "There is a problem with your parcels"),
        end if s.undeliverable else problem,
    )


def _returning(s: Scene) -> Wording:
    return Wording(
        s.some("Your parcel from %(shop)s is going back", "%(count)s parcels from %(shop)s are going back"),
        s.some("Your parcel is going back to the sender", "Your parcels are going back to the sender"),
        (
            s.some(
                "%(carrier)s is returning it, so it will not reach you.",
                "%(carrier)s is returning them, so they will not reach you.",
            ),
            s.one("Please get in touch with us, so that we can find a solution."),
        ),
    )


def _lost(s: Scene) -> Wording:
    return Wording(
        s.some(
            "Your parcel from %(shop)s seems to be lost", "%(count)s parcels from %(shop)s seem to be lost"
        ),
        s.some("Your parcel seems to be lost", "Your parcels seem to be lost"),
        (
            s.some(
                "%(carrier)s says that it cannot be found. We are sorry about that.",
                "%(carrier)s says that they cannot be found. We are sorry about that.",
            ),
            s.one("Please get in touch with us, so that we can find a solution."),
        ),
    )


def _cancelled(s: Scene) -> Wording:
    return Wording(
        s.some(
            "Cancelled: a delivery of your order from %(shop)s",
            "Cancelled: %(count)s deliveries of your order from %(shop)s",
        ),
        s.some("A delivery of your order was cancelled", "Deliveries of your order were cancelled"),
        (
            s.one("What was to come with it will not be sent."),
            s.one("If you have paid for it and do not hear of a refund, please get in touch with us."),
        ),
    )


def _correction(s: Scene) -> Wording:
    return Wording(
        s.some(
            "A correction: your parcel from %(shop)s is not there yet",
            "A correction: %(count)s parcels from %(shop)s are not there yet",
        ),
        s.some("Your parcel was not delivered after all", "Your parcels were not delivered after all"),
        (
            s.some(
                "We told you that it was delivered. The carrier has scanned it again since, so it is probably"
                " still on its way.",
                "We told you that they were delivered. The carrier has scanned them again since, so they are"
                " probably still on their way.",
            ),
            s.one("We are sorry for the mix-up."),
        ),
    )


_WORDINGS: Final[Mapping[str, Callable[[Scene], Wording]]] = {
    "shipped": _shipped,
    "in_transit": _in_transit,
    "out_for_delivery": _out_for_delivery,
    "attempt_failed": _attempt_failed,
    "ready_for_pickup": _ready_for_pickup,
    "pickup_reminder": _pickup_reminder,
    "delivered": _delivered,
    "delayed": _delayed,
    "estimate_moved": _estimate_moved,
    "estimate_missed": _estimate_missed,
    "exception": _exception,
    "customer_action": _customer_action,
    "returning": _returning,
    "lost": _lost,
    "cancelled": _cancelled,
    "all_delivered": _all_delivered,
    "correction": _correction,
}
