"""Event subscriptions and auth profiles: who wants which event type, where it goes, and with which credentials.

A subscription is one event type for one destination. It is kept as a view of kind `subscription`, and in the same
transaction as what the publisher sends to: a `Destination` of the same id, which has the type's canonical name, the
business product, and settings with the credentials. An auth profile (a view of kind `authProfile`) is credentials
that several subscriptions share; updating it rewrites the settings of all of them in one transaction, so that no
message goes out with one half of a rotation. Credentials given inline stay what they are.

What is not there, and what belongs to another client id, is AccessDeniedError, as Amazon documents it for unknown
ids and even for an empty list (buy-with-prime.md 2.3). What a destination may look like is `destinations`'; partner
event sources are `event_sources`'.
"""

import random
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.attempt import Destination
from milepost.domain.event import canonical_type
from milepost.domain.instant import Instant
from milepost.domain.webhook_settings import AuthConfig, WebhookSettings
from milepost.sandbox import event_sources
from milepost.sandbox.api_error import CONFLICT, ApiError, access_denied, invalid
from milepost.sandbox.destinations import EventBridgeTarget, Target, WebhookTarget, auth_of, target_of
from milepost.sandbox.event_sources import DestinationNameTaken
from milepost.sandbox.permissions import SANDBOX_TARGET, Caller, event_type
from milepost.sandbox.world import dice, uuid_text
from milepost.store import Store, Transaction, View, ViewKind

KIND: ViewKind = "subscription"
PROFILE: ViewKind = "authProfile"
LONGEST_ID = 50
LONGEST_CURSOR = 6_000
MOST_A_PAGE = 1_000
_BATCH = 500
_MADE = "subscriptions"
"""The checkpoint that counts the subscriptions that were ever made."""


class Subscription(Struct, frozen=True, rename="camel"):
    """A subscription as it is kept: everything but credentials given inline."""

    id: str
    client_id: str
    target_id: str
    event_type: str
    """As it was named when subscribing."""
    api_version: str
    destination: Target
    created_at: Instant = Instant(0)

    @property
    def auth_profile_id(self) -> str | None:
        return self.destination.auth_profile_id if isinstance(self.destination, WebhookTarget) else None


class AuthProfile(Struct, frozen=True, rename="camel"):
    id: str
    target_id: str
    auth: AuthConfig


class Page(Struct, frozen=True):
    """Some of a client id's subscriptions, oldest first, each with its cursor."""

    items: Sequence[tuple[str, Subscription]]
    total: int
    has_previous: bool
    has_next: bool


