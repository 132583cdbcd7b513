"""The table of refused addresses (event-delivery.md 8, bar 26), judged as addresses and at real connections."""

import socket
from typing import Any

import msgspec
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.transports.receiver import Receiver, answering

from milepost.domain.attempt import Destination, Message
from milepost.domain.errors import Misconfigured
from milepost.domain.instant import Instant
from milepost.pipeline.sending import Outcome, Parcel
from milepost.transports.egress import (
    DENIED_PORTS,
    LOOPBACK,
    AddressRefused,
    checked_socket_factory,
    is_allowed,
    is_loopback,
    may_name,
    networks,
)
from milepost.transports.webhook_sender import (
    AuthConfig,
    ClientParameters,
    OAuthConfig,
    WebhookSender,
    WebhookSettings,
)

NOW = Instant(1_737_376_496_000)


async def send(sender: WebhookSender, settings: WebhookSettings) -> Outcome:
    destination = Destination("d", "webhook", msgspec.json.encode(settings))
    (outcome,) = await sender.send(destination, [Parcel(Message("m", "d", 1, "pending", 0, NOW), b"{}")])
    return outcome


REFUSED = (
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "100.64.0.1", "169.254.169.254", "192.0.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "192.0.2.1", "198.51.100.7", "203.0.113.9",
    "::1", "::", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1",
    "2001:0:7f00:1::", "not an address", "",
)  # fmt: skip


@pytest.mark.parametrize("address", REFUSED)
def test_private_and_special_addresses_are_refused(address: str) -> None:
    assert not is_allowed(address, ())


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001::8a"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_allowed(address, ())


def test_the_list_allows_what_it_names_and_nothing_else() -> None:
    allow = networks(("10.1.0.0/16", " fd00::/8 ", ""))
    assert is_allowed("10.1.2.3", allow)
    assert is_allowed("fd00::1", allow)
    assert is_allowed("::ffff:10.1.2.3", allow)
    assert not is_allowed("10.2.0.1", allow)
    # Teredo: the server's address is allowed, but the client's, where it goes, is 169.254.169.254.
    assert not is_allowed("2001:0:a01:203:0:0:5601:5601", allow)
    assert not is_allowed("127.0.0.1", allow)


def test_a_bad_cidr_is_a_wrong_setting() -> None:
    with pytest.raises(Misconfigured):
        networks(("10.0.0.0/40",))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_the_same_however_ipv6_carries_it(address: Any) -> None:
    number = int(address)
    plain = is_allowed(str(address), ())
    high, low = number >> 16, number & 0xFFFF
    for carried in (f"64:ff9b::{high:x}:{low:x}", f"::ffff:{high:x}:{low:x}", f"2002:{high:x}:{low:x}::1"):
        if not plain:
            assert not is_allowed(carried, ())


@pytest.mark.parametrize("port", sorted(DENIED_PORTS))
def test_denied_ports_are_refused_on_every_address(port: int) -> None:
    make = checked_socket_factory(networks(LOOPBACK))
    for family, address in ((socket.AF_INET, "93.184.216.34"), (socket.AF_INET, "127.0.0.1")):
        with pytest.raises(AddressRefused, match="port"):
            make((family, socket.SOCK_STREAM, 6, "", (address, port)))


def test_a_socket_is_made_for_what_is_allowed() -> None:
    made = checked_socket_factory(())((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443)))
    assert made.getblocking() is False
    made.close()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True), ("LOCALHOST.", True), ("127.0.0.1", True), ("::1", True), ("[::1]", True),
        ("127.0.0.1.nip.example", False), ("localhost.example", False), ("0.0.0.0", False), ("", False),
        ("10.0.0.1", False), ("2130706433", False),
    ],
)  # fmt: skip
def test_which_hosts_are_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


URLS = (
    "http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://2130706433:{port}/",
    "http://0x7f000001:{port}/", "http://0177.0.0.1:{port}/", "http://127.1:{port}/", "http://0.0.0.0:{port}/",
    "http://localhost.:{port}/", "http://127.0.0.1.:{port}/", "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/", "http://[::ffff:7f00:1]:{port}/", "http://[::]:{port}/",
    "http://good.example@127.0.0.1:{port}/", "http://user:secret-canary@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@good.example/", "http://127.0.0.1:{port}?@good.example/",
    "http://good.example:80@127.0.0.1:{port}/", "http://127.0.0.1:{port}\\@good.example/",
    "http://①②⑦.0.0.1:{port}/", "HTTP://LOCALHOST:{port}/",
)  # fmt: skip
"""Ways to spell this machine."""


