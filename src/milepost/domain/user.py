"""People who may sign in to the console, and the one-time links by which they set a password.

| a user is      | when                                       | and may                                        |
|----------------|--------------------------------------------|------------------------------------------------|
| invited        | no password has been set                   | set one, by the link of the invitation         |
| active         | a password is set                          | sign in, and do what the role allows           |
| disabled       | an admin disabled the user, until enabled  | nothing: sessions and links are void           |

A user is never removed: the audit log names users for ever.
"""

import unicodedata
from collections.abc import Collection
from typing import Final, Literal

from msgspec import Struct

from milepost.domain.errors import Invalid
from milepost.domain.instant import DAY, HOUR, Instant
from milepost.domain.role import Role

LONGEST_NAME: Final = 120
_CALLED: Final = {"name": "The name", "signInName": "The sign-in name"}
Purpose = Literal["first", "invite", "reset"]
"""Of a link: the first admin of a hub, somebody new, somebody who forgot the password."""
LIFETIMES: Final[dict[Purpose, int]] = {"first": 24 * HOUR, "invite": 7 * DAY, "reset": 7 * DAY}
"""How long a link is good for."""


class User(Struct, frozen=True):
    """Somebody who may sign in."""

    id: str
    name: str
    sign_in_name: str
    """As it was written; `folded` is what is compared."""
    role: Role
    created_at: Instant
    business_products: tuple[str, ...] = ()
    """Empty: all."""
    password_hash: str = ""
    """Argon2's own text, with its salt and cost; empty: none was set yet."""
    disabled_at: Instant | None = None

    @property
    def state(self) -> Literal["invited", "active", "disabled"]:
        if self.disabled_at is not None:
            return "disabled"
        return "active" if self.password_hash else "invited"

    @property
    def reach(self) -> frozenset[str] | None:
        """The business products, None for all."""
        return frozenset(self.business_products) or None


class Invitation(Struct, frozen=True):
    """A one-time link to set a password; the link's token is kept as its hash only."""

    hash: bytes
    """SHA-256 of the token, which is 256 random bits."""
    purpose: Purpose
    created_at: Instant
    user_id: str = ""
    """Empty: whoever has the link becomes the first admin."""

    def is_good(self, now: Instant) -> bool:
        return now < self.created_at + LIFETIMES[self.purpose]


def folded(sign_in_name: str) -> str:
    """A sign-in name as it is compared: however it is composed, in capitals or not."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", sign_in_name).casefold()).strip()


def check_name(name: str, field: Literal["name", "signInName"]) -> str:
    """A name without blanks around it. Raises `Invalid`: empty, too long, or with what does not print."""
    text, called = unicodedata.normalize("NFC", name).strip(), _CALLED[field]
    if not text:
        raise Invalid(f"{called} must not be empty.", field=field)
    if len(text) > LONGEST_NAME:
        raise Invalid(f"{called} must have {LONGEST_NAME} characters or fewer.", field=field)
    if not text.isprintable():
        raise Invalid(f"{called} has characters that do not print.", field=field)
    return text


def check_sign_in_name(sign_in_name: str) -> str:
    """The same of a sign-in name, which is one word: an email address, or any other. Raises `Invalid`."""
    text = check_name(sign_in_name, "signInName")
    if any(each.isspace() for each in text):
        raise Invalid("The sign-in name must be one word, as an email address is.", field="signInName")
    return text


def manages(own: Collection[str] | None, business_products: Collection[str]) -> bool:
    """Whether an admin of these business products (None: all) manages somebody who has those (empty: all)."""
    return own is None or (bool(business_products) and set(own).issuperset(business_products))
