"""Every answer that isn't a success is a problem document with a stable code."""

from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.web.world import World

from milepost.domain.errors import StoreUnavailable


class Broken:
    """A store that fails as it is told to."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def read(self, function: Any) -> Any:
        raise self.error

    append = write = read


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nope", 404, "not_found"),
        ("GET", "/v1/nope", 404, "not_found"),
        ("GET", "/v1/quarantine/abc", 404, "not_found"),
        ("GET", "/v1/quarantine/99999999999999999999999", 404, "not_found"),
        ("GET", "/v1/orders/unknown", 404, "not_found"),
        ("GET", "/v1/orders/%00", 404, "not_found"),
        ("DELETE", "/v1/orders", 405, "method_not_allowed"),
        ("GET", "/v1/orders?limit=x", 400, "invalid_request"),
        ("GET", "/v1/search", 400, "invalid_request"),
        ("GET", f"/v1/orders/{'x' * 600}", 400, "invalid_request"),
        ("GET", "/v1/events/x?position=y", 400, "invalid_request"),
        ("GET", "/v1/hydration?state=shut", 400, "invalid_request"),
        ("GET", "/v1/stream?after=-1", 400, "invalid_request"),
    ],
)
async def test_refusals_are_problem_documents(
    world: World, method: str, path: str, status: int, code: str
) -> None:
    async with world.client() as client:
        answer = await client.request(method, path)
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"urn:milepost:problem:{code}"
    assert problem["title"]
    assert problem["detail"]


async def test_a_refused_method_says_which_are_allowed(world: World) -> None:
    async with world.client() as client:
        answer = await client.delete("/v1/orders")
    assert "GET" in answer.headers["allow"]


async def test_a_body_that_is_too_large_is_413(world: World) -> None:
    async with world.client() as client:
        answer = await client.post("/v1/keys", json={"name": "x" * 70_000})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_a_body_that_is_no_json_is_400(world: World) -> None:
    async with world.client() as client:
        for body in (b"{", b"\xff", b"", b"[" * 10_000):
            answer = await client.post("/v1/keys", content=body)
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), body[:5]


async def test_a_database_that_is_away_is_503_with_retry_after() -> None:
    broken = World(Broken(StoreUnavailable("the disk is full")))  # type: ignore[arg-type]
    answer = await broken.get("/v1/orders")
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert int(answer.headers["retry-after"]) >= 1


async def test_a_fault_of_ours_tells_nothing_and_is_logged_without_values() -> None:
    broken = World(Broken(RuntimeError("ada@example.com in row 7")))  # type: ignore[arg-type]
    with capture_logs() as logs:
        answer = await broken.get("/v1/orders/order-of-ada")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "ada" not in answer.text
    (line,) = logs
    assert (line["event"], line["error"], line["route"]) == (
        "api.internal",
        "RuntimeError",
        "/v1/orders/{order_id}",
    )
    assert "ada" not in str(line)


async def test_every_response_has_the_security_headers_and_no_cors(world: World) -> None:
    async with world.client() as client:
        for path in ("/healthz", "/v1/orders", "/nope", "/v1/orders/x", "/openapi.json"):
            headers = (await client.get(path, headers={"origin": "https://evil.example"})).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cache-control"] == "no-store"
            assert "default-src 'none'" in headers["content-security-policy"]
            assert not [name for name in headers if name.startswith("access-control")]
