"""How subscribers look in the API: what is shown of one, and what a request to make or change one may say.

No secret is ever shown again: of credentials only their kind, of signing keys only public halves, of headers their
names. What a request says is checked here and becomes a `Destination`'s settings.
"""

from typing import Annotated, Any, Literal

import msgspec
from litestar.params import PathParameter
from msgspec import UNSET, Meta, UnsetType, field

from milepost.domain.attempt import Attempt, Destination
from milepost.domain.errors import Invalid, Misconfigured
from milepost.domain.instant import format_instant
from milepost.domain.subscriber import (
    EVENT_BUS,
    SOURCE,
    EventBusSettings,
    Filter,
    Kind,
    check_event_bus,
    check_headers,
    check_token_endpoint,
    check_url,
    server_of,
)
from milepost.domain.webhook_settings import (
    AuthConfig,
    Pair,
    StandardSignature,
    StandardWebhooks,
    WebhookSettings,
)
from milepost.pipeline import signing_keys
from milepost.web.documents import Document

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]*$")]
Word = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]*$")]
Words = Annotated[list[Word], Meta(max_length=500)]
Expression = Annotated[str, Meta(max_length=2_000)]
Rate = Annotated[float, Meta(ge=0, le=10_000)]
Form = Literal["amazon", "milepost"]
Scheme = Literal["v1", "v1a", "none"]
SubscriberId = Annotated[str, PathParameter(description="The subscriber's id.", max_length=128)]


class Key(Document):
    """A key that signs, by what may be known of it."""

    scheme: Scheme
    public_key: str | None
    """Of `v1a`: what its signatures are checked with (`whpk_…`)."""
    until: str | None
    """When it stops, for one that another has taken the place of."""


class SubscriberItem(Document):
    """A system that is told."""

    id: str
    name: str
    kind: Kind
    form: str
    """`milepost`: our own messages; `amazon`: Amazon's events as they came."""
    url: str | None
    bus: str | None
    region: str | None
    source: str | None
    auth: Literal["none", "basic", "oauth"]
    headers: list[str]
    """Names of the headers that are sent beside ours."""
    keys: list[Key]
    """What signs, the newest first."""
    event_types: list[str]
    """Empty: all."""
    business_product_ids: list[str]
    """Empty: all."""
    carriers: list[str]
    """Empty: all."""
    expression: str
    """CEL over the message; empty: everything."""
    ordered: bool
    """Messages about one order go one after the other."""
    rate: float
    """Most messages a second; 0: as fast as it takes them."""
    enabled: bool
    reason: str
    """Why it is disabled."""
    live: bool
    """False while its history is still being sent."""
    created_at: str


class AttemptDocument(Document):
    """One try to send a message."""

    message_id: str
    number: int
    started_at: str
    duration_ms: int
    outcome: str
    """delivered, failed, or unknown (no answer came, and it may have arrived)."""
    status: int | None
    error: str
    target: str
    response: str
    """The beginning of the answer."""
    retry_after_ms: int | None
    manual: bool
    """Asked for by hand."""


class Backfill(Document):
    """History that is being sent."""

    replay_id: str
    kind: str
    cursor: int
    """The position up to which the journal was gone through."""
    until: int
    """Where it ends; for a late subscriber the journal's end as it is now."""
    enqueued: int


class Health(Document):
    """How sending to a subscriber goes."""

    failing_since: str | None
    """The first failed attempt since the last one that was delivered."""
    warning: int | None
    """How much of the days of failure after which it is disabled are over: 50, 70, 90 or 100 percent."""
    disabled_after_days: float
    """0: never."""
    pending: int
    waiting: int
    """Behind an earlier message about the same order."""
    held: int
    """Kept while it is disabled, or for a capture on hold."""
    delivered: int
    failed: int
    dropped: int
    last_attempt: AttemptDocument | None
    backfill: Backfill | None


class SubscriberDocument(SubscriberItem):
    health: Health


class CreatedDocument(SubscriberItem):
    """A new subscriber. `secret` is shown this once."""

    secret: str | None
    """What checks `v1` signatures (`whsec_…`); null where there is none, or a public key shows how."""
    replay_id: str | None
    """The backfill, where it begins with history."""


class RotatedDocument(Document):
    """The keys after a rotation. `secret` is shown this once."""

    keys: list[Key]
    secret: str | None


