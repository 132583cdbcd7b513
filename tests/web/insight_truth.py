"""The truth of Insights: every number of it, reckoned anew from the parcels that `insight_parcels.sql` makes.

`reckon` answers in the shape of `/v1/insights`, with numbers alone.
"""

from collections.abc import Sequence
from itertools import pairwise

import duckdb
from msgspec import Struct
from tests.web.insight_reckoning import FEW, Numbers, Reckoning, in_order, kaplan_meier

AGES = ("0–1", "1–2", "2–3", "3–5", "5–7", "7–14", "14+")
STAGES = (
    "UNKNOWN",
    "PENDING",
    "INFO_RECEIVED",
    "IN_TRANSIT",
    "OUT_FOR_DELIVERY",
    "AVAILABLE_FOR_PICKUP",
    "LOST",
    "UNDELIVERABLE",
    "RETURNING",
    "RETURNED",
    "DELIVERED",
    "CANCELLED",
)
DWELT_IN, OPEN_STAGES = STAGES[1:9], STAGES[:9]


class Question(Struct, frozen=True):
    """What Insights is asked: `parameters` of `/v1/insights`, and the same as SQL."""

    name: str
    parameters: dict[str, str] = {}
    where: str = "true"
    visible: str = "true"
    """Of the business products that the filter names: what `undated` and the choices are over."""

    @property
    def day(self) -> str:
        return f"{self.parameters.get('basis', 'shipped')}_on"

    @property
    def business(self) -> bool:
        return self.parameters.get("days") == "business"


# ── The overview ───────────────────────────────────────────────────────────────────────────────────────────


def reckon(db: duckdb.DuckDBPyConnection, question: Question) -> Numbers:
    """Every number of `/v1/insights`."""
    db.execute(f"create or replace temp table c as select * from judged where {question.where}")
    r = Reckoning(db, business=question.business)
    return {
        "parcels": r.count("true"),
        "orders": r.count("of_order"),
        "undated": r.one("count(*)", f"({question.visible}) and {question.day} is null", "judged"),
        "moving": {"cohort": r.count("true"), "parts": _stages(r)},
        "promise": {"cohort": r.count("true"), "parts": _standings(r)},
        **_shares(r),
        **_lengths(r),
        "accuracy": _accuracy(r),
        "trend": {"points": _trend(r, question.day)},
        "dwell": {"stages": {stage: _dwell(r, stage) for stage in DWELT_IN}},
        "ageing": _ageing(r),
        "carriers": {
            "leftOut": 0,
            "carriers": {name: _carrier(r, name) for name in _most(r, "c", "carrier")},
        },
        "lanes": _lanes(r),
        "choices": _choices(r, question),
    }


def _stages(r: Reckoning) -> Numbers:
    return {f"stage:{s}": r.part(f"stage = '{s}'") for s in STAGES if r.count(f"stage = '{s}'")}


def _standings(r: Reckoning) -> Numbers:
    return {
        "early": r.part("early"),
        "on-time-not-early": r.part("on_time and not early"),
        "late": r.part("late"),
        "on-track": r.part("waiting and on_course"),
        "will-be-late": r.part("waiting and not on_course"),
        "no-promise": r.part('"on" is null and not cancelled'),
        "cancelled": r.part("cancelled"),
    }


ON_TIME = ("on_time", "due", "promised", "due")
IN_TROUBLE = "exception or customer_action or lost or given_up or going_back"
EXCEPTIONS = (IN_TROUBLE, "shipped_", "shipped_", "not open")
FIRST_ATTEMPT = (
    "arrived_ and coalesce(attempts, 0) = 0",
    "reached",
    "reached",
    "arrived_ or attempts > 0 or not open",
)
FALSE_DELIVERED = ("belied", "ever_delivered", "ever_delivered", "belied or delivered + 72 * 3600 <= now")
BY_SELLER = '(first_scan is null or shipped_on > coalesce("from", "on"))'
DELIVERIES = "of_delivery and state = 'DELIVERED'"
TOLD_SHIPPED = "ship_event is not null and coalesce(ship_event <= delivered_event, true)"


