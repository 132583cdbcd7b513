"""Addresses of an order's pages, as links and forms of the console name them.

An id may hold any character, so a path is always put together here. The business product stands in the query where
the visitor's own address had it: an id that several have needs it (design, flow 11).
"""

from typing import Any
from urllib.parse import quote, urlencode

from litestar import Request, Response
from msgspec import Struct

from milepost.domain.errors import Ambiguous
from milepost.store import Transaction
from milepost.web.console.pages import ERRORS, page
from milepost.web.reading import Reach, path_of
from milepost.web.visiting import Visitor

MANY_PRODUCTS = 2
PRODUCT = "businessProductId"
"""The parameter that says which business product is meant."""


class Here(Struct, frozen=True):
    """The order that a page is about, and how its own addresses go on."""

    order_id: str
    product: str | None
    """As the visitor's address names it."""

    def path(self, *more: str, **query: str | None) -> str:
        return path_of("orders", self.order_id, *more, businessProductId=self.product, **query)

    def tracker(self, carrier_code: str, tracking_number: str, **query: str | None) -> str:
        """The page of one of its trackers."""
        return path_of("trackers", carrier_code, tracking_number, businessProductId=self.product, **query)


def parcel_anchor(place: int) -> str:
    """The anchor of an order's delivery, counted from 1."""
    return f"parcel-{place}"


def named_products(tx: Transaction, reach: Reach) -> bool:
    """Whether addresses have to name the business product: the visitor looks at several."""
    return len(tx.journal.business_products() if reach is None else reach) >= MANY_PRODUCTS


def ask_which(request: Request[Any, Any, Any], error: Ambiguous) -> Response[str]:
    """An id that several of the visitor's business products have: the page asks which is meant."""
    products = error.context.get("businessProductIds")
    path = quote(request.url.path)
    asked = [(name, value) for name, value in request.query_params.multi_items() if name != PRODUCT]
    choices = [
        (str(product), f"{path}?{urlencode([*asked, (PRODUCT, str(product))])}")
        for product in (products if isinstance(products, list) else ())
    ]
    now = request.app.state.context.clock()
    visitor: Visitor | None = request.scope.get("visitor")  # type: ignore[assignment]
    return page(request, visitor, "which.html", now=now, status=409, detail=error.detail, choices=choices)


ASKING: dict[int | type[Exception], Any] = {**ERRORS, Ambiguous: ask_which}
"""A page's `exception_handlers`, where its id may be ambiguous."""
