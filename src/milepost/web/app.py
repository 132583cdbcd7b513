"""The read side as one ASGI application.

`create_app` puts the routes together with what holds for all of them: the guard, problem documents, security
headers and the cap on request bodies. Each kind of route is a module of its own.
"""

from typing import Any

from litestar import Litestar, Request
from litestar.datastructures import MutableScopeHeaders, State
from litestar.di import Provide
from litestar.exceptions import NotFoundException
from litestar.types import Message, Scope

from milepost.web import (
    attempts,
    audit,
    authorizations,
    books,
    captures,
    choices,
    corrections,
    customers,
    erasures,
    events,
    explanations,
    exports,
    health,
    insights,
    keys,
    lookup,
    mapping,
    missing,
    notes,
    notification_preview,
    notifications,
    operations,
    problems,
    quarantine,
    queues,
    replays,
    retention,
    roads,
    schemas,
    search,
    status,
    stream,
    subscriber_actions,
    subscribers,
    timeline,
    tracking,
    unsubscribe,
    users,
    views,
)
from milepost.web.authentication import Principal, authorize
from milepost.web.console import HANDLERS as CONSOLE
from milepost.web.console.pages import nowhere
from milepost.web.context import Context
from milepost.web.openapi import describe, handler_of
from milepost.web.visiting import Visitor

LARGEST_BODY = 64 * 1024
"""Bytes; what this API takes is small. Events come in elsewhere."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Set on every response that has not set them itself."""

ROUTES = [
    *views.HANDLERS,
    *explanations.HANDLERS,
    *timeline.HANDLERS,
    *status.HANDLERS,
    *notes.HANDLERS,
    *corrections.HANDLERS,
    *authorizations.HANDLERS,
    *captures.HANDLERS,
    *notifications.HANDLERS,
    *notification_preview.HANDLERS,
    *choices.HANDLERS,
    *unsubscribe.HANDLERS,
    *books.HANDLERS,
    *exports.HANDLERS,
    *tracking.HANDLERS,
    *lookup.HANDLERS,
    *events.HANDLERS,
    *roads.HANDLERS,
    *insights.HANDLERS,
    *missing.HANDLERS,
    *search.HANDLERS,
    *customers.HANDLERS,
    *stream.HANDLERS,
    *subscribers.HANDLERS,
    *subscriber_actions.HANDLERS,
    *attempts.HANDLERS,
    *replays.HANDLERS,
    *schemas.HANDLERS,
    *queues.HANDLERS,
    *quarantine.HANDLERS,
    *operations.HANDLERS,
    *retention.HANDLERS,
    *mapping.HANDLERS,
    *erasures.HANDLERS,
    *keys.HANDLERS,
    *users.HANDLERS,
    *audit.HANDLERS,
    *health.HANDLERS,
]


def create_app(context: Context) -> Litestar:
    """The application. It opens nothing and owns nothing: the hub runs it and closes what `context` holds."""

    dependencies = {
        "context": Provide(_provide_context, sync_to_thread=False),
        "caller": Provide(_provide_caller, sync_to_thread=False),
        "visitor": Provide(_provide_visitor, sync_to_thread=False),
    }
    return Litestar(
        [*ROUTES, *CONSOLE, handler_of(lambda: describe(ROUTES, dependencies, context.version))],
        dependencies=dependencies,
        guards=[authorize],
        exception_handlers={**problems.HANDLERS, NotFoundException: nowhere},
        before_send=[_add_headers],
        openapi_config=None,
        request_max_body_size=LARGEST_BODY,
        logging_config=None,
        state=State({"context": context}),
    )


def _provide_context(state: State) -> Context:
    context: Context = state.context
    return context


def _provide_caller(request: Request[Principal, None, State]) -> Principal:
    return request.user


def _provide_visitor(scope: Scope) -> Visitor:
    visitor: Visitor = scope["visitor"]  # type: ignore[typeddict-item]
    return visitor


async def _add_headers(message: Message, scope: Scope) -> None:
    if message["type"] == "http.response.start":
        message.setdefault("headers", [])
        headers: Any = MutableScopeHeaders.from_message(message)
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
