"""A real hub and a real sandbox in the test's loop, spoken to over real sockets by a small client.

`running(tmp_path)` starts both and yields a `Client`; `served` starts one program. Every wait is for a state that
the programs come to by themselves, and has an end. The seeds' documents and orders that hold their ids are here too.
"""

import asyncio
import copy
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from milepost.config import Config
from milepost.hub import Hub
from milepost.pipeline.hydrator import NAME as HYDRATOR
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.sandbox.program import Sandbox, SandboxConfig
from milepost.store import Transaction

SEEDS = Path(__file__).parents[1] / "seeds"
KEY = "api-key-of-the-test"
SENDER = ("buy-with-prime", "pass-of-the-test")
"""User name and password that the hub is told of."""
WAIT_S = 60.0
"""How long anything may take that a test waits for; only a failure takes so long."""

Document = dict[str, Any]


def seed(name: str, **changes: Any) -> Document:
    """One of the six examples (`in_transit.webhook`) as printed; `changes` replace fields of the event itself."""
    document: Document = msgspec.json.decode((SEEDS / f"{name}.json").read_bytes())
    document.get("detail", document).update(changes)
    return document


def event(descriptor: str, resource: str, id: str, **changes: Any) -> Document:
    """A webhook body with ids of its own, made of `id`."""
    return {
        "idempotencyKey": f"key-{id}",
        "eventDescriptor": descriptor,
        "resources": [resource],
        "eventId": f"event-{id}",
        "apiVersion": "2024-11-01",
        "subscriptionId": "subscription-1",
        "eventTime": "2025-01-20T12:34:56Z",
        "data": {},
        **changes,
    }


def over_eventbridge(body: Document, id: str = "minted-by-eventbridge") -> Document:
    """The EventBridge document of a webhook body, its `id` not the eventId, as AWS does it."""
    return {
        "version": "0",
        "id": id,
        "detail-type": body["eventDescriptor"],
        "source": "aws.partner/buywithprime/partner-event-source-name",
        "account": "123456789012",
        "time": body["eventTime"],
        "region": "us-east-1",
        "resources": body["resources"],
        "detail": copy.deepcopy(body),
    }


def milestone(code: str, occurred_at: str, message: str = "On its way") -> Document:
    return {
        "occurredAt": occurred_at,
        "status": {"code": code, "message": {"locale": "en-US", "value": message}},
        "address": {"locality": "Portland", "region": "OR", "country": "US"},
    }


def tracker(carrier: str, number: str, *milestones: Document) -> Document:
    """A package tracker; `milestones` newest first, as the API lists them."""
    return {
        "packageTrackerIdentifier": {"carrierCode": carrier, "trackingNumber": number},
        "trackingUrl": f"https://track.example.com/{carrier}/{number}",
        "estimatedDeliveryDate": {"earliest": "2025-01-22T00:00:00Z", "latest": "2025-01-24T00:00:00Z"},
        "milestones": list(milestones),
        "latestMilestone": milestones[0] if milestones else None,
    }


def package(
    id: str, state: str, items: Mapping[str, int], carried: Document | None, reason: str | None = None
) -> Document:
    """A delivery with its line items and their quantities."""
    entries = [
        {"lineItem": {"id": item}, "amount": {"unit": "unit", "value": quantity}}
        for item, quantity in items.items()
    ]
    return {
        "id": id,
        "state": state,
        "reason": reason,
        "packageTracker": carried,
        "packageInformationDetailsFor": {"orderLineItems": entries},
    }


def order(id: str, *packages: Document) -> Document:
    """An order of the line items that its packages name."""
    quantities: dict[str, int] = {}
    for one in packages:
        for entry in one["packageInformationDetailsFor"]["orderLineItems"]:
            item = entry["lineItem"]["id"]
            quantities[item] = quantities.get(item, 0) + entry["amount"]["value"]
    return {
        "id": id,
        "aliases": [{"aliasId": f"shop-{id}", "aliasType": "EXTERNAL_ID"}],
        "lineItems": [
            {
                "id": item,
                "amount": {"unit": "unit", "value": quantity},
                "product": {"title": f"Title of {item}"},
            }
            for item, quantity in quantities.items()
        ],
        "packageInformation": {"details": list(packages)},
    }


