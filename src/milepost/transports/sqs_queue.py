"""One Amazon SQS queue over AWS's API: receiving, deleting, and when messages are visible again.

Calls, and what their answers mean; when to call, and what a message is for, is `sqs`'s. Every call raises
`QueueError` for whatever goes wrong, with what kind of trouble that is, and nothing else. AWS's client does not
retry here.

The client is aiobotocore, the extra `aws`, imported when it is first needed. Credentials and endpoint are looked
for in AWS's usual places (`AWS_ACCESS_KEY_ID`, `AWS_PROFILE`, a role, `AWS_ENDPOINT_URL_SQS` …). The region is
the one that the queue's URL names, else `AWS_REGION`, else AWS's usual places again. A queue whose host is not
Amazon's, with no endpoint set, is asked where its URL says it is.
"""

import asyncio
import importlib.util
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from msgspec import Struct

from milepost import __version__
from milepost.domain.errors import Misconfigured
from milepost.domain.instant import Instant

MOST: Final = 10
"""Messages of one call, whichever it is."""
MARGIN_S: Final = 10.0
"""Seconds a call may take; receiving, this much longer than it waits for messages."""
AMAZON_HOSTS: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".api.amazonwebservices.com.cn")
DUMMY: Final = "milepost"
"""The key of a queue that is not Amazon's, where nobody gave one."""

_REGION = re.compile(
    r"(?:^|\.)(?:sqs(?:-fips)?\.([a-z]{2}(?:-[a-z]+)+-\d)|([a-z]{2}(?:-[a-z]+)+-\d)\.queue)\."
)
_MISSING = ("QueueDoesNotExist", "NonExistentQueue", "QueueDeletedRecently", "InvalidAddress")
_DENIED = (
    "AccessDenied",
    "ExpiredToken",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "KmsAccessDenied",
    "MissingAuthenticationToken",
    "NotAuthorized",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClient",
)
_THROTTLED = ("Throttl", "RequestThrottled", "TooManyRequests", "RequestLimitExceeded", "OverLimit")

Kind = Literal["missing", "denied", "throttled", "unavailable"]
"""The queue is not there; we may not; not so fast; AWS, or the way to it, is away."""


class QueueError(Exception):
    """A call that brought nothing, in words for people."""

    def __init__(self, kind: Kind, words: str) -> None:
        super().__init__(words)
        self.kind = kind


class Message(NamedTuple):
    """What one receive brought of a message."""

    id: str
    handle: str
    body: str
    sent_at: Instant | None = None
    group: str = ""
    """The message group, in a FIFO queue."""
    receives: int = 1
    """How often it was received, this time included."""


class Deleted(Struct, frozen=True):
    """What became of messages that were to be deleted."""

    count: int
    failed: list[Message]
    """May work when tried again."""
    refused: list[Message]
    """Will not: the receipt is no longer good, and the message comes again by itself."""


