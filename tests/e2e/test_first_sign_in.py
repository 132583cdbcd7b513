"""The first sign-in: a served hub prints a link, by which somebody becomes the first admin and lets others in."""

import signal
from pathlib import Path

import httpx
from tests.e2e.processes import KEY, WAIT_S, Program, environment, run, started

PASSWORD = "kettle under winter rain"
FIELDS = {"name": "Ada", "signInName": "ada", "password": PASSWORD, "again": PASSWORD}


def browser(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=WAIT_S)


def printed_link(hub: Program) -> tuple[str, str]:
    """(address of the hub, path of the link) as the hub printed them."""
    url, slash, token = hub.line("/setup/").strip().partition("/setup/")
    assert url == hub.url()
    return url, slash + token


def test_the_printed_link_makes_the_first_admin_and_is_printed_until_used(tmp_path: Path) -> None:
    env = environment(API_KEY=KEY, WEBHOOK_USERNAME="u", WEBHOOK_PASSWORD="p")
    serve = ["serve", "--port", "0"]
    with started(serve, tmp_path, env) as hub:
        _, former = printed_link(hub)
        assert hub.ended(signal.SIGTERM) == 0
    with started(serve, tmp_path, env) as hub:
        url, path = printed_link(hub)
        assert any("within 24 hours" in line for line in hub.printed)
        with browser(url) as client:
            assert client.get("/").headers["location"] == "/sign-in?next=/"
            assert client.get(former).status_code == 404
            assert client.get(path).status_code == 200
            assert client.post(path, data=FIELDS).headers["location"] == "/"
            assert "Ada" in client.get("/users").text
            assert client.get(path).status_code == 404
        commands = env | {"MILEPOST_URL": url}
        invited = run(["users", "invite", "grace", "Grace", "--role", "operator"], tmp_path, commands)
        assert invited.code == 0
        assert f"{url}/setup/" in invited.out
        listed = run(["users", "list", "--json"], tmp_path, commands).json()
        assert [(u["signInName"], u["state"]) for u in listed] == [("ada", "active"), ("grace", "invited")]
        assert run(["users", "disable", "ada"], tmp_path, commands).code == 1, "the last admin"
        assert not [line for line in hub.log if path.rpartition("/")[2] in line or "rain" in line]
        assert hub.ended(signal.SIGTERM) == 0
    with started(serve, tmp_path, env) as hub, browser(hub.url()) as client:
        answer = client.post("/sign-in", data={"name": "ada", "password": PASSWORD, "next": "/users"})
        assert answer.headers["location"] == "/users"
        assert client.get("/users").status_code == 200
        assert not [line for line in hub.printed if "/setup/" in line]
