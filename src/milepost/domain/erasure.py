"""Erasures: personal data of an order, or of every order of a shopper, taken out of everything that is kept.

What is done, and in which order (`State`):

| state     |                                                                                             |
|-----------|---------------------------------------------------------------------------------------------|
| ASKED     | it was asked for, and journalled                                                            |
| REDACTED  | no body in journal or quarantine, no attempt and no ledger holds personal data of it        |
| REFOLDED  | the views were folded anew from what is left, and search finds nothing of it                |
| DONE      | the database has let go of the bytes                                                        |

What is personal in a body is decided in `redaction`. Records stay where they are, with their positions, identities,
times and codes: the timeline keeps its skeleton, and every count stays.
"""

from typing import Final, Literal, get_args

from msgspec import Struct

from milepost.domain.instant import Instant

State = Literal["ASKED", "REDACTED", "REFOLDED", "DONE"]
STATES: Final[tuple[State, ...]] = get_args(State)
ERASED: Final = "erased"
"""The flag of a record whose body was rewritten: duplicates of it are no conflicts any more."""


class Erasure(Struct, frozen=True, rename="camel"):
    """One erasure. It holds no personal data itself."""

    id: str
    business_product_id: str
    state: State
    asked_at: Instant
    asked_by: str
    """An API key's id, `retention`, or the position of the event that asked for it."""
    orders: tuple[str, ...]
    """Order ids."""
    position: int = 0
    """Of the record that makes the projector fold the orders anew."""
    records: int = 0
    """How many bodies were rewritten."""
    done_at: Instant | None = None
