"""Talking to a sandbox's ASGI app as an HTTP client does, without a socket."""

from pathlib import Path
from typing import Any

import httpx
import msgspec

from milepost.domain.instant import Instant, parse_instant
from milepost.sandbox.program import Sandbox, SandboxConfig

START = parse_instant("2025-01-20T12:00:00Z")
DOCUMENTED = (Path(__file__).parent / "documented.graphql").read_text()
"""Both documented queries with every field that the reference lists."""


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

    async def post(self, path: str, body: Any, status: int = 200) -> Any:
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        answer = await self._http.post(path, content=content)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def get(self, path: str, status: int = 200) -> Any:
        answer = await self._http.get(path)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def log_in(self) -> None:
        form = b"grant_type=client_credentials&client_id=sandbox&client_secret=sandbox"
        self.token = (await self.post("/token", form))["access_token"]

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
        answer = await self.query(DOCUMENTED, {"id": order_id, "number": "", "carrier": ""}, "order")
        assert "errors" not in answer, answer
        return answer["data"]["order"]

    async def tracker(self, carrier: str, number: str) -> Any:
        answer = await self.query(DOCUMENTED, {"carrier": carrier, "number": number, "id": ""}, "tracker")
        assert "errors" not in answer, answer
        return answer["data"]["packageTracker"]

    async def step(self, milliseconds: int) -> Instant:
        """Let the world's time pass, and play what became due."""
        now = self.sandbox.clock.advance(milliseconds)
        await self.sandbox.keeper.play_due()
        return now
