"""Errors on the wire: RFC 9457 problem documents with Milepost's stable `code`.

Every answer that isn't a success has this shape, also those that the framework gives by itself (an unknown
route, a method that a route doesn't have, a parameter of another type). Which status a code has is
`domain.errors.HTTP_STATUS`; what the framework adds to that list is here.
"""

import re
import traceback
from http import HTTPStatus
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from msgspec import Struct

from milepost.domain.errors import HTTP_STATUS, Invalid, MilepostError, problem

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1

_FRAMEWORK_CODES = {
    400: "invalid_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "unsupported_media_type",
    429: "too_many_requests",
}

_MISSING = re.compile(r"Missing required \w+ parameter '(\w+)'")

log = structlog.get_logger()


class Problem(Struct):
    """A problem document (RFC 9457)."""

    type: str
    """A name for the kind of problem: urn:milepost:problem:{code}."""
    title: str
    status: int
    detail: str
    """A sentence that a person can act on."""
    code: str
    """Stable; scripts match on it."""


def _response(
    document: dict[str, object], extra: dict[str, Any], headers: dict[str, str] | None = None
) -> Response[dict[str, Any]]:
    """A problem document with `extra` members beside the standard ones; those can't be overwritten."""
    body: dict[str, Any] = {
        name: value if isinstance(value, str | int | float | list | tuple | None) else str(value)
        for name, value in extra.items()
    }
    status = document["status"]
    assert isinstance(status, int)
    return Response(
        {**document, **body, **document}, status_code=status, media_type=MEDIA_TYPE, headers=headers
    )


def _framework_problem(code: str, status: int, detail: str) -> dict[str, object]:
    return {
        "type": f"urn:milepost:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }


def of_milepost(request: Request[Any, Any, Any], error: MilepostError) -> Response[dict[str, Any]]:
    """An error that Milepost raised on purpose; one whose status is 500 tells a caller nothing."""
    if HTTP_STATUS.get(error.code, 500) == 500:
        return of_anything(request, error)
    status, document = problem(error)
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="milepost"'
    if status in (429, 503):
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return _response(document, error.context, headers)


def of_framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    """What the framework raised: no such route, no such method, a parameter or body of another type."""
    status = error.status_code
    if status >= 500 or status not in _FRAMEWORK_CODES:
        return of_anything(request, error)
    headers = {k: v for k, v in (error.headers or {}).items() if k.lower() == "allow"}
    extra: dict[str, Any] = {}
    detail = error.detail
    if isinstance(error, ValidationException):
        detail, extra = _first_complaint(error)
    elif status == 404:
        detail = "There is nothing at this path."
    elif status == 405:
        detail = f"This path does not answer {request.method}."
    return _response(_framework_problem(_FRAMEWORK_CODES[status], status, detail), extra, headers)


def _first_complaint(error: ValidationException) -> tuple[str, dict[str, Any]]:
    """What was wrong with which field, from the shapes in which the framework says so."""
    complaints = error.extra if isinstance(error.extra, list) else []
    first = complaints[0] if complaints and isinstance(complaints[0], dict) else {}
    field, message = str(first.get("key", "")), str(first.get("message", "")).strip()
    if not field and (missing := _MISSING.search(error.detail)) is not None:
        field, message = missing[1], "missing"
    if field == "data":
        field = "body"
    if not message or message == "'data'":
        message = "missing or not valid JSON"
    head, *rest = field.split("_")
    field = head + "".join(map(str.capitalize, rest))
    return (f"{field}: {message}" if field else message), ({"field": field} if field else {})


def of_nesting(request: Request[Any, Any, Any], error: RecursionError) -> Response[dict[str, Any]]:
    """For routes that take a body: one nested so deeply that no parser reads it."""
    return of_milepost(request, Invalid("body: nested too deeply", field="body"))


BODY_HANDLERS: dict[int | type[Exception], Any] = {RecursionError: of_nesting}


def of_anything(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """A fault of ours. The log tells where; neither the log nor the answer tells what the values were."""
    log.error(
        "api.internal",
        error=type(error).__name__,
        method=request.method,
        route=request.scope.get("path_template", ""),
        where="".join(traceback.format_tb(error.__traceback__)[-6:]),
    )
    detail = "Milepost failed to answer this. The hub's log says where."
    return _response(_framework_problem("internal", 500, detail), {})


HANDLERS: dict[int | type[Exception], Any] = {
    MilepostError: of_milepost,
    HTTPException: of_framework,
    Exception: of_anything,
}


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """How these statuses look, for a route's documentation; 400, 401 and 503 are every route's."""
    return {
        status: ResponseSpec(
            Problem, description=_MEANINGS[status], media_type=MEDIA_TYPE, generate_examples=False
        )
        for status in sorted({400, 401, 503, *statuses})
    }


_MEANINGS = {
    400: "A parameter or the body is wrong (`invalid_request`).",
    401: "No API key, or a wrong one (`unauthenticated`).",
    403: "The key's scope does not allow this (`forbidden`).",
    404: "Nothing by that id within the key's business products (`not_found`).",
    409: "The id is ambiguous (`ambiguous_id`), or the thing's state does not allow this (`conflict`).",
    413: "The body is too large (`too_large`).",
    503: "The database cannot answer now (`store_unavailable`); see Retry-After.",
}
