"""Every route of the hub by every role, with the business product of what it shows in reach and out of it, and by
nobody.

A page or a form is a line of `PAGES`; one that is added without a line, or with another permission than its line
says, fails here. What the line's example needs to be there is made by `tests.web.filling`.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import httpx
import pytest
from tests.web.console.people import HERE, Person, browser, person
from tests.web.filling import fill
from tests.web.world import World

from milepost.domain.role import PERMISSIONS, ROLES, Permission
from milepost.web.app import ROUTES
from milepost.web.console import HANDLERS

SEEN, DONE = (200,), (303,)


class Line(NamedTuple):
    """One route of the console."""

    method: str
    route: str
    needs: Permission | None
    """None: everybody who is signed in."""
    example: str
    """A path of something of bp-1."""
    within: Collection[int]
    """The statuses for whoever has the permission and sees bp-1."""
    outside: int | None = None
    """The status for whoever has the permission and sees bp-2 only; None: the same."""
    form: Mapping[str, str] = {}


USER = "/users/usr_1"
CHANGED = {"name": "Ada", "role": "agent", "businessProducts": "bp-1"}
INVITED = {"name": "Grace", "signInName": "grace", "role": "agent"}

PAGES = (
    Line("GET", "/", "orders", "/", SEEN),
    Line("POST", "/sign-out", None, "/sign-out", DONE),
    Line("GET", "/account", None, "/account", SEEN),
    Line("POST", "/account/password", None, "/account/password", (400,), form={"password": "short"}),
    Line("POST", "/account/sessions/end-others", None, "/account/sessions/end-others", DONE),
    Line("POST", "/account/sessions/{session_id:str}/end", None, "/account/sessions/ses_1/end", (404,)),
    Line("GET", "/users", "admin", "/users", SEEN),
    Line("POST", "/users", "admin", "/users", (200, 400), form=INVITED),
    Line("GET", "/users/{user_id:str}", "admin", USER, SEEN, 404),
    Line("POST", "/users/{user_id:str}", "admin", USER, DONE, 404, CHANGED),
    Line("POST", "/users/{user_id:str}/link", "admin", f"{USER}/link", SEEN, 404),
    Line("POST", "/users/{user_id:str}/disable", "admin", f"{USER}/disable", DONE, 404),
    Line("POST", "/users/{user_id:str}/enable", "admin", f"{USER}/enable", DONE, 404),
    Line("GET", "/audit", "admin", "/audit", SEEN),
)  # fmt: skip
PUBLIC_PAGES = {
    ("GET", "/assets/{hash:str}/{name:str}"),
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("GET", "/setup/{token:str}"),
    ("POST", "/setup/{token:str}"),
}
PUBLIC_API = {"/healthz", "/readyz", "/track/{token:str}", "/unsubscribe/{token:str}"}
REACHES: tuple[tuple[str, ...], ...] = ((), ("bp-1",), ("bp-2",))


def registered(handlers: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """The `opt` of every route of these handlers."""
    return {
        (str(getattr(method, "value", method)), path): handler.opt
        for handler in handlers
        for method in handler.http_methods
        for path in handler.paths
    }


def test_every_page_has_a_line_and_says_who_may() -> None:
    routes = registered(HANDLERS)
    public = {route for route, opt in routes.items() if opt.get("public")}
    assert public == PUBLIC_PAGES
    lines = {(line.method, line.route): line.needs for line in PAGES}
    assert len(lines) == len(PAGES)
    declared = {
        route: opt.get("permission", "nothing") for route, opt in routes.items() if route not in public
    }
    assert declared == lines


def test_every_route_of_the_api_needs_a_key_or_is_known_to_be_public() -> None:
    for (method, path), opt in registered(ROUTES).items():
        assert bool(opt.get("public")) == (path in PUBLIC_API), (method, path)
        assert "permission" not in opt, (method, path)


@pytest.fixture
async def filled(world: World) -> World:
    await fill(world)
    return world


async def ask(line: Line, client: httpx.AsyncClient, form: Mapping[str, str]) -> httpx.Response:
    if line.method == "GET":
        return await client.get(line.example)
    return await client.request(line.method, line.example, data=dict(line.form) | dict(form), headers=HERE)


def expected(line: Line, somebody: Person) -> Collection[int]:
    user = somebody.user
    if line.needs is not None and line.needs not in PERMISSIONS[user.role]:
        return (403,)
    if "bp-2" in user.business_products and line.outside is not None:
        return (line.outside,)
    return line.within


async def test_every_page_by_every_role_in_and_out_of_reach(filled: World) -> None:
    # A form changes things: all the refusals first.
    for line in sorted(PAGES, key=lambda line: line.method):
        for role in ROLES:
            for products in REACHES:
                somebody = await person(filled, role, *products)
                async with somebody.client() as client:
                    answer = await ask(line, client, somebody.form)
                wanted = expected(line, somebody)
                assert answer.status_code in wanted, (line.method, line.example, role, products, wanted)
                if answer.status_code == 403:
                    assert "no access to this page" in answer.text, (line.example, role)


async def test_a_form_without_its_token_or_from_another_site_is_refused(filled: World) -> None:
    admin = await person(filled, "admin")
    async with admin.client() as client:
        for line in PAGES:
            if line.method == "GET":
                continue
            for form, headers in (
                ({}, HERE),
                ({"form_token": "wrong"}, HERE),
                (admin.form, {"sec-fetch-site": "cross-site"}),
            ):
                data = dict(line.form) | form
                answer = await client.request(line.method, line.example, data=data, headers=headers)
                assert answer.status_code == 403, (line.example, form)
                assert "form" in answer.text


async def test_nobody_sees_a_page_or_sends_a_form(filled: World) -> None:
    for line in PAGES:
        for token in (None, "a token of nobody"):
            async with browser(filled, token) as client:
                answer = await ask(line, client, {})
            if line.method == "GET":
                assert answer.status_code == 303, line.example
                assert answer.headers["location"].startswith("/sign-in?next=/"), line.example
            else:
                assert answer.status_code == 401, line.example


async def test_an_api_key_opens_no_page(filled: World) -> None:
    for line in PAGES:
        async with filled.client() as client:
            answer = await ask(line, client, {})
        assert answer.status_code in (303, 401), line.example
        assert "location" not in answer.headers or "/sign-in?" in answer.headers["location"]


async def test_a_session_opens_nothing_of_the_api(filled: World) -> None:
    admin = await person(filled, "admin")
    async with admin.client() as client:
        for method, path in registered(ROUTES):
            if path in PUBLIC_API:
                continue
            example = re.sub(r"\{\w+:int\}", "1", re.sub(r"\{\w+:str\}", "x", path))
            answer = await client.request(method, example, headers=HERE)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), (method, path)
