"""Subscribers as values: addresses, headers, buses, keys that take each other's place."""

import pytest

from milepost.domain.errors import Invalid
from milepost.domain.instant import Instant
from milepost.domain.subscriber import (
    MOST_FORMER,
    EventBusSettings,
    check_event_bus,
    check_headers,
    check_token_endpoint,
    check_url,
    rotated,
)
from milepost.domain.webhook_settings import Pair, StandardWebhooks


@pytest.mark.parametrize(
    "url",
    [
        "https://oms.example/hook?x=1",
        "https://8.8.8.8/hook",
        "http://localhost:3000/hook",
        "http://127.0.0.1/",
        "http://[::1]:80/",
        "http://oms:8080/hook",
        "http://oms.internal/hook",
        "http://192.168.1.7/hook",
    ],
)
def test_an_address_that_can_be_posted_to(url: str) -> None:
    assert check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "oms.example/hook",
        "ftp://oms.example",
        "http://oms.example/hook",
        "http://8.8.8.8/hook",
        "https://a:b@oms.example",
        "https://oms.example:0/",
        "https://oms.example:99999/",
        "https://oms.example/\\x",
        "https://oms.example/a b",
        "https://öms.example/",
        "https://[::1/",
        "https://oms.example/" + "x" * 2_048,
    ],
)
def test_an_address_that_nothing_is_posted_to(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_url(url)
    assert refused.value.context == {"field": "url"}


@pytest.mark.parametrize(
    "name", ["Webhook-Signature", "content-length", "Authorization", "a b", "", "x" * 129, "é"]
)
def test_headers_that_are_not_to_set(name: str) -> None:
    check_headers([Pair("X-Api-Key", "k")])
    with pytest.raises(Invalid):
        check_headers([Pair(name, "v")])


def test_a_value_cannot_begin_another_header() -> None:
    for value in ("a\r\nb: c", "é", "\0"):
        with pytest.raises(Invalid):
            check_headers([Pair("x", value)])


def test_a_bus_is_a_name_or_an_arn_of_no_partner() -> None:
    for bus in ("default", "my-bus", "arn:aws:events:eu-central-1:123456789012:event-bus/my-bus"):
        check_event_bus(EventBusSettings(bus, "eu-central-1"))
    for settings in (
        EventBusSettings("aws.partner/buywithprime/x"),
        EventBusSettings("my bus"),
        EventBusSettings("my-bus", "nowhere"),
        EventBusSettings("my-bus", source="aws.events"),
    ):
        with pytest.raises(Invalid):
            check_event_bus(settings)


def test_a_key_signs_along_until_its_time_and_no_longer() -> None:
    first = StandardWebhooks(("a",))
    second = rotated(first, "b", Instant(0), Instant(100))
    assert (second.secrets, [(f.secret, f.until) for f in second.former]) == (("b",), [("a", 100)])
    third = rotated(second, "c", Instant(50), Instant(200))
    assert [(f.secret, f.until) for f in third.former] == [("b", 200), ("a", 100)]
    fourth = rotated(third, "d", Instant(100), Instant(100))
    assert [(f.secret, f.until) for f in fourth.former] == [("b", 200)]


def test_no_more_than_a_few_sign_along() -> None:
    signature = StandardWebhooks(("0",))
    for number in range(1, 10):
        signature = rotated(signature, str(number), Instant(0), Instant(100))
    assert [f.secret for f in signature.former] == ["8", "7", "6", "5"][:MOST_FORMER]


def test_a_client_secret_goes_by_https_or_stays_here() -> None:
    for url in ("https://auth.example/token", "http://localhost:1/t", "http://127.0.0.1/t"):
        check_token_endpoint(url, "auth")
    for url in ("http://auth/token", "http://10.0.0.1/t", "nowhere"):
        with pytest.raises(Invalid):
            check_token_endpoint(url, "auth")
