"""Hashing passwords with Argon2id: in threads of its own, few at a time, since each one takes 46 MiB and 50 ms or so.

The cost is OWASP's first recommendation (Password Storage Cheat Sheet: m=47104, t=1, p=1). A hash says what it cost,
so that one of another cost is made anew when its password is next seen.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from milepost.domain.errors import Overloaded
from milepost.domain.password import LONGEST, normal

AT_ONCE = 2
MOST_WAITING = 32
_DECOY = "$argon2id$v=19$m=47104,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43
"""What is compared with when nobody has the name, so that this takes as long. No password has this hash."""

T = TypeVar("T")

_hasher = PasswordHasher(time_cost=1, memory_cost=47_104, parallelism=1)


class Hashing:
    """The threads that hash, and how many wait for them."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, "hashing")
        self._under_way = 0

    async def hash(self, password: str) -> str:
        """A new password's hash. Raises `Overloaded`."""
        return await self._run(lambda: _hasher.hash(normal(password)))

    async def is_right(self, hashed: str | None, password: str) -> bool:
        """Whether this is the password; without a hash it takes as long to say no. Raises `Overloaded`."""
        return await self._run(lambda: _matches(hashed or _DECOY, password)) and bool(hashed)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._under_way >= AT_ONCE + MOST_WAITING:
            raise Overloaded("Too many people sign in at once; try again in a moment.")
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._under_way -= 1


hashing = Hashing()
"""This process's: what it bounds is the process's memory."""


def is_to_be_renewed(hashed: str) -> bool:
    """Whether a hash is of another cost than new ones are."""
    return _hasher.check_needs_rehash(hashed)


def _matches(hashed: str, password: str) -> bool:
    try:
        return _hasher.verify(hashed, normal(password[: LONGEST + 1]))
    except (VerificationError, InvalidHashError):
        return False
