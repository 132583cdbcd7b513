"""One POST to the Buy with Prime API: deadline, size cap, no redirects, and what an HTTP failure means.

What the bodies mean is `token`'s and `client`'s. Nothing here is logged: bodies hold personal data, headers secrets.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from milepost.domain.errors import UpstreamDenied, UpstreamThrottled, UpstreamUnavailable

DEADLINE_S = 10.0
"""For a whole request: connecting, sending and reading (Amazon's own samples wait as long, buy-with-prime.md 7.2)."""
LARGEST_ANSWER = 4 * 1024 * 1024


class Answer(Struct, frozen=True):
    """An HTTP answer. `document` is its JSON object; empty when the body is none."""

    status: int
    document: dict[str, Any]
    retry_after: float | None
    """Seconds."""


async def post(
    session: aiohttp.ClientSession,
    url: str,
    *,
    body: bytes,
    headers: Mapping[str, str],
    deadline_s: float = DEADLINE_S,
) -> Answer:
    """POST and read the answer, whatever its status. Raises `UpstreamUnavailable` when there is none that can be
    read: no connection, too slow, too large, a redirect."""
    try:
        async with (
            asyncio.timeout(deadline_s),
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            content = bytearray()
            async for chunk in response.content.iter_chunked(65_536):
                content += chunk
                if len(content) > LARGEST_ANSWER:
                    raise UpstreamUnavailable("the API's answer is too large", answered=False)
            status, retry_after = response.status, _retry_after(response.headers.get("Retry-After"))
    except TimeoutError as e:
        raise UpstreamUnavailable(
            f"the API did not answer within {deadline_s:g} seconds", answered=False
        ) from e
    except (aiohttp.ClientError, OSError, ValueError) as e:
        raise UpstreamUnavailable(f"the API can't be reached: {type(e).__name__}", answered=False) from e
    if 300 <= status < 400:
        raise UpstreamUnavailable(
            f"the API answers with a redirect ({status}), which is not followed", answered=False
        )
    return Answer(status, _object(bytes(content)), retry_after)


def raise_for_status(answer: Answer, what: str) -> None:
    """Raise what an HTTP status says by itself; a status that says nothing (2xx, 400) passes."""
    status = answer.status
    if status == 429:
        raise UpstreamThrottled(f"{what}: too many requests", answered=False, retry_after=answer.retry_after)
    if status >= 500:
        raise UpstreamUnavailable(
            f"{what}: HTTP {status}", answered=False, status=status, retry_after=answer.retry_after
        )
    if status in (401, 403):
        raise UpstreamDenied(f"{what}: HTTP {status}, credentials refused", answered=False, status=status)


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _retry_after(text: str | None) -> float | None:
    """Retry-After in seconds: a number, or an HTTP date against the clock of this machine (RFC 9110 10.2.3)."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
