"""What a subscription's destination may look like: the mutation's input, checked and made a value.

A webhook is an https URL, or http to this machine, which is what a sandbox is for; with no authentication, inline
credentials, or an auth profile. An EventBridge destination is an account, a region and a name for the partner event
source. Everything that would fail when the first event is sent is refused here, with a ValidationError. Pure.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from milepost.domain.webhook_settings import (
    AuthConfig,
    BasicAuthConfig,
    ClientParameters,
    HttpParameters,
    OAuthConfig,
    Pair,
)
from milepost.sandbox.api_error import invalid
from milepost.sandbox.events import SOURCE_PREFIX

LONGEST_URL = 2_048
LONGEST_VALUE = 4_096
MOST_PARAMETERS = 20
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_SOURCE_NAME = re.compile(r"[.\-_A-Za-z0-9]+(/[.\-_A-Za-z0-9]+)*")
"""AWS's own pattern of an event source's name, behind `aws.partner/buywithprime/`."""
_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]{2,12}){1,2}-[0-9]{1,2}")
_LONGEST_SOURCE = 256


class WebhookTarget(Struct, frozen=True, rename="camel", tag="webhook"):
    url: str
    auth_profile_id: str | None = None

    @property
    def where(self) -> str:
        return f"POST {self.url}"


class EventBridgeTarget(Struct, frozen=True, rename="camel", tag="eventBridge"):
    account: str
    region: str
    name: str

    @property
    def where(self) -> str:
        return f"{self.account} {self.region} {self.name}"

    @property
    def arn(self) -> str:
        return f"arn:aws:events:{self.region}::event-source/{SOURCE_PREFIX}{self.name}"


Target = WebhookTarget | EventBridgeTarget


def target_of(destination: Mapping[str, Any]) -> tuple[Target, AuthConfig]:
    """The destination of an input, and its inline credentials. Raises `ApiError`."""
    webhook, event_bridge = destination.get("webhook"), destination.get("eventBridge")
    if (webhook is None) == (event_bridge is None):
        raise invalid("A destination is either a webhook or eventBridge.")
    if event_bridge is not None:
        return _event_bridge(event_bridge), AuthConfig()
    assert webhook is not None
    check_url(webhook["url"], "url")
    profile, config = webhook.get("authProfileId"), webhook.get("authConfig")
    if profile is not None and config is not None:
        raise invalid("Give either authProfileId or authConfig.")
    return WebhookTarget(webhook["url"], profile), AuthConfig() if config is None else auth_of(config)


def auth_of(config: Mapping[str, Any]) -> AuthConfig:
    """Credentials of an input. Raises `ApiError`."""
    oauth, basic = config.get("oAuthConfig"), config.get("basicAuthConfig")
    if (oauth is None) == (basic is None):
        raise invalid("authConfig has either oAuthConfig or basicAuthConfig.")
    if basic is not None:
        username, password = basic["username"], basic["password"]
        if ":" in username:
            raise invalid("A user name of HTTP basic authentication has no colon.")
        _check_value(username, "username")
        _check_value(password, "password")
        return AuthConfig(basic=BasicAuthConfig(username, password))
    assert oauth is not None
    return AuthConfig(oauth=_oauth(oauth))


def check_url(url: str, field: str) -> None:
    """Raises `ApiError` unless this is https, or http to this machine."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as e:
        raise invalid(f"{field} is not a URL.") from e
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    if not plain or len(url) > LONGEST_URL or not host or port == 0 or parts.username is not None:
        raise invalid(f"{field} is not a URL that anything can be posted to.")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise invalid(f"{field} must be an https URL; http is for this machine only.")


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine, by its looks alone."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _oauth(config: Mapping[str, Any]) -> OAuthConfig:
    client = config["clientParameters"]
    _check_value(client["clientId"], "clientId")
    _check_value(client["clientSecret"], "clientSecret")
    check_url(config["authEndpoint"], "authEndpoint")
    given = config.get("httpParameters") or {}
    body = _pairs(given.get("bodyParameters"), "bodyParameters")
    headers = _pairs(given.get("headerParameters"), "headerParameters")
    for header in headers:
        if not _TOKEN.fullmatch(header.key) or not header.value.isascii():
            raise invalid("headerParameters has something that is no header.")
    return OAuthConfig(
        ClientParameters(client["clientId"], client["clientSecret"]),
        config["authEndpoint"],
        http_parameters=HttpParameters(body, headers),
    )


def _pairs(given: list[dict[str, str]] | None, field: str) -> tuple[Pair, ...]:
    pairs = given or ()
    if len(pairs) > MOST_PARAMETERS:
        raise invalid(f"{field} has at most {MOST_PARAMETERS} entries.")
    for pair in pairs:
        _check_value(pair["key"], field)
        _check_value(pair["value"] or "-", field)
    return tuple(Pair(pair["key"], pair["value"]) for pair in pairs)


def _event_bridge(given: Mapping[str, Any]) -> EventBridgeTarget:
    source = given["partnerEventSource"]
    account, name, region = source["account"], source["name"], given["region"]
    if not _ACCOUNT.fullmatch(account):
        raise invalid("account is an AWS account id: 12 digits.")
    if not _REGION.fullmatch(region):
        raise invalid("region is not the name of an AWS region.")
    name = name.removeprefix(SOURCE_PREFIX)
    if not _SOURCE_NAME.fullmatch(name) or len(SOURCE_PREFIX + name) > _LONGEST_SOURCE:
        longest = _LONGEST_SOURCE - len(SOURCE_PREFIX)
        raise invalid(f"name has letters, digits and . - _ / only, at most {longest}.")
    return EventBridgeTarget(account, region, name)


def _check_value(value: str, field: str) -> None:
    if not value or len(value) > LONGEST_VALUE or not value.isprintable():
        raise invalid(f"{field} is 1 to {LONGEST_VALUE} printable characters.")
