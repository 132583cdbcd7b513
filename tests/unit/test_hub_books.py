"""The hub keeps the books: what comes in is booked with the fold, and settled by the one hub that has the lease."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.e2e.running import served, until
from tests.unit.test_hub import config, get, post

from milepost.hub import Hub


async def test_what_comes_in_is_booked_where_it_is_sent_from_and_settled(tmp_path: Path) -> None:
    settings = config(tmp_path, accounting_settle_days=0, origin_timezone="Pacific/Kiritimati")
    hub = Hub(settings)
    async with served(hub) as url:
        await post(url)
        await hub.settle()

        async def booked() -> bool:
            return bool((await get(url, "/v1/accounting/entries"))[1]["items"])

        await until(booked, "it is booked")
        (row, *_) = (await get(url, "/v1/accounting/entries"))[1]["items"]
        assert (row["kind"], row["originDate"], row["zone"]) == (
            "shipped",
            "2025-01-21",
            "inferred-from-place",
        )
    # The accountant of the next hub looks when it begins.
    async with served(Hub(settings)) as url:

        async def settled() -> bool:
            items = (await get(url, "/v1/accounting/entries"))[1]["items"]
            return [(item["sign"], item["status"]) for item in items] == [
                (1, "provisional"),
                (-1, "provisional"),
                (1, "settled"),
            ]

        await until(settled, "it is settled")


def test_an_origin_that_is_no_zone_is_refused(tmp_path: Path) -> None:
    for name in ("Middle/Earth", "../etc/passwd", ""):
        with pytest.raises(ValidationError, match="IANA zone"):
            config(tmp_path, origin_timezone=name)
