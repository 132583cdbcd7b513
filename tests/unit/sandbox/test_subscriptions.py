"""Subscriptions and auth profiles: what each makes the publisher send to, and every documented refusal."""

import asyncio
from base64 import b64encode, urlsafe_b64encode
from typing import Any

import msgspec
import pytest
from aiohttp import web
from tests.unit.sandbox.asking import DENIED, DOCUMENTED, Asking, validation
from tests.unit.transports.receiver import Received, Receiver

from milepost.domain.attempt import Destination
from milepost.domain.envelope import parse_event
from milepost.domain.event import CATALOGUE
from milepost.domain.instant import HOUR
from milepost.sandbox import event_sources

URL = "https://hook.example/in"
BASIC = {"basicAuthConfig": {"username": "u", "password": "p"}}
OAUTH = {
    "oAuthConfig": {
        "clientParameters": {"clientId": "c", "clientSecret": "s"},
        "authEndpoint": "https://hook.example/token",
        "httpMethod": "POST",
        "httpParameters": {
            "bodyParameters": [{"key": "scope", "value": "write:order"}],
            "headerParameters": [{"key": "Content-Type", "value": "application/x-www-form-urlencoded"}],
        },
    }
}


def webhook(url: str = URL, **more: Any) -> dict[str, Any]:
    return {"webhook": {"url": url, **more}}


def bridge(name: str = "orders", account: str = "123456789012", region: str = "eu-west-1") -> dict[str, Any]:
    return {"eventBridge": {"region": region, "partnerEventSource": {"account": account, "name": name}}}


async def subscribe(
    asking: Asking, destination: dict[str, Any], event_type: str = "PACKAGE_DELIVERED"
) -> str:
    made = await asking.ask("subscribe", input={"eventType": event_type, "destination": destination})
    return str(made["subscriptionId"])


async def refused(
    asking: Asking, destination: dict[str, Any], event_type: str = "PACKAGE_DELIVERED"
) -> dict[str, Any]:
    return await asking.refused("subscribe", input={"eventType": event_type, "destination": destination})


async def destination_of(asking: Asking, subscription_id: str) -> Destination | None:
    return await asking.sandbox.store.read(lambda tx: tx.attempts.destination(subscription_id))


async def settings_of(asking: Asking, subscription_id: str) -> Any:
    found = await destination_of(asking, subscription_id)
    assert found is not None
    return msgspec.json.decode(found.settings)


# ── What is sent to ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_webhook_subscription_is_a_destination_of_its_type_and_business_product(
    asking: Asking,
) -> None:
    asking.target = "bp-1"
    made = await subscribe(asking, webhook(httpMethod="POST", authConfig=OAUTH), "DELIVERY_COMPLETED")
    found = await destination_of(asking, made)
    assert found is not None
    assert (found.kind, found.endpoint, found.business_product_id) == ("webhook", URL, "bp-1")
    assert found.event_types == ("PACKAGE_DELIVERED",)
    settings = await settings_of(asking, made)
    assert settings["auth"] == {"basicAuthConfig": None, **OAUTH}
    assert settings["signature"] == "amazon"
    assert settings["subscription"] == {"eventType": "DELIVERY_COMPLETED", "apiVersion": "2024-11-01"}
    details = (await asking.ask("subscription", id=made))["eventSubscriptionDetails"]
    assert details["eventType"] == "DELIVERY_COMPLETED"
    await asking.ask("unsubscribe", id=made)
    assert await destination_of(asking, made) is None
    assert await asking.refused("subscription", id=made) == DENIED


async def test_the_sandboxs_own_target_gets_every_business_products_events(asking: Asking) -> None:
    found = await destination_of(asking, await subscribe(asking, webhook()))
    assert found is not None
    assert found.business_product_id == ""


async def test_a_subscription_keeps_the_api_version_it_was_made_with(asking: Asking) -> None:
    text = (
        "mutation { createEventSubscription(input: {eventType: RETURN_STARTED_, destination: {webhook: "
        '{url: "https://h.example/", method: "POST"}}}) { subscriptionId } }'
    ).replace("RETURN_STARTED_", '"RETURN_STARTED"')
    answer = await asking.query(text, x_api_version="2024-04-01")
    made = answer["data"]["createEventSubscription"]["subscriptionId"]
    assert (await settings_of(asking, made))["subscription"]["apiVersion"] == "2024-04-01"