def _shares(r: Reckoning) -> Numbers:
    def of_orders(top: str) -> Numbers:
        return r.rate(top, "order_is_due", "order_promised", "order_is_due")

    def reason(what: str) -> Numbers:
        return r.rate(what, "shipped_", "shipped_", "not open")

    def share(main: Numbers, variants: Numbers | None = None, parts: Numbers | None = None) -> Numbers:
        return {"main": main, "variants": variants or {}, "parts": parts or {}}

    in_full, by_then = "complete and not short", ("scan_overdue", "announced", "scan_overdue")
    carrier_late = r.rate(f"not {BY_SELLER}", "missed", "due", "due")
    scanned = "arrived_ and tracker is not null and stage = 'DELIVERED'"
    scans = r.mean("scans", scanned, scanned)
    return {
        "onTime": share(
            r.rate(*ON_TIME),
            {
                "otd-delivered": r.rate("on_time", "promised and arrived_", "promised", "arrived_"),
                "otd-shipped": r.rate(
                    "on_time", "promised and shipped_", "promised and shipped_", "arrived_ or due"
                ),
                "otd-attempt": r.rate("tried_in_time", "due", "promised", "due"),
            },
        ),
        "otif": share(
            of_orders(f"{in_full} and order_late <= 0"),
            {
                "otif-grace": of_orders(f"{in_full} and order_late <= 1"),
                "in-full": of_orders(in_full),
                "on-time-order": of_orders("order_late <= 0"),
            },
        ),
        "firstAttempt": share(r.rate(*FIRST_ATTEMPT)),
        "exceptions": share(
            r.rate(*EXCEPTIONS),
            parts={
                "exception": reason("exception"),
                "customer-action": reason("customer_action"),
                "delayed": reason('"delayed"'),
                "lost": reason("lost"),
                "undeliverable": reason("given_up"),
                "returning": reason("going_back"),
            },
        ),
        "neverScanned": share(
            r.rate("heard is null or heard > scan_due", *by_then),
            {"unscanned": r.rate("first_scan is null and open", *by_then)},
        ),
        "accountability": share(
            carrier_late,
            parts={"carrier-late": carrier_late, "seller-late": r.rate(BY_SELLER, "missed", "due", "due")},
        ),
        "falseDelivered": share(r.rate(*FALSE_DELIVERED)),
        "completeness": share(
            r.rate(TOLD_SHIPPED, DELIVERIES, DELIVERIES, "true"),
            parts={
                "delivered-event": r.rate("delivered_event is not null", DELIVERIES, DELIVERIES, "true"),
                "milestones": scans,
            },
        ),
    }


TRANSIT = "first_scan is not null and arrived_ and delivered >= first_scan"


def _lengths(r: Reckoning) -> Numbers:
    handed = "handed is not null and not cancelled"
    return {
        "processing": r.length(
            "ordered is not null and shipped >= ordered",
            "shipped_",
            "ordered is not null and shipped is null and open",
            "ordered",
            "shipped",
        ),
        "pickup": r.length(
            f"{handed} and first_scan >= handed",
            "first_scan is not null",
            f"{handed} and first_scan is null and open",
            "handed",
            "first_scan",
        ),
        "transit": r.length(
            TRANSIT, "arrived_", "first_scan is not null and not arrived_", "first_scan", "delivered"
        ),
        "door": r.length(
            "ordered is not null and shipped is not null and first_scan is not null and delivered >= ordered",
            "arrived_",
            "ordered is not null and not cancelled and not arrived_",
            "ordered",
            "delivered",
        ),
        "sourceLag": r.length(
            "by_scan and delivered_event is not null",
            "by_scan",
            "false",
            "delivered",
            "delivered_event",
            hours=True,
        ),
    }


