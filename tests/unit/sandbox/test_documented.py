"""Every documented query and mutation, asked by an official client over a real socket, with every field there is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import aiohttp
import gql
from gql.transport.aiohttp import AIOHTTPTransport
from graphql import (
    GraphQLObjectType,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    build_schema,
    parse,
    visit,
)
from tests.unit.sandbox.asking import DOCUMENTED, config

from milepost.domain.instant import DAY
from milepost.sandbox.program import Sandbox

SCENARIOS = ("happy-path", "cancelled", "returned", "return-failed")
MONEY = {"amount": "12.50", "currencyCode": "USD"}
ORDER = {
    "lineItems": [
        {
            "aliases": [{"aliasType": "SKU", "aliasId": "line-1"}],
            "amount": {"value": 3},
            "product": {
                "identifier": {"productId": "product-1", "sku": "sku-1"},
                "title": "Example",
                "price": MONEY,
                "image": {"sourceUrl": "https://images.example/1.jpg", "altText": "Example"},
                "productDetailPageUrl": "https://shop.example/1",
                "offerPrime": True,
                "variationSelections": [{"dimension": "Color", "value": "Blue"}],
            },
            "selectedDeliveryOffer": {
                "details": {
                    "id": "offer-1",
                    "deliveryPreviewId": "preview-1",
                    "deliveryProvider": "AMAZON",
                    "deliveryCharge": MONEY,
                    "deliveryTerms": {"isPrimeEligible": True, "deliverySpeed": "STANDARD"},
                }
            },
            "payments": {
                "summary": {"amount": MONEY, "paymentMethodDisplayString": "Visa", "state": "AUTHORIZED"},
                "details": [
                    {
                        "id": "payment-1",
                        "amount": MONEY,
                        "paymentMethod": {"displayString": "Visa", "type": "CARD"},
                        "state": "AUTHORIZED",
                    }
                ],
            },
            "taxes": {"summary": {"collectableTaxAmount": MONEY}},
            "discounts": {
                "summary": {"amount": MONEY, "displayString": "Less"},
                "details": [
                    {
                        "amount": MONEY,
                        "couponCode": "LESS",
                        "displayString": "Less",
                        "aliases": [{"aliasType": "COUPON", "aliasId": "less"}],
                    }
                ],
            },
        }
    ],
    "customer": {"contact": {"emailData": {"name": "Jane Doe", "email": "jane@example.com"}}},
    "recipient": {
        "deliveryAddress": {
            "name": "Jane Doe",
            "streetAddress": "1 Main Street",
            "extendedAddress": "Floor 2",
            "locality": "Seattle",
            "region": "WA",
            "postalCode": "98109",
            "countryCode": "US",
        }
    },
    "aliases": [{"aliasType": "EXTERNAL_ID", "aliasId": "external-1"}],
    "totalPrice": {"value": MONEY},
    "taxes": {"summary": {"collectableTaxAmount": MONEY}},
    "discounts": {
        "summary": {"amount": MONEY, "displayString": "Less"},
        "details": [
            {
                "amount": MONEY,
                "couponCode": "LESS",
                "displayString": "Less",
                "aliases": [{"aliasType": "COUPON", "aliasId": "less"}],
            }
        ],
    },
    "payments": {
        "summary": {"amount": MONEY, "paymentMethodDisplayString": "Visa", "state": "AUTHORIZED"},
        "details": [
            {
                "id": "payment-1",
                "amount": MONEY,
                "paymentMethod": {"displayString": "Visa"},
                "state": "AUTHORIZED",
            }
        ],
    },
    "orderLinks": [
        {
            "destinationType": "EXTERNAL_ORDER_MANAGEMENT",
            "url": "https://shop.example/orders/1",
            "displayMessage": "View",
        }
    ],
    "shopperIdentity": {"apayCheckoutSessionId": {"value": "session", "externalId": "external"}},
}


class Client:
    """gql over aiohttp, as a merchant's program would use it; keeps what was answered."""

    def __init__(self, base: str, sandbox: Sandbox, session: Any) -> None:
        self.base = base
        self.sandbox = sandbox
        self._session = session
        self.answers: list[tuple[str, Any]] = []

    async def ask(self, operation: str, **variables: Any) -> Any:
        """The one field that the operation asks for. gql raises for an answer with errors."""
        request = gql.gql(DOCUMENTED)
        request.variable_values = variables
        request.operation_name = operation
        (found,) = (await self._session.execute(request)).items()
        self.answers.append(found)
        return found[1]

    async def post(self, path: str, body: Any) -> Any:
        async with aiohttp.ClientSession() as http, http.post(self.base + path, json=body) as answer:
            assert answer.status == 200
            return await answer.json()