class Subscriptions:
    """The subscriptions and auth profiles of one sandbox."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], Instant],
        seed: int,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`seed` decides the ids of subscriptions, one after the other: keys of events and faults go by them.
        `changed` is told when a subscription was made or ended: an event source came or went with it."""
        self._store = store
        self._clock = clock
        self._seed = seed
        self._changed = changed

    # ── Subscriptions ──────────────────────────────────────────────────────────────────────────────────────

    async def create(
        self, caller: Caller, type_name: str, api_version: str, destination: Mapping[str, Any]
    ) -> str:
        """Subscribe to an event type; returns the id. `destination` is the mutation's input.

        Raises `ApiError`: AccessDeniedError for a type that there isn't (white space makes one) or that the caller
        may not see, ValidationError for a wrong destination, or one that is taken."""
        known = event_type(type_name)
        if known is None or not caller.may_subscribe_to(known):
            raise access_denied()
        wanted, auth = target_of(destination)
        at = self._clock()

        def add(tx: Transaction) -> str:
            number = tx.journal.checkpoint(_MADE) + 1
            tx.journal.set_checkpoint(_MADE, number)
            new_id = uuid_text(dice(self._seed, "subscription", number))
            made = Subscription(
                new_id, caller.client_id, caller.target_id, type_name, api_version, wanted, at
            )
            _add(tx, made, auth)
            return new_id

        made_id = await self._store.write(add)
        self._changed()
        return made_id

    async def delete(self, caller: Caller, subscription_id: str) -> None:
        """End a subscription: its event source goes with it. Raises `ApiError`."""

        await self._store.write(lambda tx: remove(tx, _own(tx, caller, subscription_id)))
        self._changed()

    async def end(self, subscription_id: str) -> bool:
        """End anybody's subscription: for whoever runs the sandbox. False when there is none of that id."""

        def forget(tx: Transaction) -> bool:
            known = find(tx, subscription_id)
            if known is not None:
                remove(tx, known)
            return known is not None

        found = await self._store.write(forget)
        self._changed()
        return found

    async def get(self, caller: Caller, subscription_id: str) -> Subscription:
        """One of the caller's own. Raises `ApiError`."""
        return await self._store.read(lambda tx: _own(tx, caller, subscription_id))

    async def page(self, caller: Caller, first: int, after: str | None) -> Page:
        """The caller's own, oldest first. Raises `ApiError`, for there being none at all too."""
        if not 0 <= first <= MOST_A_PAGE:
            raise invalid(f"first must be 0 to {MOST_A_PAGE}.")
        where = None if after is None else _position(after)

        def read(tx: Transaction) -> Page:
            total = sum(1 for _ in _all_of(tx, caller.client_id))
            if total == 0:
                raise access_denied()
            found = tx.views.page(KIND, where, first + 1, None, caller.client_id)
            items = [(_cursor(number, view.id), _decoded(view)) for number, view in found[:first]]
            return Page(items, total, where is not None, len(found) > first)

        return await self._store.read(read)

    # ── Auth profiles ──────────────────────────────────────────────────────────────────────────────────────

    async def create_profile(self, caller: Caller, alias_id: str | None, config: Mapping[str, Any]) -> str:
        """A new profile; its id is the alias, if one is given. Raises `ApiError`."""
        if alias_id is not None:
            _check_id(alias_id, "authProfileAliasId")
        made = AuthProfile(alias_id or uuid_text(random.SystemRandom()), caller.target_id, auth_of(config))

        def add(tx: Transaction) -> None:
            if _profile(tx, caller.target_id, made.id) is not None:
                raise ApiError(CONFLICT, f"There is an auth profile {made.id} already.")
            _put_profile(tx, made)

        await self._store.write(add)
        return made.id

    async def update_profile(self, caller: Caller, profile_id: str, config: Mapping[str, Any]) -> None:
        """Rotate: the profile's subscriptions go on with the new credentials, all of them at once.
        Raises `ApiError`."""
        auth = auth_of(config)

        def rotate(tx: Transaction) -> None:
            known = _profile(tx, caller.target_id, profile_id)
            if known is None:
                raise access_denied()
            _put_profile(tx, replace(known, auth=auth))
            for subscription in list(_users(tx, known)):
                _put_destination(tx, subscription, auth)

        await self._store.write(rotate)

    async def delete_profile(self, caller: Caller, profile_id: str) -> None:
        """Raises `ApiError`: ConflictError while a subscription uses it."""

        def remove(tx: Transaction) -> None:
            known = _profile(tx, caller.target_id, profile_id)
            if known is None:
                raise access_denied()
            if any(True for _ in _users(tx, known)):
                raise ApiError(CONFLICT, f"The auth profile {profile_id} is used by a subscription.")
            tx.views.remove([(PROFILE, known.target_id, known.id)])

        await self._store.write(remove)


# ── In a transaction ───────────────────────────────────────────────────────────────────────────────────────


def every_subscription(tx: Transaction) -> Iterator[Subscription]:
    """All of them, of every client id, oldest first."""
    return _all_of(tx, None)


def _add(tx: Transaction, made: Subscription, auth: AuthConfig) -> None:
    if any(found.term == _term(made) for found in tx.views.search(_term(made), 1, None)):
        raise invalid(
            "There is a subscription of this event type and this destination already.",
            "SubscriptionAlreadyExists",
        )
    target = made.destination
    if isinstance(target, EventBridgeTarget):
        try:
            event_sources.create(tx, target.name, target.account, target.region, made.target_id)
        except DestinationNameTaken as e:
            raise invalid(
                "The provided Amazon Partner Event Source name already exists.",
                "DestinationNameAlreadyExists",
            ) from e
    elif target.auth_profile_id is not None:
        profile = _profile(tx, made.target_id, target.auth_profile_id)
        if profile is None:
            raise access_denied()
        auth = profile.auth
    put(tx, made, auth)


def put(tx: Transaction, subscription: Subscription, auth: AuthConfig) -> None:
    """Keep a subscription and its destination, in place of one of that id. `auth` are a webhook's credentials."""
    document = msgspec.json.encode(subscription)
    # The client id stands where views have their state: lists are a client id's, and pages go by that.
    view = View(KIND, "", subscription.id, document, subscription.client_id, terms=(_term(subscription),))
    tx.views.put([view])
    _put_destination(tx, subscription, auth)


