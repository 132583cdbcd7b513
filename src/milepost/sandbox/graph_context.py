"""What one GraphQL request's resolvers work with."""

from collections.abc import Callable, Coroutine
from typing import Any

from graphql import GraphQLResolveInfo
from msgspec import Struct

from milepost.domain.instant import Instant
from milepost.sandbox.faults import Faults
from milepost.sandbox.keeper import Keeper
from milepost.sandbox.orders import Orders
from milepost.sandbox.permissions import Caller
from milepost.sandbox.subscriptions import Subscriptions


class Context(Struct, frozen=True):
    keeper: Keeper
    orders: Orders
    subscriptions: Subscriptions
    caller: Caller
    faults: Faults
    """Those that were on when the request came."""
    now: Instant
    api_version: str

    @property
    def business_product_id(self) -> str | None:
        """The one whose data may be read; None reads all."""
        return self.caller.business_product_id


Info = GraphQLResolveInfo[Context]
Resolver = Callable[..., Coroutine[Any, Any, Any]]
"""Of a field of Query or Mutation: `(root, info, **arguments)`."""
