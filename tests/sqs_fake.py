"""A small Amazon SQS for load: moto answers nine messages a second, this one some thousands.

    python -m tests.sqs_fake [--port N]

It speaks SQS's JSON protocol as far as a receiver needs it: queues, sending, receiving with long polls and
visibility, deleting and changing visibility singly and in batches, purging, approximate counts. One process, in
memory, standard queues only: order, redrive and policies are moto's (`tests.partner_bus`). `POST /fill` puts any
number of messages in without the protocol, `GET /progress` says how many were received and deleted, and when.
"""

import argparse
import asyncio
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import md5
from heapq import heappop, heappush
from typing import Any

import msgspec
import uvloop
from aiohttp import web

ACCOUNT = "123456789012"
MOST_MESSAGES = 10
JSON = "application/x-amz-json-1.0"

Parameters = dict[str, Any]


@dataclass(slots=True)
class Message:
    """One message: `visible_at` is when it can be received (again), in seconds of the monotonic clock."""

    id: str
    body: str
    md5: str
    sent_ms: int
    visible_at: float = 0.0
    receives: int = 0
    first_received_ms: int = 0
    deleted: bool = False


@dataclass
class Queue:
    """A queue, and what it counts: `first` and `last` are the times of the first receive and the newest delete."""

    visibility: float = 30.0
    messages: dict[str, Message] = field(default_factory=dict)
    ready: deque[Message] = field(default_factory=deque)
    hidden: list[tuple[float, int, Message]] = field(default_factory=list)
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    received: int = 0
    deleted: int = 0
    calls: dict[str, int] = field(default_factory=dict)
    first: float | None = None
    last: float | None = None
    _number: int = 0

    def send(self, body: str, delay: float = 0.0) -> Message:
        message = Message(str(uuid.uuid4()), body, _md5(body), int(time.time() * 1000))
        self.messages[message.id] = message
        if delay > 0:
            self._hide(message, delay)
        else:
            self.ready.append(message)
            self._wake()
        return message

    def take(self, most: int, visibility: float) -> list[Message]:
        """At most so many visible messages, hidden from now on for `visibility` seconds."""
        now = time.monotonic()
        while self.hidden and self.hidden[0][0] <= now:
            until, _, message = heappop(self.hidden)
            if not message.deleted and message.visible_at == until:
                self.ready.append(message)
        taken: list[Message] = []
        while self.ready and len(taken) < most:
            message = self.ready.popleft()
            if message.deleted:
                continue
            message.receives += 1
            message.first_received_ms = message.first_received_ms or int(time.time() * 1000)
            self._hide(message, visibility)
            taken.append(message)
        if taken and self.first is None:
            self.first = now
        self.received += len(taken)
        return taken

    def delete(self, handle: str) -> bool:
        message = self.messages.pop(handle.split("#")[0], None)
        if message is not None:
            message.deleted = True
            self.deleted += 1
            self.last = time.monotonic()
        return True

    def change(self, handle: str, visibility: float) -> bool:
        message = self.messages.get(handle.split("#")[0])
        if message is None:
            return False
        self._hide(message, visibility)
        return True

    async def wait(self, seconds: float) -> None:
        """Until something may be visible, or so long."""
        if self.hidden:
            seconds = min(seconds, max(self.hidden[0][0] - time.monotonic(), 0.0))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        await asyncio.wait((future,), timeout=seconds)

    def _hide(self, message: Message, seconds: float) -> None:
        message.visible_at = time.monotonic() + seconds
        self._number += 1
        heappush(self.hidden, (message.visible_at, self._number, message))
        if seconds <= 0:
            self._wake()

    def _wake(self) -> None:
        for future in self.waiting:
            if not future.done():
                future.set_result(None)
        self.waiting.clear()


class QueueGone(Exception):
    """No such queue: SQS's own error for it."""


