"""Who may drive the sandbox, and that every request gets an answer that says what is wrong."""

from typing import Any

import httpx
import pytest
from msgspec import Struct

from milepost.domain.errors import Conflict
from milepost.sandbox.http import (
    Request,
    Response,
    RoutedApp,
    Routes,
    decoded,
    json_response,
    number_in,
)


class Wanted(Struct, forbid_unknown_fields=True):
    name: str = "nobody"


class Group:
    def routes(self) -> Routes:
        return {
            ("GET", "/"): self._page,
            ("POST", "/sandbox/thing"): self._thing,
            ("GET", "/sandbox/thing"): self._list,
            ("POST", "/graphql"): self._thing,
            ("GET", "/conflict"): self._conflict,
            ("GET", "/broken"): self._broken,
        }

    async def _page(self, request: Request) -> Response:
        return Response(200, ((b"content-type", b"text/html"),), b"<p>page</p>")

    async def _thing(self, request: Request) -> Response:
        return json_response({"name": decoded(request.body, Wanted).name})

    async def _list(self, request: Request) -> Response:
        return json_response({"limit": number_in(request.query, "limit", 100, 1, 500)})

    async def _conflict(self, request: Request) -> Response:
        raise Conflict("so it is")

    async def _broken(self, request: Request) -> Response:
        raise RuntimeError("a secret")


async def ask(
    method: str,
    path: str,
    *,
    host: str = "127.0.0.1:8481",
    client: str = "127.0.0.1",
    open_to_all: bool = False,
    body: Any = None,
    **headers: str,
) -> httpx.Response:
    transport = httpx.ASGITransport(
        RoutedApp([Group()], open_to_all=open_to_all),  # type: ignore[arg-type]
        client=(client, 5),
    )
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as http:
        return await http.request(method, path, json=body, headers=headers)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8481", "localhost:8481", "[::1]:8481", "127.9.9.9", "localhost."]
)
async def test_this_machine_drives(host: str) -> None:
    assert (await ask("POST", "/sandbox/thing", host=host)).json() == {"name": "nobody"}
    assert (await ask("GET", "/", host=host)).text == "<p>page</p>"


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("sandbox.example", "127.0.0.1"),
        ("127.0.0.1.example", "127.0.0.1"),
        ("10.0.0.5:8481", "127.0.0.1"),
        ("127.0.0.1:8481", "10.0.0.7"),
        ("127.0.0.1:8481", "2001:db8::1"),
    ],
)
async def test_others_do_not_unless_it_is_open(host: str, client: str) -> None:
    for method, path in (("POST", "/sandbox/thing"), ("GET", "/sandbox/thing"), ("GET", "/")):
        refused = await ask(method, path, host=host, client=client)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert (await ask(method, path, host=host, client=client, open_to_all=True)).status_code == 200
    # What Amazon has at its addresses is guarded by tokens, not by where one sits.
    assert (await ask("POST", "/graphql", host=host, client=client)).status_code == 200


async def test_a_mapped_loopback_client_is_this_machine() -> None:
    assert (await ask("POST", "/sandbox/thing", client="::ffff:127.0.0.1")).status_code == 200


async def test_a_page_of_another_origin_does_not_drive() -> None:
    own = await ask("POST", "/sandbox/thing", origin="http://127.0.0.1:8481")
    assert own.status_code == 200
    for origin in ("http://evil.example", "null", "http://127.0.0.1:3000"):
        assert (await ask("POST", "/sandbox/thing", origin=origin)).status_code == 403


async def test_wrong_requests_are_told_what_is_wrong() -> None:
    unknown = await ask("POST", "/sandbox/thing", body={"nome": 1})
    assert (unknown.status_code, unknown.json()["code"]) == (400, "invalid_request")
    assert "nome" in unknown.json()["detail"]
    assert (await ask("GET", "/sandbox/thing?limit=many")).status_code == 400
    assert (await ask("GET", "/sandbox/thing?limit=9000")).json() == {"limit": 500}
    assert (await ask("GET", "/nothing")).json()["code"] == "not_found"
    deleting = await ask("DELETE", "/sandbox/thing")
    assert (deleting.status_code, deleting.headers["allow"]) == (405, "GET, POST, HEAD")
    assert "takes no DELETE" in deleting.json()["detail"]
    assert (await ask("GET", "/conflict")).status_code == 409


async def test_a_fault_of_its_own_tells_nothing() -> None:
    failed = await ask("GET", "/broken")
    assert failed.status_code == 500
    assert "secret" not in failed.text