def _accuracy(r: Reckoning) -> Numbers:
    arrived, estimated, error = "promised and arrived_", "promised and shipped_", '(delivered_on - "on")'
    return {
        "absoluteError": r.mean(f"abs({error})", arrived, "promised"),
        "bias": r.mean(error, arrived, "promised"),
        "withinADay": r.rate(f"abs({error}) <= 1", arrived, "promised", "arrived_"),
        "revisions": r.mean("revisions", estimated, estimated, maturity=False),
        "revised": r.rate("revisions > 0", estimated, estimated, "true") | {"maturity": None},
    }


def _trend(r: Reckoning, day: str) -> Numbers:
    start = (
        day if r.one(f"coalesce(max({day}) - min({day}), 0)") <= 92 else f"date_trunc('week', {day})::date"
    )
    starts = r.values(f"distinct {start}", f"{day} is not null")
    return {str(each): {"figure": r.rate(*ON_TIME, f"{start} = date '{each}'")} for each in sorted(starts)}


def _dwell(r: Reckoning, stage: str) -> Numbers:
    visited = (
        "(select product, tracker, sum(leaves - entered) s from visits v join c using (product, tracker)"
        f" where v.stage = '{stage}' and leaves is not null and not v.belied and not leaves_belied group by all)"
    )
    n, p50, p90 = r.one(
        "count(*), quantile_cont(s / 86400.0, 0.5), quantile_cont(s / 86400.0, 0.9)", of=visited
    )
    here = f"stage = '{stage}' and open and stage_since is not null"
    there = r.quantiles("(now - stage_since) / 86400.0", here, 0.5, 0.9)
    return {
        "n": n,
        "p50": p50 if n >= FEW else None,
        "p90": p90 if n >= FEW else None,
        "open": r.count(here),
        "openP50": there[0],
        "openP90": there[1],
        "suppressed": n < FEW,
    }


def _ageing(r: Reckoning) -> Numbers:
    def grid(since: str) -> Numbers:
        age = r.between(since, "now")
        known = dict(
            r.rows(
                f"stage || ' ' || age_of({age}), count(*)", f"open and {since} is not null", then="group by 1"
            )
        )
        return {
            f"{stage} {age}": {"count": known.get(f"{stage} {age}", 0)}
            for stage in OPEN_STAGES
            for age in AGES
        }

    return {
        "stages": in_order(OPEN_STAGES),
        "sinceEntry": grid("coalesce(stage_since, shipped, ordered)"),
        "sinceScan": grid("last_scan"),
        "neverScanned": r.count("open and last_scan is null"),
        "open": r.count("open"),
    }


def _carrier(r: Reckoning, name: str) -> Numbers:
    mine = "carrier is null" if not name else f"carrier = '{name}'"
    days, going = r.between("first_scan", "delivered"), "first_scan is not null and not arrived_"
    n = r.count(f"{mine} and {TRANSIT}")
    p50, p90 = r.quantiles(days, f"{mine} and {TRANSIT}", 0.5, 0.9)
    so_far = r.values(r.between("first_scan", "now"), f"{mine} and {going}")
    slowest = kaplan_meier(r.values(days, f"{mine} and {TRANSIT}"), so_far, (0.9,))
    return {
        "parcels": r.count(mine),
        "shipped": r.count(f"{mine} and shipped_"),
        "delivered": r.count(f"{mine} and arrived_"),
        "moving": r.count(f"{mine} and open"),
        "onTime": r.rate(*_within(mine, ON_TIME)),
        "transitP50": p50,
        "transitP90": p90,
        "survivalP90": slowest[0] if n >= FEW else None,
        "transitN": n,
        "exceptions": r.rate(*_within(mine, EXCEPTIONS)),
        "falseDelivered": r.rate(*_within(mine, FALSE_DELIVERED)),
        "firstAttempt": r.rate(*_within(mine, FIRST_ATTEMPT)),
    }


def _within(where: str, rate: Sequence[str]) -> list[str]:
    return [f"({condition}) and {where}" for condition in rate]


