"""Event sources over HTTP: what at AWS is done in the EventBridge console, for receivers in any language.

    GET    /sandbox/event-sources             the partner event sources and their states
    POST   /sandbox/event-sources             {"name", "url", …}: associate a URL with one; it is ACTIVE then
    DELETE /sandbox/event-sources?name=NAME   dissociate it: back to PENDING

Beside the URL there may be what the connection of an API destination has: `basicAuthConfig` {"username",
"password"}, `apiKeyConfig` {"key", "value"} (a header), or `oAuthConfig` as in a subscription. No answer shows
them again. Where this sandbox publishes to an EventBridge endpoint, a bus is associated there, and the states
are the endpoint's.
"""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import asdict

from milepost.domain.errors import Conflict, Invalid
from milepost.domain.instant import format_instant
from milepost.sandbox import event_sources
from milepost.sandbox.announcing import Announcer, Seen
from milepost.sandbox.event_sources import EventSource, Target
from milepost.sandbox.http import Request, Response, Routes, decoded, json_response, number_in, place_in
from milepost.store import Store

MAX_LIMIT = 100
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")


class Associate(Target, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """The target, and the name of the event source it is for."""

    name: str


class Shown(Struct, frozen=True, rename="camel"):
    """A source as everybody may see it: no credentials."""

    name: str
    arn: str
    account: str
    region: str
    target_id: str
    state: str | None
    """Null when the endpoint could not be asked."""
    url: str | None = None
    """What the local bus posts to."""
    error: str = ""
    tries: int = 0
    due_at: str | None = None
    """When the endpoint is told again, after it could not be."""


class EventSourceRoutes:
    """The routes. `announcer` is there when events go to an EventBridge endpoint, at `endpoint`."""

    def __init__(self, store: Store, announcer: Announcer | None = None, endpoint: str = "") -> None:
        self._store = store
        self._announcer = announcer
        self._endpoint = endpoint

    def routes(self) -> Routes:
        return {
            ("GET", "/sandbox/event-sources"): self._list,
            ("POST", "/sandbox/event-sources"): self._associate,
            ("DELETE", "/sandbox/event-sources"): self._dissociate,
        }

    async def _list(self, request: Request) -> Response:
        limit = number_in(request.query, "limit", MAX_LIMIT, 1, MAX_LIMIT)
        where = place_in(request.query)
        after = None if where is None else (where[0][0], where[1])
        found = await self._store.read(lambda tx: event_sources.page(tx, after, limit + 1))
        page, more = found[:limit], len(found) > limit
        sources = [source for _, source in page]
        following = f"{page[-1][0]}:{page[-1][1].name}" if more else None
        return json_response({"items": await self._shown(sources), "next": following})

    async def _associate(self, request: Request) -> Response:
        self._check_local()
        asked = decoded(request.body, Associate)
        given: dict[str, Any] = asdict(asked)
        name = given.pop("name")
        target = Target(**given)
        check_target(target)
        source = await self._store.write(lambda tx: event_sources.associate(tx, name, target))
        return json_response((await self._shown([source]))[0])

    async def _dissociate(self, request: Request) -> Response:
        self._check_local()
        name = request.query.get("name")
        if not name:
            raise Invalid("name says which event source", field="name")
        source = await self._store.write(lambda tx: event_sources.dissociate(tx, name))
        return json_response((await self._shown([source]))[0])

    def _check_local(self) -> None:
        if self._announcer is not None:
            raise Conflict(
                f"this sandbox's events go to EventBridge at {self._endpoint}: create the event bus there"
            )

    async def _shown(self, sources: Sequence[EventSource]) -> list[Shown]:
        if self._announcer is None:
            return [_shown(source, Seen(source.state)) for source in sources]
        seen = await self._announcer.states(sources)
        return [_shown(source, state) for source, state in zip(sources, seen, strict=True)]


def _shown(source: EventSource, seen: Seen) -> Shown:
    again = source.call is not None and source.error != ""
    return Shown(
        source.name,
        source.arn,
        source.account,
        source.region,
        source.target_id,
        seen.state,
        None if source.target is None else source.target.url,
        seen.error,
        source.tries,
        format_instant(source.due_at) if again else None,
    )


def check_target(target: Target) -> None:
    """Raises `Invalid` for a target that nothing can be posted to."""
    urls = {"url": target.url}
    if target.oauth is not None:
        urls["authEndpoint"] = target.oauth.auth_endpoint
    for field, url in urls.items():
        if not _is_http(url):
            raise Invalid(f"{field} is an http or https URL, without a user and password", field=field)
    given = (target.basic_auth_config, target.api_key_config, target.oauth)
    if sum(auth is not None for auth in given) > 1:
        raise Invalid("a connection has one kind of authentication", field="auth")
    key = target.api_key_config
    if key is not None and not (_HEADER_NAME.fullmatch(key.key) and key.value.isprintable() and key.value):
        raise Invalid("an API key is a header's name and a value in one line", field="apiKeyConfig")


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.username is None
            and parts.port != 0
            and url.isprintable()
        )
    except ValueError:
        return False
