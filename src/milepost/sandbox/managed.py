"""The subscriptions that the sandbox's settings ask for: `milepost sandbox --hub URL` subscribes one handler.

One subscription an event type, as at Amazon, under ids that never change, so that every start finds them again:
another address or other credentials take the place of the old ones. They belong to the built-in credential, which
can list and delete them like any other. With `bridge` they are EventBridge destinations whose event sources the
local bus posts to the handler, as an API destination does.
"""

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.errors import Misconfigured
from milepost.domain.event import CATALOGUE
from milepost.domain.instant import Instant
from milepost.domain.webhook_settings import (
    AuthConfig,
    BasicAuthConfig,
    ClientParameters,
    OAuthConfig,
    WebhookSettings,
)
from milepost.sandbox import event_sources, subscriptions
from milepost.sandbox.destinations import EventBridgeTarget, WebhookTarget
from milepost.sandbox.events import API_VERSION
from milepost.sandbox.permissions import SANDBOX_TARGET
from milepost.sandbox.subscriptions import Subscription
from milepost.sandbox.world import dice, uuid_text
from milepost.store import Transaction

ACCOUNT, REGION = "000000000000", "us-east-1"
FORMER = "hub"
"""The one destination, of all events, that sandboxes had before there were subscriptions."""


class Handler(Struct, frozen=True):
    """Whom the settings subscribe."""

    url: str
    auth: AuthConfig = AuthConfig()
    bridge: bool = False
    """By EventBridge, not by webhook."""


def authentication(
    username: str | None,
    password: str | None,
    oauth_endpoint: str | None,
    oauth_client_id: str | None,
    oauth_client_secret: str | None,
) -> AuthConfig:
    """What the handler demands, from single settings. Raises `Misconfigured` for half a credential."""
    if oauth_endpoint is not None:
        if oauth_client_id is None or oauth_client_secret is None:
            raise Misconfigured("an OAuth endpoint needs a client id and a client secret")
        client = ClientParameters(oauth_client_id, oauth_client_secret)
        return AuthConfig(oauth=OAuthConfig(client, oauth_endpoint))
    if (username is None) != (password is None):
        raise Misconfigured("a user name and a password go together")
    if username is None or password is None:
        return AuthConfig()
    return AuthConfig(basic=BasicAuthConfig(username, password))


def manage(tx: Transaction, handler: Handler | None, *, client_id: str, now: Instant) -> None:
    """Have the subscriptions of the settings, and no others of theirs: none without a handler."""
    _end_former(tx, handler)
    for known in CATALOGUE:
        bridge = handler is not None and handler.bridge
        wanted_id, other_id = _id(known.name, bridge), _id(known.name, not bridge)
        _forget(tx, other_id)
        if handler is None:
            _forget(tx, wanted_id)
        elif bridge:
            _bridged(tx, handler, wanted_id, known.name, client_id, now)
        else:
            target = WebhookTarget(handler.url)
            made = Subscription(wanted_id, client_id, SANDBOX_TARGET, known.name, API_VERSION, target, now)
            subscriptions.put(tx, made, handler.auth)


def _bridged(tx: Transaction, handler: Handler, id: str, type: str, client_id: str, now: Instant) -> None:
    name = f"sandbox/{type.lower()}"
    known = event_sources.get(tx, event_sources.whole_name(name))
    if known is None or known.deleted:
        event_sources.create(tx, name, ACCOUNT, REGION, SANDBOX_TARGET)
    event_sources.associate(
        tx,
        event_sources.whole_name(name),
        event_sources.Target(handler.url, handler.auth.basic, oauth=handler.auth.oauth),
    )
    target = EventBridgeTarget(ACCOUNT, REGION, name)
    subscriptions.put(
        tx, Subscription(id, client_id, SANDBOX_TARGET, type, API_VERSION, target, now), AuthConfig()
    )


def _end_former(tx: Transaction, handler: Handler | None) -> None:
    """It gets nothing new, and goes once the handler has what was waiting for it."""
    known = tx.attempts.destination(FORMER)
    if known is None:
        return
    waiting = tx.attempts.count(FORMER)
    if handler is None or not (waiting.get("pending") or waiting.get("held")):
        tx.attempts.remove_destination(FORMER)
        return
    settings = msgspec.json.encode(WebhookSettings(handler.url, auth=handler.auth))
    tx.attempts.put_destination(
        replace(
            known, settings=settings, event_types=(FORMER,), endpoint=handler.url, enabled=True, reason=""
        )
    )


def _id(type: str, bridge: bool) -> str:
    return uuid_text(dice(0, "managed bridge" if bridge else "managed", type))


def _forget(tx: Transaction, id: str) -> None:
    known = subscriptions.find(tx, id)
    if known is not None:
        subscriptions.remove(tx, known)
