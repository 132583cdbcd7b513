"""The channel `email`: a notification as a mail to the shop's SMTP server.

Email is at most once, so everything here is about what is known. Until the content of a mail is handed over,
whatever goes wrong it was certainly not taken. After that the server's answer decides: 2xx it was, 4xx and 5xx it was
not. When none comes (a timeout, a lost connection, something that is no answer) nobody knows, and `unknown` says so:
the server may have taken it before it went away.

A 5xx to the recipient or to the content is about that mail, which is `refused`. To anything else (the greeting, TLS,
the login, the sender) it is about us, and fails every mail alike until somebody mends it, so that is `again`, with
`is_out`.

One connection carries a burst: it is used for one mail after the other, closed when nothing came for a while, and
opened anew when the server has closed it. Nothing of an address or a text is logged or told: of a reply only its
codes.
"""

import asyncio
import re
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import structlog
from aiosmtplib import (
    SMTP,
    SMTPException,
    SMTPNotSupported,
    SMTPResponseException,
    SMTPServerDisconnected,
)
from msgspec import Struct

from milepost.domain.errors import Misconfigured
from milepost.domain.instant import Instant
from milepost.domain.notification import Notification
from milepost.pipeline.channels import Outcome
from milepost.shopper.composing import Composed
from milepost.transports.egress import is_loopback
from milepost.transports.mail_message import Sender, checked_address, mail_bytes

COMMAND_S = 30.0
"""How long a server may take to answer a command, real seconds."""
ANSWER_S = 120.0
"""The same once it has a mail: many look for spam before they answer."""
DEADLINE_S = 240.0
"""For everything about one mail."""
IDLE_S = 15.0
"""An unused connection is closed after so long; most servers do that themselves after a minute or more."""
MOST_A_CONNECTION = 100
"""Mails: many servers end a connection that brings more."""
NO_MAILBOX = frozenset(("5.1.1", "5.1.10"))
"""Enhanced codes (RFC 3463, RFC 7505) by which a server says that there is certainly no such mailbox."""

Stage = Literal["connection", "sender", "recipient", "start", "content"]
_WORDS: Final[dict[Stage, str]] = {
    "connection": "the connection",
    "sender": "the sender",
    "recipient": "the recipient",
    "start": "the mail",
    "content": "the mail",
}
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s|$)")
_STOPS = re.compile(rb"(?m)^\.")

log = structlog.get_logger()


class MailServer(Struct, frozen=True):
    """Where mails are handed in, and how the connection is secured."""

    host: str
    port: int
    security: Literal["tls", "starttls", "none"]
    username: str | None = None
    password: str | None = None


def parse_smtp_url(url: str) -> MailServer:
    """The setting SMTP_URL. Raises `Misconfigured`, which does not repeat it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        options = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as e:
        raise _not_a_server("it cannot be read") from e
    if parts.scheme not in ("smtp", "smtps") or not host or parts.path not in ("", "/") or parts.fragment:
        raise _not_a_server(
            "it must look like smtp://user:password@host:587 or smtps://user:password@host:465"
        )
    starttls = options.pop("starttls", ["always"])
    if options or starttls not in (["always"], ["never"]):
        raise _not_a_server("its one option is starttls, which is always or never")
    user = None if parts.username is None else unquote(parts.username)
    password = None if parts.password is None else unquote(parts.password)
    if parts.scheme == "smtps":
        return MailServer(host, port or 465, "tls", user, password)
    if starttls == ["always"]:
        return MailServer(host, port or 587, "starttls", user, password)
    if user is not None and not is_loopback(host):
        raise _not_a_server("with starttls=never a password would cross the network readably")
    return MailServer(host, port or 25, "none", user, password)


def _not_a_server(why: str) -> Misconfigured:
    return Misconfigured(f"MILEPOST_SMTP_URL is no mail server: {why}", setting="SMTP_URL")


class _Refused(Exception):
    """The server answered something else than it should."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        found = _ENHANCED.match(text)
        self.enhanced = found[1] if found else ""


class _Silent(Exception):
    """No answer came, and never will. Says why."""


