"""An AWS Lambda function between Amazon EventBridge and a hub: `milepost.aws_lambda.handler`.

It takes the EventBridge document itself, as a rule's target, or a batch of records of an SQS queue, and posts each
event to the hub's webhook endpoint. An event is done when the hub says so: journalled, known already, or put into
quarantine. Everything else has failed: raised for a document, so that Lambda tries again, and listed in
`batchItemFailures` for records (`ReportBatchItemFailures`). Of a FIFO queue's group nothing after a failure is sent.

Settings are the function's environment, by the hub's own names: `MILEPOST_URL`, and how the hub knows it:
`MILEPOST_WEBHOOK_USERNAME` and `…_PASSWORD`, or `MILEPOST_WEBHOOK_API_KEY` (and `…_HEADER`), or
`MILEPOST_OAUTH_CLIENT_ID` and `…_SECRET`. Of two secrets separated by a comma the first, newest one is sent.

This one file with Python's standard library is the whole function: nothing else of Milepost is imported, so that it
starts fast and may be packaged alone. It keeps nothing; what an event means is the hub's.
"""

import base64
import http.client
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import Any
from urllib.parse import urlencode, urlsplit

PATH, TOKEN_PATH = "/webhooks/buy-with-prime", "/oauth/token"
IN_QUARANTINE = frozenset(("malformed_event", "unbound_business_product"))
"""The codes of a 400 and a 403 that say that the hub kept the body. From anybody else in between, neither does."""
AT_ONCE = 16
"""Posts under way at one time, and connections kept."""
POST_S = 10.0
"""The longest that one post may take; the hub answers within four seconds."""
MARGIN_S = 0.5
"""What is left of the function's time to answer with what has failed."""
NO_CONTEXT_S = 30.0
NEAR_EXPIRY_S = 60.0
LARGEST_ANSWER = 65_536

log = logging.getLogger("milepost")


class NotTaken(Exception):
    """The hub did not take an event: it must be sent again."""


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Lambda's entry. Raises `NotTaken` for a document that must be sent again, `ValueError` for other input."""
    return _relay().handle(event, context)


@cache
def _relay() -> "Relay":
    return Relay(os.environ)


class Relay:
    """Posts to one hub; kept between invocations, with its connections. `settings` is the environment.

    Raises `ValueError` naming the setting that is missing."""

    def __init__(self, settings: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        url = urlsplit(settings.get("MILEPOST_URL", ""))
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("MILEPOST_URL must be the hub's address, like https://hub.example.com")
        self._connections = _Connections(url.scheme, url.hostname, url.port)
        self._path = url.path.rstrip("/")
        self._clock = clock
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="milepost")
        self._headers = {"content-type": "application/json", "user-agent": "Milepost Lambda"}
        self._client = _pair(settings, "MILEPOST_OAUTH_CLIENT_ID", "MILEPOST_OAUTH_CLIENT_SECRET")
        self._token = ("", 0.0)
        self._fetching = threading.Lock()
        key = _newest(settings, "MILEPOST_WEBHOOK_API_KEY")
        login = _pair(settings, "MILEPOST_WEBHOOK_USERNAME", "MILEPOST_WEBHOOK_PASSWORD")
        if key:
            self._headers[settings.get("MILEPOST_WEBHOOK_API_KEY_HEADER") or "x-api-key"] = key
        elif login:
            self._headers["authorization"] = _basic(*login)
        elif not self._client:
            raise ValueError(
                "set how the hub knows this function: MILEPOST_WEBHOOK_API_KEY, MILEPOST_WEBHOOK_USERNAME and "
                "MILEPOST_WEBHOOK_PASSWORD, or MILEPOST_OAUTH_CLIENT_ID and MILEPOST_OAUTH_CLIENT_SECRET"
            )
        self._uses_tokens = not key and not login

    def handle(self, event: Any, context: Any) -> dict[str, Any]:
        """One invocation: what Lambda is to be answered."""
        until = self._clock() + _seconds_left(context) - MARGIN_S
        if isinstance(event, dict) and "detail-type" in event:
            body = _document(event)
            future = self._pool.submit(self._post, body, str(event.get("id")), until)
            wait((future,), max(0.0, until - self._clock()))
            if not future.done():
                raise NotTaken("the hub did not answer within the function's time")
            return future.result()
        records = event.get("Records") if isinstance(event, dict) else None
        if not records or any(record.get("eventSource") != "aws:sqs" for record in records):
            raise ValueError("the input is neither an EventBridge document nor records of an SQS queue")
        return {"batchItemFailures": [{"itemIdentifier": one} for one in self._failed(records, until)]}

    def close(self) -> None:
        """Let go of threads and connections; Lambda itself ends the process instead."""
        self._pool.shutdown()
        self._connections.close()

    def _failed(self, records: Sequence[Mapping[str, Any]], until: float) -> list[str]:
        """Post the records; the ids of those that must come again, in their order."""
        jobs = [self._pool.submit(self._post_all, row, until) for row in _rows(records)]
        wait(jobs, max(0.0, until - self._clock()))
        done: set[str] = set()
        for job in jobs:
            if not job.cancel() and job.done():
                done.update(job.result())
        failed = [record["messageId"] for record in records if record["messageId"] not in done]
        if failed:
            log.error("%d of %d events were not taken and come again", len(failed), len(records))
        return failed

    def _post_all(self, row: Sequence[Mapping[str, Any]], until: float) -> list[str]:
        """Post one after the other, up to the first that fails; the ids of those that are done."""
        done: list[str] = []
        for record in row:
            try:
                self._post(record["body"].encode("utf-8", "surrogatepass"), record["messageId"], until)
            except NotTaken as e:
                log.error("message %s: %s", record["messageId"], e)
                break
            done.append(record["messageId"])
        return done

    def _post(self, body: bytes, name: str, until: float) -> dict[str, Any]:
        """The hub's answer to one event, which is done then. Raises `NotTaken`."""
        status, answer = self._send(body, until)
        code = answer.get("code")
        if status == 200 and answer.get("status") in ("accepted", "duplicate"):
            return answer
        if status in (400, 403) and code in IN_QUARANTINE:
            log.warning("event %s is in the hub's quarantine: %s", name, code)
            return {"status": "quarantined", "code": code}
        raise NotTaken(f"the hub answered {status} {code or 'and nothing that a hub says'}")

    def _send(self, body: bytes, until: float) -> tuple[int, dict[str, Any]]:
        if not self._uses_tokens:
            return self._request(PATH, body, self._headers, until)
        token = self._access_token(until)
        status, answer = self._request(PATH, body, self._headers | _bearer(token), until)
        if status == 401:
            # The hub may know another secret by now, of which this token was not made.
            token = self._access_token(until, refused=token)
            status, answer = self._request(PATH, body, self._headers | _bearer(token), until)
        return status, answer

    def _access_token(self, until: float, refused: str = "") -> str:
        """The access token, fetched when there is none, it ends soon or it is the refused one."""
        with self._fetching:
            token, ends_at = self._token
            if token == refused or self._clock() > ends_at - NEAR_EXPIRY_S:
                headers = {
                    "authorization": _basic(*self._client),
                    "content-type": "application/x-www-form-urlencoded",
                }
                form = urlencode({"grant_type": "client_credentials"}).encode()
                status, answer = self._request(TOKEN_PATH, form, headers, until)
                token = answer.get("access_token", "")
                if status != 200 or not token:
                    raise NotTaken(f"the hub gave no access token: {status} {answer.get('error', '')}")
                self._token = token, self._clock() + float(answer.get("expires_in", 0))
            return str(token)

    def _request(
        self, path: str, body: bytes, headers: Mapping[str, str], until: float
    ) -> tuple[int, dict[str, Any]]:
        """(status, JSON object) of one POST. Raises `NotTaken` when there is no answer in time."""
        try:
            left = min(POST_S, until - self._clock())
            return self._connections.post(self._path + path, body, headers, left)
        except (OSError, http.client.HTTPException) as e:
            raise NotTaken(f"the hub cannot be reached: {type(e).__name__}") from e


