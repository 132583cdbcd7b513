"""Where a connection may go: no private, local or reserved address unless it is allowed, and no denied port.

It is checked where the socket is made, with the address that it is about to connect to: a literal address, one
that only the resolver understands (decimal, octal, hex), a name that resolves to one, and a name that resolves
differently the second time are all the same to it. What is checked is what is dialled.

`EGRESS_ALLOW` (CIDRs) names the exceptions; the sandbox allows loopback.
"""

import errno
import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver

from milepost.domain.errors import Misconfigured

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LOOPBACK = ("127.0.0.0/8", "::1/128")

DENIED_PORTS = frozenset(
    (1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104,
     109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 445, 465, 512, 513, 514,
     515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723,
     2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
     # Beside those that browsers deny: databases and caches that take HTTP for commands.
     1433, 2375, 2379, 3306, 5432, 6379, 9200, 11211, 27017)
)  # fmt: skip
"""Ports of services that speak no HTTP, and of some that could be made to misunderstand it: never, allowed
address or not."""

_EMBEDDING = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
"""NAT64: an IPv4 address in the last four bytes."""
_COMPATIBLE = ipaddress.ip_network("::/96")


class AddressRefused(OSError):
    """The address is private, local or reserved and not on the list of allowed ones, or the port is denied."""


def networks(cidrs: Sequence[str]) -> tuple[Network, ...]:
    """CIDRs as networks. Raises `Misconfigured` for what isn't one."""
    try:
        return tuple(ipaddress.ip_network(cidr.strip()) for cidr in cidrs if cidr.strip())
    except ValueError as e:
        raise Misconfigured(f"not a network in CIDR form: {e}", setting="EGRESS_ALLOW") from e


def is_allowed(host: str, allow: Sequence[Network]) -> bool:
    """Whether a socket may be opened to this literal address: a public one, or one in `allow`.

    An IPv6 address that carries an IPv4 one (mapped, compatible, 6to4, Teredo, NAT64) is judged by what it
    carries as well (event-delivery.md 8, bar 26)."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    carried = _carried(address)
    if _in(address, allow) or (carried and all(_in(a, allow) for a in carried)):
        return True
    return _public(address) and all(_public(a) or _in(a, allow) for a in carried)


def may_name(url: str, allow: Sequence[Network]) -> bool:
    """Whether a URL may stand in a destination's settings, so that what can only fail is told at once: its port is
    not denied, and its address, where it says one, is allowed. Names are judged when they are resolved."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return True
    return port not in DENIED_PORTS and is_allowed(host, allow)


def is_loopback(host: str) -> bool:
    """Whether a URL's host, as it is written, is this machine."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def checked_connector(
    allow: Sequence[Network], resolver: AbstractResolver | None = None
) -> aiohttp.TCPConnector:
    """A connector every connection of which was checked. How many go to one endpoint is the lanes' to say."""
    return aiohttp.TCPConnector(
        limit=0, limit_per_host=0, socket_factory=checked_socket_factory(allow), resolver=resolver
    )


def checked_socket_factory(allow: Sequence[Network]) -> Callable[[Any], socket.socket]:
    """A socket factory for aiohttp's connector: every connection passes it with its resolved address."""

    def make(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        if not is_allowed(str(address[0]), allow):
            raise AddressRefused(errno.EACCES, f"{address[0]} is not a public address and not allowed")
        if address[1] in DENIED_PORTS:
            raise AddressRefused(errno.EACCES, f"port {address[1]} is not one to send to")
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    return make


def _in(address: Address, allow: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in allow)


def _public(address: Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def _carried(address: Address) -> tuple[Address, ...]:
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    found = [a for a in (address.ipv4_mapped, address.sixtofour) if a is not None]
    if address.teredo is not None:
        found.extend(address.teredo)
    if any(address in n for n in (*_EMBEDDING, _COMPATIBLE)):
        found.append(ipaddress.IPv4Address(address.packed[-4:]))
    return tuple(found)
