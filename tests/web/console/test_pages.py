"""What every page has around its content: navigation, search, who is signed in, colours; what keeps strangers out."""

from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs
from tests.unit.sandbox.markup import Page
from tests.web.world import World

from milepost.domain.role import PERMISSIONS, ROLES, Role
from milepost.store import Store
from milepost.web.console import pages
from milepost.web.console.pages import GROUPS, Place, environment
from milepost.web.search import LONGEST_TERM
from milepost.web.visiting import Visitor

EVERY = tuple(Place(f"/{each}", each.capitalize(), "search", each) for each in GROUPS)
SECRET = "a secret of the store"
EVIL = '"><script>alert(1)</script>'


@pytest.fixture
def open_world(store: Store) -> World:
    return World(store, insecure=True, admin_key=None)


async def get(world: World, path: str = "/", **sent: Any) -> httpx.Response:
    async with world.client(None) as client:
        return await client.get(path, **sent)


def rendered(visitor: Visitor | None, template: str = "error.html", **content: Any) -> str:
    given = {"here": "/", "searched": "", "places": pages._places(visitor), "theme": "", "is_fragment": False}
    given |= {"now": 0, "code": 404, "detail": "There is no such order."}
    return environment.get_template(template).render(visitor=visitor, **given | content)


def visitor(role: Role = "agent", name: str = "Robin Sample", id: str = "usr_1") -> Visitor:
    return Visitor(id, name, role, None, "the-form-token")


async def test_a_page_forbids_what_is_not_its_own(open_world: World) -> None:
    answer = await get(open_world)
    assert answer.status_code == 200
    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert (
        policy["script-src"]
        == policy["style-src"]
        == policy["connect-src"]
        == policy["form-action"]
        == "'self'"
    )
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "style=" not in answer.text
    assert "<style" not in answer.text
    assert "javascript:" not in answer.text


@pytest.mark.parametrize("role", ROLES)
def test_the_navigation_shows_what_a_role_may_open(monkeypatch: pytest.MonkeyPatch, role: Role) -> None:
    monkeypatch.setattr(pages, "PLACES", EVERY)
    page = rendered(visitor(role))
    for place in EVERY:
        assert (f'href="{place.path}"' in page) == (place.permission in PERMISSIONS[role]), place
    for permission, heading in GROUPS.items():
        assert (f">{heading}</p>" in page) == any(GROUPS[may] == heading for may in PERMISSIONS[role]), (
            permission
        )


@pytest.mark.parametrize(
    ("here", "current"),
    [("/queues", "page"), ("/queues/late", "true"), ("/queues-of-old", None), ("/", None)],
)
def test_the_navigation_says_where_one_is(
    monkeypatch: pytest.MonkeyPatch, here: str, current: str | None
) -> None:
    monkeypatch.setattr(pages, "PLACES", (Place("/queues", "Queues", "inbox", "orders"),))
    page = rendered(visitor(), here=here)
    assert (f'href="/queues" aria-current="{current}"' in page) == (current is not None)


async def test_the_search_box_keeps_what_was_looked_for_as_text(open_world: World) -> None:
    page = (await get(open_world, params={"q": EVIL})).text
    assert "<script>alert" not in page
    assert 'value="&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"' in page
    long = (await get(open_world, params={"q": "x" * 5_000})).text
    assert "x" * (LONGEST_TERM + 1) not in long


@pytest.mark.parametrize(
    ("cookie", "said"),
    [
        ("dark", 'data-theme="dark"'),
        ("light", 'data-theme="light"'),
        ("", None),
        ("neon", None),
        ('dark" onload=1', None),
    ],
)
async def test_the_colours_are_those_that_were_chosen(
    open_world: World, cookie: str, said: str | None
) -> None:
    page = (await get(open_world, headers={"cookie": f"theme={cookie}"})).text
    assert ("data-theme=" in page.partition("<head>")[0]) == (said is not None)
    assert said is None or said in page
    assert f'name="color-scheme" content="{cookie if said else "light dark"}"' in page


async def test_part_of_a_page_is_given_without_what_is_around_it(open_world: World) -> None:
    whole = (await get(open_world)).text
    part = (await get(open_world, headers={"hx-request": "true", "hx-request-type": "partial"})).text
    boosted = (await get(open_world, headers={"hx-request": "true", "hx-request-type": "full"})).text
    assert "<title>" in part
    assert "<h1>" in part
    assert "<nav" not in part
    assert "<html" not in part
    assert boosted == whole


