"""What the pages that a shopper opens have in common: the shop's name and colours, one column of text, no script.

A page loads nothing: its one style sheet stands in it, and `StyledPage.style_hash` lets a policy name it. What stands
on the pages is `choosing`'s and `tracking`'s.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Final

from markupsafe import Markup
from msgspec import Struct

from milepost.shopper.catalogues import nearest
from milepost.shopper.colours import on, readable
from milepost.shopper.composing import Brand
from milepost.shopper.mail import environment
from milepost.shopper.parcels import one_line, safe_url

LANGUAGES: Final[Mapping[str, str]] = {"en": "English", "es": "Español"}
"""As their speakers name them."""


class StyledPage(Struct, frozen=True):
    """A page, and what a Content-Security-Policy needs to let its style sheet through."""

    html: str
    style_hash: str
    """`sha256-…`."""


def styled_page(name: str, locale: str, brand: Brand, *, style: str = "", **given: object) -> StyledPage:
    """A page of `templates/` in the nearest language; `style` is what it needs besides the common style sheet."""
    locale, sheet = nearest(locale), _style(brand.color, style)
    html = (
        environment(locale)
        .get_template(name)
        .render(
            locale=locale,
            style=Markup(sheet),  # noqa: S704 - ours alone: of the brand there are only colours in it
            shop_name=one_line(brand.shop_name),
            shop_url=safe_url(brand.shop_url),
            support_email=one_line(brand.support_email),
            **given,
        )
    )
    digest = hashlib.sha256(sheet.encode()).digest()
    return StyledPage(html, f"sha256-{base64.b64encode(digest).decode()}")


def _style(color: str, more: str) -> str:
    """The style sheet, with the shop's colour where it can be read."""
    style = _STYLE + more
    for scheme, hardest in (("light", _LIGHT), ("dark", _DARK)):
        accent = readable(color, hardest)
        style = style.replace(f"${scheme}-on", on(accent)).replace(f"${scheme}-accent", accent)
    return style


_LIGHT, _DARK = "#f1f3f5", "#1d2025"
"""Of each scheme the background on which a coloured text is hardest to read: the paper, and the card."""
_STYLE: Final = """
:root {
  color-scheme: light dark;
  --paper: #f1f3f5; --card: #ffffff; --ink: #1d2025; --quiet: #58606b; --line: #dce0e5;
  --accent: $light-accent; --on-accent: $light-on;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #121417; --card: #1d2025; --ink: #eceef1; --quiet: #a9b0bb; --line: #3b414a;
    --accent: $dark-accent; --on-accent: $dark-on;
  }
}
*, *::before, *::after { box-sizing: border-box; }
body {
  margin: 0; padding: clamp(1rem, 5vw, 4rem) 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, "Liberation Sans", sans-serif;
  overflow-wrap: anywhere; -webkit-text-size-adjust: 100%;
}
header, main, footer { width: min(36rem, 100%); margin-inline: auto; }
header { margin-bottom: 1rem; font-weight: 600; }
header a { color: inherit; text-decoration: none; }
header a:hover { text-decoration: underline; }
main {
  padding: clamp(1.25rem, 5vw, 2.5rem); background: var(--card); border: 1px solid var(--line); border-radius: 12px;
}
h1, h2, p, fieldset { margin: 0; }
h1 { font-size: clamp(1.5rem, 5vw, 1.875rem); line-height: 1.2; text-wrap: balance; overflow-wrap: break-word; }
h2 { font-size: 1.125rem; line-height: 1.3; }
p, .choice { text-wrap: pretty; }
p + p, h1 + p { margin-top: 0.75rem; }
a { color: var(--accent); text-underline-offset: 0.2em; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 6px; }
.note { margin-bottom: 1.25rem; padding: 0.75rem 1rem; border: 1px solid var(--accent); border-radius: 8px; }
form { margin-top: 1.25rem; }
section { margin-top: 2rem; padding-top: 2rem; border-top: 1px solid var(--line); }
section > form { margin-top: 1rem; }
fieldset { border: 0; padding: 0; min-width: 0; }
.choice { display: flex; gap: 0.75rem; align-items: flex-start; padding: 0.625rem 0; cursor: pointer; }
.choice input { flex: none; width: 1.25rem; height: 1.25rem; margin: 0.125rem 0 0; accent-color: var(--accent); }
.choice b { display: block; font-weight: 600; }
.choice span span, footer { color: var(--quiet); font-size: 0.9375rem; }
.language { display: block; margin: 1rem 0 1.25rem; }
select {
  display: block; margin-top: 0.25rem; padding: 0.625rem 0.75rem; min-height: 2.75rem; width: min(16rem, 100%);
  font: inherit; color: inherit; background: var(--card); border: 1px solid var(--quiet); border-radius: 8px;
}
button {
  font: inherit; font-weight: 600; min-height: 2.75rem; padding: 0.625rem 1.25rem; cursor: pointer;
  border-radius: 8px; border: 2px solid var(--accent); background: var(--card); color: var(--accent);
}
button.first { background: var(--accent); color: var(--on-accent); }
footer { margin-top: 1rem; }
@media (max-width: 30rem) { button, select { width: 100%; } }
"""
