"""Every route of the hub by every role, with the business product of what it shows in reach and out of it, and by
nobody.

A page or a form is a line of `PAGES`; one that is added without a line, or with another permission than its line
says, fails here. What the line's example needs to be there is made by `tests.web.filling`.
"""

import itertools
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import httpx
import pytest
from tests.web.console.people import HERE, Person, browser, main_of, person
from tests.web.filling import CORRECTION, fill
from tests.web.world import START, World

from milepost.domain.notification import notification_id
from milepost.domain.role import PERMISSIONS, ROLES, Permission
from milepost.store import ItemKey, Store
from milepost.web.app import ROUTES
from milepost.web.console import HANDLERS
from milepost.web.paging import encode_cursor

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
    bound: int | None = None
    """The status for whoever has the permission and sees some business products only, where it is the whole hub's."""


USER = "/users/usr_1"
CHANGED = {"name": "Ada", "role": "agent", "businessProducts": "bp-1"}
INVITED = {"name": "Grace", "signInName": "grace", "role": "agent"}

OURS = "businessProductId=bp-1"
ORDER = "/orders/{order_id:str}"
TRACKER = "/trackers/{carrier_code:str}/{tracking_number:str}"
FILTER = "/queues/{name:str}/filters/{filter_id:str}"
ONE = "/subscribers/{subscriber_id:str}"
TRACKED = "/trackers/UPS/1Z999"
MESSAGE = notification_id("bp-1", "order-1", "delivery-1", "shipped", "")
CORRECTED = {
    "subject": "delivery/delivery-1",
    "state": "DELIVERED",
    "occurred": "2025-01-21T09:30",
    "reason": "the shopper has it",
}
WITHDRAWN = f"/orders/order-1/corrections/{CORRECTION}/withdraw"
CANCELLED = "/subscribers/sub_1/replays/rpl_1/cancel"
HELD = f"/queues/captures-held?{OURS}"
ITEM = encode_cursor("item", ItemKey("bp-1", "order/order-1", "captures-held", "cap_1", START))
"""Of that queue; it has left it."""
ASKED = {"product": "bp-1", "target": "order/order-1"}
DRONE = {"code": "BY_DRONE", "meaning": "NONE", "version": "1", "reason": "it is no stage"}