class _Connections:
    """Connections to the hub that are kept. One that the hub has closed meanwhile is replaced, once a request."""

    def __init__(self, scheme: str, host: str, port: int | None) -> None:
        self._make: Callable[..., http.client.HTTPConnection] = (
            http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
        )
        self._address = host, port
        self._idle: list[http.client.HTTPConnection] = []

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str], timeout: float
    ) -> tuple[int, dict[str, Any]]:
        if timeout <= 0:
            raise TimeoutError
        try:
            kept = self._idle.pop()
        except IndexError:
            return self._post(self._make(*self._address), path, body, headers, timeout)
        try:
            return self._post(kept, path, body, headers, timeout)
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException):
            # An event that came twice is one event, so that this is safe.
            return self._post(self._make(*self._address), path, body, headers, timeout)

    def _post(
        self,
        connection: http.client.HTTPConnection,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        timeout: float,
    ) -> tuple[int, dict[str, Any]]:
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        try:
            connection.request("POST", path, body, dict(headers))
            response = connection.getresponse()
            text = response.read(LARGEST_ANSWER)
        except BaseException:
            connection.close()
            raise
        if response.will_close or not response.isclosed():
            connection.close()
        else:
            self._idle.append(connection)
        return response.status, _object(text)


def _document(event: Mapping[str, Any]) -> bytes:
    """The document's bytes. Lambda has parsed it: these are its values again, not the bytes it came in, and no more
    of them, or a large event in another script than Latin would be too large for the hub."""
    try:
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which only an escape can say
        return json.dumps(event, separators=(",", ":")).encode()


def _rows(records: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """What must be posted one after the other: the records of a FIFO queue's group; else each record for itself."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        fifo = str(record.get("eventSourceARN", "")).endswith(".fifo")
        # A standard queue may have groups, too; they are about fairness, not order.
        name = record.get("attributes", {}).get("MessageGroupId", "") if fifo else record["messageId"]
        rows.setdefault(name, []).append(record)
    return list(rows.values())


def _seconds_left(context: Any) -> float:
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    return NO_CONTEXT_S if remaining is None else float(remaining()) / 1000


def _object(text: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _newest(settings: Mapping[str, str], name: str) -> str:
    return settings.get(name, "").partition(",")[0].strip()


def _pair(settings: Mapping[str, str], name: str, secret: str) -> tuple[str, str] | tuple[()]:
    """Both settings, or neither. Raises `ValueError` when one is missing."""
    given = settings.get(name, ""), settings.get(secret, "")
    if not all(given) and any(given):
        raise ValueError(f"{name} and {secret} go together")
    if not all(given):
        return ()
    return given[0], (_newest(settings, secret) if "OAUTH" in secret else given[1])


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def _basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()
