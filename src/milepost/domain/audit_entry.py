"""Entries of the audit log: who did what to what, when. Written once, never changed.

An entry holds ids, not words of people: no password, no token, nothing of a shopper. The actions here are those about
users; whatever else is done has a name of the same form, `thing.done`.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field

from milepost.domain.instant import Instant

LONGEST_DETAIL: Final = 300
"""Characters of one detail; what is longer is cut."""

SIGNED_IN: Final = "user.signedIn"
SIGN_IN_FAILED: Final = "user.signInFailed"
LOCKED_OUT: Final = "user.lockedOut"
SIGNED_OUT: Final = "user.signedOut"
INVITED: Final = "user.invited"
LINKED: Final = "user.linkMade"
PASSWORD_SET: Final = "user.passwordSet"
CHANGED: Final = "user.changed"
DISABLED: Final = "user.disabled"
ENABLED: Final = "user.enabled"
SESSION_ENDED: Final = "session.ended"


class AuditEntry(Struct, frozen=True):
    """One thing that somebody did."""

    at: Instant
    actor: str
    """A user's id, or an API key's; `nobody` of a try to sign in that failed."""
    action: str
    subject: str = ""
    """What it was done to: an id."""
    business_product_id: str = ""
    """Whose it is; empty: of several, or of the hub itself, so only for who may see all."""
    details: Mapping[str, str] = field(default_factory=dict)
