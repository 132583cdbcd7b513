"""Signing in and setting passwords: what happens in which order, so that nobody learns who has an account.

1. In one transaction the try is counted by name and by address, and refused while one is locked (`domain.lockout`).
2. The password is compared in a thread, with a decoy where nobody has the name, so that it takes as long.
3. In another transaction a right one begins a session, if the user is still who they were.

Tries are counted under hashes: people type passwords where their names belong. What is over is removed here, a few
hundred rows at a time.
"""

import hashlib
from collections.abc import Mapping

import structlog
from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.audit_entry import LOCKED_OUT, PASSWORD_SET, SIGN_IN_FAILED, SIGNED_IN
from milepost.domain.errors import NotFound, TooManyRequests, Unauthenticated
from milepost.domain.instant import DAY, MINUTE, Instant
from milepost.domain.lockout import Counted, Tries, forgiven, is_locked, tried
from milepost.domain.user import LONGEST_NAME, Invitation, User, folded
from milepost.store import Transaction
from milepost.web import sessions
from milepost.web.audit import audit
from milepost.web.context import Context
from milepost.web.hashing import hashing
from milepost.web.remote import counted_as

WRONG = "The sign-in name or the password is wrong."
NO_LINK = "This link is not valid, or not any more. Ask an admin for a new one."
_CLEANED = 200
_OF_LATE = 30 * DAY
_REMEMBERED = 50
"""Sign-ins of somebody whose addresses are known."""

log = structlog.get_logger()


class Browser(Struct, frozen=True):
    """What somebody signs in with."""

    name: str
    address: str
    token: str | None = None
    """Of the session that it has already, which ends."""


class _Counted(Struct, frozen=True):
    """A try that was counted: under which keys, and whose name it was."""

    keys: dict[Counted, str]
    user: User | None
    locked_until: Instant


