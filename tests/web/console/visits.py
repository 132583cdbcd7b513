"""Visits of the console in tests: pages read, forms sent, by people of every role."""

from typing import Any

import httpx
import pytest
from tests.web.console.parsed import Parsed
from tests.web.world import World

from milepost.domain.role import Role
from milepost.web import authentication
from milepost.web.visiting import Visitor

TOKEN = "the-form-token"


async def fetch(world: World, path: str, **query: Any) -> httpx.Response:
    async with world.client(None) as client:
        return await client.get(path, params=query or None)


async def look(world: World, path: str, status: int = 200, **query: Any) -> Parsed:
    """A page, which has to be there."""
    answer = await fetch(world, path, **query)
    assert answer.status_code == status, answer.text
    return Parsed(answer.text)


async def send(world: World, path: str, token: str | None = TOKEN, **fields: str) -> httpx.Response:
    """A form, from the console's own page."""
    given = fields if token is None else {**fields, "form_token": token}
    async with world.client(None) as client:
        return await client.post(path, data=given, headers={"origin": "http://127.0.0.1:8480"})


def sign_in(monkeypatch: pytest.MonkeyPatch, role: Role, *products: str, name: str = "Robin Sample") -> None:
    """Whoever visits from now on is a person of this role, bound to these business products (none: to all)."""
    visitor = Visitor("usr_1", name, role, frozenset(products) or None, TOKEN)

    async def visiting(*_: object) -> Visitor:
        return visitor

    monkeypatch.setattr(authentication, "_visitor", visiting)
