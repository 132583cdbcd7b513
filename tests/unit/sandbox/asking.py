"""Talking to a sandbox's ASGI app as an HTTP client does, without a socket."""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec

from milepost.domain.instant import Instant, parse_instant
from milepost.sandbox.program import Sandbox, SandboxConfig

START = parse_instant("2025-01-20T12:00:00Z")
DOCUMENTED = (Path(__file__).parent / "documented.graphql").read_text()
"""Every documented operation with every field that the reference lists."""


def config(path: Path, **changes: Any) -> SandboxConfig:
    """A standing world on a file of its own."""
    given = {
        "port": 0,
        "database_url": f"sqlite:///{path / 'sandbox.db'}",
        "seed": 7,
        "speed": 0.0,
        "start": START,
        **changes,
    }
    return SandboxConfig(**given)


def error_of(answer: dict[str, Any]) -> dict[str, Any]:
    """The classification of an answer's one error, after checking the documented shape around it."""
    (error,) = answer["errors"]
    assert set(error) == {"message", "locations", "path", "extensions"}
    assert isinstance(error["message"], str)
    assert error["message"]
    classification: dict[str, Any] = error["extensions"]["classification"]
    return classification


DENIED = {"type": "AccessDeniedError", "errorType": "AccessDeniedException", "errorCode": 403}


def validation(code: str) -> dict[str, Any]:
    """A ValidationError with a code that a page names."""
    return {
        "type": "ValidationError",
        "errorType": "ValidationException",
        "errorCode": 400,
        "code": code,
    }


class Asking:
    """One client of one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.target = "sandbox"
        self.token = ""
        self._http = httpx.AsyncClient(
            transport=httpx.ASGITransport(sandbox.app),  # type: ignore[arg-type]
            base_url="http://127.0.0.1:8481",
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def request(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Whatever comes back, an error too."""
        return await self._http.request(method, path, json=body)

    async def post(self, path: str, body: Any, status: int = 200) -> Any:
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        answer = await self._http.post(path, content=content)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def get(self, path: str, status: int = 200) -> Any:
        answer = await self._http.get(path)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def delete(self, path: str, status: int = 200) -> Any:
        answer = await self._http.delete(path)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def log_in(self, client_id: str = "sandbox", client_secret: str = "sandbox") -> None:
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": client_secret,
        }
        self.token = (await self.post("/token", urlencode(form).encode()))["access_token"]

    async def with_permissions(self, *permissions: str, target: str | None = None) -> dict[str, Any]:
        """Go on as new credentials with these permissions; they are of the world's business product."""
        wanted: dict[str, Any] = {"name": "a service", "permissions": list(permissions)}
        if target is not None:
            wanted["targetId"] = target
        made: dict[str, Any] = await self.post("/sandbox/credentials", wanted, 201)
        await self.log_in(made["clientId"], made["clientSecret"])
        self.target = made["targetId"]
        return made

    async def ask(self, operation: str, **variables: Any) -> Any:
        """One of the documented operations, answered without errors: its one field."""
        answer = await self.query(DOCUMENTED, variables, operation)
        assert "errors" not in answer, answer
        (found,) = answer["data"].values()
        return found

    async def refused(self, operation: str, **variables: Any) -> dict[str, Any]:
        """One of the documented operations, refused: the classification of its one error."""
        return error_of(await self.query(DOCUMENTED, variables, operation))

    async def query(
        self, text: str, variables: dict[str, Any] | None = None, operation: str | None = None, **headers: str
    ) -> Any:
        if not self.token:
            await self.log_in()
        given = {
            "authorization": f"Bearer {self.token}",
            "x-api-target-id": self.target,
            "x-api-version": "2024-11-01",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        answer = await self._http.post(
            "/graphql",
            json={"query": text, "variables": variables, "operationName": operation},
            headers={name: value for name, value in given.items() if value},
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def order(self, order_id: str) -> Any:
        """The whole documented order."""
        answer = await self.query(DOCUMENTED, {"id": order_id}, "order")
        assert "errors" not in answer, answer
        return answer["data"]["order"]

    async def tracker(self, carrier: str, number: str) -> Any:
        answer = await self.query(DOCUMENTED, {"carrier": carrier, "number": number}, "tracker")
        assert "errors" not in answer, answer
        return answer["data"]["packageTracker"]

    async def step(self, milliseconds: int) -> Instant:
        """Let the world's time pass, and play what became due."""
        now = self.sandbox.clock.advance(milliseconds)
        await self.sandbox.keeper.play_due()
        return now
