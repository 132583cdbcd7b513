"""Erasures: personal data of an order, or of every order of a shopper, taken out of everything that is kept.

What is done, and in which order (`State`):

| state     |                                                                                             |
|-----------|---------------------------------------------------------------------------------------------|
| UNCLAIMED | Amazon deleted a shopper's data, and nobody has said whose: the event names a task only      |
| WAITING   | it was asked for, and waits for Amazon's task to be completed                               |
| ASKED     | it was asked for, and is to be done                                                         |
| REDACTED  | no body in journal or quarantine, no attempt and no ledger holds personal data of it        |
| REFOLDED  | the views were folded anew from what is left, and search finds nothing of it                |
| DONE      | the database has let go of the bytes                                                        |

What is personal in a body is decided in `redaction`. Records stay where they are, with their positions, identities,
times and codes: the timeline keeps its skeleton, and every count stays.

A `PERSONAL_DATA_DELETION_TASK_COMPLETED` event names a task of Amazon's and no order, so an erasure for one is told
of its orders by whoever began the task; a FAILED one leaves it waiting and is shown.
"""

from hashlib import blake2b
from typing import Final, Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.instant import Instant

State = Literal["UNCLAIMED", "WAITING", "ASKED", "REDACTED", "REFOLDED", "DONE"]
STATES: Final[tuple[State, ...]] = get_args(State)
UNDER_WAY: Final[tuple[State, ...]] = ("ASKED", "REDACTED", "REFOLDED")
TaskOutcome = Literal["", "COMPLETED", "FAILED"]
ERASED: Final = "erased"
"""The flag of a record whose body was rewritten: duplicates of it are no conflicts any more."""
TASK_COMPLETED: Final = "PERSONAL_DATA_DELETION_TASK_COMPLETED"
TASK_FAILED: Final = "PERSONAL_DATA_DELETION_TASK_FAILED"
TASK: Final = "personalDataDeletionTask"
"""The key of a task's id in the resource of its events."""
MOST_ORDERS: Final = 500
"""Of one erasure."""


class Erasure(Struct, frozen=True, rename="camel"):
    """One erasure. It holds no personal data itself."""

    id: str
    business_product_id: str
    state: State
    asked_at: Instant
    asked_by: str
    """An API key's id, or the position of the event that asked for it."""
    orders: tuple[str, ...]
    """Order ids."""
    position: int = 0
    """First the journal's end when it was asked for; then of the last record that makes the projector fold anew."""
    records: int = 0
    """How many bodies were rewritten."""
    done_at: Instant | None = None
    shopper: bool = False
    """Asked for by email: further orders of the same shopper, found when it begins, belong to it."""
    task_id: str = ""
    """Amazon's task that it waits, or waited, for."""
    task_outcome: TaskOutcome = ""
    """What Amazon's last event said of the task."""


def task_erasure_id(business_product_id: str, task_id: str) -> str:
    """The id of the one erasure for a task."""
    stem = f"{business_product_id}\0{task_id}".encode("utf-8", "surrogatepass")
    return "era_" + blake2b(stem, digest_size=12, person=b"erasure").hexdigest()


def heard(
    known: Erasure | None, task: tuple[str, str], outcome: TaskOutcome, event: tuple[int, Instant]
) -> Erasure:
    """The erasure for a task, (business product, task id), after an event about it, (position, published at): one
    that waits begins with COMPLETED; of an unknown task somebody has to say whose data it was."""
    position, at = event
    if known is None:
        product, task_id = task
        name = task_erasure_id(product, task_id)
        return Erasure(
            name, product, "UNCLAIMED", at, str(position), (), task_id=task_id, task_outcome=outcome
        )
    begins = known.state == "WAITING" and outcome == "COMPLETED"
    state: State = "ASKED" if begins else known.state
    if known.task_outcome == "COMPLETED":
        outcome = "COMPLETED"
    return replace(known, state=state, task_outcome=outcome, position=position if begins else known.position)
