"""API credentials: made with permissions, exchanged for tokens, revoked; what each permission lets one do."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.sandbox.asking import DENIED, START, Asking

from milepost.domain.errors import Forbidden, TooManyRequests, Unauthenticated
from milepost.domain.event import CATALOGUE
from milepost.sandbox.credentials import LIFETIME_S, PER_S, REQUESTS, Credentials
from milepost.sandbox.permissions import DEMANDED, EVERY_SCOPE, PERMISSIONS, Caller, chosen
from milepost.sql import open_store
from milepost.store import Store

FORM = b"grant_type=client_credentials&client_id=id&client_secret=secret"
WEBHOOK = {"webhook": {"url": "https://hook.example/in", "method": "POST"}}
BASIC = {"basicAuthConfig": {"username": "u", "password": "p"}}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = await open_store(f"sqlite:///{tmp_path / 'credentials.db'}", owner="a test")
    yield made
    await made.close()


class Tokens:
    """Credentials by a clock of one's own."""

    def __init__(self, store: Store) -> None:
        self.now = 0.0
        self.credentials = Credentials(store, lambda: START, "id", "secret", monotonic=lambda: self.now)

    async def token(self, form: bytes = FORM) -> str:
        return f"Bearer {(await self.credentials.issue(form))['access_token']}"


async def test_a_token_is_good_for_fifteen_minutes_and_any_number_at_once(store: Store) -> None:
    tokens = Tokens(store)
    first = await tokens.token()
    second = await tokens.token()
    tokens.now = LIFETIME_S - 1.0
    for header in (first, second, first.replace("Bearer", "bearer")):
        assert tokens.credentials.caller(header, "sandbox").scopes == EVERY_SCOPE
    tokens.now = float(LIFETIME_S)
    for header in (first, "Bearer", "", "Basic aWQ6c2VjcmV0", first.removeprefix("Bearer ")):
        with pytest.raises(Unauthenticated):
            tokens.credentials.caller(header, "sandbox")


async def test_expired_tokens_are_forgotten(store: Store) -> None:
    tokens = Tokens(store)
    for _ in range(5):
        tokens.now += LIFETIME_S
        await tokens.token()
    assert len(tokens.credentials._tokens) == 1


async def test_tokens_asked_for_in_quick_succession_are_throttled_by_client_id(store: Store) -> None:
    tokens = Tokens(store)
    for _ in range(REQUESTS):
        await tokens.token()
    with pytest.raises(TooManyRequests):
        await tokens.token()
    with pytest.raises(Unauthenticated):  # another client id is not
        await tokens.token(FORM.replace(b"=id", b"=other"))
    tokens.now += PER_S
    await tokens.token()


async def test_a_credential_of_one_target_speaks_for_no_other(store: Store) -> None:
    tokens = Tokens(store)
    made, secret = await tokens.credentials.create("a service", "bp-1", frozenset({"ORDER_READ"}))
    form = f"grant_type=client_credentials&client_id={made.client_id}&client_secret={secret}".encode()
    header = await tokens.token(form)
    caller = tokens.credentials.caller(header, "bp-1")
    assert (caller.client_id, caller.business_product_id) == (made.client_id, "bp-1")
    assert caller.scopes == {"ORDER_READ"}
    for target in ("bp-2", "sandbox", "", None):
        with pytest.raises(Forbidden):
            tokens.credentials.caller(header, target)


# ── Over HTTP ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_secret_is_told_once_and_kept_nowhere(asking: Asking, tmp_path: Path) -> None:
    made = await asking.post(
        "/sandbox/credentials", {"name": "a service", "permissions": ["read order", "ORDER_EDIT"]}, 201
    )
    assert made["clientId"].startswith("client-")
    assert len(made["clientId"]) == len("client-") + 25
    assert made["clientId"].removeprefix("client-").isalnum()
    assert made["clientId"].islower()
    assert made["permissions"] == ["Read Order", "Edit Order Data"]
    assert made["targetId"] == asking.sandbox.keeper.business_product_id
    listed = await asking.get("/sandbox/credentials")
    assert listed == {"items": [{k: v for k, v in made.items() if k != "clientSecret"}], "next": None}
    for file in tmp_path.iterdir():
        assert made["clientSecret"].encode() not in file.read_bytes()
    await asking.log_in(made["clientId"], made["clientSecret"])


async def test_revocation_ends_the_tokens_too(asking: Asking) -> None:
    made = await asking.with_permissions("Full access")
    assert (await asking.query("{ __typename }"))["data"] == {"__typename": "Query"}
    assert (await asking.delete(f"/sandbox/credentials?clientId={made['clientId']}")) == {
        "clientId": made["clientId"]
    }
    answer = await asking.query("{ __typename }")
    assert answer["data"] is None
    assert answer["errors"][0]["extensions"]["classification"] == DENIED
    form = f"grant_type=client_credentials&client_id={made['clientId']}&client_secret={made['clientSecret']}"
    assert (await asking.post("/token", form.encode(), 401))["error"] == "invalid_client"
    await asking.delete(f"/sandbox/credentials?clientId={made['clientId']}", 404)
    await asking.delete("/sandbox/credentials?clientId=sandbox", 409)
    await asking.delete("/sandbox/credentials", 400)