async def test_an_eventbridge_subscription_has_an_event_source_of_its_own(asking: Asking) -> None:
    made = await subscribe(asking, bridge())
    found = await destination_of(asking, made)
    assert found is not None
    assert found.kind == "eventbridge"
    source = "aws.partner/buywithprime/orders"
    settings = await settings_of(asking, made)
    assert (settings["source"], settings["account"], settings["region"]) == (
        source,
        "123456789012",
        "eu-west-1",
    )
    answer = await asking.ask("subscription", id=made)
    assert answer["eventSubscriptionDetails"]["destination"] == {
        "__typename": "EventBridgeData",
        "arn": f"arn:aws:events:eu-west-1::event-source/{source}",
    }
    kept = await asking.sandbox.store.read(lambda tx: event_sources.get(tx, "orders"))
    assert kept is not None
    assert (kept.state, kept.target_id) == ("PENDING", "sandbox")
    await asking.ask("unsubscribe", id=made)
    assert await asking.sandbox.store.read(lambda tx: event_sources.get(tx, "orders")) is None


async def test_the_name_of_an_event_source_is_globally_unique(asking: Asking) -> None:
    made = await subscribe(asking, bridge())
    taken = validation("DestinationNameAlreadyExists")
    assert await refused(asking, bridge(), "RETURN_STARTED") == taken
    assert await refused(asking, bridge(account="210987654321")) == taken
    assert await refused(asking, bridge("aws.partner/buywithprime/orders"), "RETURN_STARTED") == taken
    asking.target = "bp-1"
    assert await refused(asking, bridge()) == taken
    await asking.ask("unsubscribe", id=made)
    await subscribe(asking, bridge())


async def test_one_event_type_goes_to_one_destination_once(asking: Asking) -> None:
    twice = validation("SubscriptionAlreadyExists")
    made = await subscribe(asking, webhook())
    assert await refused(asking, webhook(authConfig=BASIC)) == twice
    await subscribe(asking, bridge())
    assert await refused(asking, bridge()) == twice
    await subscribe(asking, webhook(URL + "/other"))
    await subscribe(asking, webhook(), "RETURN_STARTED")
    asking.target = "bp-1"
    await subscribe(asking, webhook())
    asking.target = "sandbox"
    await asking.ask("unsubscribe", id=made)
    await subscribe(asking, webhook())


@pytest.mark.parametrize(
    "event_type",
    [
        "PACKAGE_DELIVERED ",
        " PACKAGE_DELIVERED",
        "PACKAGE DELIVERED",
        "\tPACKAGE_DELIVERED\n",
        "",
        "ORDER_PLACED",
    ],
)
async def test_an_event_type_that_there_is_not_is_access_denied(asking: Asking, event_type: str) -> None:
    assert await refused(asking, webhook(), event_type) == DENIED


async def test_every_event_type_and_every_former_name_can_be_subscribed_to(asking: Asking) -> None:
    for known in CATALOGUE:
        for name in (known.name, *known.former_names):
            found = await destination_of(asking, await subscribe(asking, webhook(), name))
            assert found is not None
            assert found.event_types == (known.name,)


@pytest.mark.parametrize(
    "destination",
    [
        {},
        {**webhook(), **bridge()},
        webhook(""),
        webhook("hook.example"),
        webhook("http://hook.example/"),
        webhook("http://10.0.0.1/"),
        webhook("http://localhost.example/"),
        webhook("ftp://127.0.0.1/"),
        webhook("https://"),
        webhook("https://u:p@hook.example/"),
        webhook("https://hook.example:0/"),
        webhook("https://hook.example:99999/"),
        webhook("https://hook example/"),
        webhook("https://hook.example/\nx"),
        webhook("https://[::1/"),
        webhook("https://hook.example/" + "x" * 2_048),
        webhook(authProfileId="p", authConfig=BASIC),
        webhook(authConfig={}),
        webhook(authConfig={**BASIC, **OAUTH}),
        webhook(authConfig={"basicAuthConfig": {"username": "", "password": "p"}}),
        webhook(authConfig={"basicAuthConfig": {"username": "a:b", "password": "p"}}),
        webhook(authConfig={"oAuthConfig": {**OAUTH["oAuthConfig"], "authEndpoint": "http://hook.example/"}}),
        webhook(
            authConfig={
                "oAuthConfig": {
                    **OAUTH["oAuthConfig"],
                    "httpParameters": {"headerParameters": [{"key": "no header", "value": "v"}]},
                }
            }
        ),
        bridge(account="12345"),
        bridge(account="example-aws-account-id"),
        bridge(region="us-east"),
        bridge(region="mars-north-1 "),
        bridge(""),
        bridge("has space"),
        bridge("a//b"),
        bridge("x" * 300),
    ],
)
async def test_a_destination_that_nothing_could_be_sent_to_is_a_validation_error(
    asking: Asking, destination: dict[str, Any]
) -> None:
    assert (await refused(asking, destination))["type"] == "ValidationError"
    assert await asking.refused("subscriptions") == DENIED