class Queue:
    """Calls on the queue at `url`; `wait_s` and `visibility_s` are whole seconds, of a long poll and of how long
    nobody else sees a message that was received. Use it inside a running loop, and close it there."""

    def __init__(self, url: str, *, wait_s: int, visibility_s: int, connections: int) -> None:
        self.url = url
        self._wait_s = wait_s
        self._visibility_s = visibility_s
        self._connections = connections
        self._client: Any = None
        self._making = asyncio.Lock()
        self._stack = AsyncExitStack()

    async def close(self) -> None:
        self._client = None
        await self._stack.aclose()

    async def receive(self) -> list[Message]:
        """Up to ten messages; none after `wait_s` seconds in which none came."""
        answer = await self._call(
            "receive_message",
            self._wait_s + MARGIN_S,
            MaxNumberOfMessages=MOST,
            WaitTimeSeconds=self._wait_s,
            VisibilityTimeout=self._visibility_s,
            MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount", "MessageGroupId"],
        )
        return [_message(told) for told in answer.get("Messages", ())]

    async def delete(self, messages: Sequence[Message]) -> Deleted:
        """Delete up to ten messages. A 200 does not mean all of them."""
        entries = [{"Id": str(n), "ReceiptHandle": m.handle} for n, m in enumerate(messages)]
        answer = await self._call("delete_message_batch", MARGIN_S, Entries=entries)
        failed, refused = _failures(answer, messages)
        return Deleted(len(messages) - len(failed) - len(refused), failed, refused)

    async def show_in(self, messages: Sequence[tuple[Message, int]]) -> int:
        """Let up to ten messages be visible again in so many seconds each; how many of them will not."""
        entries = [
            {"Id": str(n), "ReceiptHandle": m.handle, "VisibilityTimeout": seconds}
            for n, (m, seconds) in enumerate(messages)
        ]
        answer = await self._call("change_message_visibility_batch", MARGIN_S, Entries=entries)
        failed, refused = _failures(answer, [m for m, _ in messages])
        return len(failed) + len(refused)

    async def _call(self, operation: str, within_s: float, **given: Any) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(within_s):
                client = self._client or await self._made()
                answer: Mapping[str, Any] = await getattr(client, operation)(QueueUrl=self.url, **given)
                return answer
        except TimeoutError as e:
            raise QueueError("unavailable", f"no answer within {within_s:g} s") from e
        except (aiohttp.ClientError, OSError) as e:
            raise QueueError("unavailable", _words(e)) from e
        except Exception as e:
            # botocore's errors have no common root, and its parsers raise anything.
            raise _error(e) from e

    async def _made(self) -> Any:
        async with self._making:
            if self._client is None:
                self._client = await self._make()
            return self._client

    async def _make(self) -> Any:
        import aiobotocore.config
        import aiobotocore.session

        session = aiobotocore.session.get_session()
        region = region_of(self.url) or os.environ.get("AWS_REGION") or session.get_config_variable("region")
        config = aiobotocore.config.AioConfig(
            connect_timeout=MARGIN_S,
            read_timeout=self._wait_s + MARGIN_S,
            retries={"total_max_attempts": 1},
            max_pool_connections=self._connections,
            # Told here, it is not put together anew for each call, which costs as much as signing it.
            user_agent=f"milepost/{__version__}",
            # What is sent is made above and right; checking it costs as much as sending it.
            parameter_validation=False,
        )
        given: dict[str, Any] = {"region_name": region or "us-east-1", "config": config}
        client = await self._stack.enter_async_context(session.create_client("sqs", **given))
        at = urlsplit(client.meta.endpoint_url).hostname or ""
        here = urlsplit(self.url)
        if _is_amazons(here.hostname or ""):
            return client
        if _is_amazons(at):
            given["endpoint_url"] = f"{here.scheme}://{here.netloc}"
        if not os.environ.keys() & {"AWS_ACCESS_KEY_ID", "AWS_PROFILE"}:
            given |= {"aws_access_key_id": DUMMY, "aws_secret_access_key": DUMMY}
        # What is near needs no proxy; on the way to Amazon the usual rules hold.
        given["config"] = config.merge(aiobotocore.config.AioConfig(proxies={}))
        return await self._stack.enter_async_context(session.create_client("sqs", **given))


def check_installed() -> None:
    """Raises `Misconfigured` when the extra is not installed."""
    if importlib.util.find_spec("aiobotocore") is None:
        raise Misconfigured(
            'Amazon SQS needs the extra aws: pip install "milepost[aws]"', setting="sqs_queue_url"
        )


def region_of(url: str) -> str | None:
    """The region that a queue's URL at Amazon names; None where it names none."""
    host = urlsplit(url).hostname or ""
    if not _is_amazons(host):
        return None
    found = _REGION.search(host)
    if found is not None:
        return found[1] or found[2]
    return "us-east-1" if host == "queue.amazonaws.com" else None


def _is_amazons(host: str) -> bool:
    return host.endswith(AMAZON_HOSTS)


def _message(told: Mapping[str, Any]) -> Message:
    attributes = told.get("Attributes", {})
    sent, receives = attributes.get("SentTimestamp", ""), attributes.get("ApproximateReceiveCount", "")
    return Message(
        told.get("MessageId") or told.get("ReceiptHandle", ""),
        told.get("ReceiptHandle", ""),
        told.get("Body", ""),
        Instant(int(sent)) if sent.isdigit() else None,
        attributes.get("MessageGroupId", ""),
        int(receives) if receives.isdigit() else 1,
    )


def _failures(answer: Mapping[str, Any], messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """Those that it was not done for: of the service's fault, or never mentioned, and of ours."""
    done = {told.get("Id") for told in answer.get("Successful") or ()}
    if len(done) == len(messages):
        return [], []
    told_of = {told.get("Id"): told for told in answer.get("Failed") or ()}
    failed: list[Message] = []
    refused: list[Message] = []
    for number, message in enumerate(messages):
        if str(number) not in done:
            told = told_of.get(str(number), {})
            ours = told.get("SenderFault") and not _has(str(told.get("Code", "")), _THROTTLED)
            (refused if ours else failed).append(message)
    return failed, refused


def _error(error: Exception) -> QueueError:
    """What kind of trouble an error of botocore is."""
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        told = error.response.get("Error", {})
        code = str(told.get("Code", ""))
        words = f"{code}: {told.get('Message', '')}"[:500]
        if _has(code, _MISSING):
            return QueueError("missing", words)
        if _has(code, _DENIED):
            return QueueError("denied", words)
        return QueueError("throttled" if _has(code, _THROTTLED) else "unavailable", words)
    own = (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.ProfileNotFound)
    return QueueError("denied" if isinstance(error, own) else "unavailable", _words(error))


def _has(code: str, parts: Iterable[str]) -> bool:
    return any(part in code for part in parts)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]