async def test_credentials_are_listed_in_pages(asking: Asking) -> None:
    made = [
        (await asking.post("/sandbox/credentials", {"name": f"service {n}"}, 201))["clientId"]
        for n in range(5)
    ]
    seen: list[str] = []
    after = ""
    while True:
        page = await asking.get(f"/sandbox/credentials?limit=2{after}")
        seen.extend(item["clientId"] for item in page["items"])
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == made
    await asking.get("/sandbox/credentials?after=x", 400)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 101},
        {"name": "a", "permissions": []},
        {"name": "a", "permissions": ["Read Mind"]},
        {"name": "a", "permissions": "Read Order"},
        {"name": "a", "targetId": "bp/1"},
        {"name": "a", "secret": "mine"},
        [],
    ],
)
async def test_credentials_that_make_no_sense_are_refused(asking: Asking, body: Any) -> None:
    assert (await asking.post("/sandbox/credentials", body, 400))["code"] == "invalid_request"
    assert (await asking.get("/sandbox/credentials"))["items"] == []


async def test_credentials_see_their_own_business_product_only(asking: Asking) -> None:
    mine, theirs = [
        (await asking.post("/sandbox/scenarios", {"businessProductId": p}))["orderIds"][0]
        for p in ("bp-mine", "bp-theirs")
    ]
    await asking.with_permissions("Read Order", target="bp-mine")
    assert (await asking.ask("order", id=mine))["id"] == mine
    assert (await asking.refused("order", id=theirs))["type"] == "ResourceNotFoundError"
    asking.target = "bp-theirs"
    assert await asking.refused("order", id=theirs) == DENIED


# ── What each permission lets one do ───────────────────────────────────────────────────────────────────────


def test_the_trackers_permission_is_understood_by_both_its_names() -> None:
    assert (
        chosen(["View Package Tracker Data"])
        == chosen(["View package tracking milestone changes"])
        == chosen(["PACKAGE_TRACKER_READ"])
    )
    assert chosen(["Full Access"]) == EVERY_SCOPE


async def arguments(asking: Asking, client_id: str) -> dict[str, dict[str, Any]]:
    """Good arguments for every operation, with something there for each to find."""
    keeper, product = asking.sandbox.keeper, asking.sandbox.keeper.business_product_id
    (order_id,) = await keeper.start(1, None, 1)
    await keeper.trigger("PACKAGE_DELIVERY_IN_TRANSIT", order_id=order_id)
    (pending,) = await keeper.start(1, None, 1)
    world = await keeper.order(order_id, None)
    assert world is not None
    (detail,) = world.order["packageInformation"]["details"]
    tracker = detail["packageTracker"]["packageTrackerIdentifier"]
    owner = Caller(client_id, product, EVERY_SCOPE)
    made = asking.sandbox.subscriptions
    subscription_id = await made.create(owner, "RETURN_STARTED", "2024-11-01", WEBHOOK)
    profile_id = await made.create_profile(owner, None, BASIC)
    moved = {"id": detail["id"], "packageState": {"packageInformationState": {"state": "DELIVERED"}}}
    return {
        "order": {"operation": "order", "id": order_id},
        "packageTracker": {
            "operation": "tracker",
            "carrier": tracker["carrierCode"],
            "number": tracker["trackingNumber"],
        },
        "eventSubscription": {"operation": "subscription", "id": subscription_id},
        "eventSubscriptions": {"operation": "subscriptions"},
        "createAuthProfile": {"operation": "createProfile", "input": {"authConfig": BASIC}},
        "updateAuthProfile": {
            "operation": "updateProfile",
            "input": {"authProfileId": profile_id, "authConfig": BASIC},
        },
        "deleteAuthProfile": {"operation": "deleteProfile", "id": profile_id},
        "deleteEventSubscription": {"operation": "unsubscribe", "id": subscription_id},
        "createOrder": {"operation": "createOrder", "input": {"lineItems": [{"amount": {"value": 1}}]}},
        "updateOrder": {
            "operation": "updateOrder",
            "input": {"orderId": order_id, "desiredExecutionState": "STARTED"},
        },
        "updateOrderPackageInformation": {
            "operation": "movePackages",
            "identifier": {"orderId": order_id},
            "input": {"packageInformation": {"details": [moved]}},
        },
        "cancelOrder": {"operation": "cancelOrder", "identifier": {"orderId": pending}},
        "createEventSubscription": {
            "operation": "subscribe",
            "input": {"eventType": "PACKAGE_DELIVERED", "destination": WEBHOOK},
        },
    }


@pytest.mark.parametrize("permission", [p.name for p in PERMISSIONS])
async def test_every_operation_demands_its_permission_and_no_other(asking: Asking, permission: str) -> None:
    made = await asking.with_permissions(permission)
    given = await arguments(asking, made["clientId"])
    assert set(given) == set(DEMANDED)
    for name, variables in given.items():
        # Subscribing takes the event's own permission beside this one, so that no single one is enough.
        if DEMANDED[name].name == permission and name != "createEventSubscription":
            await asking.ask(**variables)
        else:
            assert await asking.refused(**variables) == DENIED, name


async def test_full_access_may_everything(asking: Asking) -> None:
    made = await asking.with_permissions("Full access")
    for variables in (await arguments(asking, made["clientId"])).values():
        await asking.ask(**variables)


async def test_subscribing_takes_the_events_own_permission_too(asking: Asking) -> None:
    others = [p.name for p in PERMISSIONS]
    for known in CATALOGUE:
        given = {"eventType": known.name, "destination": WEBHOOK}
        await asking.with_permissions(*(name for name in others if name != known.permission))
        assert await asking.refused("subscribe", input=given) == DENIED
        await asking.with_permissions("Manage Event Subscriptions", known.permission)
        # One business product has one subscription of a type and a destination.
        made = await asking.ask("subscribe", input=given)
        await asking.ask("unsubscribe", id=made["subscriptionId"])
