"""Where a request comes from, through proxies that are trusted and others."""

from typing import Any

import pytest
from litestar.connection import ASGIConnection

from milepost.transports.egress import networks
from milepost.web.remote import address_of, counted_as

PROXIES = networks(("127.0.0.0/8", "10.0.0.0/8", "::1/128"))


def connection(peer: str, *forwarded: str) -> ASGIConnection[Any, Any, Any, Any]:
    headers = [(b"x-forwarded-for", each.encode()) for each in forwarded]
    scope = {"type": "http", "client": (peer, 5), "headers": headers}
    return ASGIConnection(scope)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("198.51.100.1", (), "198.51.100.1"),
        ("198.51.100.1", ("203.0.113.9",), "198.51.100.1"),
        ("127.0.0.1", ("203.0.113.9",), "203.0.113.9"),
        ("127.0.0.1", ("6.6.6.6, 203.0.113.9",), "203.0.113.9"),
        ("127.0.0.1", ("6.6.6.6, 203.0.113.9, 10.1.2.3",), "203.0.113.9"),
        ("127.0.0.1", ("6.6.6.6", "203.0.113.9"), "203.0.113.9"),
        ("127.0.0.1", (), "127.0.0.1"),
        ("127.0.0.1", ("",), "127.0.0.1"),
        ("127.0.0.1", ("203.0.113.9, rubbish",), "127.0.0.1"),
        ("127.0.0.1", ("rubbish, 10.0.0.1",), "10.0.0.1"),
        ("::ffff:127.0.0.1", ("2001:db8::1",), "2001:db8::1"),
        ("127.0.0.1", ("6.6.6.6," * 5_000 + "203.0.113.9",), "203.0.113.9"),
        ("testclient", (), ""),
    ],
)
def test_the_nearest_address_that_is_no_proxy_of_ours(
    peer: str, forwarded: tuple[str, ...], address: str
) -> None:
    assert address_of(connection(peer, *forwarded), PROXIES) == address


def test_an_address_of_ipv6_is_counted_by_its_network() -> None:
    assert counted_as("2001:db8:1:2:3::4") == counted_as("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert counted_as("192.0.2.1") == "192.0.2.1"
    assert counted_as("") == ""