class NewSubscriber(Document, forbid_unknown_fields=True):
    """Whom to tell, what and how."""

    name: Name
    kind: Kind = "webhook"
    form: Form = "milepost"
    url: Annotated[str, Meta(max_length=2_048)] | None = None
    auth: AuthConfig | None = None
    headers: Annotated[list[Pair], Meta(max_length=20)] = field(default_factory=list)
    signature: Scheme | None = None
    """`v1` when not given, or what the given secret is for."""
    secret: Annotated[str, Meta(max_length=200)] | None = None
    """`whsec_…`, or `whsk_…` for `v1a`; made when none is given."""
    bus: Word | None = None
    region: Word = "us-east-1"
    source: Word = SOURCE
    event_types: Words = field(default_factory=list)
    business_product_ids: Words = field(default_factory=list)
    carriers: Words = field(default_factory=list)
    expression: Expression = ""
    ordered: bool = False
    rate: Rate = 0.0
    begin: str | int = field(default="now", name="from")
    """`now`, `start`, a position behind which to begin, or a time."""


class SubscriberChange(Document, forbid_unknown_fields=True):
    """What to change; whatever is not named stays. Kind, form and keys are not to change (see rotate)."""

    name: Name | UnsetType = UNSET
    url: Annotated[str, Meta(max_length=2_048)] | UnsetType = UNSET
    auth: AuthConfig | UnsetType | None = UNSET
    headers: Annotated[list[Pair], Meta(max_length=20)] | UnsetType = UNSET
    bus: Word | UnsetType = UNSET
    region: Word | UnsetType = UNSET
    source: Word | UnsetType = UNSET
    event_types: Words | UnsetType = UNSET
    business_product_ids: Words | UnsetType = UNSET
    carriers: Words | UnsetType = UNSET
    expression: Expression | UnsetType = UNSET
    ordered: bool | UnsetType = UNSET
    rate: Rate | UnsetType = UNSET


class Rotation(Document, forbid_unknown_fields=True):
    overlap_hours: Annotated[float, Meta(ge=0, le=720)] = 24.0
    """How long the old key signs along; 0: not at all."""
    signature: Literal["v1", "v1a"] | None = None
    """As it was, when not given."""
    secret: Annotated[str, Meta(max_length=200)] | None = None


# ── Settings ───────────────────────────────────────────────────────────────────────────────────────────────


def settings_of(wanted: NewSubscriber) -> WebhookSettings | EventBusSettings:
    """The settings of a new subscriber, without a key yet. Raises `Invalid`."""
    if wanted.kind == EVENT_BUS:
        if wanted.bus is None or wanted.url is not None or wanted.auth is not None or wanted.headers:
            raise Invalid("an eventBus subscriber has a bus, and no url, auth or headers", field="bus")
        if wanted.secret is not None:
            raise Invalid("what is put on a bus is not signed", field="secret")
        return checked(EventBusSettings(wanted.bus, wanted.region, wanted.source))
    if wanted.url is None or wanted.bus is not None:
        raise Invalid("a webhook subscriber has a url, and no bus", field="url")
    return checked(
        WebhookSettings(wanted.url, auth=wanted.auth or AuthConfig(), headers=tuple(wanted.headers))
    )


def changed_settings(
    settings: WebhookSettings | EventBusSettings, change: SubscriberChange
) -> WebhookSettings | EventBusSettings:
    """Raises `Invalid`, also for what another kind of subscriber has."""
    own = (
        ("bus", "region", "source") if isinstance(settings, EventBusSettings) else ("url", "auth", "headers")
    )
    given = {
        name: value
        for name in ("url", "auth", "headers", "bus", "region", "source")
        if (value := getattr(change, name)) is not UNSET
    }
    for name in given.keys() - set(own):
        raise Invalid(f"this kind of subscriber has no {name}", field=name)
    if "auth" in given:
        given["auth"] = given["auth"] or AuthConfig()
    if "headers" in given:
        given["headers"] = tuple(given["headers"])
    if isinstance(settings, WebhookSettings) and "url" in given:
        _check_not_taken_along(settings, given)
    return checked(msgspec.structs.replace(settings, **given))


def _check_not_taken_along(settings: WebhookSettings, given: dict[str, Any]) -> None:
    """What one server was given to be let in does not go to another: whoever may change the address need not know
    it. Raises `Invalid`."""
    check_url(given["url"])
    if server_of(given["url"]) == server_of(settings.url):
        return
    for name, stored in (("auth", settings.auth != AuthConfig()), ("headers", bool(settings.headers))):
        if stored and name not in given:
            raise Invalid(
                f"url names another server; say with which {name}, as those of the old one don't go along",
                field=name,
            )


