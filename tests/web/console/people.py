"""People who are signed in to the console of a world, and what a form of theirs carries."""

import re

import httpx
from tests.web.world import World

from milepost.domain.role import Role
from milepost.domain.user import User
from milepost.web import sessions
from milepost.web.hashing import hashing

PASSWORD = "kettle under winter rain"
HERE = {"sec-fetch-site": "same-origin"}


class Person:
    """A user with a session of their own, made without a sign-in."""

    def __init__(self, world: World, user: User, token: str) -> None:
        self.user = user
        self.token = token
        self.form = {"form_token": sessions.form_token_of(token)}
        self._world = world

    def client(self) -> httpx.AsyncClient:
        return browser(self._world, self.token)


def browser(world: World, token: str | None = None) -> httpx.AsyncClient:
    """A client that keeps cookies, with this session's."""
    client = world.client(None)
    client.headers["user-agent"] = "Firefox"
    if token is not None:
        client.cookies.set("milepost_session", token, domain="127.0.0.1")
    return client


async def person(
    world: World, role: Role, *products: str, name: str = "", password: str | None = None
) -> Person:
    """Somebody of this role, bound to these business products, who is signed in."""
    hashed = "no password has this hash" if password is None else await hashing.hash(password)
    name = name or f"{role}-{'-'.join(products) or 'all'}"
    user = User(f"usr_{name}", f"The {name}", name, role, world.now, products, hashed)
    token = sessions.new_token()

    def write(tx: object) -> None:
        tx.users.put(user)  # type: ignore[attr-defined]
        sessions.begin(tx, user, token, world.now, "Firefox", "192.0.2.7")  # type: ignore[arg-type]

    await world.store.write(write)
    return Person(world, user, token)


def main_of(answer: httpx.Response) -> str:
    """What a page says, without what is around it."""
    found = re.search(r"<main.*?</main>", answer.text, re.DOTALL)
    assert found is not None, answer.text[:500]
    return found[0]


def link_in(answer: httpx.Response) -> str:
    """The path of the one-time link that a page shows."""
    found = re.search(r"/setup/[\w-]+", main_of(answer))
    assert found is not None
    return found[0]
