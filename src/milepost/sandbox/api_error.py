"""Errors as the API documents them: types, codes, and the shape around them (buy-with-prime.md 2.3, 3, 5.3, 6).

    {"message", "locations": [{"line", "column"}], "path": […],
     "extensions": {"classification": {"type", "errorType", "errorCode"}}}

A ValidationError has a `code` beside them where a page names one, and so has the ConflictError of an alias that is
taken. `errorType` and `errorCode` of AccessDeniedError are documented; of the others they are formed alike.
"""

from typing import Any

import structlog
from graphql import GraphQLError

from milepost.domain.errors import Conflict, Forbidden, Invalid, MilepostError, NotFound, Unauthenticated

ACCESS_DENIED = "AccessDeniedError"
CONFLICT = "ConflictError"
INTERNAL = "InternalServerError"
NOT_FOUND = "ResourceNotFoundError"
THROTTLING = "ThrottlingError"
VALIDATION = "ValidationError"

CLASSES = {
    ACCESS_DENIED: ("AccessDeniedException", 403),
    CONFLICT: ("ConflictException", 409),
    INTERNAL: ("InternalServerException", 500),
    NOT_FOUND: ("ResourceNotFoundException", 404),
    THROTTLING: ("ThrottlingException", 429),
    VALIDATION: ("ValidationException", 400),
}
"""Each type's `errorType` and `errorCode`."""
_TYPE_OF: dict[type[MilepostError], str] = {
    Unauthenticated: ACCESS_DENIED,
    Forbidden: ACCESS_DENIED,
    NotFound: NOT_FOUND,
    Conflict: CONFLICT,
    Invalid: VALIDATION,
}
_LONGEST_MESSAGE = 500

log = structlog.get_logger()


class ApiError(Exception):
    """An error the API documents: its type, a sentence, and the code where a page names one."""

    def __init__(self, type: str, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.type = type
        self.code = code


def access_denied() -> ApiError:
    """What is answered to whoever may not, and for what is not there: the two look alike on purpose."""
    return ApiError(ACCESS_DENIED, "You do not have sufficient access to perform this action.")


def invalid(message: str, code: str | None = None) -> ApiError:
    return ApiError(VALIDATION, message, code)


def api_error(error: MilepostError) -> ApiError:
    """One of our own errors as the API says it."""
    for known, word in _TYPE_OF.items():
        if isinstance(error, known):
            return ApiError(word, error.detail)
    return ApiError(INTERNAL, error.detail)


def error_document(error: ApiError, at: GraphQLError | None = None) -> dict[str, Any]:
    """The error as it stands in `errors`; `at` says where in the query."""
    error_type, error_code = CLASSES[error.type]
    classification: dict[str, Any] = {
        "type": error.type,
        "errorType": error_type,
        "errorCode": error_code,
    }
    if error.code is not None:
        classification["code"] = error.code
    locations = at.locations if at is not None and at.locations else ()
    return {
        "message": str(error)[:_LONGEST_MESSAGE].encode("utf-8", "replace").decode(),
        "locations": [{"line": place.line, "column": place.column} for place in locations],
        "path": list(at.path) if at is not None and at.path else [],
        "extensions": {"classification": classification},
    }


def graph_error_document(error: GraphQLError) -> dict[str, Any]:
    """What went wrong with a query: a documented error of a resolver, or a query that is itself wrong."""
    cause = error.original_error
    if isinstance(cause, ApiError):
        return error_document(cause, error)
    if isinstance(cause, MilepostError):
        return error_document(api_error(cause), error)
    if cause is None or isinstance(cause, GraphQLError):
        return error_document(invalid(error.message), error)
    log.error("sandbox.query_failed", path=error.path, exc_info=cause)
    return error_document(ApiError(INTERNAL, "Unexpected error during request processing."), error)
