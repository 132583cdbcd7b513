"""The page on which a shopper ends mails: what changes something and what does not, in which language, under which
policy."""

import base64
import hashlib
import re
from typing import Any

import httpx
import pytest
from tests.unit.sandbox.markup import Page
from tests.web.told import EMAIL
from tests.web.world import World

from milepost.domain.choosing import GROUPS
from milepost.domain.contact import Choices, make_unsubscribe, read_choices, recipient_id, write_choices
from milepost.domain.instant import DAY, Instant
from milepost.domain.notification import KINDS
from milepost.shopper.composing import Brand
from milepost.store import Store
from milepost.web.context import Shop

SECRET = "s" * 40
RECIPIENT = recipient_id(SECRET, "bp-1", EMAIL)
KEY = ("bp-1", RECIPIENT)
BRAND = Brand("Kettle & Sons", "https://shop.example", "#ffcc00", "help@shop.example", None)
FORM = "application/x-www-form-urlencoded"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
async def asked(store: Store) -> World:
    return World(store, tracking_secrets=(SECRET,), shop=Shop(BRAND, "en", KINDS))


def path(world: World, **changes: Any) -> str:
    given = {
        "secret": SECRET,
        "product": "bp-1",
        "recipient": RECIPIENT,
        "expires": world.now + DAY,
    } | changes
    expires = Instant(given["expires"])
    return "/unsubscribe/" + make_unsubscribe(given["secret"], given["product"], given["recipient"], expires)


async def chosen(world: World) -> Choices:
    stored = await world.store.read(lambda tx: tx.notifications.choices([KEY]))
    return read_choices(stored.values())


async def choose(world: World, choices: Choices) -> None:
    await world.store.write(lambda tx: tx.notifications.choose({KEY: write_choices(choices)}))


async def send(world: World, data: dict[str, Any], follow: bool = True, **request: Any) -> httpx.Response:
    """What a browser does with a form."""
    async with world.client(None) as client:
        return await client.post(path(world), data=data, follow_redirects=follow, **request)


def ticked(html: str) -> set[str]:
    boxes = re.findall(r'<input type="checkbox" name="group" value="(\w+)"( checked)?>', html)
    assert {name for name, _ in boxes} <= set(GROUPS)
    return {name for name, checked in boxes if checked}


# ── What changes something, and what does not ──────────────────────────────────────────────────────────────


async def test_looking_changes_nothing_however_often(asked: World) -> None:
    for _ in range(3):
        for query in ("", "?saved=true", "?wanted=nothing&List-Unsubscribe=One-Click"):
            assert (await asked.get(path(asked) + query, None)).status_code == 200
    assert await asked.store.read(lambda tx: tx.notifications.choice_page(("", ""), 10, None)) == []


async def test_one_button_ends_every_mail(asked: World) -> None:
    before = await asked.get(path(asked), None)
    assert ticked(before.text) == set(GROUPS)
    answer = await send(asked, {"wanted": "nothing"}, follow=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "?saved=true")
    after = await send(asked, {"wanted": "nothing"})
    assert "You get no more of these mails" in after.text
    assert ticked(after.text) == set()
    assert await chosen(asked) == Choices(off=("all",), changed_at=asked.now)


@pytest.mark.parametrize("multipart", [False, True])
async def test_one_click_of_a_mail_program_ends_every_mail(asked: World, multipart: bool) -> None:
    """RFC 8058: a POST without cookies or a page, in either form; no redirect is followed."""
    async with asked.client(None) as client:
        if multipart:
            answer = await client.post(path(asked), files={"List-Unsubscribe": (None, "One-Click")})
        else:
            answer = await client.post(path(asked), data=ONE_CLICK)
    assert answer.status_code == 200
    assert (await chosen(asked)).off == ("all",)
    asked.now = Instant(asked.now + 1)
    assert (await send(asked, ONE_CLICK)).status_code == 200
    assert (await chosen(asked)).changed_at == asked.now - 1, "again changes nothing"


async def test_kinds_are_picked(asked: World) -> None:
    picked = {"delivered", "trouble"}
    answer = await send(asked, {"wanted": "these", "group": sorted(picked), "locale": "en"})
    assert ticked(answer.text) == picked
    assert "Your choice is saved" in answer.text
    hers = await chosen(asked)
    assert set(hers.off) == {kind for name in GROUPS if name not in picked for kind in GROUPS[name]}
    assert (hers.wants("delivered", "email"), hers.wants("delayed", "email")) == (True, False)
    again = await send(asked, {"wanted": "these", "group": sorted(GROUPS), "locale": "en"})
    assert ticked(again.text) == set(GROUPS)
    assert (await chosen(asked)).off == ()


async def test_picking_nothing_is_ending_all_and_all_can_be_taken_back(asked: World) -> None:
    answer = await send(asked, {"wanted": "these", "locale": "en"})
    assert "You get no more of these mails" in answer.text
    assert (await chosen(asked)).off == ("all",)
    answer = await send(asked, {"wanted": "these", "group": "delivered", "locale": "en"})
    assert ticked(answer.text) == {"delivered"}
    hers = await chosen(asked)
    assert [kind for kind in KINDS if hers.wants(kind, "email")] == [
        k for k in KINDS if k in GROUPS["delivered"]
    ]