@asynccontextmanager
async def served(program: Hub | Sandbox) -> AsyncIterator[str]:
    """The program open and serving; its base URL."""
    await program.open()
    stop = asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    run = asyncio.create_task(program.run(stop, port.set_result))
    try:
        first: set[asyncio.Future[Any]] = {run, port}
        await asyncio.wait(first, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        if run.done():
            run.result()
        yield f"http://127.0.0.1:{port.result()}"
    finally:
        stop.set()
        await run
        await program.close()


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Return as soon as it holds; fail saying `what` when it never does."""
    try:
        async with asyncio.timeout(WAIT_S):
            # Checkpoints and answered questions give no signal of their own to wait for.
            while not await holds():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within {WAIT_S:g} s: {what}") from None


class Client:
    """What a test does with a running hub and its sandbox."""

    def __init__(self, hub: Hub, base: str, sandbox_base: str, http: aiohttp.ClientSession) -> None:
        self.hub = hub
        self.base = base
        self.sandbox_base = sandbox_base
        self._http = http

    async def send(
        self, document: Document | bytes, status: int = 200, sender: tuple[str, str] = SENDER
    ) -> Document:
        """POST an event to the webhook as Amazon does; the hub's answer."""
        body = document if isinstance(document, bytes) else msgspec.json.encode(document)
        url = f"{self.base}/webhooks/buy-with-prime"
        headers = {"authorization": aiohttp.encode_basic_auth(*sender)}
        async with self._http.post(url, data=body, headers=headers) as answer:
            assert answer.status == status, await answer.text()
            received: Document = await answer.json(content_type=None)
            return received

    async def get(self, path: str, status: int = 200, **parameters: str | int) -> Any:
        headers = {"authorization": f"Bearer {KEY}"}
        async with self._http.get(f"{self.base}{path}", params=parameters, headers=headers) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json(content_type=None)

    async def post(self, path: str, status: int = 200) -> Any:
        async with self._http.post(
            f"{self.base}{path}", headers={"authorization": f"Bearer {KEY}"}
        ) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json(content_type=None)

    async def metrics(self) -> str:
        """`/metrics` as it is."""
        headers = {"authorization": f"Bearer {KEY}"}
        async with self._http.get(f"{self.base}/metrics", headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.text()

    async def numbers(self) -> dict[str, float]:
        """The samples of `/metrics` without labels, by name."""
        samples = re.findall(r"^(milepost_\w+) (\S+)$", await self.metrics(), re.MULTILINE)
        return {name.removeprefix("milepost_"): float(value) for name, value in samples}

    async def sandbox(self, path: str, body: Document) -> Document:
        async with self._http.post(f"{self.sandbox_base}/sandbox/{path}", json=body) as answer:
            assert answer.status == 200, await answer.text()
            received: Document = await answer.json()
            return received

    async def put_order(self, business_product_id: str, document: Document) -> None:
        """Take an order into the sandbox's world as it is given."""
        await self.sandbox("orders", {"businessProductId": business_product_id, "order": document})

    async def folded(self) -> None:
        """Everything journalled so far was read by both consumers."""

        def caught_up(tx: Transaction) -> bool:
            last = tx.journal.last_position()
            return all(tx.journal.checkpoint(name) >= last for name in (PROJECTOR, HYDRATOR))

        await until(lambda: self.hub.store.read(caught_up), "the consumers have caught up")

    async def settled(self) -> None:
        """Nothing is left to ask of the API or to fold, and nothing failed or was given up."""

        def quiet(tx: Transaction) -> bool:
            last = tx.journal.last_position()
            behind = any(tx.journal.checkpoint(name) < last for name in (PROJECTOR, HYDRATOR))
            return not behind and not tx.work.count().get("open")

        await until(lambda: self.hub.store.read(quiet), "every question is answered and folded")
        numbers = await self.numbers()
        assert numbers["pending"] == numbers["failed_folds"] == 0
        assert (await self.get("/v1/hydration"))["items"] == []

    async def events(self) -> list[Document]:
        items: list[Document] = (await self.get("/v1/events"))["items"]
        return items


def hub_config(tmp_path: Path, sandbox_base: str, **changes: Any) -> Config:
    """A hub on a file of its own whose API is the sandbox; `changes` replace settings."""
    return Config.load(
        **{
            "database_url": f"sqlite:///{tmp_path / 'milepost.db'}",
            "port": 0,
            "webhook_username": SENDER[0],
            "webhook_password": SENDER[1],
            "api_key": KEY,
            "bwp_api_url": sandbox_base,
            "bwp_client_id": "sandbox",
            "bwp_client_secret": "sandbox",
            **changes,
        }
    )


@asynccontextmanager
async def running_sandbox(tmp_path: Path, **changes: Any) -> AsyncIterator[str]:
    """A sandbox whose world stands still and that publishes to nobody; its base URL."""
    tmp_path.mkdir(exist_ok=True)
    settings = SandboxConfig(
        port=0, database_url=f"sqlite:///{tmp_path / 'sandbox.db'}", speed=1.0, hub_url=None, **changes
    )
    async with served(Sandbox(settings)) as base:
        yield base


@asynccontextmanager
async def running_hub(tmp_path: Path, sandbox_base: str, **changes: Any) -> AsyncIterator[Client]:
    hub = Hub(hub_config(tmp_path, sandbox_base, **changes))
    async with served(hub) as base, aiohttp.ClientSession() as http:
        yield Client(hub, base, sandbox_base, http)


@asynccontextmanager
async def running(tmp_path: Path, **changes: Any) -> AsyncIterator[Client]:
    """A fresh hub and a fresh sandbox; `changes` are the hub's settings."""
    async with (
        running_sandbox(tmp_path) as sandbox_base,
        running_hub(tmp_path, sandbox_base, **changes) as client,
    ):
        yield client
