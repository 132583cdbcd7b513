"""Rendering pages: templates, what every page has around its content, the headers that keep scripts of others out.

`page` renders a template of `templates/` for a visitor. Text is escaped where it is written; nothing here or in a
template marks a stored value as safe. Errors of a page's handler become a page (`ERRORS`).
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Request, Response
from litestar.exceptions import HTTPException, NotFoundException

from milepost.domain.errors import HTTP_STATUS, MilepostError, SignInNeeded
from milepost.domain.instant import Instant
from milepost.domain.role import Permission
from milepost.web import problems
from milepost.web.console.assets import asset
from milepost.web.console.wording import FILTERS
from milepost.web.search import LONGEST_TERM
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


PLACES: Final[tuple[Place, ...]] = (
    Place("/", "Search", "search", "orders"),
    Place("/queues", "Queues", "list-todo", "orders"),
    Place("/insights", "Insights", "chart-line", "insights"),
    Place("/events", "Events", "inbox", "operate"),
    Place("/quarantine", "Quarantine", "shield-alert", "operate"),
    Place("/subscribers", "Subscribers", "webhook", "operate"),
    Place("/mapping", "Mapping", "arrow-right-left", "operate"),
    Place("/health", "Health", "heart-pulse", "operate"),
    Place("/users", "Users", "users", "admin"),
    Place("/audit", "Audit log", "scroll-text", "admin"),
)  # fmt: skip
"""In the order in which they are shown; a visitor sees those that they may open."""

GROUPS: Final[Mapping[Permission, str]] = {
    "orders": "Service",
    "serve": "Service",
    "insights": "Understand",
    "operate": "Operate",
    "admin": "Administer",
}
"""The heading of the navigation under which places of a permission stand."""
THEMES: Final = frozenset({"light", "dark"})
"""What the cookie `theme` may say; anything else is as the system is set."""

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
    theme = request.cookies.get("theme", "")
    text = environment.get_template(template).render(
        visitor=visitor,
        now=now,
        here=request.url.path,
        searched=request.query_params.get("q", "")[:LONGEST_TERM],
        places=_places(visitor),
        theme=theme if theme in THEMES else "",
        is_fragment=request.headers.get("hx-request-type") == "partial",
        **content,
    )
    return Response(text, status_code=status, media_type=HTML, headers=dict(HEADERS))


def _places(visitor: Visitor | None) -> dict[str, list[Place]]:
    """What a visitor may open, under the headings of the navigation."""
    found: dict[str, list[Place]] = {}
    for place in PLACES:
        if visitor is not None and visitor.may(place.permission):
            found.setdefault(GROUPS[place.permission], []).append(place)
    return found


def _milepost_error(request: Request[Any, Any, Any], error: MilepostError) -> Response[str]:
    status = HTTP_STATUS.get(error.code, 500)
    return _fault(request, error) if status == 500 else _error_page(request, status, error.detail)


def _sign_in(request: Request[Any, Any, Any], error: SignInNeeded) -> Response[str]:
    """On to the page where people sign in, and back afterwards; a part of a page takes the whole page there."""
    there = f"/sign-in?next={quote(str(error.context['next']), safe='/')}"
    if request.headers.get("hx-request") == "true":
        return Response("", status_code=401, media_type=HTML, headers={"HX-Redirect": there})
    return Response("", status_code=303, media_type=HTML, headers={"Location": there})


def _framework_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[str]:
    return _error_page(request, error.status_code, error.detail)


def _fault(request: Request[Any, Any, Any], error: Exception) -> Response[str]:
    """A fault of ours: the log says where, and the page nothing that it shouldn't."""
    told = problems.of_anything(request, error).content
    return _error_page(request, 500, str(told["detail"]))


def nowhere(request: Request[Any, Any, Any], error: NotFoundException) -> Response[Any]:
    """For an address where nothing is: a page for people, a problem document for programs."""
    is_page = "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1/")
    if is_page:
        return _error_page(request, 404, "Nothing is at this address. It may have been mistyped.")
    return problems.of_framework(request, error)


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
    SignInNeeded: _sign_in,
    MilepostError: _milepost_error,
    HTTPException: _framework_error,
    Exception: _fault,
}
"""A page's `exception_handlers`."""