async def test_what_the_page_does_not_show_stays_as_it_was(store: Store) -> None:
    """Kinds that the shop has switched off, and channels that are the shop's affair."""
    told = tuple(k for k in KINDS if k not in GROUPS["pickup"])
    world = World(store, tracking_secrets=(SECRET,), shop=Shop(BRAND, "en", told))
    await choose(world, Choices(off=("delayed/webhook", "delayed/email", "pickup_reminder"), blocked="spam"))
    shown = await world.get(path(world), None)
    assert ticked(shown.text) == set(GROUPS) - {"dates", "pickup"}
    assert 'value="pickup"' not in shown.text
    await send(world, {"wanted": "these", "group": sorted(GROUPS), "locale": "en"})
    hers = await chosen(world)
    assert hers.off == ("delayed/webhook", "pickup_reminder")
    assert hers.blocked == "spam"


async def test_a_blocked_shopper_is_told_that_nothing_comes(asked: World) -> None:
    await choose(asked, Choices(blocked="no such mailbox at ada@example.com"))
    shown = await asked.get(path(asked), None)
    assert "At present nothing is sent to your address" in shown.text
    assert "mailbox" not in shown.text


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", FORM),
        (b"wanted=all", FORM),
        (b"{}", "application/json"),
        (b"wanted=%00", FORM),
        (b"x", "text/plain"),
    ],
)
async def test_a_post_of_nothing_that_is_meant_is_refused(asked: World, body: bytes, kind: str) -> None:
    async with asked.client(None) as client:
        answer = await client.post(path(asked), content=body, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert (await chosen(asked)) == Choices()


async def test_odd_groups_and_languages_are_passed_over(asked: World) -> None:
    body = {"wanted": "these", "group": ["delivered", "letters", "\x00"], "locale": "xx"}
    answer = await send(asked, body)
    assert ticked(answer.text) == {"delivered"}
    assert (await chosen(asked)).locale is None


# ── Links ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_links_that_are_not_good_are_all_the_same_page(asked: World) -> None:
    good = path(asked)
    broken = [
        good[:-2],
        good + "x",
        good.replace(".", ""),
        "/unsubscribe/x",
        "/unsubscribe/" + "x" * 3_000,
        path(asked, secret="t" * 40),
        path(asked, expires=asked.now),
    ]
    answers = set()
    async with asked.client(None) as client:
        for each in broken:
            for answer in (await client.get(each), await client.post(each, data=ONE_CLICK)):
                assert answer.status_code == 404
                assert answer.headers["content-type"].startswith("text/html")
                answers.add(answer.text)
    assert len(answers) == 1
    assert "This link does not work" in answers.pop()
    assert await asked.store.read(lambda tx: tx.notifications.choice_page(("", ""), 10, None)) == []


async def test_a_link_is_good_while_its_secret_is_named(store: Store) -> None:
    world = World(store, tracking_secrets=("n" * 40, SECRET), shop=Shop(BRAND))
    assert (await world.get(path(world), None)).status_code == 200
    world = World(store, shop=Shop(BRAND))
    assert (await world.get(path(world), None)).status_code == 404


# ── The page ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("accepts", "language"),
    [
        (None, "en"),
        ("es", "es"),
        ("es-MX,es;q=0.9,en;q=0.8", "es"),
        ("de-DE,de;q=0.9,es;q=0.5,en;q=0.7", "en"),
        ("de", "en"),
        ("es;q=0,en;q=0.1", "en"),
        ("es;q=x, ;;;, *", "en"),
        ("x" * 5_000, "en"),
    ],
)
async def test_the_page_speaks_the_browsers_language(
    asked: World, accepts: str | None, language: str
) -> None:
    headers = {} if accepts is None else {"accept-language": accepts}
    async with asked.client(None) as client:
        for url in (path(asked), "/unsubscribe/x"):
            answer = await client.get(url, headers=headers)
            assert f'<html lang="{language}">' in answer.text


async def test_a_language_that_was_chosen_goes_before_the_browsers(asked: World) -> None:
    answer = await send(
        asked, {"wanted": "these", "group": "delivered", "locale": "es"}, headers={"accept-language": "en"}
    )
    assert '<html lang="es">' in answer.text
    assert "Tu elección está guardada" in answer.text
    assert (await chosen(asked)).locale == "es"
    await send(asked, {"wanted": "nothing"})
    assert (await chosen(asked)).locale == "es"


async def test_the_page_loads_nothing_and_its_policy_lets_nothing_in(asked: World) -> None:
    async with asked.client(None) as client:
        answers = [await client.get(path(asked)), await client.get("/unsubscribe/x")]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        for part in ("form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"):
            assert part in policy
        (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in policy
        assert not re.search(r"<script|\son\w+=|style=|src=|@import|url\(", answer.text)
        assert answer.headers["x-robots-tag"] == "noindex, nofollow"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "Kettle &amp; Sons" in answer.text


async def test_the_page_can_be_read_by_everybody(asked: World) -> None:
    for choices in (Choices(), Choices(off=("all",)), Choices(blocked="x")):
        await choose(asked, choices)
        text = (await asked.get(path(asked), None)).text
        # One style sheet, which the policy names; the parser knows neither that nor a mail address.
        page = Page(re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL).replace("mailto:", "https://"))
        assert page.headings[0] == 1
        assert page.headings.count(1) == 1
        for control, in_label in page.controls:
            assert in_label or control in page.labelled
        for form in page.forms:
            assert (form.method, form.action) == ("post", "?")
            assert all(words.strip() for words, _, _ in form.buttons)


async def test_no_address_is_in_the_page(asked: World) -> None:
    shown = (await asked.get(path(asked), None)).text
    assert "ada" not in shown.lower()
    assert RECIPIENT not in shown


def test_every_kind_is_in_one_group() -> None:
    assert sorted(kind for kinds in GROUPS.values() for kind in kinds) == sorted(KINDS)
