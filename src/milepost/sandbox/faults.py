"""What a developer can make the sandbox do wrong on purpose. Kept in memory: a restart is a healthy sandbox."""

from msgspec import Struct


class Faults(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The faults that are on. `POST /sandbox/faults` replaces those it names and leaves the others."""

    api_down: bool = False
    """`/token` and `/graphql` answer 503."""
    throttling: bool = False
    """Every query is answered ThrottlingError."""
    tracker_null_seconds: float = 0.0
    """For so long after a package went in transit its tracker is null, in both queries."""
    order_behind_seconds: float = 0.0
    """For so long after a change the order query answers the order as it was before."""


class ActiveFaults:
    """The faults that are on `now`, for everybody who asks."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.now = faults or Faults()
