"""How commands speak to a running hub or sandbox: one HTTP client, one way to fail, one way to print.

`MILEPOST_URL` and `MILEPOST_API_KEY` say where a hub is and as whom; `--url` and `--api-key` win. A sandbox is at
`MILEPOST_SANDBOX_URL`, or `--sandbox`, and needs no key. Exit codes: 0 ok, 1 failed, 2 misused. What each command
asks for is in its own module. httpx takes as long to import as all the rest: whoever speaks to no hub goes without.
"""

import math
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import msgspec
import typer
from rich.console import Console

if TYPE_CHECKING:
    import httpx

DEFAULT_URL = "http://127.0.0.1:8480"
DEFAULT_SANDBOX_URL = "http://127.0.0.1:8481"

PIPE_WIDTH = 400
"""Columns where no terminal says how many it has: nothing is cut or wrapped for a program that reads it."""


def _console(stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    return Console(stderr=stderr, highlight=False, width=width)


console = _console(stderr=False)
errors = _console(stderr=True)


def fail(message: str, code: int = 1) -> NoReturn:
    """Say what is wrong on standard error and leave with an exit code (1 failed, 2 misused)."""
    errors.print(f"[bold red]milepost:[/] {message}", soft_wrap=True)
    raise typer.Exit(code)


def print_json(value: object) -> None:
    """One JSON document on standard output, indented, nothing else."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    sys.stdout.buffer.flush()


class HubClient:
    """A running hub, by HTTP."""

    variable: ClassVar[str] = "MILEPOST_URL"
    option: ClassVar[str] = "--url"
    default_url: ClassVar[str] = DEFAULT_URL

    def __init__(self, url: str | None = None, api_key: str | None = None) -> None:
        """`api_key`: None for the environment's, empty for none."""
        import httpx

        self.url = (url or os.environ.get(self.variable) or self.default_url).rstrip("/")
        key = os.environ.get("MILEPOST_API_KEY") if api_key is None else api_key
        headers = {"authorization": f"Bearer {key}"} if key else {}
        # Reading the certificates takes longer than most answers, and http needs none.
        certificates = self.url.startswith("https:")
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=30.0, verify=certificates)

    def get(self, path: str, **parameters: object) -> Any:
        """GET a JSON document; None parameters are left out."""
        return self._json("GET", path, params=_given(parameters))

    def post(self, path: str, body: object = None, **parameters: object) -> Any:
        """POST JSON, get JSON."""
        return self._json("POST", path, params=_given(parameters), json=body)

    def put(self, path: str, body: object = None, **parameters: object) -> Any:
        """PUT JSON, get JSON."""
        return self._json("PUT", path, params=_given(parameters), json=body)

    def patch(self, path: str, body: object = None, **parameters: object) -> Any:
        """PATCH JSON, get JSON."""
        return self._json("PATCH", path, params=_given(parameters), json=body)

    def delete(self, path: str, **parameters: object) -> Any:
        """DELETE, and get JSON."""
        return self._json("DELETE", path, params=_given(parameters))

    def text(self, path: str) -> str:
        """GET a text document."""
        return self._request("GET", path).text

    def every(
        self, path: str, limit: int | None, after: object = None, **parameters: object
    ) -> Iterator[Any]:
        """Items of a list, following its cursors, at most `limit` of them (None: all)."""
        cursor = after
        left = math.inf if limit is None else limit
        while left > 0:
            page = self.get(path, after=cursor, limit=int(min(left, 500)), **parameters)
            yield from page["items"]
            left -= len(page["items"])
            cursor = page["next"]
            # A page of what is filtered may be empty and yet not the last.
            if cursor is None:
                return

    def stream(self, path: str, **parameters: object) -> Iterator[dict[str, str]]:
        """Server-sent events as dicts of their fields, until the server or the user ends it."""
        import httpx

        timeout = httpx.Timeout(30.0, read=None)
        try:
            with self._http.stream("GET", path, params=_given(parameters), timeout=timeout) as response:
                if response.status_code != 200:
                    response.read()
                    self._refuse(response)
                yield from _server_sent_events(response.iter_lines())
        except httpx.HTTPError as e:
            self._unreachable(e)

    def _json(self, method: str, path: str, **request: Any) -> Any:
        response = self._request(method, path, **request)
        return response.json() if response.content else None

    def _request(self, method: str, path: str, **request: Any) -> "httpx.Response":
        import httpx

        try:
            response = self._http.request(method, path, **request)
        except httpx.HTTPError as e:
            self._unreachable(e)
        if response.status_code >= 400:
            self._refuse(response)
        return response

    def _refuse(self, response: "httpx.Response") -> NoReturn:
        try:
            problem = response.json()
            text = f"{problem.get('detail') or problem.get('title')} ({problem.get('code')})"
        except (ValueError, AttributeError):
            text = f"HTTP {response.status_code}"
        fail(f"{text}{self._advice(response.status_code)}")

    def _advice(self, status: int) -> str:
        return ". Set MILEPOST_API_KEY, or pass --api-key." if status in (401, 403) else ""

    def _unreachable(self, error: "httpx.HTTPError") -> NoReturn:
        reason = str(error) or type(error).__name__
        fail(
            f"nothing answers at {self.url} ({reason}). Is it running? Set {self.variable}, or pass {self.option}."
        )


class SandboxClient(HubClient):
    """A running sandbox, by HTTP. It needs no key."""

    variable = "MILEPOST_SANDBOX_URL"
    option = "--sandbox"
    default_url = DEFAULT_SANDBOX_URL

    def __init__(self, url: str | None = None) -> None:
        super().__init__(url, api_key="")

    def _advice(self, status: int) -> str:
        return ""


def _given(parameters: dict[str, object]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}


def _server_sent_events(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            if "data" in fields:
                yield fields
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value
