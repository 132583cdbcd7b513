"""What an admin does about users: invite, change, disable, enable, make a link. Pages and API both call these.

Each is done in one transaction, with its entry in the audit log. An admin who is bound to business products manages
only users bound within them, and for such an admin others do not exist. The last admin who sees everything can be
neither disabled nor made less, so that there is always somebody who can let others in.
"""

import secrets
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.audit_entry import CHANGED, DISABLED, ENABLED, INVITED, LINKED
from milepost.domain.errors import Conflict, Forbidden, NotFound
from milepost.domain.instant import Instant
from milepost.domain.role import Role
from milepost.domain.user import Invitation, Purpose, User, check_name, check_sign_in_name, manages
from milepost.store import Transaction
from milepost.web.audit import audit
from milepost.web.sessions import hash_of_token
from milepost.web.signing_in import product_of


class Manager(Protocol):
    """An admin: a `Visitor` or a `Principal`."""

    @property
    def id(self) -> str: ...
    @property
    def business_products(self) -> frozenset[str] | None: ...


class Wanted(Struct, frozen=True):
    """What a user is to be."""

    name: str
    role: Role
    business_products: tuple[str, ...]
    """Empty: all that the admin has."""


def setup_path(token: str) -> str:
    """The path of a one-time link."""
    return f"/setup/{token}"


def new_user(name: str, sign_in_name: str, role: Role, products: tuple[str, ...], now: Instant) -> User:
    """A user who has no password yet. Raises `Invalid` for names that are none."""
    # The time first, so that the order of ids is the order in which users were made.
    user_id = f"usr_{now:013x}{secrets.token_hex(5)}"
    return User(user_id, check_name(name, "name"), check_sign_in_name(sign_in_name), role, now, products)


def invite(
    tx: Transaction, admin: Manager, wanted: Wanted, sign_in_name: str, token: str, now: Instant
) -> User:
    """A new user, and a link for them. Raises `Invalid`, `Forbidden`, and `Conflict` for a name that is taken."""
    products = _granted(admin, wanted.business_products)
    user = new_user(wanted.name, sign_in_name, wanted.role, products, now)
    tx.users.put(user)
    tx.users.put_invitation(Invitation(hash_of_token(token), "invite", now, user.id))
    _audit(tx, admin, INVITED, user, now, role=user.role, businessProducts=_told(user))
    return user


def visible_user(tx: Transaction, admin: Manager, user_id: str) -> User:
    """A user whom this admin manages. Raises `NotFound`."""
    user = None if "\0" in user_id else tx.users.get(user_id)
    if user is None or not manages(admin.business_products, user.business_products):
        raise NotFound(f"There is no user {user_id!r}.")
    return user


def visible_users(tx: Transaction, admin: Manager, after: str, size: int) -> list[User]:
    """Those whom this admin manages, the oldest first, with an id above `after`; `size` at most."""
    found: list[User] = []
    last = after
    while len(found) < size:
        users = tx.users.page(last, size)
        found.extend(user for user in users if manages(admin.business_products, user.business_products))
        if len(users) < size:
            break
        last = users[-1].id
    return found[:size]


def change(tx: Transaction, admin: Manager, user_id: str, wanted: Wanted, now: Instant) -> User:
    """Another name, role or reach. With another role or reach the user's sessions end."""
    user = visible_user(tx, admin, user_id)
    products = _granted(admin, wanted.business_products)
    name = check_name(wanted.name, "name")
    changed = replace(user, name=name, role=wanted.role, business_products=products)
    if changed == user:
        return user
    if changed.role != "admin" or changed.business_products:
        _leave_an_admin(tx, user)
    tx.users.put(changed)
    if (changed.role, changed.business_products) != (user.role, user.business_products):
        tx.users.end_sessions(user.id)
    renamed = changed.name if changed.name != user.name else None
    products_told = _told(changed) if changed.business_products != user.business_products else None
    role = f"{user.role} to {changed.role}" if changed.role != user.role else None
    _audit(tx, admin, CHANGED, user, now, role=role, businessProducts=products_told, name=renamed)
    return changed


def disable(tx: Transaction, admin: Manager, user_id: str, now: Instant) -> User:
    """Ends the user's sessions and links. Again changes nothing."""
    user = visible_user(tx, admin, user_id)
    if user.disabled_at is not None:
        return user
    _leave_an_admin(tx, user)
    disabled = replace(user, disabled_at=now)
    tx.users.put(disabled)
    tx.users.end_sessions(user.id)
    tx.users.void_invitations(user.id)
    _audit(tx, admin, DISABLED, user, now)
    return disabled


def enable(tx: Transaction, admin: Manager, user_id: str, now: Instant) -> User:
    """The user may sign in again, with the password that was. Again changes nothing."""
    user = visible_user(tx, admin, user_id)
    if user.disabled_at is None:
        return user
    enabled = replace(user, disabled_at=None)
    tx.users.put(enabled)
    _audit(tx, admin, ENABLED, user, now)
    return enabled


def make_link(tx: Transaction, admin: Manager, user_id: str, token: str, now: Instant) -> User:
    """A link to set a password, in the place of any other; all sessions of the user end. Raises `Conflict`: the user
    is disabled."""
    user = visible_user(tx, admin, user_id)
    if user.disabled_at is not None:
        raise Conflict("This user is disabled. Enable them first.")
    purpose: Purpose = "invite" if user.state == "invited" else "reset"
    tx.users.end_sessions(user.id)
    tx.users.void_invitations(user.id)
    tx.users.put_invitation(Invitation(hash_of_token(token), purpose, now, user.id))
    _audit(tx, admin, LINKED, user, now, purpose=purpose)
    return user


def invite_first(tx: Transaction, token: str, now: Instant) -> bool:
    """A link for the first admin, in the place of any other, while there is no user; whether it was made."""
    if tx.users.any():
        return False
    tx.users.void_invitations("")
    tx.users.put_invitation(Invitation(hash_of_token(token), "first", now))
    return True


def _granted(admin: Manager, wanted: tuple[str, ...]) -> tuple[str, ...]:
    own = admin.business_products
    products = tuple(sorted(set(wanted))) or tuple(sorted(own or ()))
    if own is not None and not own.issuperset(products):
        raise Forbidden("You can't give business products that you don't have.")
    return products


def _leave_an_admin(tx: Transaction, user: User) -> None:
    is_one = user.role == "admin" and user.state == "active" and not user.business_products
    if is_one and not tx.users.is_admin_besides(user.id):
        raise Conflict(
            "This is the last admin of all business products who can sign in. Make somebody else one first."
        )


def _told(user: User) -> str:
    return ", ".join(user.business_products) or "all"


def _audit(
    tx: Transaction, admin: Manager, action: str, user: User, now: Instant, **details: str | None
) -> None:
    product = product_of(user)
    audit(tx, admin, action, user.id, details, at=now, business_product_id=product)
