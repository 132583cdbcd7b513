"""A hub subscribed as a merchant's engineer subscribes one: by GraphQL, with an OAuth 2.0 auth profile, rotated.

An official GraphQL client makes the profile and one subscription an event type. The hub's secret changes twice,
once with an overlap and once without, while events go on; nothing is lost and nothing comes twice.
"""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from gql import Client as GraphQL
from gql import gql
from gql.transport.aiohttp import AIOHTTPTransport
from tests.e2e.running import Client, running_hub, served, until

from milepost.domain.breaker import Policy
from milepost.domain.envelope import parse_event
from milepost.domain.retry import Schedule
from milepost.sandbox.program import CONSUMER, Sandbox, SandboxConfig
from milepost.store import Transaction

SUBSCRIBED = (
    "PACKAGE_DELIVERY_IN_TRANSIT",
    "PACKAGE_DELIVERED",
    "PACKAGE_DELIVERY_CANCELLED",
    "PACKAGE_TRACKER_MILESTONE_CHANGED",
    "REFUND_REQUESTED",
)
QUICK = Schedule((0, 50, 100, 200, 400, *[500] * 60), 0.0)
"""A rotation without an overlap fails attempts until the profile is updated; the test does not wait for hours."""
AT_ONCE = Policy(10, (100,))

CREATE_PROFILE = """
mutation create($input: CreateAuthProfileInput!) { createAuthProfile(input: $input) { authProfileId } }
"""
UPDATE_PROFILE = """
mutation update($input: UpdateAuthProfileInput!) { updateAuthProfile(input: $input) { authProfileId } }
"""
SUBSCRIBE = """
mutation subscribe($input: CreateEventSubscriptionInput!) {
  createEventSubscription(input: $input) { subscriptionId }
}
"""


class Merchant:
    """What an engineer does at Buy with Prime: here at the sandbox, with nothing but its base URL changed."""

    def __init__(self, base: str, api: Any, http: aiohttp.ClientSession, hub_url: str) -> None:
        self.base = base
        self._api = api
        self._http = http
        self._hub_url = hub_url
        self.profile = ""

    async def subscribe(self, secret: str) -> list[str]:
        made = await self._ask(CREATE_PROFILE, {"authConfig": self._oauth(secret)})
        self.profile = made["createAuthProfile"]["authProfileId"]
        ids = []
        for event_type in SUBSCRIBED:
            webhook = {
                "url": f"{self._hub_url}/webhooks/buy-with-prime",
                "method": "POST",
                "authProfileId": self.profile,
            }
            made = await self._ask(SUBSCRIBE, {"eventType": event_type, "destination": {"webhook": webhook}})
            ids.append(made["createEventSubscription"]["subscriptionId"])
        return ids

    async def rotate(self, secret: str) -> None:
        made = await self._ask(
            UPDATE_PROFILE, {"authProfileId": self.profile, "authConfig": self._oauth(secret)}
        )
        assert made["updateAuthProfile"]["authProfileId"] == self.profile

    async def cause(self, *types: str) -> None:
        for event_type in types:
            async with self._http.post(f"{self.base}/sandbox/events", json={"type": event_type}) as answer:
                assert answer.status == 200, await answer.text()

    async def _ask(self, document: str, value: dict[str, Any]) -> Any:
        request = gql(document)
        request.variable_values = {"input": value}
        return await self._api.execute(request)

    def _oauth(self, secret: str) -> dict[str, Any]:
        return {
            "oAuthConfig": {
                "clientParameters": {"clientId": "amazon", "clientSecret": secret},
                "authEndpoint": f"{self._hub_url}/oauth/token",
                "httpMethod": "POST",
            }
        }


@asynccontextmanager
async def merchant(base: str, hub_url: str) -> AsyncIterator[Merchant]:
    form = {"grant_type": "client_credentials", "client_id": "sandbox", "client_secret": "sandbox"}
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{base}/token", data=form) as answer:
            token = (await answer.json())["access_token"]
        headers = {
            "Authorization": f"Bearer {token}",
            "x-api-target-id": "sandbox",
            "x-api-version": "2024-11-01",
        }
        transport = AIOHTTPTransport(f"{base}/graphql", headers=headers)
        async with GraphQL(transport=transport) as api:
            yield Merchant(base, api, http, hub_url)


@asynccontextmanager
async def hub(tmp_path: Path, sandbox: str, port: int, *secrets: str) -> AsyncIterator[Client]:
    async with running_hub(
        tmp_path,
        sandbox,
        port=port,
        oauth_client_id="amazon",
        oauth_client_secret=",".join(secrets),
        bwp_target_id="sandbox",
    ) as client:
        yield client


async def everything_arrived(client: Client, program: Sandbox) -> None:
    """The hub has every event that was caused, each once, through one of the subscriptions."""

    def settled(tx: Transaction) -> bool:
        enqueued = tx.journal.checkpoint(CONSUMER) >= tx.journal.last_position()
        return enqueued and not tx.attempts.count().get("pending")

    await until(lambda: program.store.read(settled), "every message is settled")
    caused = await program.store.read(lambda tx: tx.journal.events(0, 500, None, None))
    known = [parse_event(r.body).event_id for r in caused if r.type in SUBSCRIBED]
    await client.settled()
    received = await client.events()
    assert sorted(e["eventId"] for e in received) == sorted(known)
    assert {e["arrivals"] for e in received} == {1}


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


@pytest.mark.parametrize(
    "secrets",
    [
        pytest.param([("old",), ("new", "old"), ("new",)], id="with an overlap"),
        pytest.param([("old",), ("new",)], id="without one"),
    ],
)
async def test_an_oauth_subscription_survives_rotation_with_no_lost_event(
    tmp_path: Path, secrets: Sequence[tuple[str, ...]]
) -> None:
    port = free_port()
    settings = SandboxConfig(
        port=0, database_url=f"sqlite:///{tmp_path / 'sandbox.db'}", schedule=QUICK, breaker=AT_ONCE
    )
    program = Sandbox(settings)
    async with served(program) as base, merchant(base, f"http://127.0.0.1:{port}") as engineer:
        async with hub(tmp_path, base, port, *secrets[0]) as client:
            ids = await engineer.subscribe("old")
            assert len(set(ids)) == len(SUBSCRIBED)
            await engineer.cause("PACKAGE_DELIVERED", "PACKAGE_DELIVERY_CANCELLED")
            await everything_arrived(client, program)
        # The hub is away while this happens, and comes back with another secret.
        await engineer.cause("PACKAGE_DELIVERED")
        async with hub(tmp_path, base, port, *secrets[1]) as client:
            await engineer.cause("PACKAGE_DELIVERED")
            await engineer.rotate("new")
            await engineer.cause("PACKAGE_DELIVERED", "REFUND_REQUESTED")
            await everything_arrived(client, program)
        async with hub(tmp_path, base, port, *secrets[-1]) as client:
            await engineer.cause("PACKAGE_DELIVERED")
            await everything_arrived(client, program)
            subscriptions = {e["subscriptionId"] for e in await arrivals(client)}
            assert subscriptions <= set(ids)


async def arrivals(client: Client) -> list[dict[str, Any]]:
    found = []
    for event in await client.events():
        whole = await client.get(f"/v1/events/{event['eventId']}")
        found += whole["arrivalLog"]
    return found
