"""Answering a shopper's browser with a page: in which language, and with which headers.

The pages are `milepost.shopper`'s. Each names its own style sheet in its policy and loads nothing, so that nothing of
a link that is a secret leaves for anywhere.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from babel import negotiate_locale
from litestar import Request, Response

from milepost.shopper.catalogues import LOCALES
from milepost.shopper.page import StyledPage

HTML = "text/html"
LONGEST_HEADER = 500
"""Of Accept-Language: what is beyond names no language that somebody reads."""


def accepted(request: Request[Any, Any, Any]) -> str | None:
    """The language among ours that the browser asks for before others."""
    wanted: list[tuple[float, str]] = []
    for part in request.headers.get("accept-language", "")[:LONGEST_HEADER].split(","):
        tag, _, weight = part.partition(";")
        try:
            wanted.append((-float(weight.strip().removeprefix("q=") or 1), tag.strip()))
        except ValueError:
            continue
    tags = [tag for weight, tag in sorted(wanted, key=lambda each: each[0]) if weight < 0]
    return negotiate_locale(tags, LOCALES, sep="-")


def asked(request: Request[Any, Any, Any], otherwise: str) -> str:
    """The language of a page that has links to others (`?lang=`), else the browser's, else the shop's."""
    named = request.query_params.get("lang")
    return named if named in LOCALES else accepted(request) or otherwise


def answer(
    page: StyledPage, status: int = 200, more: Mapping[str, str] = MappingProxyType({})
) -> Response[str]:
    """The page, which may post forms to this hub and load nothing."""
    policy = (
        f"default-src 'none'; style-src '{page.style_hash}'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    given = {
        "Content-Security-Policy": policy,
        "X-Robots-Tag": "noindex, nofollow",
        "Vary": "Accept-Language",
        **more,
    }
    return Response(page.html, status_code=status, media_type=HTML, headers=given)
