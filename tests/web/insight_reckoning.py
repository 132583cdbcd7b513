"""Reckoning with numbers of Insights: by DuckDB over the rows of a question, and what Insights answers in that shape.

A list's parts are known by what they are of, so that two answers can be held against each other name by name.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import duckdb

FEW = 20
"""Percentiles over fewer are not told (tracking.md 8)."""
DAYS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 21)
HOURS = (0, 0.25, 0.5, 1, 2, 4, 8, 24, 48)
Numbers = dict[str, Any]


class Reckoning:
    """Numbers over the rows of the view `c`."""

    def __init__(self, db: duckdb.DuckDBPyConnection, *, business: bool = False) -> None:
        self._db = db
        self._business = business

    def one(self, expressions: str, where: str = "true", of: str = "c") -> Any:
        row = self._db.execute(f"select {expressions} from {of} where {where}").fetchone()
        assert row is not None
        return row[0] if len(row) == 1 else row

    def count(self, where: str) -> int:
        found: int = self.one("count(*)", where)
        return found

    def rate(self, top: str, bottom: str, base: str, decided: str, where: str = "true") -> Numbers:
        """A share: `top` of `bottom`, of a cohort `base` of which `decided` are."""
        conditions = (f"({top}) and ({bottom})", bottom, base, f"({base}) and ({decided})")
        counts = ", ".join(f"count(*) filter ({condition})" for condition in conditions)
        over, under, cohort, done = self.one(counts, where)
        return {
            "value": over / under if under else None,
            "numerator": over,
            "denominator": under,
            "n": under,
            "cohort": cohort,
            "maturity": done / cohort if cohort else None,
            "suppressed": False,
        }

    def part(self, where: str) -> Numbers:
        """So many of the cohort."""
        n, of = self.count(where), self.count("true")
        return {"value": n, "numerator": n, "denominator": of, "n": n, "cohort": of, "maturity": None} | {
            "suppressed": False
        }

    def mean(self, value: str, where: str, base: str, maturity: bool = True) -> Numbers:
        n, found, cohort = self.count(where), self.one(f"avg({value})", where), self.count(base)
        decided = n / cohort if cohort and maturity else None
        return {"value": found, "numerator": None, "denominator": None, "n": n, "cohort": cohort} | {
            "maturity": decided,
            "suppressed": False,
        }

    # ── Lengths ────────────────────────────────────────────────────────────────────────────────────────────

    def between(self, start: str, end: str) -> str:
        """Days; in business days the clock stands still on weekends. The fifth of January 1970 was a Monday."""
        if not self._business:
            return f"({end} - {start}) / 86400.0"
        worked = "(({t} - 345600) // 604800 * 432000 + least(({t} - 345600) % 604800, 432000))"
        return f"({worked.format(t=end)} - {worked.format(t=start)}) / 86400.0"

    def rows(self, expressions: str, where: str = "true", of: str = "c", then: str = "") -> list[Any]:
        return self._db.execute(f"select {expressions} from {of} where {where} {then}").fetchall()

    def values(self, value: str, where: str) -> list[Any]:
        return [found for (found,) in self.rows(value, where)]

    def quantiles(self, value: str, where: str, *shares: float) -> list[float | None]:
        """By linear interpolation; none of fewer than FEW."""
        if self.count(where) < FEW:
            return [None] * len(shares)
        return list(self.one(f"quantile_cont({value}, {list(shares)})", where))

    def length(
        self, ended: str, arrived: str, under_way: str, start: str, end: str, hours: bool = False
    ) -> Numbers:
        value = f"({end} - {start}) / 3600.0" if hours else self.between(start, end)
        n, reached, still = self.count(ended), self.count(arrived), self.count(under_way)
        p50, p90, p95 = self.quantiles(value, ended, 0.5, 0.9, 0.95)
        survival = [None] * 3
        if not hours and n + still >= FEW:
            so_far = self.values(self.between(start, "now"), under_way)
            survival = kaplan_meier(self.values(value, ended), so_far, (0.5, 0.9, 0.95))
        edges = HOURS if hours else DAYS
        bins = list(pairwise((*edges, None)))
        inside = [
            f"({value} >= {low} or {low} = 0)" + f" and {value} < {high}" * (high is not None)
            for low, high in bins
        ]
        counted = self.one(", ".join(f"count(*) filter ({each})" for each in inside), ended)
        return {
            "n": n,
            "cohort": self.count("true"),
            "coverage": min(1.0, n / reached) if reached else None,
            "open": still,
            "maturity": n / (n + still) if n + still else None,
            "p50": p50,
            "p90": p90,
            "p95": p95,
            "mean": None if n < FEW else self.one(f"avg({value})", ended),
            "survivalP50": survival[0],
            "survivalP90": survival[1],
            "survivalP95": survival[2],
            "suppressed": n < FEW,
            "bins": {
                float(low): {"count": n, "high": high} for (low, high), n in zip(bins, counted, strict=True)
            },
        }


def kaplan_meier(
    ended: Sequence[float], so_far: Sequence[float], shares: Sequence[float]
) -> list[float | None]:
    """After how long each share has ended, to the minute."""
    ends, open_for = ([round(days * 1440) for days in each] for each in (ended, so_far))
    left, found = 1.0, dict.fromkeys(shares)
    for at in sorted(set(ends)):
        left *= 1 - ends.count(at) / sum(length >= at for length in (*ends, *open_for))
        for share in shares:
            if found[share] is None and left <= 1 - share + 1e-9:
                found[share] = at / 1440
    return list(found.values())


# ── What Insights answers ──────────────────────────────────────────────────────────────────────────────────

KEYS = ("id", "start", "carrier", "stage", "low")
TEXTS = frozenset(
    [
        "id",
        "title",
        "unit",
        "definition",
        "rows",
        "allRows",
        "leftRows",
        "method",
        "note",
        "flatters",
        "by",
        "start",
        "end",
        "carrier",
        "stage",
        "bucket",
        "buckets",
        "low",
        "origin",
        "destination",
    ]
)
"""What is no number: titles, sentences, names of rows, and what a part is of."""


def in_order(texts: Iterable[str]) -> Numbers:
    """A list of names: each with its place."""
    return {text: place for place, text in enumerate(texts)}


def numbers(told: Any) -> Any:
    """What Insights answered, in the shape of `reckon`."""
    if isinstance(told, list):
        if told and not isinstance(told[0], dict):
            return in_order(told)
        return {_key(each): numbers(each) for each in told}
    if isinstance(told, dict):
        return {name: numbers(each) for name, each in told.items() if name not in TEXTS}
    return told


def _key(part: Mapping[str, Any]) -> Any:
    if "origin" in part:
        return f"{part['origin']} {part['destination']}"
    if "bucket" in part:
        return f"{part['stage']} {part['bucket']}"
    return next(part[key] for key in KEYS if key in part)


def differing(told: Any, known: Any, path: str = "") -> Iterator[str]:
    """Where the two differ; a number that one of them has not is a difference."""
    if isinstance(told, dict) and isinstance(known, dict):
        for name in dict.fromkeys((*told, *known)):
            if name not in known:
                yield f"{path}.{name}: nobody reckons it"
            elif name not in told:
                yield f"{path}.{name}: nobody tells it"
            else:
                yield from differing(told[name], known[name], f"{path}.{name}")
    elif not _same(told, known):
        yield f"{path}: told {told}, it is {known}"


def _same(told: Any, known: Any) -> bool:
    if isinstance(told, int | float) and isinstance(known, int | float) and not isinstance(told, bool):
        return abs(told - known) <= 1e-6 * max(1.0, abs(known))
    return bool(told == known)
