"""Every error Milepost raises on purpose, and what each means to whoever gets it.

    MilepostError
    ├── Malformed                 400  the sender's bytes are not a Buy with Prime event
    ├── Invalid                   400  a request's parameter or body is wrong
    ├── Unauthenticated           401  no credential, or a wrong one
    │   └── SignInNeeded               a page of the console, for somebody who is not signed in
    ├── Forbidden                 403  a good credential that may not do this
    │   └── UnboundBusinessProduct     an event of a business product no credential is bound to
    ├── NotFound                  404
    ├── Ambiguous                 409  an id that several business products have
    ├── Conflict                  409  the thing's state doesn't allow it
    ├── TooLarge                  413
    ├── TooManyRequests           429
    ├── StoreUnavailable          503  disk full, read-only, locked or gone; nothing was acknowledged
    │   └── StoreLocked                another hub holds the database
    ├── LeaseLost                 503  another hub does this piece of work; nothing was changed
    ├── Overloaded                503  more concurrent requests than the hub takes
    ├── Misconfigured                  a setting is missing or wrong (the program refuses to start)
    └── UpstreamError                  the Buy with Prime API did not answer as asked
        ├── UpstreamUnavailable        network, timeout, 5xx, InternalServerError
        ├── UpstreamThrottled          ThrottlingError or HTTP 429
        ├── UpstreamDenied             AccessDeniedError, bad client credentials
        ├── UpstreamNotFound           ResourceNotFoundError: unknown or expired
        └── UpstreamRejected           ValidationError, or a schema that no longer has the query

Each class has a stable `code` (other people's scripts match on it), says whose `fault` it is, and whether
trying the same thing again may help. The mapping from code to HTTP status is `HTTP_STATUS`, and nowhere else.
"""

from typing import ClassVar, Literal

Fault = Literal["caller", "us", "upstream", "operator"]


class MilepostError(Exception):
    """Something Milepost can name went wrong."""

    code: ClassVar[str] = "internal"
    fault: ClassVar[Fault] = "us"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str | None = None, /, **context: object) -> None:
        """`detail` is a sentence a person can act on; `context` is machine-readable (field names, ids)."""
        super().__init__(detail or (type(self).__doc__ or "").strip().splitlines()[0])
        self.context = context

    @property
    def detail(self) -> str:
        return str(self.args[0])


class Malformed(MilepostError):
    """The bytes are not a Buy with Prime event."""

    code = "malformed_event"
    fault = "caller"


class Invalid(MilepostError):
    """A parameter or a body is wrong."""

    code = "invalid_request"
    fault = "caller"


class Unauthenticated(MilepostError):
    """No credential was given, or it is wrong."""

    code = "unauthenticated"
    fault = "caller"


class SignInNeeded(Unauthenticated):
    """This page is for people who signed in."""

    code = "sign_in_needed"


class Forbidden(MilepostError):
    """The credential is good but does not allow this."""

    code = "forbidden"
    fault = "caller"


class UnboundBusinessProduct(Forbidden):
    """The event names a business product that this credential is not bound to."""

    code = "unbound_business_product"


class NotFound(MilepostError):
    """There is nothing by that id."""

    code = "not_found"
    fault = "caller"


class Ambiguous(MilepostError):
    """Several business products have this id; say which with ?businessProductId=."""

    code = "ambiguous_id"
    fault = "caller"


class Conflict(MilepostError):
    """The thing is in a state that does not allow this."""

    code = "conflict"
    fault = "caller"


class TooLarge(MilepostError):
    """The body is larger than the limit."""

    code = "too_large"
    fault = "caller"


class TooManyRequests(MilepostError):
    """Too many requests; wait and try again."""

    code = "too_many_requests"
    fault = "caller"
    retryable = True


class StoreUnavailable(MilepostError):
    """The database cannot take writes now; nothing was acknowledged."""

    code = "store_unavailable"
    retryable = True


class StoreLocked(StoreUnavailable):
    """Another process holds this database."""

    code = "store_locked"
    fault = "operator"
    retryable = False


class LeaseLost(MilepostError):
    """Another hub on this database does this piece of work; nothing was changed."""

    code = "lease_lost"
    retryable = True


class Overloaded(MilepostError):
    """The hub is at its limit of concurrent requests."""

    code = "overloaded"
    retryable = True


class Misconfigured(MilepostError):
    """A setting is missing or wrong."""

    code = "misconfigured"
    fault = "operator"


class UpstreamError(MilepostError):
    """The Buy with Prime API did not answer as asked."""

    code = "upstream_error"
    fault: ClassVar[Fault] = "upstream"
    retryable = True


class UpstreamUnavailable(UpstreamError):
    """The Buy with Prime API is down, slow or failing."""

    code = "upstream_unavailable"


class UpstreamThrottled(UpstreamError):
    """The Buy with Prime API asks us to slow down."""

    code = "upstream_throttled"


class UpstreamDenied(UpstreamError):
    """The Buy with Prime API refuses our credentials or their permissions."""

    code = "upstream_denied"
    fault = "operator"


class UpstreamNotFound(UpstreamError):
    """The Buy with Prime API knows nothing by that id, or no longer does."""

    code = "upstream_not_found"


class UpstreamRejected(UpstreamError):
    """The Buy with Prime API calls the query itself wrong."""

    code = "upstream_rejected"
    retryable = False


HTTP_STATUS: dict[str, int] = {
    "malformed_event": 400,
    "invalid_request": 400,
    "unauthenticated": 401,
    "sign_in_needed": 401,
    "forbidden": 403,
    "unbound_business_product": 403,
    "not_found": 404,
    "ambiguous_id": 409,
    "conflict": 409,
    "too_large": 413,
    "too_many_requests": 429,
    "internal": 500,
    "misconfigured": 500,
    "upstream_error": 502,
    "upstream_denied": 502,
    "upstream_not_found": 502,
    "upstream_rejected": 502,
    "upstream_throttled": 503,
    "upstream_unavailable": 503,
    "store_unavailable": 503,
    "store_locked": 503,
    "lease_lost": 503,
    "overloaded": 503,
}


def problem(error: MilepostError) -> tuple[int, dict[str, object]]:
    """(HTTP status, RFC 9457 problem document) of an error. `code` is what scripts match on.

    `detail` may quote what the caller sent, so it is cut at 500 characters and lone surrogates are replaced:
    the document can always be encoded."""
    status = HTTP_STATUS[error.code]
    title = (type(error).__doc__ or "").strip().splitlines()[0].rstrip(".")
    detail = error.detail[:500].encode("utf-8", "replace").decode()
    return status, {
        "type": f"urn:milepost:problem:{error.code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": error.code,
    }
