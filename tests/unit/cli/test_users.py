"""`milepost users`: what it asks a hub, and what it prints of its answers."""

import json
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from milepost.cli.client import HubClient
from milepost.cli.main import app

GRACE: dict[str, Any] = {
    "id": "usr_2",
    "name": "Grace [bold]Hopper[/]",
    "signInName": "Grace@Shop.example",
    "role": "analyst",
    "businessProductIds": ["bp-1", "bp-2"],
    "state": "invited",
    "createdAt": "2025-01-20T12:00:00Z",
    "disabledAt": None,
}
ADA = GRACE | {"id": "usr_1", "name": "Ada", "signInName": "ada", "businessProductIds": [], "state": "active"}
LINK = {"path": "/setup/token", "url": None, "expiresAt": "2025-01-27T12:00:00Z"}

Asked = list[tuple[str, str, Any]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """A hub with two users on the other side of the wire; what it was asked."""
    found: Asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        found.append((request.method, request.url.path, json.loads(request.content or b"null")))
        if request.method == "GET":
            return httpx.Response(200, json={"items": [ADA, GRACE], "next": None})
        link = {"link": LINK} if request.url.path in ("/v1/users", "/v1/users/usr_2/link") else {}
        return httpx.Response(200, json=GRACE | link)

    made = HubClient.__init__

    def init(self: HubClient, url: str | None = None, api_key: str | None = None) -> None:
        made(self, url, api_key)
        self._http = httpx.Client(base_url=self.url, transport=httpx.MockTransport(answer))

    monkeypatch.setattr(HubClient, "__init__", init)
    return found


def run(*arguments: str, code: int = 0) -> str:
    ran = CliRunner().invoke(app, ["users", *arguments], env={"COLUMNS": "400"})
    assert ran.exit_code == code, ran.output
    return ran.output


def test_users_are_listed_with_role_reach_and_state(asked: Asked) -> None:
    first, second = run("list").splitlines()
    assert first.split() == ["ada", "Ada", "analyst,", "all", "business", "products", "active", "usr_1"]
    assert "Grace [bold]Hopper[/]" in second
    assert "bp-1, bp-2" in second
    assert json.loads(run("list", "--json")) == [ADA, GRACE]


def test_an_invitation_prints_its_link_with_the_hubs_address(asked: Asked) -> None:
    out = run(
        "invite",
        "grace",
        "Grace",
        "--role",
        "analyst",
        "--business-product",
        "bp-1",
        "--url",
        "http://hub:1/",
    )
    assert "  http://hub:1/setup/token" in out
    assert "shown this once" in out
    body = {"signInName": "grace", "name": "Grace", "role": "analyst", "businessProductIds": ["bp-1"]}
    assert asked == [("POST", "/v1/users", body)]
    assert json.loads(run("invite", "grace", "Grace", "--json"))["link"] == LINK


@pytest.mark.parametrize(
    ("arguments", "method", "path", "body"),
    [
        (["disable", "GRACE@shop.example"], "POST", "/disable", None),
        (["enable", "usr_2"], "POST", "/enable", None),
        (["reset", "grace@shop.example"], "POST", "/link", None),
        (["change", "usr_2", "--role", "operator"], "PATCH", "", {"role": "operator"}),
        (["change", "usr_2", "--name", "G"], "PATCH", "", {"name": "G"}),
        (["change", "usr_2", "--all-business-products"], "PATCH", "", {"businessProductIds": []}),
        (["change", "usr_2", "--business-product", "b"], "PATCH", "", {"businessProductIds": ["b"]}),
    ],
)
def test_a_user_is_named_by_sign_in_name_or_id(
    asked: Asked, arguments: list[str], method: str, path: str, body: object
) -> None:
    run(*arguments)
    assert asked[-1] == (method, f"/v1/users/usr_2{path}", body)


def test_what_is_misused_asks_nothing(asked: Asked) -> None:
    run("change", "usr_2", code=2)
    run("change", "usr_2", "--business-product", "b", "--all-business-products", code=2)
    assert asked == []
    assert "there is no user 'nobody'" in run("disable", "nobody", code=1)