def _put_destination(tx: Transaction, subscription: Subscription, auth: AuthConfig) -> None:
    """What the publisher sends to; one that is disabled stays so."""
    target = subscription.destination
    if isinstance(target, WebhookTarget):
        webhook = WebhookSettings(
            target.url, auth=auth, auth_profile_id=target.auth_profile_id, signature="amazon"
        )
        kind, settings, endpoint = "webhook", msgspec.to_builtins(webhook), target.url
    else:
        source = event_sources.whole_name(target.name)
        settings = {"source": source, "account": target.account, "region": target.region}
        kind, endpoint = "eventbridge", ""
    settings["subscription"] = {
        "eventType": subscription.event_type,
        "apiVersion": subscription.api_version,
    }
    known = tx.attempts.destination(subscription.id)
    made = Destination(
        subscription.id,
        kind,
        msgspec.json.encode(settings),
        (canonical_type(subscription.event_type),),
        "" if subscription.target_id == SANDBOX_TARGET else subscription.target_id,
        endpoint=endpoint,
    )
    if known is not None and not known.enabled:
        made = replace(made, enabled=False, reason=known.reason)
    tx.attempts.put_destination(made)


def remove(tx: Transaction, known: Subscription) -> None:
    """Forget a subscription, with its destination and its event source."""
    tx.attempts.remove_destination(known.id)
    tx.views.remove([(KIND, "", known.id)])
    if isinstance(known.destination, EventBridgeTarget):
        event_sources.remove(tx, known.destination.name)


def find(tx: Transaction, subscription_id: str) -> Subscription | None:
    """A subscription, whoever's it is."""
    view = tx.views.get([(KIND, "", subscription_id)]).get((KIND, "", subscription_id))
    return None if view is None else _decoded(view)


def _own(tx: Transaction, caller: Caller, subscription_id: str) -> Subscription:
    _check_id(subscription_id, "subscriptionId")
    known = find(tx, subscription_id)
    if known is None or known.client_id != caller.client_id:
        raise access_denied()
    return known


def _all_of(tx: Transaction, client_id: str | None) -> Iterator[Subscription]:
    after: tuple[int, str, str] | None = None
    while found := tx.views.page(KIND, after, _BATCH, None, client_id):
        yield from (_decoded(view) for _, view in found)
        after = (found[-1][0], "", found[-1][1].id)


def _users(tx: Transaction, profile: AuthProfile) -> Iterator[Subscription]:
    """The subscriptions that go by this profile."""
    for subscription in _all_of(tx, None):
        if (subscription.target_id, subscription.auth_profile_id) == (profile.target_id, profile.id):
            yield subscription


def _profile(tx: Transaction, target_id: str, profile_id: str) -> AuthProfile | None:
    _check_id(profile_id, "authProfileId")
    view = tx.views.get([(PROFILE, target_id, profile_id)]).get((PROFILE, target_id, profile_id))
    return None if view is None else msgspec.json.decode(view.document, type=AuthProfile)


def _put_profile(tx: Transaction, profile: AuthProfile) -> None:
    document = msgspec.json.encode(profile)
    tx.views.put([View(PROFILE, profile.target_id, profile.id, document, "active")])


def _decoded(view: View) -> Subscription:
    return msgspec.json.decode(view.document, type=Subscription)


def _term(subscription: Subscription) -> str:
    """What two subscriptions of one business product to the same event type and destination have in common."""
    where = subscription.destination.where
    text = "\0".join((subscription.target_id, subscription.event_type, where))
    return f"subscription/{sha256(text.encode()).hexdigest()}"


def _check_id(id: str, field: str) -> None:
    if not 1 <= len(id) <= LONGEST_ID or not id.isprintable():
        raise invalid(f"{field} is 1 to {LONGEST_ID} printable characters.")


def _cursor(number: int, id: str) -> str:
    return urlsafe_b64encode(f"{number}:{id}".encode()).decode()


def _position(cursor: str) -> tuple[int, str, str]:
    if len(cursor) > LONGEST_CURSOR:
        raise invalid(f"after has at most {LONGEST_CURSOR} characters.")
    try:
        number, _, last_id = urlsafe_b64decode(cursor.encode("ascii")).decode("ascii").partition(":")
        if not last_id.isprintable():
            raise ValueError
        return min(1 << 53, max(0, int(number))), "", last_id
    except ValueError as e:
        raise invalid("after is the cursor of another page.") from e
