"""How right estimates were, and how many scans a parcel has: the means of Insights (tracking.md 8)."""

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from milepost.pipeline.insight_results import Accuracy, Figure
from milepost.pipeline.insight_terms import Terms, column, in_stage, known

_ONLY_DELIVERED: Final = "Over delivered parcels: how late those still moving will be is not known yet."


def accuracy(t: Terms, cohort: pl.LazyFrame) -> Accuracy:
    """Of the original estimate's last day, in days; and how often the estimate changed."""
    arrived = t.promised & t.delivered & known("delivered_on")
    error = (column("delivered_on") - column("promised_on")).dt.total_days()
    estimated = t.promised & t.shipped
    sums = cohort.select(
        base=t.promised.sum(),
        n=arrived.sum(),
        absolute=error.filter(arrived).abs().mean(),
        bias=error.filter(arrived).mean(),
        within=(arrived & (error.abs() <= 1).fill_null(False)).sum(),
        estimated=estimated.sum(),
        revisions=column("revisions").filter(estimated).mean(),
        revised=(estimated & (column("revisions") > 0)).sum(),
    )
    row = sums.collect().row(0, named=True)
    return Accuracy(*_errors(row), *_changes(row))


def _errors(row: Mapping[str, Any]) -> tuple[Figure, Figure, Figure]:
    n, base = row["n"], row["base"]
    common: dict[str, Any] = {
        "n": n,
        "cohort": base,
        "maturity": n / base if base else None,
        "all_rows": "delivered-promised",
        "flatters": True,
        "note": _ONLY_DELIVERED,
    }
    mean = common | {"unit": "days", "numerator": None, "denominator": None, "method": "mean"}
    return (
        Figure(
            id="absolute-error",
            title="Average error",
            value=row["absolute"],
            definition="Mean of the days between delivery and the original estimate's last day, early or late.",
            **mean,
        ),
        Figure(
            id="bias",
            title="Bias",
            value=row["bias"],
            definition="Mean of delivery minus the original estimate's last day; above 0: later than promised.",
            **mean,
        ),
        Figure(
            id="within-a-day",
            title="Within a day",
            value=row["within"] / n if n else None,
            unit="share",
            numerator=row["within"],
            denominator=n,
            definition="Delivered a day before or after the estimate's last day at most ÷ delivered with one.",
            rows="within-a-day",
            method="counted",
            **common,
        ),
    )


def _changes(row: Mapping[str, Any]) -> tuple[Figure, Figure]:
    n = row["estimated"]
    common: dict[str, Any] = {"n": n, "cohort": n, "maturity": None, "all_rows": "shipped-promised"}
    return (
        Figure(
            id="revisions",
            title="Changes of the estimate",
            value=row["revisions"],
            unit="count",
            numerator=None,
            denominator=None,
            definition="Mean number of windows that followed the original estimate, over shipped parcels with one.",
            method="mean",
            **common,
        ),
        Figure(
            id="revised",
            title="Estimate changed",
            value=row["revised"] / n if n else None,
            unit="share",
            numerator=row["revised"],
            denominator=n,
            definition="Shipped parcels whose estimate changed after shipping ÷ shipped parcels with an estimate.",
            rows="revised",
            method="counted",
            **common,
        ),
    )


def milestones_a_tracker(t: Terms, cohort: pl.LazyFrame) -> Figure:
    """How many scans a delivered parcel has: fewer than usual means that some were lost."""
    scanned = t.delivered & (column("carrier") != "") & in_stage("DELIVERED")
    row = (
        cohort.select(n=scanned.sum(), mean=column("milestones").filter(scanned).mean())
        .collect()
        .row(0, named=True)
    )
    return Figure(
        id="milestones",
        title="Scans of a parcel",
        value=row["mean"],
        unit="count",
        numerator=None,
        denominator=None,
        n=row["n"],
        cohort=row["n"],
        maturity=1.0 if row["n"] else None,
        definition="Mean number of scans of a tracker that ended with a delivered scan.",
        rows=None,
        all_rows="scanned-delivered",
        method="mean",
    )
