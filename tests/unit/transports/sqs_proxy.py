"""A way to a queue of the fake AWS on which a test can stand: it sees every call, and changes what comes of it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
from aiohttp import web
from tests.partner_bus import ACCOUNT, PartnerBus
from tests.unit.transports.receiver import Received, Receiver

Call = dict[str, Any]
Forward = Callable[[Call], Awaitable[web.Response]]
Meddle = Callable[[str, Call, Forward], Awaitable[web.StreamResponse]]
"""An operation, what it was given, and how to pass it on; what the caller gets."""


class SqsProxy:
    """Between a receiver and the queue `name`. `meddle` may be replaced at any time; `calls` is what came, by
    operation and in order."""

    def __init__(self, bus: PartnerBus, name: str = "events", **attributes: str) -> None:
        self.behind: str = bus.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self.meddle: Meddle = passing
        self.calls: list[tuple[str, Call]] = []
        self.under_way: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()
        self._bus = bus
        self._name = name
        self._receiver = Receiver(self._answer)
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        # The fake closes connections that it could keep.
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        await self._receiver.__aenter__()
        self.url = f"{self._receiver.url}/{ACCOUNT}/{self._name}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._receiver.__aexit__(kind, error, trace)
        await self._http.close()

    def put(self, *bodies: object, group: str | None = None) -> None:
        """Send documents, or texts as they are, to the queue."""
        sqs = self._bus.client("sqs")
        grouped = {} if group is None else {"MessageGroupId": group}
        for body in bodies:
            text = body if isinstance(body, str) else msgspec.json.encode(body).decode()
            sqs.send_message(QueueUrl=self.behind, MessageBody=text, **grouped)

    @property
    def depth(self) -> int:
        """Messages in the queue, visible or not."""
        return self._bus.depth(self.behind)

    def of(self, operation: str) -> list[Call]:
        """What the calls of an operation were given."""
        return [given for name, given in self.calls if name == operation]

    async def called(self, operation: str, times: int) -> list[Call]:
        """The same, as soon as there are so many."""
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: len(self.of(operation)) >= times)
        return self.of(operation)

    async def _answer(self, received: Received) -> web.StreamResponse:
        operation = received.headers["x-amz-target"].rpartition(".")[2]
        given: Call = msgspec.json.decode(received.body)
        self.calls.append((operation, given))
        self.under_way[operation] += 1
        self.most_at_once[operation] = max(self.most_at_once[operation], self.under_way[operation])
        async with self._changed:
            self._changed.notify_all()

        async def forward(call: Call) -> web.Response:
            headers = {
                name: received.headers[name] for name in ("x-amz-target", "content-type", "authorization")
            }
            body = msgspec.json.encode(call)
            async with self._http.post(self._bus.url, data=body, headers=headers) as answer:
                return web.Response(
                    status=answer.status,
                    body=await answer.read(),
                    headers={"content-type": "application/x-amz-json-1.0"},
                )

        try:
            return await self.meddle(operation, given, forward)
        finally:
            self.under_way[operation] -= 1


async def passing(operation: str, given: Call, forward: Forward) -> web.StreamResponse:
    """Change nothing."""
    return await forward(given)


def refused(code: str, status: int = 400) -> web.Response:
    """An error as AWS answers one."""
    document = {"__type": f"com.amazonaws.sqs#{code}", "message": f"{code} of the test"}
    return answered(document, status)


def answered(document: object, status: int = 200) -> web.Response:
    body = msgspec.json.encode(document)
    return web.Response(status=status, body=body, headers={"content-type": "application/x-amz-json-1.0"})
