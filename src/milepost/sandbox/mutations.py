"""What mutations do: each field of Mutation, from its arguments to its response.

The work is others': `subscriptions` for subscriptions and auth profiles, `orders` for orders and their packages.
Who may ask is `graph`'s, what is answered of an order is `queries`'.
"""

from collections.abc import Mapping
from typing import Any

from milepost.sandbox.graph_context import Context, Info, Resolver
from milepost.sandbox.queries import answered
from milepost.sandbox.world import WorldOrder


async def _create_event_subscription(_: Any, info: Info, **arguments: Any) -> dict[str, str]:
    context, given = info.context, arguments["input"]
    made = await context.subscriptions.create(
        context.caller, given["eventType"], context.api_version, given["destination"]
    )
    return {"subscriptionId": made}


async def _delete_event_subscription(_: Any, info: Info, **arguments: Any) -> dict[str, str]:
    context = info.context
    await context.subscriptions.delete(context.caller, arguments["subscriptionId"])
    return {"subscriptionId": arguments["subscriptionId"]}


async def _create_auth_profile(_: Any, info: Info, **arguments: Any) -> dict[str, str]:
    context, given = info.context, arguments["input"]
    made = await context.subscriptions.create_profile(
        context.caller, given.get("authProfileAliasId"), given["authConfig"]
    )
    return {"authProfileId": made}


async def _update_auth_profile(_: Any, info: Info, **arguments: Any) -> dict[str, str]:
    context, given = info.context, arguments["input"]
    await context.subscriptions.update_profile(context.caller, given["authProfileId"], given["authConfig"])
    return {"authProfileId": given["authProfileId"]}


async def _delete_auth_profile(_: Any, info: Info, **arguments: Any) -> dict[str, str]:
    context = info.context
    await context.subscriptions.delete_profile(context.caller, arguments["authProfileId"])
    return {"authProfileId": arguments["authProfileId"]}


async def _create_order(_: Any, info: Info, **arguments: Any) -> dict[str, Any]:
    context = info.context
    return _order_response(await context.orders.create(context.caller, arguments["input"]), context)


async def _update_order(_: Any, info: Info, **arguments: Any) -> dict[str, Any]:
    context = info.context
    return _order_response(await context.orders.update(context.caller, arguments["input"]), context)


async def _cancel_order(_: Any, info: Info, **arguments: Any) -> dict[str, Any]:
    context = info.context
    world, requested = await context.orders.cancel(
        context.caller, arguments["orderIdentifier"], arguments.get("input") or {}
    )
    items = {item["id"]: item for item in answered(world, context)["lineItems"] or ()}
    entries = [
        {**entry, "lineItem": items.get(entry["lineItem"]["id"], entry["lineItem"])}
        for entry in requested["canceledFor"]["orderLineItems"]
    ]
    return {"cancellation": {**requested, "canceledFor": {"orderLineItems": entries}}}


async def _update_order_package_information(_: Any, info: Info, **arguments: Any) -> dict[str, Any]:
    context = info.context
    world = await context.orders.move_packages(
        context.caller, arguments["orderIdentifier"], arguments["input"]
    )
    return {"order": answered(world, context)}


def _order_response(world: WorldOrder, context: Context) -> dict[str, Any]:
    return {"order": answered(world, context), "id": world.id}


RESOLVERS: Mapping[str, Resolver] = {
    "createEventSubscription": _create_event_subscription,
    "deleteEventSubscription": _delete_event_subscription,
    "createAuthProfile": _create_auth_profile,
    "updateAuthProfile": _update_auth_profile,
    "deleteAuthProfile": _delete_auth_profile,
    "createOrder": _create_order,
    "updateOrder": _update_order,
    "cancelOrder": _cancel_order,
    "updateOrderPackageInformation": _update_order_package_information,
}
"""The fields of Mutation."""
