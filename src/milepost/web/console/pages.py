"""Rendering pages: templates, what every page has around its content, the headers that keep scripts of others out.

`page` renders a template of `templates/` for a visitor. Text is escaped where it is written; nothing here or in a
template marks a stored value as safe. Errors of a page's handler become a page (`ERRORS`).
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Request, Response
from litestar.exceptions import HTTPException

from milepost.domain.errors import HTTP_STATUS, MilepostError
from milepost.domain.instant import Instant
from milepost.domain.role import Permission
from milepost.web.console.assets import asset
from milepost.web.console.wording import FILTERS
from milepost.web.visiting import Visitor

HTML: Final = "text/html"
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    # Not no-referrer: browsers would then post forms with the origin "null".
    "Referrer-Policy": "same-origin",
}


class Place(NamedTuple):
    """An entry of the navigation."""

    path: str
    name: str
    icon: str
    permission: Permission


PLACES: Final[tuple[Place, ...]] = (Place("/mapping", "Mapping", "arrow-right-left", "operate"),)
"""In the order in which they are shown; a visitor sees those that they may open."""

environment: Final = Environment(
    loader=PackageLoader("milepost.web.console"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
environment.globals["asset"] = asset
environment.filters.update(FILTERS)


def page(
    request: Request[Any, Any, Any],
    visitor: Visitor | None,
    template: str,
    *,
    now: Instant,
    status: int = 200,
    **content: Any,
) -> Response[str]:
    """A page. `visitor` is None only where nobody has signed in yet; `now` is the hub's clock."""
    here = request.url.path
    text = environment.get_template(template).render(
        visitor=visitor,
        now=now,
        here=here,
        places=[] if visitor is None else [p for p in PLACES if visitor.may(p.permission)],
        is_fragment=request.headers.get("hx-request") == "true",
        **content,
    )
    return Response(text, status_code=status, media_type=HTML, headers=dict(HEADERS))


def _milepost_error(request: Request[Any, Any, Any], error: MilepostError) -> Response[str]:
    return _error_page(request, HTTP_STATUS[error.code], error.detail)


def _framework_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[str]:
    return _error_page(request, error.status_code, error.detail)


def _error_page(request: Request[Any, Any, Any], status: int, detail: str) -> Response[str]:
    visitor = request.scope.get("visitor")
    now = request.app.state.context.clock()
    return page(
        request,
        visitor if isinstance(visitor, Visitor) else None,
        "error.html",
        now=now,
        status=status,
        code=status,
        detail=detail[:500],
    )


ERRORS: Final[dict[int | type[Exception], Any]] = {
    MilepostError: _milepost_error,
    HTTPException: _framework_error,
}
"""A page's `exception_handlers`."""