PAGES = (
    Line("GET", "/", "orders", "/", SEEN),
    Line("GET", ORDER, "orders", "/orders/order-1", SEEN, 404),
    Line("GET", "/deliveries/{delivery_id:str}", "orders", "/deliveries/delivery-1", DONE, 404),
    Line("POST", f"{ORDER}/notes", "serve", "/orders/order-1/notes", DONE, 404, {"text": "left at the door"}),
    # It is still to be sent, so there is no again.
    Line("POST", f"{ORDER}/resend", "serve", "/orders/order-1/resend", (409,), 404, {"notification": MESSAGE}),
    Line("POST", f"{ORDER}/shopper-page", "serve", "/orders/order-1/shopper-page", DONE, 404),
    Line("GET", f"{ORDER}/reply", "serve", "/orders/order-1/reply", SEEN, 404),
    Line("POST", f"{ORDER}/reply", "serve", "/orders/order-1/reply", SEEN, 404),
    Line("GET", f"{ORDER}/records/{{position:int}}", "serve", "/orders/order-1/records/1", SEEN, 404),
    Line("POST", f"{ORDER}/corrections", "serve", "/orders/order-1/corrections", DONE, 404, CORRECTED),
    Line("POST", f"{ORDER}/corrections/{{position:int}}/withdraw", "serve", WITHDRAWN, (303, 409), 404),
    Line("GET", f"{ORDER}/why", "orders", "/orders/order-1/why", SEEN, 404),
    Line("GET", TRACKER, "orders", TRACKED, SEEN, 404),
    Line("GET", f"{TRACKER}/why", "orders", f"{TRACKED}/why", SEEN, 404),
    Line("GET", "/queues", "orders", "/queues", SEEN),
    Line("GET", "/queues/{name:str}", "orders", HELD, SEEN, 404),
    Line("GET", "/queues/{name:str}/csv", "orders", f"/queues/captures-held/csv?{OURS}", SEEN, 404),
    Line("POST", "/queues/{name:str}", "serve", HELD, DONE, 404, {"action": "assign", "id": ITEM}),
    Line("POST", "/queues/{name:str}/filters", "orders", f"/queues/late/filters?{OURS}", DONE, 404, {"name": "x"}),
    Line("POST", f"{FILTER}/rename", "orders", "/queues/late/filters/flt_1/rename", (404,), form={"name": "x"}),
    Line("POST", f"{FILTER}/delete", "orders", "/queues/late/filters/flt_1/delete", (404,)),
    Line("GET", "/insights", "insights", f"/insights?{OURS}", SEEN, 404),
    Line("GET", "/insights/rows", "insights", f"/insights/rows?which=late&{OURS}", SEEN, 404),
    Line("GET", "/insights/rows.csv", "insights", f"/insights/rows.csv?which=late&{OURS}", SEEN, 404),
    Line("GET", "/events", "operate", "/events?product=bp-1", SEEN, 404),
    Line("GET", "/events/live", "operate", "/events/live?product=bp-1", SEEN, 404),
    Line("GET", "/events/{position:int}", "operate", "/events/1", SEEN, 404),
    Line("POST", "/events/{position:int}/resend", "operate", "/events/1/resend", DONE, 404, {"message": "1-sub_1"}),
    Line("GET", "/quarantine", "operate", "/quarantine", SEEN),
    Line("POST", "/quarantine/retry", "operate", "/quarantine/retry", DONE, form={"code": "malformed_event"}),
    Line("GET", "/quarantine/{entry_id:int}", "operate", "/quarantine/1", SEEN, 404),
    Line("POST", "/quarantine/{entry_id:int}/retry", "operate", "/quarantine/1/retry", (400,), 404),
    Line("POST", "/quarantine/{entry_id:int}/dismiss", "operate", "/quarantine/1/dismiss", (303, 409), 404),
    Line("GET", "/subscribers", "operate", "/subscribers", SEEN),
    Line("GET", ONE, "operate", "/subscribers/sub_1", SEEN, 404),
    Line("GET", f"{ONE}/attempts", "operate", "/subscribers/sub_1/attempts", SEEN, 404),
    Line("POST", f"{ONE}/{{action:str}}", "operate", "/subscribers/sub_1/test", DONE, 404),
    Line("GET", f"{ONE}/replay", "operate", "/subscribers/sub_1/replay?count=1", SEEN, 404),
    # The fifth finds four beside the one that is under way, which are as many as there may be.
    Line("POST", f"{ONE}/replay", "operate", "/subscribers/sub_1/replay", (303, 400), 404),
    Line("POST", f"{ONE}/replays/{{replay_id:str}}/cancel", "operate", CANCELLED, (303, 409), 404),
    Line("GET", "/attempts/{message_id:str}", "operate", "/attempts/1-sub_1", SEEN, 404),
    Line("POST", "/attempts/{message_id:str}/resend", "operate", "/attempts/1-sub_1/resend", DONE, 404),
    Line("GET", "/health", "operate", "/health", SEEN),
    # No API is configured here: whoever may ask is told so.
    Line("POST", "/health/hydration", "operate", "/health/hydration", (409,), 404, ASKED),
    Line("GET", "/mapping", "operate", "/mapping", SEEN),
    Line("POST", "/mapping/preview", "operate", "/mapping/preview", SEEN, form=DRONE, bound=403),
    Line("POST", "/mapping", "operate", "/mapping", (303, 409), form=DRONE, bound=403),
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
PUBLIC_API = {"/healthz", "/readyz", "/track", "/track/{token:str}", "/unsubscribe/{token:str}"}
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
async def filled(store: Store) -> World:
    world = World(store, notifying=True, tracking_secrets=("a-secret-of-at-least-32-characters",))
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
    if user.business_products and line.bound is not None:
        return (line.bound,)
    if "bp-2" in user.business_products and line.outside is not None:
        return (line.outside,)
    return line.within


async def test_every_page_by_every_role_in_and_out_of_reach(filled: World) -> None:
    people: dict[tuple[str, tuple[str, ...]], Person] = {}
    # What is looked at changes nothing, so it comes first, and everybody signs in once for all of it.
    for line in sorted(PAGES, key=lambda line: line.method):
        # So that the inbox's stream ends as soon as it began; files have to come to their end.
        closing = filled.context.closing
        closing.set() if line.route == "/events/live" else closing.clear()
        for role, products in itertools.product(ROLES, REACHES):
            if line.method == "POST" or (role, products) not in people:
                people[role, products] = await person(filled, role, *products)
            somebody = people[role, products]
            async with somebody.client() as client:
                answer = await ask(line, client, somebody.form)
            wanted = expected(line, somebody)
            told = (line.method, line.example, role, products, wanted, answer.status_code)
            assert answer.status_code in wanted, told
            if wanted == (403,) and line.bound is None:
                assert "no access to this page" in answer.text, told
            if answer.status_code == 404:
                assert "bp-1" not in main_of(answer).replace(line.example, ""), told


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