class Sqs:
    """The server's application: every queue by name."""

    def __init__(self) -> None:
        self.queues: dict[str, Queue] = {}

    def app(self) -> web.Application:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_post("/", self._call)
        app.router.add_post("/{account}/{queue}", self._call)
        app.router.add_post("/fill", self._fill)
        app.router.add_get("/progress", self._progress)
        return app

    async def _call(self, request: web.Request) -> web.Response:
        action = request.headers.get("x-amz-target", "").removeprefix("AmazonSQS.")
        parameters = msgspec.json.decode(await request.read() or b"{}")
        try:
            if action == "ReceiveMessage":
                answer = await self._receive(parameters)
            else:
                answer = self._actions()[action](parameters, str(request.url.origin()))
        except QueueGone:
            error = {"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "The queue does not exist."}
            headers = {"x-amzn-query-error": "AWS.SimpleQueueService.NonExistentQueue;Sender"}
            return web.Response(
                status=400, body=msgspec.json.encode(error), content_type=JSON, headers=headers
            )
        except KeyError as missing:
            error = {"__type": "com.amazonaws.sqs#InvalidAction", "message": f"not here: {missing}"}
            return web.Response(status=400, body=msgspec.json.encode(error), content_type=JSON)
        return web.Response(body=msgspec.json.encode(answer), content_type=JSON)

    def _actions(self) -> dict[str, Callable[[Parameters, str], Parameters]]:
        return {
            "CreateQueue": self._create,
            "GetQueueUrl": self._url,
            "GetQueueAttributes": self._attributes,
            "PurgeQueue": self._purge,
            "SendMessage": self._send,
            "SendMessageBatch": self._send_batch,
            "DeleteMessage": self._delete,
            "DeleteMessageBatch": self._delete_batch,
            "ChangeMessageVisibility": self._change,
            "ChangeMessageVisibilityBatch": self._change_batch,
        }

    def _queue(self, parameters: Parameters, action: str) -> Queue:
        queue = self.queues.get(parameters["QueueUrl"].rsplit("/", 1)[1])
        if queue is None:
            raise QueueGone
        queue.calls[action] = queue.calls.get(action, 0) + 1
        return queue

    def _create(self, parameters: Parameters, origin: str) -> Parameters:
        visibility = float(parameters.get("Attributes", {}).get("VisibilityTimeout", 30))
        self.queues.setdefault(parameters["QueueName"], Queue(visibility))
        return self._url(parameters, origin)

    def _url(self, parameters: Parameters, origin: str) -> Parameters:
        if parameters["QueueName"] not in self.queues:
            raise QueueGone
        return {"QueueUrl": f"{origin}/{ACCOUNT}/{parameters['QueueName']}"}

    def _attributes(self, parameters: Parameters, origin: str) -> Parameters:
        queue, name = self._queue(parameters, "GetQueueAttributes"), parameters["QueueUrl"].rsplit("/", 1)[1]
        hidden = sum(m.visible_at > time.monotonic() for m in queue.messages.values())
        every = {
            "QueueArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}",
            "VisibilityTimeout": str(int(queue.visibility)),
            "ApproximateNumberOfMessages": str(len(queue.messages) - hidden),
            "ApproximateNumberOfMessagesNotVisible": str(hidden),
        }
        wanted = parameters.get("AttributeNames", [])
        return {"Attributes": {k: v for k, v in every.items() if "All" in wanted or k in wanted}}

    def _purge(self, parameters: Parameters, origin: str) -> Parameters:
        queue = self._queue(parameters, "PurgeQueue")
        for handle in list(queue.messages):
            queue.messages.pop(handle).deleted = True
        return {}

    def _send(self, parameters: Parameters, origin: str) -> Parameters:
        queue = self._queue(parameters, "SendMessage")
        sent = queue.send(parameters["MessageBody"], float(parameters.get("DelaySeconds", 0)))
        return {"MessageId": sent.id, "MD5OfMessageBody": sent.md5}

    def _send_batch(self, parameters: Parameters, origin: str) -> Parameters:
        queue = self._queue(parameters, "SendMessageBatch")
        done = []
        for entry in parameters["Entries"]:
            sent = queue.send(entry["MessageBody"], float(entry.get("DelaySeconds", 0)))
            done.append({"Id": entry["Id"], "MessageId": sent.id, "MD5OfMessageBody": sent.md5})
        return {"Successful": done}

    async def _receive(self, parameters: Parameters) -> Parameters:
        queue = self._queue(parameters, "ReceiveMessage")
        most = min(int(parameters.get("MaxNumberOfMessages", 1)), MOST_MESSAGES)
        visibility = float(parameters.get("VisibilityTimeout", queue.visibility))
        asked = {*parameters.get("MessageSystemAttributeNames", ()), *parameters.get("AttributeNames", ())}
        deadline = time.monotonic() + float(parameters.get("WaitTimeSeconds", 0))
        while not (taken := queue.take(most, visibility)):
            left = deadline - time.monotonic()
            if left <= 0:
                return {}
            await queue.wait(left)
        return {"Messages": [_shown(message, asked) for message in taken]}

    def _delete(self, parameters: Parameters, origin: str) -> Parameters:
        self._queue(parameters, "DeleteMessage").delete(parameters["ReceiptHandle"])
        return {}

    def _delete_batch(self, parameters: Parameters, origin: str) -> Parameters:
        queue = self._queue(parameters, "DeleteMessageBatch")
        for entry in parameters["Entries"]:
            queue.delete(entry["ReceiptHandle"])
        return {"Successful": [{"Id": entry["Id"]} for entry in parameters["Entries"]]}

    def _change(self, parameters: Parameters, origin: str) -> Parameters:
        queue = self._queue(parameters, "ChangeMessageVisibility")
        queue.change(parameters["ReceiptHandle"], float(parameters["VisibilityTimeout"]))
        return {}

    def _change_batch(self, parameters: Parameters, origin: str) -> Parameters:
        queue = self._queue(parameters, "ChangeMessageVisibilityBatch")
        done, failed = [], []
        for entry in parameters["Entries"]:
            if queue.change(entry["ReceiptHandle"], float(entry["VisibilityTimeout"])):
                done.append({"Id": entry["Id"]})
            else:
                failed.append({"Id": entry["Id"], "SenderFault": True, "Code": "MessageNotInflight"})
        return {"Successful": done, "Failed": failed}

    # ── What a benchmark asks beside the protocol ──────────────────────────────────────────────────────────

    async def _fill(self, request: web.Request) -> web.Response:
        """A queue made anew with these bodies: `{"queue": name, "bodies": […], "more": true adds to it}`."""
        given = await request.json()
        if not given.get("more"):
            self.queues[given["queue"]] = Queue(float(given.get("visibility", 30)))
        queue = self.queues[given["queue"]]
        for body in given["bodies"]:
            queue.send(body)
        return web.json_response({"messages": len(queue.messages)})

    async def _progress(self, request: web.Request) -> web.Response:
        queue = self.queues[request.query["queue"]]
        seconds = None if queue.first is None or queue.last is None else queue.last - queue.first
        return web.json_response(
            {
                "left": len(queue.messages),
                "received": queue.received,
                "deleted": queue.deleted,
                "seconds": seconds,
                "calls": queue.calls,
            }
        )


def _shown(message: Message, asked: set[str]) -> Parameters:
    """As SQS answers it: of the attributes only those that were asked for."""
    shown: Parameters = {
        "MessageId": message.id,
        "ReceiptHandle": f"{message.id}#{message.receives}",
        "MD5OfBody": message.md5,
        "Body": message.body,
    }
    every = {
        "SenderId": "AIDAEVENTBRIDGE",
        "SentTimestamp": str(message.sent_ms),
        "ApproximateReceiveCount": str(message.receives),
        "ApproximateFirstReceiveTimestamp": str(message.first_received_ms),
    }
    if asked:
        shown["Attributes"] = {name: v for name, v in every.items() if name in asked or "All" in asked}
    return shown


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.sqs_fake")
    parser.add_argument("--port", type=int, default=0)
    runner = web.AppRunner(Sqs().app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", parser.parse_args().port)
    await site.start()
    server = site._server
    assert server is not None
    print(f"listens on {server.sockets[0].getsockname()[1]}", flush=True)  # type: ignore[attr-defined]
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
