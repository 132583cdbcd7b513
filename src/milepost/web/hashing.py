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
MEMORY_KIB = 47_104

T = TypeVar("T")


class Hashing:
    """The threads that hash, and how many wait for them."""

    def __init__(self, memory_kib: int = MEMORY_KIB) -> None:
        self.memory_kib = memory_kib
        self._threads = ThreadPoolExecutor(AT_ONCE, "hashing")
        self._under_way = 0

    async def hash(self, password: str) -> str:
        """A new password's hash. Raises `Overloaded`."""
        return await self._run(lambda: self._hasher().hash(normal(password)))

    async def is_right(self, hashed: str | None, password: str) -> bool:
        """Whether this is the password; without a hash it takes as long to say no. Raises `Overloaded`."""
        compared = hashed or self._decoy()
        return await self._run(lambda: self._matches(compared, password)) and bool(hashed)

    def is_to_be_renewed(self, hashed: str) -> bool:
        """Whether a hash is of another cost than new ones are."""
        return self._hasher().check_needs_rehash(hashed)

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher().verify(hashed, normal(password[: LONGEST + 1]))
        except (VerificationError, InvalidHashError):
            return False

    def _hasher(self) -> PasswordHasher:
        return PasswordHasher(time_cost=1, memory_cost=self.memory_kib, parallelism=1)

    def _decoy(self) -> str:
        """What is compared with when nobody has the name. No password has this hash."""
        return f"$argon2id$v=19$m={self.memory_kib},t=1,p=1${'A' * 22}${'A' * 43}"

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
