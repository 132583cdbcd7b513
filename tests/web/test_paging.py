"""Cursors and limits."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.web.world import World

from milepost.domain.errors import Invalid
from milepost.web.paging import MAX_LIMIT, cut, decode_cursor, encode_cursor, page_size

Key = tuple[int, str, str]


@given(st.integers(0, 2**62), st.text(), st.text())
def test_a_cursor_gives_back_what_it_was_made_of(number: int, product: str, id: str) -> None:
    cursor = encode_cursor("order", (number, product, id))
    assert decode_cursor("order", cursor, tuple[int, str, str]) == (number, product, id)
    assert cursor.replace("-", "").replace("_", "").isalnum()


@given(st.text(max_size=200))
def test_anything_else_is_refused_and_nothing_else_raised(text: str) -> None:
    with pytest.raises(Invalid):
        decode_cursor("order", text, tuple[int, str, str])


@given(st.integers(0, 2**62), st.data())
def test_a_broken_cursor_is_refused_or_is_another_whole_one(number: int, data: st.DataObject) -> None:
    """A changed character never gives a position of another kind."""
    cursor = encode_cursor("event", number)
    at = data.draw(st.integers(0, len(cursor) - 1))
    letter = data.draw(st.sampled_from("ABCxyz019-_=/ é"))
    try:
        found = decode_cursor("event", cursor[:at] + letter + cursor[at + 1 :], int)
    except Invalid:
        return
    assert isinstance(found, int)


@pytest.mark.parametrize(
    "cursor",
    [
        encode_cursor("delivery", (1, "a", "b")),
        encode_cursor("order", 1),
        encode_cursor("order", ("1", "a", "b")),
        "W10",
        "",
    ],
)
def test_the_cursor_of_another_list_or_shape_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid):
        decode_cursor("order", cursor, tuple[int, str, str])


@given(st.lists(st.integers(), max_size=12), st.integers(1, 5))
def test_pages_cut_one_after_the_other_give_every_row_once(rows: list[int], size: int) -> None:
    numbered = list(enumerate(rows))
    seen: list[Any] = []
    start = -1
    while True:
        rest = [row for row in numbered if row[0] > start]
        page = cut("test", rest[: size + 1], size, lambda row: row[0], lambda row: row[1])
        seen += page.items
        if page.next is None:
            break
        start = decode_cursor("test", page.next, int)
    assert seen == rows


def test_a_limit_is_clamped_above_and_refused_below() -> None:
    assert page_size(1) == 1
    assert page_size(MAX_LIMIT + 1) == page_size(10**9) == MAX_LIMIT == 500
    for limit in (0, -1):
        with pytest.raises(Invalid):
            page_size(limit)


@pytest.mark.parametrize(
    "name",
    ["orders", "deliveries", "trackers", "events", "quarantine", "hydration", "failures", "keys"],
)
async def test_every_list_refuses_a_bad_limit_and_a_bad_cursor(world: World, name: str) -> None:
    async with world.client() as client:
        for query in ("limit=0", "limit=-3", "limit=many", "limit=", "after=%00", "after=e30", "after=!!"):
            answer = await client.get(f"/v1/{name}?{query}")
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), query
            assert answer.json()["field"] in query
        answer = await client.get(f"/v1/{name}?limit=100000")
        assert msgspec.json.decode(answer.content) == {"items": [], "next": None}
