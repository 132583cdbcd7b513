"""Lists: how long a page is, and the cursors between pages.

A cursor is opaque to callers: base64 of a JSON array of a version, the list's name and where to go on. One that
is broken, of another version or of another list is refused, never guessed at.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter
from msgspec import Struct

from milepost.domain.errors import Invalid

DEFAULT_LIMIT, MAX_LIMIT = 100, 500
VERSION = 1

T = TypeVar("T")
R = TypeVar("R")

Limit = Annotated[
    int,
    QueryParameter(
        name="limit", description="Items a page: 1 to 500; more is clamped to 500.", required=False
    ),
]
After = Annotated[
    str | None,
    QueryParameter(name="after", description="The `next` of the page before; from the start without it."),
]


class Page(Struct, Generic[T]):
    """One page of a list, oldest first."""

    items: list[T]
    next: str | None
    """The cursor of the next page; null on the last."""


def page_size(limit: int) -> int:
    """The limit that counts. Raises `Invalid` below 1."""
    if limit < 1:
        raise Invalid(f"limit is {limit}; it must be at least 1", field="limit")
    return min(limit, MAX_LIMIT)


def encode_cursor(name: str, where: Any) -> str:
    """The cursor that continues the list `name` behind `where` (JSON values)."""
    return base64.urlsafe_b64encode(msgspec.json.encode([VERSION, name, where])).rstrip(b"=").decode()


def decode_cursor(name: str, cursor: str, where: type[T]) -> T:
    """What `encode_cursor` was given, checked to be a `where`. Raises `Invalid` for anything else."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        version, its_name, found = msgspec.json.decode(raw, type=tuple[int, str, where])  # type: ignore[valid-type]
        if (version, its_name) == (VERSION, name):
            return found
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
        pass
    raise Invalid("after is not a cursor of this list", field="after")


def cut(
    name: str, rows: Sequence[R], size: int, where: Callable[[R], Any], item: Callable[[R], T]
) -> Page[T]:
    """A page of `rows`, of which one more than `size` was read to see whether there are more."""
    kept = rows[:size]
    following = encode_cursor(name, where(kept[-1])) if len(rows) > size else None
    return Page([item(row) for row in kept], following)