async def sign_in(context: Context, name: str, password: str, browser: Browser) -> str:
    """The token of a new session. Raises `Unauthenticated`, saying nothing more; `TooManyRequests` while locked."""
    now = context.clock()
    counted = await context.store.write(lambda tx: _count(tx, name[:LONGEST_NAME], browser.address, now))
    if counted.locked_until > now:
        minutes = -(-(counted.locked_until - now) // MINUTE)
        raise TooManyRequests(
            f"Too many tries that were wrong. Try again in {minutes} min, or ask an admin for a new link."
        )
    user = counted.user
    known = user is not None and user.state == "active"
    hashed = user.password_hash if user is not None and known else None
    if not await hashing.is_right(hashed, password) or user is None or hashed is None:
        await context.store.write(lambda tx: _failed(tx, user, counted.keys, browser, now))
        log.info("console.sign_in_failed", user=user.id if user is not None else None)
        raise Unauthenticated(WRONG)
    renewed = await hashing.hash(password) if hashing.is_to_be_renewed(hashed) else None
    token = sessions.new_token()
    await context.store.write(lambda tx: _succeeded(tx, user, renewed, counted, token, browser, now))
    log.info("console.signed_in", user=user.id)
    return token


def _count(tx: Transaction, name: str, address: str, now: Instant) -> _Counted:
    tx.users.clean(now, _CLEANED)
    user = tx.users.by_sign_in_name(folded(name))
    keys: dict[Counted, str] = {"name": _key("name", folded(name))}
    if address:
        keys["address"] = _key("address", counted_as(address))
    before = tx.users.tries(keys.values())
    known = {counted: before.get(key, Tries(key)) for counted, key in keys.items()}
    locked = {counted: each.locked_until for counted, each in known.items() if is_locked(each, now)}
    if "name" in locked and user is not None and _comes_as_ever(tx, user, address, now):
        del locked["name"]
    if locked:
        return _Counted(keys, user, max(locked.values()))
    after = {counted: tried(each, counted, now) for counted, each in known.items()}
    tx.users.put_tries(after.values())
    return _Counted(keys, user, Instant(0))


def _comes_as_ever(tx: Transaction, user: User, address: str, now: Instant) -> bool:
    """Whether they signed in from this address of late, so that strangers who try their name do not lock them out of
    where they work. Tries from there are held back by the address."""
    if not address:
        return False
    rows = tx.audit.page(0, _REMEMBERED, None, user.id, SIGNED_IN, newest_first=True)
    known = {counted_as(entry.details.get("address", "")) for _, entry in rows if entry.at > now - _OF_LATE}
    return counted_as(address) in known


def _failed(
    tx: Transaction, user: User | None, keys: Mapping[Counted, str], browser: Browser, now: Instant
) -> None:
    """Written of a known user only: what others try has no end. Their tries are counted all the same, and written
    once more, so that it takes as long."""
    if user is None:
        tx.users.put_tries(tx.users.tries(keys.values()).values())
        return
    told = {"address": browser.address}
    product = product_of(user)
    audit(tx, "nobody", SIGN_IN_FAILED, user.id, told, at=now, business_product_id=product)
    key = _key("name", folded(user.sign_in_name))
    tries = tx.users.tries([key]).get(key, Tries(key))
    if is_locked(tries, now):
        details = {"wrong": tries.wrong, "minutes": (tries.locked_until - now) // MINUTE} | told
        audit(tx, "nobody", LOCKED_OUT, user.id, details, at=now, business_product_id=product)
        log.warning("console.locked_out", user=user.id, wrong=tries.wrong)


def _succeeded(
    tx: Transaction,
    user: User,
    renewed: str | None,
    counted: _Counted,
    token: str,
    browser: Browser,
    now: Instant,
) -> None:
    current = tx.users.get(user.id)
    if current is None or current.state != "active" or current.password_hash != user.password_hash:
        raise Unauthenticated(WRONG)
    if renewed is not None:
        tx.users.put(replace(current, password_hash=renewed))
    _forgive(tx, counted.keys)
    start(tx, current, token, browser, now)
    audit(
        tx,
        current,
        SIGNED_IN,
        current.id,
        {"address": browser.address},
        at=now,
        business_product_id=product_of(current),
    )


def _forgive(tx: Transaction, keys: dict[Counted, str]) -> None:
    tries = tx.users.tries(keys.values())
    for counted, key in keys.items():
        left = forgiven(tries[key], counted) if key in tries else None
        if left is None:
            tx.users.forget_tries([key])
        else:
            tx.users.put_tries([left])


def start(tx: Transaction, user: User, token: str, browser: Browser, now: Instant) -> None:
    """A new session, in the place of the one that the browser had."""
    if browser.token is not None:
        former = tx.users.session(sessions.hash_of_token(browser.token))
        if former is not None:
            tx.users.end_sessions(former[0].user_id, [former[0].id])
    sessions.begin(tx, user, token, now, browser.name, browser.address)


def invited(tx: Transaction, token: str, now: Instant) -> tuple[Invitation, User | None]:
    """A link that is still good, with its user; None: whoever has it becomes the first admin. Raises `NotFound`."""
    link = tx.users.invitation(sessions.hash_of_token(token))
    if link is None or not link.is_good(now):
        raise NotFound(NO_LINK)
    if not link.user_id:
        if tx.users.any():
            raise NotFound(NO_LINK)
        return link, None
    user = tx.users.get(link.user_id)
    if user is None or user.state == "disabled":
        raise NotFound(NO_LINK)
    return link, user


def set_by_link(
    tx: Transaction,
    invitation_token: str,
    user: User,
    hashed: str,
    token: str,
    browser: Browser,
    now: Instant,
) -> None:
    """Use a link up: the user has this password, every former session ends and a new one begins. `user` is new where
    the link is for the first admin. Raises `NotFound`: it was used meanwhile."""
    link, known = invited(tx, invitation_token, now)
    current = replace(known or user, password_hash=hashed)
    if known is not None and known.id != user.id:
        raise NotFound(NO_LINK)
    tx.users.put(current)
    tx.users.void_invitations(link.user_id)
    _password_set(tx, current, now, by=link.purpose)
    start(tx, current, token, browser, now)


def change_password(
    tx: Transaction, user: User, hashed: str, token: str, browser: Browser, now: Instant
) -> None:
    """Somebody who is signed in has another password: every session ends, and a new one begins here. Raises
    `Unauthenticated`: the password was changed meanwhile."""
    current = tx.users.get(user.id)
    if current is None or current.state != "active" or current.password_hash != user.password_hash:
        raise Unauthenticated("Your password was changed meanwhile. Sign in again.")
    changed = replace(current, password_hash=hashed)
    tx.users.put(changed)
    tx.users.void_invitations(user.id)
    _password_set(tx, changed, now, by="user")
    start(tx, changed, token, browser, now)


def _password_set(tx: Transaction, user: User, now: Instant, by: str) -> None:
    tx.users.end_sessions(user.id)
    tx.users.forget_tries([_key("name", folded(user.sign_in_name))])
    audit(tx, user, PASSWORD_SET, user.id, {"by": by}, at=now, business_product_id=product_of(user))


def product_of(user: User) -> str:
    """Whose an entry about a user is: the one business product they have; else only who sees all may read it."""
    return user.business_products[0] if len(user.business_products) == 1 else ""


async def confirm(context: Context, user: User, password: str, address: str) -> bool:
    """Whether somebody who is signed in knows their password. Counted as tries to sign in are. Raises
    `TooManyRequests`."""
    now = context.clock()
    counted = await context.store.write(lambda tx: _count(tx, user.sign_in_name, address, now))
    if counted.locked_until > now:
        raise TooManyRequests("Too many tries that were wrong. Try again later.")
    if not await hashing.is_right(user.password_hash, password):
        await context.store.write(lambda tx: _failed(tx, user, counted.keys, Browser("", address), now))
        return False
    await context.store.write(lambda tx: _forgive(tx, counted.keys))
    return True


def _key(counted: Counted, what: str) -> str:
    return f"{counted}:{hashlib.sha256(what.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
