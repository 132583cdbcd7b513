"""Subscribers as values: what beyond its columns a destination of a hub says, and what of that may be shown.

A subscriber is a `attempt.Destination` of kind `webhook` (settings: `webhook_settings`) or `eventBus` (settings
here). Whether a record is for it is `pipeline.subscribers`'; how bytes travel is a transport's.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from milepost.domain.errors import Invalid
from milepost.domain.instant import Instant
from milepost.domain.webhook_settings import FormerSecret, Pair, StandardWebhooks

WEBHOOK: Final = "webhook"
EVENT_BUS: Final = "eventBus"
Kind = Literal["webhook", "eventBus"]

SOURCE: Final = "milepost"
"""The `source` of what is put on an event bus, unless the subscriber says another."""

LONGEST_URL = 2_048
MOST_FORMER = 4
"""Former secrets that sign along at a time."""
_HERE = (".localhost", ".internal", ".local")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_OURS = frozenset(
    ("authorization", "connection", "content-encoding", "content-length", "content-type", "host", "te", "trailer",
     "transfer-encoding", "upgrade", "webhook-id", "webhook-signature", "webhook-timestamp")
)  # fmt: skip
"""Headers that a message's own meaning or framing hangs on."""
_BUS = re.compile(
    r"(arn:aws[\w-]*:events:[a-z]{2}(-[a-z]+)+-[0-9]+:[0-9]{12}:event-bus/)?[.\-_A-Za-z0-9]{1,256}"
)
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]{2,12}){1,2}-[0-9]{1,2}")
_SOURCE = re.compile(r"(?!aws\.)[.\-_A-Za-z0-9/]{1,256}")


class Filter(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a subscriber wants beyond its event types; whatever is empty lets everything through."""

    business_product_ids: tuple[str, ...] = ()
    carriers: tuple[str, ...] = ()
    """Carrier codes, in any case. What names no carrier is not among what is wanted then."""
    expression: str = ""
    """CEL over the message; what it fails on is not wanted."""


class EventBusSettings(Struct, frozen=True, rename="camel"):
    """The settings of an `eventBus` destination."""

    bus: str
    """A custom event bus: its name, or its ARN."""
    region: str = "us-east-1"
    source: str = SOURCE


def rotated(signature: StandardWebhooks, new: str, now: Instant, until: Instant) -> StandardWebhooks:
    """The keys after `new` took the place of what signed so far, which signs along until that time."""
    former = [FormerSecret(secret, until) for secret in signature.secrets if until > now]
    former += [one for one in signature.former if one.until > now]
    return StandardWebhooks((new,), tuple(former[:MOST_FORMER]))


def check_url(url: str, field: str = "url") -> str:
    """Its host. Raises `Invalid` unless it is https, or http to what cannot be on the public network: a message
    has names and addresses in it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as e:
        raise Invalid(f"{field} is not a URL", field=field) from e
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    if not plain or len(url) > LONGEST_URL or not host or port == 0 or parts.scheme not in ("http", "https"):
        raise Invalid(f"{field} is not an http or https address that anything can be posted to", field=field)
    if parts.username is not None or parts.password is not None:
        raise Invalid(f"{field} holds credentials: they go into auth", field=field)
    if parts.scheme == "http" and not _is_near(host):
        raise Invalid(f"{field} must be https: {host} may be on the public network", field=field)
    return host


def server_of(url: str) -> tuple[str, str, int]:
    """What of a checked address says whom one talks to: scheme, host and port."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".").lower()
    return parts.scheme, host, parts.port or (443 if parts.scheme == "https" else 80)


def _is_near(host: str) -> bool:
    """Whether a host is by its name on no public network: a private address, a name without a dot, or one of the
    endings that nobody can register."""
    name = host.rstrip(".").lower()
    try:
        return not ipaddress.ip_address(name).is_global
    except ValueError:
        return "." not in name or name.endswith(_HERE)


def check_headers(headers: Sequence[Pair]) -> None:
    """Raises `Invalid` for what is no header, or not a subscriber's to set."""
    for header in headers:
        if not _HEADER.fullmatch(header.key) or not (header.value.isascii() and header.value.isprintable()):
            raise Invalid(f"{header.key[:40]!r} cannot be sent as a header", field="headers")
        if header.key.lower() in _OURS:
            raise Invalid(
                f"the header {header.key} is not one to set: see auth and signature", field="headers"
            )


def check_event_bus(settings: EventBusSettings) -> None:
    """Raises `Invalid` for a bus, a region or a source that AWS would not take."""
    for field, pattern in (("bus", _BUS), ("region", _REGION), ("source", _SOURCE)):
        value = getattr(settings, field)
        if not pattern.fullmatch(value):
            raise Invalid(f"{field} {value[:60]!r} is not one that PutEvents takes", field=field)


def check_token_endpoint(url: str, field: str) -> None:
    """Raises `Invalid` unless it is https, or on this machine: a client secret goes there."""
    host = check_url(url, field)
    if url.startswith("http:") and not _is_here(host):
        raise Invalid(f"{field} must be https", field=field)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"
