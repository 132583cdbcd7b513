"""Subscribing at a Buy with Prime API as any client does: a token, then GraphQL. `listen` needs no more of it."""

from typing import Any

import aiohttp

from milepost.domain.errors import UpstreamDenied, UpstreamRejected, UpstreamUnavailable

API_VERSION = "2024-11-01"
TIMEOUT = aiohttp.ClientTimeout(total=10.0)

_SUBSCRIBE = """
mutation subscribe($input: CreateEventSubscriptionInput!) {
  createEventSubscription(input: $input) { subscriptionId }
}
"""
_UNSUBSCRIBE = """
mutation unsubscribe($id: String!) { deleteEventSubscription(subscriptionId: $id) { subscriptionId } }
"""


class Subscriber:
    """One client id at one API. A token is fetched for each series of requests: they live 15 minutes only."""

    def __init__(
        self, http: aiohttp.ClientSession, url: str, client_id: str, client_secret: str, target_id: str
    ) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": client_secret,
        }
        self._target_id = target_id
        self._token = ""

    async def log_in(self) -> None:
        """Fetch a token. Raises `UpstreamDenied` and `UpstreamUnavailable`."""
        status, answer = await self._post("/token", data=self._form)
        if status != 200 or "access_token" not in answer:
            why = answer.get("error_description") or answer.get("detail") or answer.get("error")
            kind = UpstreamUnavailable if status >= 500 else UpstreamDenied
            raise kind(f"{self._url} gave no token: {why or f'HTTP {status}'}")
        self._token = answer["access_token"]

    async def subscribe(self, event_type: str, url: str, username: str, password: str) -> str:
        """Subscribe a webhook with Basic authentication to one event type; the subscription's id.

        Raises `UpstreamRejected`, `UpstreamDenied` and `UpstreamUnavailable`."""
        auth = {"basicAuthConfig": {"username": username, "password": password}}
        webhook = {"url": url, "method": "POST", "authConfig": auth}
        wanted = {"eventType": event_type, "destination": {"webhook": webhook}}
        data = await self._ask(_SUBSCRIBE, {"input": wanted}, event_type)
        subscription_id: str = data["createEventSubscription"]["subscriptionId"]
        return subscription_id

    async def unsubscribe(self, subscription_id: str) -> None:
        """Raises what `subscribe` raises."""
        await self._ask(_UNSUBSCRIBE, {"id": subscription_id}, subscription_id)

    async def _ask(self, query: str, variables: dict[str, Any], about: str) -> dict[str, Any]:
        headers = {
            "authorization": f"Bearer {self._token}",
            "x-api-target-id": self._target_id,
            "x-api-version": API_VERSION,
        }
        body = {"query": query, "variables": variables}
        status, answer = await self._post("/graphql", json=body, headers=headers)
        errors = answer.get("errors")
        if errors:
            kind = (errors[0].get("extensions") or {}).get("classification") or {}
            denied = kind.get("type") == "AccessDeniedError"
            text = f"{about}: {errors[0].get('message')} ({kind.get('code') or kind.get('type')})"
            raise (UpstreamDenied if denied else UpstreamRejected)(text)
        if status != 200 or not answer.get("data"):
            raise UpstreamUnavailable(f"{self._url} answered {status}: {answer.get('detail') or 'no data'}")
        data: dict[str, Any] = answer["data"]
        return data

    async def _post(self, path: str, **request: Any) -> tuple[int, dict[str, Any]]:
        try:
            async with self._http.post(f"{self._url}{path}", timeout=TIMEOUT, **request) as response:
                answer = await response.json(content_type=None)
                return response.status, answer if isinstance(answer, dict) else {}
        except (aiohttp.ClientError, TimeoutError, ValueError) as e:
            why = str(e) or type(e).__name__
            raise UpstreamUnavailable(
                f"nothing answers at {self._url} ({why}). Set MILEPOST_SANDBOX_URL, or pass --sandbox."
            ) from e
