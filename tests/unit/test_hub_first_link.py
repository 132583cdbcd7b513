"""The link for the first admin: when a hub has one to print, and what is printed of it."""

import sqlite3
from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.unit.test_hub import config

from milepost.cli.serve import address, say_first_link
from milepost.domain.instant import Instant
from milepost.domain.user import User
from milepost.hub import Hub
from milepost.web.sessions import hash_of_token


async def test_there_is_one_while_nobody_can_sign_in_and_it_is_needed(tmp_path: Path) -> None:
    hub = Hub(config(tmp_path))
    await hub.open()
    try:
        links = [await hub.first_link() for _ in range(2)]
        hashes = [hash_of_token(str(link).removeprefix("/setup/")) for link in links]
        kept = await hub.store.read(lambda tx: [tx.users.invitation(each) for each in hashes])
        assert [each is None for each in kept] == [True, False], "the former is void"
        await hub.store.write(lambda tx: tx.users.put(User("usr_1", "Ada", "ada", "agent", Instant(0))))
        assert await hub.first_link() is None
    finally:
        await hub.close()


async def test_a_hub_whose_disk_takes_nothing_starts_without_one(tmp_path: Path) -> None:
    hub = Hub(config(tmp_path), database_wait_s=0)
    await hub.open()
    outsider = sqlite3.connect(tmp_path / "hub.db", isolation_level=None)
    try:
        outsider.execute("BEGIN IMMEDIATE")
        assert await hub.first_link() is None
        outsider.execute("ROLLBACK")
        assert await hub.first_link() is not None
    finally:
        outsider.close()
        await hub.close()


async def test_an_insecure_hub_without_a_key_has_none(tmp_path: Path) -> None:
    for key, needed in ((None, False), ("a-key", True)):
        hub = Hub(config(tmp_path, insecure=True, api_key=key))
        await hub.open()
        try:
            assert (await hub.first_link() is not None) is needed
        finally:
            await hub.close()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8480"),
        ("0.0.0.0", "http://localhost:8480"),
        ("::", "http://localhost:8480"),
        ("::1", "http://[::1]:8480"),
        ("hub.example", "http://hub.example:8480"),
    ],
)
def test_where_it_is_opened_on_this_machine(host: str, url: str) -> None:
    assert address(host, 8480) == url


def test_it_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    say_first_link("https://hub.example/", "/setup/" + "x" * 43)
    assert "  https://hub.example/setup/" + "x" * 43 in capsys.readouterr().out.splitlines()


def test_a_proxy_that_is_no_network_is_refused(tmp_path: Path) -> None:
    assert config(tmp_path, trusted_proxies="10.0.0.0/8, ::1/128").trusted_proxies == (
        "10.0.0.0/8",
        "::1/128",
    )
    for proxies in ("proxy.example", "10.0.0.1/8", "10.0.0.0/33"):
        with pytest.raises(ValidationError):
            config(tmp_path, trusted_proxies=proxies)