@asynccontextmanager
async def client(path: Path) -> AsyncIterator[Client]:
    sandbox = Sandbox(config(path))
    await sandbox.open()
    stop = asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(sandbox.run(stop, port.set_result))
    base = f"http://127.0.0.1:{await port}"
    form = {"grant_type": "client_credentials", "client_id": "sandbox", "client_secret": "sandbox"}
    async with aiohttp.ClientSession() as http, http.post(f"{base}/token", data=form) as answer:
        token = (await answer.json())["access_token"]
    transport = AIOHTTPTransport(
        url=f"{base}/graphql",
        headers={
            "Authorization": f"Bearer {token}",
            "x-api-target-id": "sandbox",
            "x-api-version": "2024-11-01",
        },
    )
    try:
        async with gql.Client(transport=transport, fetch_schema_from_transport=True) as session:
            yield Client(base, sandbox, session)
    finally:
        stop.set()
        await running
        await sandbox.close()


async def live_scenarios(one: Client) -> list[Any]:
    ids = [(await one.post("/sandbox/scenarios", {"scenario": s}))["orderIds"][0] for s in SCENARIOS]
    one.sandbox.clock.advance(30 * DAY)
    await one.sandbox.keeper.play_due()
    orders = [await one.ask("order", id=order_id) for order_id in ids]
    for order in orders:
        for detail in order["packageInformation"]["details"]:
            if detail["packageTracker"] is not None:
                identifier = detail["packageTracker"]["packageTrackerIdentifier"]
                await one.ask(
                    "tracker", carrier=identifier["carrierCode"], number=identifier["trackingNumber"]
                )
    return orders


async def live_an_order(one: Client) -> None:
    """An order made by mutations alone, from its creation to a split, a cancellation and a refund."""
    made = (await one.ask("createOrder", input=ORDER))["order"]
    assert made["metadata"]["executionState"] == "NOT_STARTED"
    again = await one.ask("orderByAlias", alias={"aliasType": "EXTERNAL_ID", "aliasId": "external-1"})
    assert again == made
    started = await one.ask("updateOrder", input={"orderId": made["id"], "desiredExecutionState": "STARTED"})
    assert started["order"]["metadata"]["executionState"] == "STARTED"
    (package,) = made["packageInformation"]["details"]
    item = {"lineItemId": {"lineItemId": made["lineItems"][0]["id"]}, "amount": {"value": 1}}
    shipped = {
        "id": package["id"],
        "packageState": {
            "packageInformationState": {
                "state": "IN_TRANSIT",
                "packageInformationDetailsFor": {"orderLineItemAmounts": [item]},
            }
        },
    }
    before = await one.ask(
        "movePackages",
        identifier={"orderId": made["id"]},
        input={"packageInformation": {"details": [shipped]}},
    )
    assert len(before["order"]["packageInformation"]["details"]) == 1
    after = await one.ask("order", id=made["id"])
    assert [d["state"] for d in after["packageInformation"]["details"]] == ["IN_TRANSIT", "PENDING"]
    cancellation = await one.ask(
        "cancelOrder",
        identifier={"orderId": made["id"]},
        input={
            "reason": "ORDERED_BY_MISTAKE",
            "additionalComments": "Wrong item",
            "aliases": [{"aliasType": "EXTERNAL_CANCELLATION_ID", "aliasId": "1234"}],
        },
    )
    assert cancellation["cancellation"]["requestedBy"] == "MERCHANT"
    (refund,) = (await one.ask("order", id=made["id"]))["refunds"]["details"]
    paid = {
        "id": "payment-2",
        "amount": MONEY,
        "paymentMethod": {"displayString": "Visa"},
        "state": "SUCCESS",
    }
    refunded = await one.ask(
        "updateOrder",
        input={
            "orderId": made["id"],
            "refunds": {
                "details": [
                    {
                        "id": refund["id"],
                        "state": "SUCCESS",
                        "refundTotal": {"totalAmount": MONEY},
                        "paymentDetails": [paid],
                    }
                ]
            },
        },
    )
    assert refunded["order"]["refunds"]["details"][0]["state"] == "SUCCESS"