@pytest.mark.parametrize("url", ["http://127.0.0.1:3000/hook", "http://localhost/x", "http://[::1]:8/", URL])
async def test_this_machine_may_be_sent_to_without_tls(asking: Asking, url: str) -> None:
    await subscribe(asking, webhook(url))


# ── Which there are ────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_not_there_is_access_denied_and_no_data(asking: Asking) -> None:
    unknown = "44444444-4444-4444-4444-444444444444"
    for operation in ("subscription", "unsubscribe", "deleteProfile"):
        assert await asking.refused(operation, id=unknown) == DENIED
    profile = {"authProfileId": unknown, "authConfig": BASIC}
    assert await asking.refused("updateProfile", input=profile) == DENIED
    assert await refused(asking, webhook(authProfileId=unknown)) == DENIED
    assert await asking.refused("subscriptions") == DENIED
    answer = await asking.query("{ eventSubscriptions { totalCount } }")
    assert answer["data"] == {"eventSubscriptions": None}
    answer = await asking.query(
        f'mutation {{ deleteAuthProfile(authProfileId: "{unknown}") {{ authProfileId }} }}'
    )
    assert answer["data"] is None
    assert answer["errors"][0]["path"] == ["deleteAuthProfile"]
    assert answer["errors"][0]["locations"] == [{"line": 1, "column": 12}]


async def test_lists_are_of_the_calling_client_id(asking: Asking) -> None:
    mine = await subscribe(asking, webhook())
    await asking.with_permissions("Full access")
    assert await asking.refused("subscriptions") == DENIED
    for operation in ("subscription", "unsubscribe"):
        assert await asking.refused(operation, id=mine) == DENIED
    theirs = await subscribe(asking, webhook())
    assert [e["node"]["id"] for e in (await asking.ask("subscriptions"))["edges"]] == [theirs]


async def test_pages_are_complete_and_in_order(asking: Asking) -> None:
    made = [await subscribe(asking, webhook(f"{URL}/{n}")) for n in range(25)]
    seen: list[str] = []
    after = None
    pages = 0
    while True:
        page = await asking.ask("subscriptions", first=10, after=after)
        pages += 1
        info = page["pageInfo"]
        cursors = [edge["cursor"] for edge in page["edges"]]
        assert (info["startCursor"], info["endCursor"]) == (cursors[0], cursors[-1])
        assert info["hasPreviousPage"] == (after is not None)
        assert page["totalCount"] == 25
        seen.extend(edge["node"]["id"] for edge in page["edges"])
        after = info["endCursor"]
        if not info["hasNextPage"]:
            break
    assert (seen, pages) == (made, 3)
    nothing = await asking.ask("subscriptions", first=0)
    assert (nothing["edges"], nothing["pageInfo"]["hasNextPage"]) == ([], True)
    assert len((await asking.ask("subscriptions", first=1_000))["edges"]) == 25


@pytest.mark.parametrize(
    "variables",
    [
        {"first": -1},
        {"first": 1_001},
        {"first": "ten"},
        {"after": "no cursor"},
        {"after": "x" * 6_001},
        {"after": "MTo\0"},
        {"after": "é"},
        {"after": b64encode(b"x:y").decode()},
    ],
)
async def test_a_page_that_cannot_be_is_a_validation_error(asking: Asking, variables: dict[str, Any]) -> None:
    await subscribe(asking, webhook())
    assert (await asking.refused("subscriptions", **variables))["type"] == "ValidationError"


# ── Auth profiles ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_profile_is_called_by_its_alias_or_by_an_id_of_its_own(asking: Asking) -> None:
    named = await asking.ask("createProfile", input={"authProfileAliasId": "mine", "authConfig": OAUTH})
    assert named == {"authProfileId": "mine"}
    again = {"authProfileAliasId": "mine", "authConfig": BASIC}
    assert (await asking.refused("createProfile", input=again))["type"] == "ConflictError"
    other = await asking.ask("createProfile", input={"authConfig": BASIC})
    assert len(other["authProfileId"]) == 36
    asking.target = "bp-1"
    await asking.ask("createProfile", input=again)


@pytest.mark.parametrize("alias", ["", "x" * 51, "a\nb"])
async def test_an_alias_has_one_to_fifty_characters(asking: Asking, alias: str) -> None:
    given = {"authProfileAliasId": alias, "authConfig": BASIC}
    assert (await asking.refused("createProfile", input=given))["type"] == "ValidationError"


