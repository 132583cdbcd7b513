"""A notification as a mail: its headers, its two forms of text, and the bytes that go over the wire.

Nothing that comes from an order can make a header: line breaks and other control characters become spaces, and an
address that is not plainly one is none. Everything is quoted-printable, so that any server takes it. Headers that
must not be folded or encoded (addresses, the id, links) are written as they are.
"""

import re
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

from msgspec import Struct

from milepost.domain.errors import Misconfigured
from milepost.domain.instant import Instant, to_datetime
from milepost.shopper.composing import Composed

LONGEST_ADDRESS, LONGEST_LOCAL = 254, 64
"""Characters, by RFC 5321."""
LONGEST_SUBJECT = 250

_LOCAL = re.compile(r"[^\s\x00-\x20\x7f\"(),:;<>@\[\\\].]+(?:\.[^\s\x00-\x20\x7f\"(),:;<>@\[\\\].]+)*")
"""A dot-atom, letters of other alphabets included. What needs quotes is nobody's address in practice."""
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_LINK = re.compile(r"https?://[!-;=?-~]+")
"""Without spaces and angle brackets, and nothing but ASCII."""


class Sender(Struct, frozen=True):
    """Who mails come from."""

    name: str
    address: str
    reply_to: str | None = None

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


def parse_sender(text: str, reply_to: str | None) -> Sender:
    """The settings MAIL_FROM and MAIL_REPLY_TO. Raises `Misconfigured`."""
    name, given = parseaddr(text)
    address = checked_address(given)
    if address is None or not address.isascii():
        raise Misconfigured("MILEPOST_MAIL_FROM is no address, as in: Shop <orders@shop.example>")
    if reply_to is None:
        return Sender(_plain(name), address)
    answers = checked_address(parseaddr(reply_to)[1])
    if answers is None or not answers.isascii():
        raise Misconfigured("MILEPOST_MAIL_REPLY_TO is no address")
    return Sender(_plain(name), address, answers)


def checked_address(text: str) -> str | None:
    """An address as it may stand in an envelope, its domain in ASCII; None where it is none."""
    local, at, domain = text.strip().rpartition("@")
    try:
        host = domain.encode("idna").decode() if domain else ""
        length = len(f"{local}@{host}".encode())
    except UnicodeError:
        return None
    labels = host.split(".")
    if not at or length > LONGEST_ADDRESS or len(local.encode()) > LONGEST_LOCAL or len(labels) < 2:
        return None
    if _LOCAL.fullmatch(local) is None or not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdigit():
        return None
    return f"{local}@{host}"


def mail_bytes(
    id: str, composed: Composed, sender: Sender, address: str, unsubscribe: str | None, now: Instant
) -> bytes:
    """The mail of a notification to a `checked_address`. The same id gives the same Message-ID."""
    own = [f"To: {address}", f"Message-ID: <{id}@{sender.domain}>", "Auto-Submitted: auto-generated"]
    if sender.reply_to is not None:
        own.append(f"Reply-To: {sender.reply_to}")
    if unsubscribe is not None and _LINK.fullmatch(unsubscribe):
        own.append(f"List-Unsubscribe: <{unsubscribe}>")
        if unsubscribe.startswith("https://"):
            # RFC 8058: one click is for https only.
            own.append("List-Unsubscribe-Post: List-Unsubscribe=One-Click")
    message = EmailMessage(SMTP)
    message["From"] = Address(sender.name, addr_spec=sender.address)
    message["Subject"] = _plain(composed.subject)[:LONGEST_SUBJECT]
    message["Date"] = format_datetime(to_datetime(now))
    message["Content-Language"] = _plain(composed.locale)
    message.set_content(_encodable(composed.text), cte="quoted-printable")
    message.add_alternative(_encodable(composed.html), subtype="html", cte="quoted-printable")
    return "\r\n".join((*own, "")).encode() + message.as_bytes()


def _plain(text: str) -> str:
    """On one line."""
    return _CONTROL.sub(" ", _encodable(text)).strip()


def _encodable(text: str) -> str:
    """Without the halves of characters that JSON lets pass."""
    return text.encode("utf-8", "replace").decode()
