"""Where a request comes from: the address of its connection, or behind a proxy of our own the one that it names.

`X-Forwarded-For` is a list to which each proxy adds whom it heard; what anybody may have written stands on the left.
So it is read from the right, as far as the addresses are those of proxies that are trusted.
"""

import ipaddress
from collections.abc import Sequence
from typing import Any

from litestar.connection import ASGIConnection

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MOST = 20
"""Addresses of the header that are looked at."""


def address_of(connection: ASGIConnection[Any, Any, Any, Any], proxies: Sequence[Network]) -> str:
    """The address of whoever sent this; empty: not known."""
    peer = connection.client.host if connection.client is not None else ""
    named = ",".join(connection.headers.getall("x-forwarded-for", []))
    return _first_stranger([*named.split(",")[-_MOST:], peer], proxies)


def _first_stranger(hops: Sequence[str], proxies: Sequence[Network]) -> str:
    """The last of these addresses that is no proxy's; the first one when all are."""
    known = ""
    for hop in reversed(hops):
        address = _parsed(hop.strip())
        if address is None:
            break
        known = str(address)
        if not any(address in network for network in proxies):
            break
    return known


def counted_as(address: str) -> str:
    """What tries from an address are counted under: itself, or of IPv6 the network that one customer gets (/64)."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