def _lanes(r: Reckoning) -> Numbers:
    both, lanes = "origin <> '' and destination <> ''", {}
    for origin, destination in r.rows("distinct origin, destination", both, then="order by all"):
        lane = f"origin = '{origin}' and destination = '{destination}'"
        (half,) = r.quantiles(r.between("first_scan", "delivered"), f"{lane} and {TRANSIT}", 0.5)
        lanes[f"{origin} {destination}"] = {
            "parcels": r.count(lane),
            "onTime": r.rate(*_within(lane, ON_TIME)),
            "transitP50": half,
        }
    return {
        "origins": in_order(_most(r, "c", "origin", both)),
        "destinations": in_order(_most(r, "c", "destination", both)),
        "lanes": lanes,
        "unknown": r.count(f"not coalesce({both}, false)"),
        "leftOut": 0,
    }


def _choices(r: Reckoning, question: Question) -> Numbers:
    names = {
        "businessProducts": "product",
        "carriers": "carrier",
        "origins": "origin",
        "destinations": "destination",
    }
    first, last = r.one(f"min({question.day})::text, max({question.day})::text", question.visible, "judged")
    lists = {
        key: in_order(filter(None, _most(r, "judged", name, question.visible))) for key, name in names.items()
    }
    return {**lists, "first": first, "last": last}


def _most(r: Reckoning, of: str, name: str, where: str = "true") -> list[str]:
    """The values there are, those of most parcels first."""
    counted = r.rows(f"coalesce({name}, ''), count(*)", where, of, "group by 1 order by 2 desc, 1")
    return [value for value, _ in counted]


# ── What is not about parcels ──────────────────────────────────────────────────────────────────────────────

LAGS = (0, 100, 500, 1_000, 5_000, 30_000, 300_000, 3_600_000)
STATES = ("sent", "failed", "uncertain", "waiting", "sending", "suppressed")


def transport_lag(db: duckdb.DuckDBPyConnection, product: str) -> Numbers:
    """From publishing to the first arrival, in milliseconds."""
    db.execute(
        "create or replace temp table c as select distinct position, epoch_ms(receivedAt) - epoch_ms(publishedAt) ms"
        f" from facts where record = 'event' and kind = 'claim' and businessProductId = '{product}'"
    )
    r = Reckoning(db)
    p50, p90, p95 = r.quantiles("ms", "true", 0.5, 0.9, 0.95)
    inside = [f"ms >= {low} and ms < {high or 1e15}" for low, high in pairwise((*LAGS, None))]
    bins = zip(pairwise((*LAGS, None)), map(r.count, inside), strict=True)
    n = r.count("true")
    return {"n": n, "cohort": n, "coverage": None, "open": 0, "maturity": None, "suppressed": n < FEW} | {
        "p50": p50,
        "p90": p90,
        "p95": p95,
        "mean": r.one("avg(ms)"),
        "survivalP50": None,
        "survivalP90": None,
        "survivalP95": None,
        "bins": {float(low): {"count": count, "high": high} for (low, high), count in bins},
    }


def notifications(db: duckdb.DuckDBPyConnection, where: str) -> Numbers:
    """What became of what shoppers were to be told."""
    db.execute(
        f"create or replace temp table c as select *, lower(state) became from notifications where {where}"
    )
    r = Reckoning(db)
    sent, orders = r.count("became = 'sent'"), r.one("count(distinct (businessProductId, orderId))")
    parts = {state: r.rate(f"became = '{state}'", "true", "true", "true") for state in STATES}
    for (rule,) in r.rows("distinct rule", "became = 'suppressed'"):
        parts[f"rule-{rule}"] = r.rate(f"became = 'suppressed' and rule = {rule}", "true", "true", "true")
    tried = "became in ('sent', 'failed', 'uncertain')"
    per_order = {"value": sent / orders if orders else None, "numerator": sent, "denominator": orders} | {
        "n": orders,
        "cohort": orders,
        "maturity": None,
        "suppressed": False,
    }
    return {
        "main": r.rate("became = 'sent'", tried, "true", tried),
        "variants": {"per-order": per_order},
        "parts": parts,
    }
