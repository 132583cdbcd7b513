"""The shopper's page of an order, and the form that finds one by its number and an email address.

What it shows is `tracked`'s, how it looks is here and in the templates; the request and its answer are
`milepost.web.tracking`'s and `milepost.web.lookup`'s.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from milepost.domain.instant import Instant
from milepost.shopper.catalogues import LOCALES, catalogue, nearest
from milepost.shopper.composing import Brand
from milepost.shopper.page import LANGUAGES, StyledPage, styled_page
from milepost.shopper.tracked import tracked_of

Trouble = Literal["", "unknown", "too_many"]
"""Why an order was not found: nothing by that number and address, or too many were asked for."""


def tracking_page(order: Mapping[str, Any], locale: str, brand: Brand, now: Instant) -> StyledPage:
    """The page of an order, from its view."""
    locale = nearest(locale)
    tracked = tracked_of(order, catalogue(locale), locale, now)
    return styled_page(
        "tracking.html", locale, brand, style=_STYLE, order=tracked, languages=_other_languages(locale)
    )


def lookup_page(locale: str, brand: Brand, trouble: Trouble = "", number: str = "") -> StyledPage:
    """The form; `number` is what was asked for before."""
    locale = nearest(locale)
    return styled_page(
        "lookup.html",
        locale,
        brand,
        style=_STYLE,
        trouble=trouble,
        number=number,
        languages=_other_languages(locale),
    )


def lost_page(locale: str, brand: Brand, *, can_look_up: bool) -> StyledPage:
    """For a link that is not good, or not any more."""
    return styled_page("tracking_lost.html", nearest(locale), brand, can_look_up=can_look_up)


def _other_languages(locale: str) -> list[tuple[str, str]]:
    return [(tag, LANGUAGES[tag]) for tag in LOCALES if tag != locale]


_STYLE: Final = """
main { width: min(44rem, 100%); }
header, footer { width: min(44rem, 100%); }
.eyebrow { color: var(--quiet); font-size: 0.9375rem; }
h1 { margin-top: 0.125rem; }
.expected { margin-top: 0.5rem; font-size: 1.125rem; }
.expected b { font-weight: 600; }
.package { padding-top: 1.75rem; margin-top: 1.75rem; }
.package:first-of-type { border-top: 0; padding-top: 0; }
.package h2 { font-size: 1.25rem; display: flex; flex-wrap: wrap; gap: 0.25rem 0.75rem; align-items: baseline; }
.package h2 small { color: var(--quiet); font-size: 0.9375rem; font-weight: 400; }
.tell { margin-top: 0.25rem; }
.warning {
  margin-top: 0.75rem; padding: 0.625rem 0.875rem; border-left: 4px solid var(--bad); background: var(--paper);
}
ol, ul { list-style: none; margin: 0; padding: 0; }
.steps { display: flex; margin: 1.5rem 0 0; }
.steps li {
  flex: 1 1 0; position: relative; padding: 2.25rem 0.25rem 0; text-align: center; font-size: 0.875rem;
  line-height: 1.3; color: var(--quiet); min-width: 0;
}
.steps li::before {
  content: ""; position: absolute; z-index: 1; top: 0; left: calc(50% - 0.8125rem); width: 1.625rem; height: 1.625rem;
  border-radius: 50%; border: 2px solid var(--faint); background: var(--card);
}
.steps li::after {
  content: ""; position: absolute; top: 0.6875rem; left: -50%; width: 100%; height: 3px; background: var(--line);
}
.steps li:first-child::after { display: none; }
.steps .done, .steps .skipped { color: var(--ink); }
.steps .done::before { border-color: var(--accent); background: var(--accent); }
.steps .skipped::before { border-color: var(--accent); }
.steps .done::after, .steps .skipped::after { background: var(--accent); }
.steps .now { font-weight: 600; }
.steps svg {
  position: absolute; z-index: 2; top: 0.375rem; left: calc(50% - 0.4375rem); width: 0.875rem; height: 0.875rem;
  fill: none; stroke: var(--on-accent); stroke-width: 2.5;
}
.steps small { display: block; color: var(--quiet); font-size: 0.8125rem; font-weight: 400; }
.window { margin-top: 1.25rem; padding: 0.875rem 1.125rem; border-radius: 8px; background: var(--paper); }
.window span { display: block; color: var(--quiet); font-size: 0.875rem; }
.window b { font-size: 1.125rem; font-weight: 600; }
h3 { margin: 1.5rem 0 0; font-size: 1rem; line-height: 1.3; }
.items { margin-top: 0.25rem; }
.items li {
  display: flex; justify-content: space-between; gap: 1rem; padding: 0.5rem 0; border-top: 1px solid var(--line);
}
.items li:first-child { border-top: 0; }
.items span + span { color: var(--quiet); white-space: nowrap; }
.days h4 { margin: 0.875rem 0 0; font-size: 0.9375rem; line-height: 1.3; font-weight: 600; }
.days li { display: grid; grid-template-columns: 5.5rem 1fr; gap: 0 0.75rem; padding: 0.375rem 0; }
.days li.timeless { grid-template-columns: 1fr; }
.days .time, .days .place { color: var(--quiet); }
.days .place { display: block; font-size: 0.9375rem; }
details { margin-top: 0.5rem; }
summary { cursor: pointer; color: var(--accent); min-height: 2.25rem; padding: 0.375rem 0; }
.carrier { margin-top: 1rem; display: flex; flex-wrap: wrap; gap: 0.25rem 0.75rem; align-items: baseline; }
.number { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; user-select: all; }
.languages { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; }
.languages a { display: inline-block; min-height: 1.5rem; }
label.text { display: block; margin-top: 1rem; font-weight: 600; }
label.text input {
  display: block; margin-top: 0.375rem; padding: 0.625rem 0.75rem; min-height: 2.75rem; width: 100%; font: inherit;
  color: inherit; background: var(--card); border: 1px solid var(--quiet); border-radius: 8px;
}
label.text + button { margin-top: 1.25rem; }
:root { --bad: #9c3519; --faint: #8d95a1; }
@media (prefers-color-scheme: dark) { :root { --bad: #f2987f; --faint: #6d7581; } }
@media print { body { padding: 0; background: none; } main { border: 0; padding: 0; } .languages { display: none; } }
@media (max-width: 30rem) { .days li { grid-template-columns: 4.75rem 1fr; } .steps li { font-size: 0.8125rem; } }
"""
