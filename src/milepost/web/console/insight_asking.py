"""What Insights is asked: a filter out of a page's address, and addresses out of a filter.

Everything that a page shows is said in its address, so that it can be sent to somebody, and each number's rows are
asked under the very filter that the number was. Dates are local days; without any the page is about the last thirty.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeVar, get_args
from urllib.parse import urlencode

from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.errors import Invalid
from milepost.domain.instant import Instant
from milepost.pipeline.insight_results import Basis, Days, Filter
from milepost.web.visiting import Visitor

T = TypeVar("T")

PAGE: Final = "/insights"
ROWS: Final = "/insights/rows"
CSV: Final = "/insights/rows.csv"
USUAL_DAYS: Final = 30
PRESETS: Final[tuple[tuple[str, str, int | None], ...]] = (
    ("7", "7 days", 7),
    ("30", "30 days", 30),
    ("90", "90 days", 90),
    ("365", "A year", 365),
    ("all", "Everything", None),
)
"""What `period` may be, its name, and of how many days it is."""
BASES: Final[Mapping[str, str]] = {"ordered": "Ordered", "shipped": "Shipped", "delivered": "Delivered"}
LENGTHS: Final[Mapping[str, str]] = {"calendar": "Calendar days", "business": "Business days"}
UNKNOWN: Final = "unknown"
"""In an address: those whose region, or carrier, nobody knows."""
_LONGEST: Final = 256


class Asked(Struct, frozen=True):
    """A filter, and how it was said."""

    filter: Filter
    period: str
    """A preset's name; empty where dates were given."""
    business_product: str = ""

    def address(self, path: str, **more: str) -> str:
        """`path` under the same filter."""
        return f"{path}?{urlencode([*self._said(), *more.items()])}"

    def over(self, period: str) -> str:
        """This page over a preset's period."""
        return replace(self, period=period).address(PAGE)

    def within(self, **group: Any) -> "Asked":
        """The same of one group alone: fields of the filter that are its own. A week that the filter's days cut off
        stays cut off."""
        if "since" not in group:
            return replace(self, filter=replace(self.filter, **group))
        since, until = self.filter.since, self.filter.until
        group["since"] = max(filter(None, (since, group["since"])))
        group["until"] = min(filter(None, (until, group["until"])))
        return replace(self, filter=replace(self.filter, **group), period="")

    def before(self) -> Filter | None:
        """The period of the same length before this one; None where it has no beginning."""
        since, until = self.filter.since, self.filter.until
        if since is None or until is None:
            return None
        length = until - since + timedelta(1)
        return replace(self.filter, since=since - length, until=until - length)

    def _said(self) -> list[tuple[str, str]]:
        asked = self.filter
        said = [("businessProductId", self.business_product)] if self.business_product else []
        places = (("carrier", asked.carrier), ("origin", asked.origin), ("destination", asked.destination))
        said += [(name, value or UNKNOWN) for name, value in places if value is not None]
        said += [(name, value) for name, value in (("basis", asked.basis), ("days", asked.days))]
        if self.period:
            return [*said, ("period", self.period)]
        dates = (("from", asked.since), ("to", asked.until))
        return [*said, *((name, day.isoformat()) for name, day in dates if day is not None)]


def asked_by(visitor: Visitor, query: Mapping[str, str], now: Instant) -> Asked:
    """What a page's query asks for, within what its visitor may see. An empty field is one that was left out.

    Raises `Invalid` for what is no date, no basis or no period, `NotFound` for a business product of others."""
    product = _text(query, "businessProductId")
    reach = visitor.reach(product or None)
    basis: Basis = _one_of(query, "basis", get_args(Basis), "shipped")
    days: Days = _one_of(query, "days", get_args(Days), "calendar")
    since, until = _date(query, "from"), _date(query, "to")
    period = query.get("period") or ""
    if since is not None or until is not None:
        period = ""
        if since is not None and until is not None and since > until:
            raise Invalid("the first day is after the last", field="from")
    else:
        period = period or str(USUAL_DAYS)
        since, until = _preset(period, now)
    wanted = Filter(
        None if reach is None else frozenset(reach),
        _place(query, "carrier"),
        _place(query, "origin"),
        _place(query, "destination"),
        basis,
        since,
        until,
        days,
    )
    return Asked(wanted, period, product)


def _preset(period: str, now: Instant) -> tuple[date | None, date | None]:
    length = {name: days for name, _, days in PRESETS}
    if period not in length:
        raise Invalid("period is one of " + ", ".join(length), field="period")
    days = length[period]
    if days is None:
        return None, None
    today = datetime.fromtimestamp(now / 1000, UTC).date()
    return today - timedelta(days - 1), today


def _one_of(query: Mapping[str, str], name: str, known: Sequence[T], usual: T) -> T:
    value = query.get(name) or usual
    for each in known:
        if each == value:
            return each
    raise Invalid(f"{name} is one of " + ", ".join(map(str, known)), field=name)


def _text(query: Mapping[str, str], name: str) -> str:
    value = query.get(name, "").strip()
    if len(value) > _LONGEST or "\0" in value:
        raise Invalid(f"{name} is too long, or no text", field=name)
    return value


def _place(query: Mapping[str, str], name: str) -> str | None:
    """A region, or a carrier; empty for `UNKNOWN`, None for any."""
    value = _text(query, name)
    return None if not value else "" if value == UNKNOWN else value


def _date(query: Mapping[str, str], name: str) -> date | None:
    text = query.get(name, "").strip()
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as e:
        raise Invalid(f"{name} {text[:40]!r} is no date; one is written 2026-11-26", field=name) from e
