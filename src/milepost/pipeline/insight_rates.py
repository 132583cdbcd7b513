"""The rates of Insights: what is divided by what, in which cohort, and the sentence that says so (tracking.md 8).

A rate is four conditions over parcels: who counts (`base`), whose outcome is decided (`decided`), what is divided by
(`bottom`) and what is divided (`top`, within `bottom`). Parcels that are still under way are in no denominator of
on-time before their promise has passed, and in it as late from then on (scenario 33). Ways to compute that flatter
are offered beside, labelled.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl
from msgspec import Struct

from milepost.domain import measure
from milepost.pipeline.insight_results import Figure, Share
from milepost.pipeline.insight_terms import REOPENS_S, Terms, column, known, marked

_PARCEL = "A parcel is one tracker of a delivery, or a delivery without one."


class Rate(Struct, frozen=True):
    """One rate. The conditions never are null."""

    id: str
    title: str
    top: pl.Expr
    bottom: pl.Expr
    base: pl.Expr
    decided: pl.Expr
    definition: str
    rows: str
    all_rows: str
    flatters: bool = False
    note: str = ""

    def sums(self) -> list[pl.Expr]:
        """What has to be counted, named after the rate."""
        parts = {
            "top": self.top & self.bottom,
            "bottom": self.bottom,
            "base": self.base,
            "decided": self.decided,
        }
        return [
            condition.sum().cast(pl.Int64).alias(f"{self.id}.{name}") for name, condition in parts.items()
        ]

    def figure(self, counted: Mapping[str, Any]) -> Figure:
        top, bottom, base, decided = (
            int(counted[f"{self.id}.{name}"] or 0) for name in ("top", "bottom", "base", "decided")
        )
        return Figure(
            id=self.id,
            title=self.title,
            value=top / bottom if bottom else None,
            unit="share",
            numerator=top,
            denominator=bottom,
            n=bottom,
            cohort=base,
            maturity=decided / base if base else None,
            definition=self.definition,
            rows=self.rows,
            all_rows=self.all_rows,
            method="counted",
            flatters=self.flatters,
            note=self.note,
        )


class Family(Struct, frozen=True):
    """A rate with its variants and parts."""

    main: Rate
    variants: tuple[Rate, ...] = ()
    parts: tuple[Rate, ...] = ()

    def rates(self) -> tuple[Rate, ...]:
        return self.main, *self.variants, *self.parts

    def share(self, counted: Mapping[str, Any]) -> Share:
        variants = tuple(rate.figure(counted) for rate in self.variants)
        return Share(self.main.figure(counted), variants, tuple(rate.figure(counted) for rate in self.parts))


def count(cohort: pl.LazyFrame, rates: Sequence[Rate]) -> dict[str, Any]:
    """Count what these rates need, each once, in one pass."""
    rates = list({rate.id: rate for rate in rates}.values())
    return (
        cohort.select(expression for rate in rates for expression in rate.sums()).collect().row(0, named=True)
    )


def families(t: Terms) -> dict[str, Family]:
    """Every rate there is, by the name of its metric."""
    return {
        "otd": _on_time(t),
        "otif": _in_full(t),
        "first-attempt": _first_attempt(t),
        "exceptions": _exceptions(t),
        "never-scanned": _never_scanned(t),
        "accountability": _accountability(t),
        "false-delivered": _false_delivered(t),
        "completeness": _completeness(t),
    }


def on_time_rate(t: Terms) -> Rate:
    return Rate(
        "otd",
        "On time",
        t.kept,
        t.due,
        t.promised,
        t.due,
        "Delivered by the end of the promised local day ÷ all parcels whose promise has ended; one that is not"
        f" delivered by then is late. The promise is the first estimate seen after shipping. {_PARCEL}",
        "kept",
        "due",
    )


def _on_time(t: Terms) -> Family:
    of_delivered = Rate(
        "otd-delivered",
        "On time, of those delivered",
        t.on_time,
        t.promised & t.delivered,
        t.promised,
        t.promised & t.delivered,
        "Delivered by the promise ÷ delivered parcels with a promise. Those not delivered are left out.",
        "on-time",
        "delivered-promised",
        flatters=True,
        note="Flatters: the slowest parcels are not delivered yet, and are left out.",
    )
    of_shipped = Rate(
        "otd-shipped",
        "On time, of those shipped",
        t.on_time,
        t.promised & t.shipped,
        t.promised & t.shipped,
        t.promised & t.shipped & (t.delivered | t.due),
        "Delivered by the promise ÷ shipped parcels with a promise, those whose promise has not ended yet too.",
        "on-time",
        "shipped-promised",
        note="Understates as long as promises are still open.",
    )
    at_attempt = Rate(
        "otd-attempt",
        "On time at the first attempt",
        t.tried_in_time,
        t.due,
        t.promised,
        t.due,
        "Delivered, or first tried to deliver, by the end of the promised day ÷ all parcels whose promise has ended.",
        "tried-in-time",
        "due",
    )
    return Family(on_time_rate(t), (of_delivered, of_shipped, at_attempt))


def _in_full(t: Terms) -> Family:
    late = column("order_days_late")
    definition = (
        "Orders whose every delivery came in full and by its promise ÷ orders whose last promise has ended. A"
        " cancelled delivery or missing piece that no other delivery made good fails “in full”. An order counts"
        " under the date, carrier and region of its first parcel."
    )

    def ladder(id: str, title: str, top: pl.Expr, text: str) -> Rate:
        return Rate(
            id,
            title,
            top.fill_null(False),
            t.order_due,
            t.order_promised,
            t.order_due,
            text,
            id,
            "orders-due",
        )

    return Family(
        ladder("otif", "On time in full", t.in_full & (late <= 0), definition),
        (
            ladder(
                "otif-grace",
                "In full, a day late at most",
                t.in_full & (late <= 1),
                "As on time in full, with one day of tolerance.",
            ),
            ladder(
                "in-full",
                "In full, whenever",
                t.in_full,
                "Delivered in full by now, however late ÷ orders due.",
            ),
            ladder(
                "on-time-order",
                "On time, whatever is missing",
                t.order_due & (late <= 0),
                "Every delivery that was not cancelled came by its promise ÷ orders due.",
            ),
        ),
    )


def first_attempt_rate(t: Terms) -> Rate:
    tried = t.delivered | (column("attempts") > 0) | ~t.open
    return Rate(
        "first-attempt",
        "Delivered at the first attempt",
        t.first_try,
        t.reached,
        t.reached,
        t.reached & tried,
        "Delivered without a failed attempt ÷ parcels that were out for delivery, attempted or delivered.",
        "first-attempt",
        "reached",
    )


def _first_attempt(t: Terms) -> Family:
    return Family(first_attempt_rate(t))


_TROUBLE: Final = (
    measure.EXCEPTION | measure.CUSTOMER_ACTION | measure.LOST | measure.UNDELIVERABLE | measure.RETURNING
)
_PARTS: Final = (
    ("exception", "Exception", measure.EXCEPTION),
    ("customer-action", "Needs the customer", measure.CUSTOMER_ACTION),
    ("delayed", "Delayed", measure.DELAYED),
    ("lost", "Lost", measure.LOST),
    ("undeliverable", "Undeliverable", measure.UNDELIVERABLE),
    ("returning", "Returned to sender", measure.RETURNING),
)


def exception_rate(t: Terms) -> Rate:
    return Rate(
        "exceptions",
        "Something went wrong",
        marked(_TROUBLE),
        t.shipped,
        t.shipped,
        t.shipped & ~t.open,
        "Parcels with an exception, a customer action, lost, undeliverable or returned ÷ shipped parcels. Each parcel"
        " counts once, whatever was cleared later; more may still happen to those under way.",
        "exceptions",
        "shipped",
    )


def _exceptions(t: Terms) -> Family:
    parts = tuple(
        Rate(
            name,
            title,
            marked(flag),
            t.shipped,
            t.shipped,
            t.shipped & ~t.open,
            f"Parcels that were ever {title.lower()} ÷ shipped parcels. One parcel may have several reasons.",
            name,
            "shipped",
        )
        for name, title, flag in _PARTS
    )
    return Family(exception_rate(t), (), parts)


def _never_scanned(t: Terms) -> Family:
    days = t.never_scanned_days
    still = Rate(
        "unscanned",
        "Not scanned to this day",
        t.scan_overdue & ~known("first_scan_at") & ~t.delivered & t.open,
        t.scan_overdue,
        t.announced,
        t.scan_overdue,
        f"Those of them that still have no scan ÷ parcels whose ship event is over {days} business days old, or what"
        " the settings say of its carrier.",
        "unscanned",
        "scan-due",
    )
    main = Rate(
        "never-scanned",
        "Never scanned in time",
        t.not_scanned,
        t.scan_overdue,
        t.announced,
        t.scan_overdue,
        f"No carrier scan within {days} business days after the ship event, or what the settings say of its carrier ÷"
        " parcels whose ship event is older than that. Without a tracker nothing can be scanned: such deliveries are"
        " left out.",
        "never-scanned",
        "scan-due",
    )
    return Family(main, (still,))


def _accountability(t: Terms) -> Family:
    seller = Rate(
        "seller-late",
        "Late, handed over late",
        t.by_seller,
        t.missed,
        t.due,
        t.due,
        "Of the late parcels those that the carrier first scanned after the promised window had begun, or never.",
        "seller-late",
        "missed",
    )
    main = Rate(
        "carrier-late",
        "Late in transit",
        t.by_carrier,
        t.missed,
        t.due,
        t.due,
        "Late parcels that the carrier had by the first day of the promised window ÷ all parcels that missed their"
        " promise. The others were handed over too late.",
        "carrier-late",
        "missed",
    )
    return Family(main, (), (main, seller))


def false_delivered_rate(t: Terms) -> Rate:
    settled = t.false_delivered | (column("delivered_at").cast(pl.Int64) + REOPENS_S <= t.now)
    return Rate(
        "false-delivered",
        "Delivered that was not",
        t.false_delivered,
        t.ever_delivered,
        t.ever_delivered,
        t.ever_delivered & settled.fill_null(False),
        "Parcels whose delivered scan was contradicted by a later scan within 72 hours ÷ parcels that were ever"
        " scanned or told as delivered. Decided once 72 hours have passed.",
        "false-delivered",
        "ever-delivered",
    )


def _false_delivered(t: Terms) -> Family:
    return Family(false_delivered_rate(t))


def _completeness(t: Terms) -> Family:
    delivered = t.first_of_delivery & (column("delivery_state") == "DELIVERED")
    told = known("delivered_event_at")
    main = Rate(
        "completeness",
        "Ship event before the delivery",
        marked(measure.SHIP_EVENT),
        delivered,
        delivered,
        delivered,
        "Delivered deliveries of which an in-transit event came, published no later than the delivered event ÷"
        " delivered deliveries. What is missing was lost on the way, or never sent.",
        "ship-event",
        "delivered-deliveries",
    )
    part = Rate(
        "delivered-event",
        "Delivered event",
        told,
        delivered,
        delivered,
        delivered,
        "Delivered deliveries of which a delivered event came ÷ delivered deliveries.",
        "delivered-event",
        "delivered-deliveries",
    )
    return Family(main, (), (part,))
