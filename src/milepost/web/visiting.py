"""Who looks at a page, and what they may: the visitor behind a request of the console.

`admit` is called by the guard of every route whose `opt` has a permission (`needs`). What lies outside a visitor's
business products does not exist for them.
"""

from collections.abc import Collection
from typing import Any

from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import SkipValidation
from msgspec import Struct

from milepost.domain.errors import Forbidden, NotFound
from milepost.domain.role import Permission, Role, may


class Visitor(Struct, frozen=True):
    """Somebody who looks at the console."""

    id: str
    name: str
    role: Role
    business_products: frozenset[str] | None
    """None: all of them."""
    form_token: str = ""
    """What every form of theirs must carry (`form_token`), so that no other site can send one."""
    session: bytes | None = None
    """The hash of their session's token; None where nobody needs to sign in. `sessions.is_signed_in` looks again."""

    def may(self, permission: Permission) -> bool:
        return may(self.role, permission)

    def reach(self, business_product_id: str | None = None) -> Collection[str] | None:
        """The business products to look in, None for all. Raises `NotFound` for one that isn't theirs."""
        if business_product_id is None:
            return self.business_products
        if self.business_products is not None and business_product_id not in self.business_products:
            raise NotFound("There is no such business product.", businessProductId=business_product_id)
        return frozenset({business_product_id})


Looking = NamedDependency[SkipValidation[Visitor]]
"""The visitor as a handler's parameter `visitor`."""


SIGNED_IN: dict[str, Any] = {"permission": None}
"""A route's `opt`: for everybody who signed in."""


def needs(permission: Permission) -> dict[str, Any]:
    """A route's `opt`: only for visitors who have this permission."""
    return {"permission": permission}


def admit(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler, visitor: Visitor
) -> None:
    """Let a visitor through to a page. Raises `Forbidden`."""
    connection.scope["visitor"] = visitor  # type: ignore[typeddict-unknown-key]
    permission: Permission | None = handler.opt["permission"]
    if permission is not None and not visitor.may(permission):
        raise Forbidden(f"Your role, {visitor.role}, has no access to this page.", permission=permission)