async def live_subscriptions(one: Client) -> None:
    basic = {"basicAuthConfig": {"username": "u", "password": "p"}}
    profile = await one.ask("createProfile", input={"authProfileAliasId": "mine", "authConfig": basic})
    assert profile == {"authProfileId": "mine"}
    webhook = {"url": "https://hook.example/in", "method": "POST", "authProfileId": "mine"}
    bridge = {"region": "us-east-1", "partnerEventSource": {"account": "123456789012", "name": "orders"}}
    made = [
        (await one.ask("subscribe", input={"eventType": "PACKAGE_DELIVERED", "destination": destination}))[
            "subscriptionId"
        ]
        for destination in ({"webhook": webhook}, {"eventBridge": bridge})
    ]
    for subscription_id in made:
        found = await one.ask("subscription", id=subscription_id)
        assert found["targetId"] == "sandbox"
    first = await one.ask("subscriptions", first=1)
    second = await one.ask("subscriptions", first=1, after=first["pageInfo"]["endCursor"])
    assert [page["edges"][0]["node"]["id"] for page in (first, second)] == made
    await one.ask("updateProfile", input={"authProfileId": "mine", "authConfig": basic})
    for subscription_id in made:
        assert await one.ask("unsubscribe", id=subscription_id) == {"subscriptionId": subscription_id}
    assert await one.ask("deleteProfile", id="mine") == {"authProfileId": "mine"}


def filled(value: Any, at: str) -> set[str]:
    """The paths in an answer that hold something."""
    if isinstance(value, dict):
        return {path for key, inner in value.items() for path in filled(inner, f"{at}.{key}")}
    if isinstance(value, list):
        return {path for inner in value for path in filled(inner, at)}
    return set() if value is None else {at}


def asked(value: Any, at: str) -> set[str]:
    """The paths that an answer was asked for, as far as it goes down."""
    if isinstance(value, dict):
        return {path for key, inner in value.items() for path in asked(inner, f"{at}.{key}")}
    if isinstance(value, list):
        return {path for inner in value for path in asked(inner, at)} or {at}
    return {at}


async def test_every_documented_field_of_every_operation_is_filled_in_some_answer(tmp_path: Path) -> None:
    async with client(tmp_path) as one:
        await live_scenarios(one)
        await live_an_order(one)
        await live_subscriptions(one)
        orders = ("createOrder.order", "updateOrder.order", "updateOrderPackageInformation.order")
        full: set[str] = set()
        wanted: set[str] = set()
        for name, answer in one.answers:
            # An order is an order, whichever operation answers it.
            at, value = (f"{name}.order", answer["order"]) if f"{name}.order" in orders else (name, answer)
            at = "order" if at in orders else at
            full |= filled(value, at)
            wanted |= asked(value, at)
        # A path that is null in one answer and an object in another is wanted through what is below it.
        missing = {path for path in wanted - full if not any(p.startswith(f"{path}.") for p in full)}
        assert not missing


def test_the_documented_operations_ask_for_everything_in_the_schema() -> None:
    schema = build_schema(resources.files("milepost.sandbox").joinpath("schema.graphql").read_text("utf-8"))
    info = TypeInfo(schema)
    selected: set[tuple[str, str]] = set()

    class Fields(Visitor):
        def enter_field(self, node: Any, *_: Any) -> None:
            parent = info.get_parent_type()
            assert parent is not None
            selected.add((parent.name, node.name.value))

    visit(parse(DOCUMENTED), TypeInfoVisitor(info, Fields()))
    there = {
        (known.name, field)
        for known in schema.type_map.values()
        if isinstance(known, GraphQLObjectType) and not known.name.startswith("__")
        for field in known.fields
    }
    assert there - selected == set()


async def test_messages_have_both_spellings_and_the_latest_milestone_is_the_first(tmp_path: Path) -> None:
    async with client(tmp_path) as one:
        await live_scenarios(one)
        trackers = [answer for name, answer in one.answers if name == "packageTracker"]
        assert trackers
        for tracker in trackers:
            for milestone in tracker["milestones"]:
                message = milestone["status"]["message"]
                assert (message["language"], message["content"]) == (message["locale"], message["value"])
            assert tracker["latestMilestone"] == tracker["milestones"][0]