async def test_where_nobody_signs_in_the_page_says_so(open_world: World) -> None:
    page = (await get(open_world)).text
    assert "Nobody needs to sign in here" in page
    assert "/sign-out" not in page
    assert "/account" not in page


def test_who_is_signed_in_is_said_and_can_leave() -> None:
    page = rendered(visitor("operator", name="Robin <b>"))
    assert "Nobody needs to sign in here" not in page
    assert "Robin &lt;b&gt;" in page
    assert ">Operator</span>" in page
    assert 'href="/account"' in page
    form = page[page.index('action="/sign-out"') :].partition("</form>")[0]
    assert 'value="the-form-token"' in form


def test_who_has_not_signed_in_sees_neither_navigation_nor_search() -> None:
    page = rendered(None)
    for part in ("<nav", 'role="search"', "/sign-out", "popovertarget"):
        assert part not in page
    assert "There is no such order." in page


async def test_an_error_is_a_page_with_its_status(store: Store) -> None:
    answer = await get(World(store), "/setup/no-such-link")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "This link is not valid" in answer.text
    assert answer.headers["content-security-policy"] == pages.POLICY


@pytest.mark.parametrize(
    ("path", "accept", "kind"),
    [
        ("/nope", "text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ("/nope", "*/*", "application/problem+json"),
        ("/nope", "application/json", "application/problem+json"),
        ("/v1/nope", "text/html", "application/problem+json"),
    ],
)
async def test_an_address_where_nothing_is_has_a_page_for_people(
    open_world: World, path: str, accept: str, kind: str
) -> None:
    answer = await get(open_world, path, headers={"accept": accept})
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith(kind)
    assert ("This page does not exist" in answer.text) == (kind == "text/html")


async def test_a_fault_of_ours_is_a_page_that_tells_nothing(
    open_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = environment.get_template

    def broken(name: str, *rest: Any) -> Any:
        if name == "front.html":
            raise RuntimeError(SECRET)
        return whole(name, *rest)

    monkeypatch.setattr(environment, "get_template", broken)
    with capture_logs() as logs:
        answer = await get(open_world)
    assert answer.status_code == 500
    assert "log says where" in answer.text
    assert SECRET not in answer.text + str(logs)
    assert [log["event"] for log in logs] == ["api.internal"]


def test_every_part_is_well_formed_and_escapes_what_it_is_told() -> None:
    source = """{% import "ui.html" as ui %}<x>
    {% call ui.heading(evil, evil, "/", evil) %}{{ ui.action(evil, "/", icon_name="search") }}{% endcall %}
    {{ ui.heading(evil) }}{{ ui.pill(evil, "good", "info") }}{{ ui.state(evil) }}
    {{ ui.time(0, 9) }}{{ ui.time(none, 9) }}
    {% call ui.stats(evil) %}{{ ui.stat(evil, evil, evil, "/", "bad", true) }}{{ ui.stat(evil, evil) }}{% endcall %}
    {% call ui.card(evil, "info", evil, true, evil, evil, "/") %}{{ evil }}{% endcall %}
    {% call ui.table([evil], evil, [evil]) %}<tr><td data-label="x">{{ evil }}</td></tr>{% endcall %}
    {{ ui.facts([(evil, evil), ("none", none)]) }}{{ ui.empty(evil, evil) }}{{ ui.notice(evil, "warn") }}
    {{ ui.tabs([("/", evil, 3, true), ("/", evil, none, false)], evil) }}{{ ui.pager("/", "/") }}
    {{ ui.field(evil, "a", evil, hint=evil, placeholder=evil) }}{{ ui.field(evil, "b", error=evil, required=true) }}
    {{ ui.area(evil, "c", evil, hint=evil) }}{{ ui.area(evil, "d", error=evil, code=true) }}
    {{ ui.select(evil, "e", [(evil, evil), ("2", "3")], evil, hint=evil) }}{{ ui.check(evil, "f", evil, true, evil) }}
    {{ ui.button(evil, "danger", "info", "g", evil) }}{{ ui.copy(evil, evil) }}{{ ui.code(evil, evil) }}
    {% call ui.more(evil, true) %}{{ evil }}{% endcall %}</x>"""
    page = environment.from_string(source).render(evil=EVIL)
    read = Page(page)
    assert page.count("&lt;script&gt;") >= 40
    assert len(read.ids) == len(set(read.ids))
    assert {name for name, inside in read.controls if not inside} <= read.labelled
