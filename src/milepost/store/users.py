"""Users of the console as every store has them, with sessions, one-time links, tries to sign in; the audit log."""

from collections.abc import Collection, Sequence
from typing import Protocol

from milepost.domain.audit_entry import AuditEntry
from milepost.domain.instant import Instant
from milepost.domain.lockout import Tries
from milepost.domain.session import Session
from milepost.domain.user import Invitation, User


class Users(Protocol):
    def put(self, user: User) -> None:
        """Insert, or replace what is there under the same id. Raises `Conflict`: another has that sign-in name."""
        ...

    def get(self, id: str) -> User | None: ...

    def by_sign_in_name(self, folded: str) -> User | None: ...

    def page(self, after: str, limit: int) -> list[User]:
        """Those with an id above `after`, disabled ones too, in the order of ids, which is that of their making."""
        ...

    def named(self, ids: Collection[str]) -> dict[str, str]:
        """The names of these users, by id."""
        ...

    def any(self) -> bool:
        """Whether there is one at all."""
        ...

    def is_admin_besides(self, id: str) -> bool:
        """Whether anybody else can sign in as an admin of all business products."""
        ...

    def put_session(self, session: Session) -> None: ...

    def session(self, hash: bytes) -> tuple[Session, User] | None:
        """A session with its user, over or not, disabled or not."""
        ...

    def sessions(self, user_id: str, limit: int) -> list[Session]:
        """A user's, the one last seen first."""
        ...

    def note_seen(self, hash: bytes, at: Instant) -> None: ...

    def end_sessions(self, user_id: str, ids: Collection[str] | None = None) -> int:
        """End all of a user's sessions, or these of them; how many there were."""
        ...

    def put_invitation(self, invitation: Invitation) -> None: ...

    def invitation(self, hash: bytes) -> Invitation | None: ...

    def void_invitations(self, user_id: str) -> None:
        """Remove all links of a user; of an empty id, those for the first admin."""
        ...

    def tries(self, keys: Collection[str]) -> dict[str, Tries]: ...

    def put_tries(self, tries: Collection[Tries]) -> None: ...

    def forget_tries(self, keys: Collection[str]) -> None: ...

    def clean(self, now: Instant, limit: int) -> int:
        """Remove sessions and links that are over and tries that are forgotten, `limit` of each at most; how many."""
        ...


class Audit(Protocol):
    """Rows are added and never changed or removed."""

    def add(self, entry: AuditEntry) -> None: ...

    def actions(self, limit: int) -> list[str]:
        """What was ever done, each once, in the order of the names."""
        ...

    def page(
        self,
        beyond: int,
        limit: int,
        business_products: Collection[str] | None,
        actor: str | None = None,
        action: str | None = None,
        *,
        newest_first: bool = False,
    ) -> Sequence[tuple[int, AuditEntry]]:
        """(number, entry) with a number above `beyond`, or the newest first, below it; 0: from the start."""
        ...