async def test_an_update_reaches_every_subscription_of_the_profile_and_no_other(asking: Asking) -> None:
    await asking.ask("createProfile", input={"authProfileAliasId": "mine", "authConfig": BASIC})
    users = [await subscribe(asking, webhook(f"{URL}/{n}", authProfileId="mine")) for n in range(3)]
    inline = await subscribe(asking, webhook(f"{URL}/inline", authConfig=BASIC))
    asking.target = "bp-1"
    await asking.ask("createProfile", input={"authProfileAliasId": "mine", "authConfig": BASIC})
    foreign = await subscribe(asking, webhook(authProfileId="mine"))
    asking.target = "sandbox"
    await asking.sandbox.store.write(lambda tx: tx.attempts.disable(users[2], "it said 410"))
    await asking.ask("updateProfile", input={"authProfileId": "mine", "authConfig": OAUTH})
    for user in users:
        settings = await settings_of(asking, user)
        assert settings["auth"]["oAuthConfig"] == OAUTH["oAuthConfig"]
        assert settings["authProfileId"] == "mine"
    for other in (inline, foreign):
        assert (await settings_of(asking, other))["auth"]["basicAuthConfig"] == BASIC["basicAuthConfig"]
    disabled = await destination_of(asking, users[2])
    assert disabled is not None
    assert (disabled.enabled, disabled.reason) == (False, "it said 410")


async def test_a_profile_in_use_is_not_deleted(asking: Asking) -> None:
    await asking.ask("createProfile", input={"authProfileAliasId": "mine", "authConfig": BASIC})
    user = await subscribe(asking, webhook(authProfileId="mine"))
    assert (await asking.refused("deleteProfile", id="mine"))["type"] == "ConflictError"
    await asking.ask("unsubscribe", id=user)
    await asking.ask("deleteProfile", id="mine")
    assert await asking.refused("deleteProfile", id="mine") == DENIED


async def test_a_rotation_loses_no_event(asking: Asking) -> None:
    """The receiver already takes the new password only: what is refused meanwhile arrives after the update."""
    good = "old"

    async def handler(received: Received) -> web.StreamResponse:
        wanted = f"Basic {b64encode(f'u:{good}'.encode()).decode()}"
        return web.Response(status=200 if received.headers.get("authorization") == wanted else 401)

    def config(password: str) -> dict[str, Any]:
        return {"basicAuthConfig": {"username": "u", "password": password}}

    async with Receiver(handler) as receiver:
        await asking.ask("createProfile", input={"authProfileAliasId": "mine", "authConfig": config("old")})
        url = f"{receiver.url}/hook"
        made = await subscribe(asking, webhook(url, authProfileId="mine"), "PACKAGE_DELIVERED")
        for _ in range(3):
            await asking.post("/sandbox/events", {"type": "PACKAGE_DELIVERED"})
        await asking.sandbox.settle()
        good = "new"
        for _ in range(3):
            await asking.post("/sandbox/events", {"type": "PACKAGE_DELIVERED"})
        await asking.sandbox.settle()
        counts = await asking.sandbox.store.read(lambda tx: tx.attempts.count())
        assert counts == {"delivered": 3, "pending": 3}
        await asking.ask("updateProfile", input={"authProfileId": "mine", "authConfig": config("new")})
        for _ in range(20):
            asking.sandbox.clock.advance(HOUR)
            await asking.sandbox.settle()
        counts = await asking.sandbox.store.read(lambda tx: tx.attempts.count())
        assert counts == {"delivered": 6}
        bodies = {r.body for r in receiver.received}
        events = [parse_event(body) for body in bodies]
        assert len(events) == 6
        assert {e.subscription_id for e in events} == {made}
        assert {e.descriptor for e in events} == {"PACKAGE_DELIVERED"}


async def test_subscriptions_at_once_stay_one(asking: Asking) -> None:
    await asking.log_in()
    given = {"eventType": "PACKAGE_DELIVERED", "destination": webhook()}
    answers = await asyncio.gather(
        *(asking.query(DOCUMENTED, {"input": given}, "subscribe") for _ in range(10))
    )
    assert sum("errors" not in answer for answer in answers) == 1
    assert (await asking.ask("subscriptions"))["totalCount"] == 1


@pytest.mark.parametrize("number", [10**30, -(10**30), 0])
async def test_a_cursor_with_any_number_is_a_page(asking: Asking, number: int) -> None:
    webhook = {"webhook": {"url": "http://127.0.0.1:1/hook", "method": "POST"}}
    await asking.ask("subscribe", input={"eventType": "PACKAGE_DELIVERED", "destination": webhook})
    after = urlsafe_b64encode(f"{number}:x".encode()).decode()
    page = await asking.ask("subscriptions", first=5, after=after)
    assert len(page["edges"]) == (0 if number > 0 else 1)