@pytest.mark.parametrize("url", URLS)
async def test_the_address_is_checked_where_the_socket_is_made(url: str) -> None:
    """Literal, resolved, or spelled in a way only the resolver understands: nothing connects to loopback."""
    async with Receiver() as receiver, WebhookSender(lambda: NOW) as strict:
        port = receiver.url.rpartition(":")[2]
        outcome = await send(strict, WebhookSettings(url.format(port=port)))
        assert outcome.status is None
        assert not outcome.reached
        assert not receiver.received
        assert "secret-canary" not in f"{outcome.error} {outcome.target}"


class Rebinding(AbstractResolver):
    """A name server that answers a public address first, and this machine ever after."""

    def __init__(self, *answers: str) -> None:
        self.answers = [*answers]

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        flags = socket.AI_NUMERICHOST
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=flags)
        ]

    async def close(self) -> None:
        pass


async def test_a_name_that_resolves_to_this_machine_is_refused_whatever_it_was_before() -> None:
    """192.0.2.1 is refused too (it is nobody's); a name checked before it was dialled would now be good."""
    async with Receiver() as receiver:
        port = receiver.url.rpartition(":")[2]
        resolver = Rebinding("192.0.2.1", "127.0.0.1")
        async with WebhookSender(lambda: NOW, resolver=resolver) as strict:
            for _ in range(2):
                outcome = await send(strict, WebhookSettings(f"http://rebinding.example:{port}/"))
                assert "not a public address" in outcome.error
                strict._session.connector.clear_dns_cache()  # type: ignore[union-attr]
        assert resolver.answers == ["127.0.0.1"]
        assert not receiver.received


async def test_the_sandbox_allows_loopback_and_nothing_else() -> None:
    async with Receiver() as receiver:
        port = receiver.url.rpartition(":")[2]
        for address, good in (("127.0.0.1", True), ("10.0.0.1", False), ("169.254.169.254", False)):
            resolver = Rebinding(address)
            async with WebhookSender(lambda: NOW, allow=LOOPBACK, resolver=resolver) as sender:
                outcome = await send(sender, WebhookSettings(f"http://name.example:{port}/"))
                assert (outcome.status == 200) is good, outcome
        assert len(receiver.received) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location", ["http://127.0.0.1:{port}/", "http://169.254.169.254/", "//[::1]:{port}/"]
)
async def test_a_redirect_leads_nowhere(status: int, location: str) -> None:
    async with Receiver() as inside:
        port = inside.url.rpartition(":")[2]
        answer = answering(status, location=location.format(port=port))
        async with Receiver(answer) as receiver, WebhookSender(lambda: NOW, allow=LOOPBACK) as sender:
            outcome = await send(sender, WebhookSettings(receiver.url))
            assert (outcome.status, outcome.error) == (status, f"answered {status}")
        assert not inside.received


async def test_the_token_endpoint_is_checked_too() -> None:
    async with Receiver() as receiver, WebhookSender(lambda: NOW) as strict:
        config = OAuthConfig(ClientParameters("id", "s"), f"{receiver.url}/token")
        outcome = await send(strict, WebhookSettings("https://example.com/", auth=AuthConfig(oauth=config)))
        assert "not a public address" in outcome.error
        assert not receiver.received


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("https://oms.example/hook", True),
        ("https://8.8.8.8/hook", True),
        ("https://8.8.8.8:6379/", False),
        ("http://127.0.0.1:3000/hook", False),
        ("http://[::1]/", False),
        ("http://10.1.2.3/", True),
        ("http://169.254.169.254/latest", False),
        ("https://[64:ff9b::7f00:1]/", False),
        ("https://[::1", True),
    ],
)
def test_what_a_url_says_of_its_address(url: str, may: bool) -> None:
    """Names, and what is no URL, are left to others."""
    assert may_name(url, networks(["10.0.0.0/8"])) is may
