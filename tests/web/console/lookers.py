"""Reading pages of the console in tests: as whom, and what is on them."""

import html
import re
from typing import Any

import httpx
import pytest
from tests.web.world import World

from milepost.domain.role import Role
from milepost.web import authentication
from milepost.web.visiting import Visitor

TOKEN = "a-form-token"
SCRIPT = "<script>alert(1)</script>"


def look_as(monkeypatch: pytest.MonkeyPatch, role: Role, *products: str) -> Visitor:
    """Whoever opens a page from now on is this one; bound to these business products, to none without."""
    visitor = Visitor(f"usr_{role}", role.capitalize(), role, frozenset(products) or None, TOKEN)

    async def visit(*_: object) -> Visitor:
        return visitor

    monkeypatch.setattr(authentication, "_visitor", visit)
    return visitor


async def opened(world: World, path: str, **parameters: Any) -> str:
    """A page that is there, as HTML."""
    answer = await world.get(path, None, **parameters)
    assert answer.status_code == 200, answer.text
    assert "unsafe" not in answer.headers["content-security-policy"]
    return answer.text


async def sent(world: World, path: str, **fields: str) -> httpx.Response:
    """A form, with its token."""
    async with world.client(None) as client:
        return await client.post(path, data={"form_token": TOKEN} | fields)


def words(page: str) -> str:
    """What a page says, without its tags."""
    content = re.split(r"<main[^>]*>", page)[-1]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", content)).split())


def rows(page: str) -> list[int]:
    """The positions of the inbox's rows, from the top."""
    return [int(number) for number in re.findall(r'<tr id="e(\d+)"', page)]


def outcome_at(page: str, position: int) -> str:
    """The first pill in the inbox's row of a position."""
    row = page.partition(f'<tr id="e{position}"')[2].partition("</tr>")[0]
    pill = re.search(r'<span class="pill[^>]*>(.*?)</span>', row, re.DOTALL)
    assert pill is not None, row
    return words(pill[1])