def checked(settings: WebhookSettings | EventBusSettings) -> WebhookSettings | EventBusSettings:
    """The same. Raises `Invalid` for what could not be sent with."""
    if isinstance(settings, EventBusSettings):
        check_event_bus(settings)
        return settings
    check_url(settings.url)
    check_headers(settings.headers)
    basic, oauth = settings.auth.basic, settings.auth.oauth
    if basic is not None and oauth is not None:
        raise Invalid("auth has either basicAuthConfig or oAuthConfig", field="auth")
    if basic is not None and (":" in basic.username or not basic.username):
        raise Invalid("a user name of HTTP basic authentication has no colon", field="auth")
    if oauth is not None:
        check_token_endpoint(oauth.auth_endpoint, "auth.oAuthConfig.authEndpoint")
        check_headers([p for p in oauth.http_parameters.header_parameters if p.key.lower() != "content-type"])
    return settings


def key_for(scheme: Scheme | None, given: str | None) -> str | None:
    """The key to sign with: the given one, checked, or a new one; None to sign nothing. Raises `Invalid`."""
    if scheme is None:
        scheme = "v1a" if given is not None and given.startswith(signing_keys.PRIVATE) else "v1"
    if scheme == "none":
        if given is not None:
            raise Invalid("a secret is for signing, and signature says none", field="secret")
        return None
    if given is None:
        return signing_keys.new_private_key() if scheme == "v1a" else signing_keys.new_secret()
    if given.startswith(signing_keys.PRIVATE) != (scheme == "v1a"):
        raise Invalid(f"a {scheme} signature is made with another kind of key", field="secret")
    try:
        signing_keys.check_key(given)
    except Misconfigured as e:
        raise Invalid(e.detail, field="secret") from e
    return given


def shown_once(key: str | None) -> str | None:
    """What a receiver needs of a key and no later answer shows."""
    return None if key is None or key.startswith(signing_keys.PRIVATE) else key


# ── Documents ──────────────────────────────────────────────────────────────────────────────────────────────


def decoded_settings(destination: Destination) -> WebhookSettings | EventBusSettings:
    if destination.kind == EVENT_BUS:
        return msgspec.json.decode(destination.settings, type=EventBusSettings)
    return msgspec.json.decode(destination.settings, type=WebhookSettings)


def filter_of(destination: Destination) -> Filter:
    return msgspec.json.decode(destination.filter, type=Filter) if destination.filter else Filter()


def signature_of(settings: WebhookSettings | EventBusSettings) -> StandardWebhooks | None:
    if isinstance(settings, WebhookSettings) and isinstance(settings.signature, StandardSignature):
        return settings.signature.standard
    return None


def keys_of(signature: StandardWebhooks | None, now: int) -> list[Key]:
    """The keys that sign now."""
    if signature is None:
        return []
    given = [(secret, None) for secret in signature.secrets]
    former = [(one.secret, one.until) for one in signature.former if one.until > now]
    return [
        Key(
            "v1a" if secret.startswith(signing_keys.PRIVATE) else "v1",
            signing_keys.public_key_of(secret) if secret.startswith(signing_keys.PRIVATE) else None,
            None if until is None else format_instant(until),
        )
        for secret, until in (*given, *former)
    ]


def fields_of(destination: Destination, now: int) -> dict[str, Any]:
    """What is shown of every subscriber, by the fields of `SubscriberItem`."""
    settings, wanted = decoded_settings(destination), filter_of(destination)
    on_bus = isinstance(settings, EventBusSettings)
    auth = AuthConfig() if isinstance(settings, EventBusSettings) else settings.auth
    return {
        "id": destination.id,
        "name": destination.name,
        "kind": destination.kind,
        "form": destination.form,
        "url": None if isinstance(settings, EventBusSettings) else settings.url,
        "bus": settings.bus if isinstance(settings, EventBusSettings) else None,
        "region": settings.region if isinstance(settings, EventBusSettings) else None,
        "source": settings.source if isinstance(settings, EventBusSettings) else None,
        "auth": "basic" if auth.basic is not None else "oauth" if auth.oauth is not None else "none",
        "headers": [] if isinstance(settings, EventBusSettings) else [h.key for h in settings.headers],
        "keys": [] if on_bus else keys_of(signature_of(settings), now),
        "event_types": list(destination.event_types),
        "business_product_ids": list(wanted.business_product_ids),
        "carriers": list(wanted.carriers),
        "expression": wanted.expression,
        "ordered": destination.ordered,
        "rate": destination.rate,
        "enabled": destination.enabled,
        "reason": destination.reason,
        "live": destination.after is not None,
        "created_at": format_instant(destination.created_at),
    }


def attempt_document(attempt: Attempt) -> AttemptDocument:
    return AttemptDocument(
        attempt.message_id,
        attempt.number,
        format_instant(attempt.started_at),
        attempt.duration_ms,
        attempt.outcome,
        attempt.status,
        attempt.error,
        attempt.target,
        attempt.response,
        attempt.retry_after,
        attempt.manual,
    )