class EmailChannel:
    """Sends one mail at a time. `tls` is what connections are secured with, that of the system when it is None."""

    name: Final = "email"

    def __init__(
        self,
        server: MailServer,
        sender: Sender,
        clock: Callable[[], Instant],
        *,
        command_s: float = COMMAND_S,
        answer_s: float = ANSWER_S,
        idle_s: float = IDLE_S,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._server = server
        self._sender = sender
        self._clock = clock
        self._command_s = command_s
        self._answer_s = answer_s
        self._idle_s = idle_s
        self._tls = tls
        self._smtp: SMTP | None = None
        self._carried = 0
        self._lock = asyncio.Lock()
        self._closing: asyncio.Task[None] | None = None

    async def send(
        self, notification: Notification, composed: Composed, address: str, unsubscribe: str | None
    ) -> Outcome:
        """Send it once. Never raises; cancelled, nobody knows unless nothing was handed over."""
        to = checked_address(address)
        if to is None:
            return Outcome("refused", "what stands in the order is no email address", is_nobody=True)
        content = mail_bytes(notification.id, composed, self._sender, to, unsubscribe, self._clock())
        async with self._lock:
            self._rest_no_more()
            transaction = _Transaction(self._sender.address, to, content, self._command_s, self._answer_s)
            try:
                async with asyncio.timeout(DEADLINE_S):
                    outcome = await self._send(transaction)
            except TimeoutError:
                outcome = _without_answer(transaction.stage, "it took too long")
            except BaseException:
                self._drop()
                raise
            if transaction.is_broken:
                self._drop()
            self._rest()
        if outcome.result != "sent":
            log.info(
                "email.not_sent", notification=notification.id, result=outcome.result, why=outcome.detail
            )
        return outcome

    async def open(self) -> None:
        """Nothing yet: the connection is opened when there is something to send."""

    async def close(self) -> None:
        """Take leave of the server."""
        self._rest_no_more()
        async with self._lock:
            await self._quit()

    # ── One mail ───────────────────────────────────────────────────────────────────────────────────────────

    async def _send(self, transaction: "_Transaction") -> Outcome:
        kept = self._smtp is not None and self._smtp.is_connected
        outcome = await self._try(transaction)
        if kept and transaction.is_broken and transaction.stage == "sender":
            # Servers close connections that rest. Nothing was said of this mail: once more on a new one.
            self._drop()
            outcome = await self._try(transaction)
        return outcome

    async def _try(self, transaction: "_Transaction") -> Outcome:
        transaction.stage, transaction.is_broken = "connection", True
        try:
            smtp = await self._connected()
            self._carried += 1
            await transaction.run(smtp)
        except _Refused as e:
            return await self._refused(transaction, e)
        except _Silent as e:
            return _without_answer(transaction.stage, str(e))
        except SMTPNotSupported:
            transaction.is_broken = False
            return Outcome("refused", "the mail server takes no addresses in other alphabets")
        except (SMTPException, OSError, ValueError) as e:
            return _without_answer(transaction.stage, _words(e))
        return Outcome("sent")

    async def _refused(self, transaction: "_Transaction", refusal: _Refused) -> Outcome:
        """What an answer means, and whether the connection is good for more."""
        stage, code = transaction.stage, refusal.code
        if not 400 <= code < 600:
            return _without_answer(stage, "the mail server's answer was none")
        detail = f"the mail server refused {_WORDS[stage]}: {code} {refusal.enhanced}".rstrip()
        if stage in ("connection", "sender") or code == 421:
            return Outcome("again", detail, is_out=True)
        transaction.is_broken = not await self._reset()
        if code < 500:
            return Outcome("again", detail)
        return Outcome("refused", detail, is_nobody=stage == "recipient" and refusal.enhanced in NO_MAILBOX)

    # ── The connection ─────────────────────────────────────────────────────────────────────────────────────

    async def _connected(self) -> SMTP:
        """The connection, opened and logged in where that is needed."""
        if self._carried >= MOST_A_CONNECTION:
            await self._quit()
        if self._smtp is None or not self._smtp.is_connected:
            server = self._server
            self._carried = 0
            self._smtp = SMTP(
                hostname=server.host,
                port=server.port,
                username=server.username,
                password=server.password,
                timeout=self._command_s,
                use_tls=server.security == "tls",
                start_tls=server.security == "starttls",
                tls_context=self._tls,
                local_hostname=self._sender.domain,
            )
            try:
                await self._smtp.connect()
            except SMTPResponseException as e:
                raise _Refused(e.code, e.message) from None
        return self._smtp

    async def _reset(self) -> bool:
        """Whether the connection is ready for another mail, after one that was refused."""
        try:
            assert self._smtp is not None
            await self._smtp.rset()
        except (SMTPException, OSError):
            return False
        return True

    async def _quit(self) -> None:
        if self._smtp is not None and self._smtp.is_connected:
            with suppress(SMTPException, OSError):
                await self._smtp.quit(timeout=min(self._command_s, 5.0))
        self._drop()

    def _drop(self) -> None:
        if self._smtp is not None:
            self._smtp.close()
        self._smtp = None

    def _rest(self) -> None:
        """Close the connection when nothing comes for a while."""
        if self._smtp is not None:
            self._closing = asyncio.create_task(self._quit_when_idle())

    def _rest_no_more(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None

    async def _quit_when_idle(self) -> None:
        await asyncio.sleep(self._idle_s)
        async with self._lock:
            await self._quit()


class _Transaction:
    """One mail on its way: how far it came, and whether what was said so far still makes sense to both sides."""

    __slots__ = ("_address", "_answer_s", "_command_s", "_content", "_sender", "is_broken", "stage")

    def __init__(self, sender: str, address: str, content: bytes, command_s: float, answer_s: float) -> None:
        self._sender = sender
        self._address = address
        self._content = content
        self._command_s = command_s
        self._answer_s = answer_s
        self.stage: Stage = "connection"
        self.is_broken = True
        """Not at a point where another mail could follow."""

    async def run(self, smtp: SMTP) -> None:
        """Returns when it was taken. Raises `_Refused`, `_Silent` and what aiosmtplib raises."""
        self.stage = "sender"
        is_ascii = self._address.isascii()
        try:
            if not is_ascii:
                if smtp.is_ehlo_or_helo_needed:
                    await smtp.ehlo()
                if not smtp.supports_extension("smtputf8"):
                    raise SMTPNotSupported("SMTPUTF8")
            await smtp.mail(self._sender, options=() if is_ascii else ("SMTPUTF8",))
            self.stage = "recipient"
            await smtp.rcpt(self._address, encoding="ascii" if is_ascii else "utf-8")
            self.stage = "start"
            ready = await smtp.execute_command(b"DATA")
            if ready.code != 354:
                raise _Refused(ready.code, ready.message)
            answer = await self._hand_over(smtp)
        except SMTPResponseException as e:
            raise _Refused(e.code, e.message) from None
        if not 200 <= answer[0] < 300:
            raise _Refused(*answer)
        self.is_broken = False

    async def _hand_over(self, smtp: SMTP) -> tuple[int, str]:
        """The content, and what is answered to it. aiosmtplib's own `data` does not tell a connection that was lost
        before it from one that was lost after it."""
        protocol = smtp.protocol
        if protocol is None:
            raise _Silent("the connection was lost")
        # It raises when nothing can be written; from here on the server may have all of it.
        protocol.write(_STOPS.sub(b"..", self._content) + b".\r\n")
        self.stage = "content"
        answer = await protocol.read_response(timeout=self._answer_s)
        return answer.code, answer.message


def _without_answer(stage: Stage, why: str) -> Outcome:
    """Nothing more will be known: was it handed over?"""
    if stage == "content":
        return Outcome("unknown", f"the mail server had the mail and did not say whether it took it: {why}")
    return Outcome("again", f"the mail server could not be used: {why}", is_out=True)


def _words(error: Exception) -> str:
    """What went wrong, without what a server said: it may repeat an address."""
    if isinstance(error, SMTPServerDisconnected):
        return "the connection was lost"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, ssl.SSLError):
        return f"TLS: {cause.reason or type(cause).__name__}"
    if isinstance(cause, OSError):
        return f"{type(cause).__name__}: {cause.strerror or 'no connection'}"
    # The library's own words, when they are not a server's.
    return error.message if type(error) is SMTPException else type(error).__name__
