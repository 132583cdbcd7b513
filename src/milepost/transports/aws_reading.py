"""Reading calls of any AWS service, with AWS's own settings for region, credentials and endpoint.

`AwsReader` makes the calls and never raises for what AWS answers; `unread` says of an answer without a result why
there is none, and which permission is missing. aiobotocore, the extra `aws`, is imported when it is opened. What is
looked at is `aws_setup`'s and `aws_queues`'.
"""

import asyncio
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Self

import aiohttp
from msgspec import Struct

from milepost.domain.errors import Misconfigured
from milepost.domain.finding import Finding

DEADLINE_S = 10.0
DENIED = ("AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation")
ABSENT = (
    "ResourceNotFoundException",
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
    "NotFoundException",
)
NETWORK = "check the network, and AWS_ENDPOINT_URL where it is set"
ALLOW = "allow it to the credentials: the policy HubPolicy of deploy/aws/milepost.yaml has it"


class Reading(Struct, frozen=True):
    """What a call brought: a result, or why there is none."""

    call: str
    """The call by AWS's name for its permission: `events:ListRules`."""
    value: Mapping[str, Any] | None = None
    code: str = ""
    """AWS's name of the error, where AWS answered with one."""
    error: str = ""
    reached: bool = True
    """False when no service answered."""

    @property
    def is_absent(self) -> bool:
        """Whether AWS says that there is no such thing."""
        return self.code in ABSENT


def unread(check: str, reading: Reading) -> Finding:
    """What is told of a reading without a result."""
    if reading.code in DENIED:
        return Finding(check, False, f"may not be looked at: {reading.call} is not permitted", ALLOW)
    if not reading.reached:
        return Finding(check, False, f"{reading.call} could not be asked: {reading.error}", NETWORK)
    return Finding(check, False, f"{reading.call} failed: {reading.error}", "AWS's words say why")


class AwsReader:
    """Calls of AWS services in one region. Use it in an `async with`, inside a running loop."""

    def __init__(self, region: str | None = None, *, deadline_s: float = DEADLINE_S) -> None:
        """Without `region` it is that of AWS's own settings."""
        self._region = region
        self._deadline_s = deadline_s
        self._clients: dict[str, Any] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Raises `Misconfigured` when the extra is not installed, no region is set, or AWS's settings are wrong."""
        try:
            import aiobotocore.config
            import aiobotocore.session
            from botocore.exceptions import BotoCoreError
        except ImportError as e:
            raise Misconfigured('AWS needs the extra aws: pip install "milepost[aws]"', setting="aws") from e
        self._session = aiobotocore.session.get_session()
        self._config = aiobotocore.config.AioConfig(
            connect_timeout=self._deadline_s / 2,
            read_timeout=self._deadline_s / 2,
            retries={"total_max_attempts": 2},
        )
        try:
            own = self._session.get_config_variable("region")
        except BotoCoreError as e:  # a profile that is not there
            raise Misconfigured(f"AWS's settings are wrong: {e}", setting="AWS_PROFILE") from e
        # AWS's newer tools read AWS_REGION, botocore reads AWS_DEFAULT_REGION.
        self._region = self._region or os.environ.get("AWS_REGION") or own
        if self._region is None:
            raise Misconfigured("no AWS region is set: set AWS_REGION", setting="AWS_REGION")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._clients.clear()
        await self._stack.aclose()

    @property
    def region(self) -> str:
        assert self._region is not None, "opened first"
        return self._region

    async def call(self, service: str, operation: str, **given: Any) -> Reading:
        """Call an operation by its name in Python (`list_rules`)."""
        name = f"{service}:{operation.title().replace('_', '')}"
        try:
            async with asyncio.timeout(self._deadline_s):
                client = await self._client(service)
                return Reading(name, await getattr(client, operation)(**given))
        except TimeoutError:
            return Reading(name, error=f"no answer within {self._deadline_s:g} s", reached=False)
        except (aiohttp.ClientError, OSError) as e:
            return Reading(name, error=_words(e), reached=False)
        except Exception as e:  # noqa: BLE001 (botocore's have no common root, and its parsers raise anything)
            return _failure(name, e)

    async def every(
        self, service: str, operation: str, listed: str, **given: Any
    ) -> tuple[list[dict[str, Any]], Reading | None]:
        """All pages of a list, which stands in `listed`; and the reading that failed, if one did."""
        found: list[dict[str, Any]] = []
        token: dict[str, str] = {}
        while True:
            reading = await self.call(service, operation, **given, **token)
            if reading.value is None:
                return found, reading
            found.extend(reading.value.get(listed, []))
            following = reading.value.get("NextToken")
            if not following:
                return found, None
            token = {"NextToken": following}

    async def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = await self._stack.enter_async_context(
                self._session.create_client(service, region_name=self._region, config=self._config)
            )
        return self._clients[service]


def _failure(call: str, error: Exception) -> Reading:
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        told = error.response.get("Error", {})
        code = str(told.get("Code", ""))
        return Reading(call, code=code, error=f"{code}: {told.get('Message', '')}"[:500])
    away = isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError)
    return Reading(call, code="" if away else type(error).__name__, error=_words(error), reached=not away)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]
