"""The numbers of Insights that are not about parcels: how long events take to get here, and what became of messages.

Read from the journal and the notifications' ledger when they are asked for.
"""

from collections.abc import Collection
from typing import Any, Final

import polars as pl

from milepost.domain.notification_wording import RULE_TEXTS
from milepost.pipeline.insight_lengths import METHOD
from milepost.pipeline.insight_results import FEWEST, Bin, Distribution, Figure, Share
from milepost.store import Transaction

NEWEST = 20_000
"""Events of which the transport lag is measured: the newest, whatever their road."""
_EDGES: Final = (0.0, 100.0, 500.0, 1_000.0, 5_000.0, 30_000.0, 300_000.0, 3_600_000.0)


def transport_lag(tx: Transaction, business_products: Collection[str] | None) -> Distribution:
    """From an event's publishing to its first arrival here, of the newest events."""
    lags = pl.Series("lag", tx.journal.lags(NEWEST, business_products), pl.Int64).cast(pl.Float64)
    few = lags.len() < FEWEST
    quantiles: list[Any] = [None if few else lags.quantile(q, "linear") for q in (0.5, 0.9, 0.95)]
    bins: list[Bin] = []
    for low, high in zip(_EDGES, (*_EDGES[1:], None), strict=True):
        # The first also has what is said to have come before it was published.
        above = lags >= (float("-inf") if low == _EDGES[0] else low)
        inside = above if high is None else above & (lags < high)
        bins.append(Bin(low, high, int(inside.sum()), ""))
    mean: Any = lags.mean()
    return Distribution(
        id="transport-lag",
        title="Transport lag",
        unit="milliseconds",
        n=lags.len(),
        cohort=lags.len(),
        coverage=None,
        open=0,
        maturity=None,
        p50=quantiles[0],
        p90=quantiles[1],
        p95=quantiles[2],
        mean=None if few else mean,
        survival_p50=None,
        survival_p90=None,
        survival_p95=None,
        suppressed=few,
        bins=tuple(bins),
        definition=f"From an event's publishing to its first arrival here, of the newest {NEWEST:,} records' events."
        " Events have no carrier and no region: only the business product is filtered by.",
        method=METHOD,
        note="Replays are left out.",
        rows="",
    )


_STATES: Final = {
    "SENT": ("Sent", "given to the channel, which took it"),
    "FAILED": ("Bounced", "refused by the channel for good"),
    "UNCERTAIN": ("Uncertain", "given to the channel, and whether it arrived is not known"),
    "WAITING": ("Waiting", "not due yet, or postponed"),
    "SENDING": ("Being sent", "under way at this moment"),
    "SUPPRESSED": ("Suppressed", "kept back by a rule"),
}


def notification_health(tx: Transaction, business_products: Collection[str] | None) -> Share:
    """What became of notifications, suppressed ones by the rule that did it."""
    states, rules, orders = tx.notifications.health(business_products)
    total = sum(states.values())
    tried = sum(states.get(state, 0) for state in ("SENT", "FAILED", "UNCERTAIN"))
    main = _figure(
        "sent",
        "Sent",
        states.get("SENT", 0),
        tried,
        total,
        "Notifications that a channel took ÷ those that were tried and came to an end: sent, bounced or uncertain.",
    )
    per_order = Figure(
        id="per-order",
        title="Sent per order",
        value=states.get("SENT", 0) / orders if orders else None,
        unit="count",
        numerator=states.get("SENT", 0),
        denominator=orders,
        n=orders,
        cohort=orders,
        maturity=None,
        definition="Notifications that were sent ÷ orders that any notification was decided for.",
        method="counted",
    )
    parts = [
        _figure(
            state.lower(),
            title,
            states.get(state, 0),
            total,
            total,
            f"{title}: {text} ÷ all that were decided.",
        )
        for state, (title, text) in _STATES.items()
    ]
    parts += [
        _figure(
            f"rule-{rule}", f"Rule {rule}", count, total, total, RULE_TEXTS.get(rule, "A rule kept it back.")
        )
        for rule, count in sorted(rules.items())
    ]
    return Share(main, (per_order,), tuple(parts))


def _figure(id: str, title: str, top: int, bottom: int, cohort: int, text: str) -> Figure:
    return Figure(
        id=id,
        title=title,
        value=top / bottom if bottom else None,
        unit="share",
        numerator=top,
        denominator=bottom,
        n=bottom,
        cohort=cohort,
        maturity=bottom / cohort if cohort else None,
        definition=text,
        method="counted",
    )
