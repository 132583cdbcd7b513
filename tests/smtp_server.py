"""A real mail server for tests of what goes to shoppers: it keeps what it took, and misbehaves when it is told to.

    async with MailServer() as server:
        ...  # MILEPOST_SMTP_URL=server.url
        (mail,) = await server.got(1)
        mail.message["subject"], mail.text, mail.html

`server.answers[STAGE]` says what it does at a stage instead of what it ought to: a reply (`"550 5.1.1 no such
mailbox"`), `DROP` (the connection is gone) or `HANG` (nothing comes any more); a list is used up one by one, then it
behaves. The stages: CONNECT, EHLO, AUTH, STARTTLS, MAIL, RCPT, DATA (asked for), CONTENT (some of it has come), END
(all of it has come: by `DROP` and `HANG` it keeps the mail and says nothing).
"""

# ruff: noqa: N802 - what it overrides has such names

import asyncio
import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DROP, HANG = "DROP", "HANG"


class Mail(NamedTuple):
    """A mail that was taken."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes

    @property
    def message(self) -> EmailMessage:
        parsed = message_from_bytes(self.content, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed

    @property
    def text(self) -> str:
        return self._part("plain")

    @property
    def html(self) -> str:
        return self._part("html")

    def _part(self, kind: str) -> str:
        part = self.message.get_body((kind,))
        assert part is not None
        content: str = part.get_content()
        return content.replace("\r\n", "\n")


class MailServer:
    """Listens on a free port of loopback. With a `certificate` (see `self_signed`) it has STARTTLS, or TLS from the
    start when `implicit`; with a `login` it wants that."""

    def __init__(
        self,
        *,
        certificate: Path | None = None,
        implicit: bool = False,
        login: tuple[str, str] | None = None,
        utf8: bool = False,
    ) -> None:
        self.mails: list[Mail] = []
        self.answers: dict[str, str | list[str]] = {}
        self.connections = 0
        self.commands: list[str] = []
        """The stages that were reached, in order."""
        self.url = ""
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        self._implicit = implicit
        self._login = login
        self._utf8 = utf8
        self._open: set[asyncio.Transport] = set()
        self._came = asyncio.Condition()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        tls = self._tls if self._implicit else None
        self._server = await loop.create_server(lambda: _Session(self), "127.0.0.1", 0, ssl=tls)
        port = self._server.sockets[0].getsockname()[1]
        scheme = "smtps" if self._implicit else "smtp"
        login = "" if self._login is None else "{}:{}@".format(*self._login)
        never = "" if self._tls is not None else "?starttls=never"
        self.url = f"{scheme}://{login}127.0.0.1:{port}{never}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.hang_up()
        await self._server.wait_closed()

    def hang_up(self) -> None:
        """End every connection, as a server does with idle ones."""
        for transport in [*self._open]:
            transport.abort()

    async def got(self, count: int, seconds: float = 10.0) -> list[Mail]:
        """What was taken, once that is at least `count` mails."""
        async with asyncio.timeout(seconds), self._came:
            await self._came.wait_for(lambda: len(self.mails) >= count)
        return self.mails

    async def reached(self, stage: str, seconds: float = 10.0) -> None:
        """Wait until somebody comes as far as that."""
        async with asyncio.timeout(seconds), self._came:
            await self._came.wait_for(lambda: stage in self.commands)

    async def left(self) -> None:
        """Wait until nobody is connected."""
        async with self._came:
            await self._came.wait_for(lambda: not self._open)

    def answer(self, stage: str) -> str | None:
        """What is to be done at a stage instead of the usual."""
        planned = self.answers.get(stage)
        if isinstance(planned, list):
            return planned.pop(0) if planned else None
        return planned

    async def note(self, stage: str, mail: Mail | None = None) -> None:
        """Somebody came to a stage, or brought a mail."""
        self.commands.append(stage)
        if mail is not None:
            self.mails.append(mail)
        await self._tell()

    def knows(self, login: LoginPassword) -> bool:
        return self._login == (login.login.decode(), login.password.decode())

    @property
    def options(self) -> dict[str, Any]:
        """Of each session."""
        return {
            "hostname": "mail.test",
            "ident": "test",
            "tls_context": None if self._implicit else self._tls,
            "require_starttls": self._tls is not None and not self._implicit,
            "auth_require_tls": False,
            "enable_SMTPUTF8": self._utf8,
            "loop": asyncio.get_running_loop(),
        }

    def opened(self, transport: asyncio.Transport) -> None:
        self._open.add(transport)
        self.connections += 1

    def closed(self, transport: asyncio.Transport) -> None:
        self._open.discard(transport)
        self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        async with self._came:
            self._came.notify_all()


class _Session(SMTP):
    """One connection."""

    def __init__(self, server: MailServer) -> None:
        self._mail_server = server
        self._greeted = False
        self._connection: asyncio.Transport | None = None
        handler = _Handler(server, self.silence)
        super().__init__(handler, authenticator=handler.authenticate, **server.options)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._connection is None:
            assert isinstance(transport, asyncio.Transport)
            self._connection = transport
            self._mail_server.opened(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._connection is not None:
            self._mail_server.closed(self._connection)
        super().connection_lost(error)

    async def push(self, status: Any) -> None:
        if not self._greeted:
            self._greeted = True
            if await self._misbehaves("CONNECT"):
                return
        await super().push(status)

    async def silence(self, answer: str | None) -> None:
        """Say nothing any more, if that is what is to be done."""
        if answer == DROP and self._connection is not None:
            self._connection.abort()
        if answer in (DROP, HANG):
            await asyncio.Event().wait()  # until the connection is lost

    async def _misbehaves(self, stage: str) -> bool:
        """Whether something else than usual was done."""
        answer = self._mail_server.answer(stage)
        await self._mail_server.note(stage)
        await self.silence(answer)
        if answer is not None:
            await super().push(answer)
        return answer is not None

    async def smtp_EHLO(self, arg: str) -> None:
        if not await self._misbehaves("EHLO"):
            await super().smtp_EHLO(arg)

    async def smtp_STARTTLS(self, arg: str) -> None:
        if not await self._misbehaves("STARTTLS"):
            await super().smtp_STARTTLS(arg)

    async def smtp_AUTH(self, arg: str) -> None:
        if not await self._misbehaves("AUTH"):
            await super().smtp_AUTH(arg)

    async def smtp_MAIL(self, arg: str | None) -> None:
        if not await self._misbehaves("MAIL"):
            await super().smtp_MAIL(arg)

    async def smtp_RCPT(self, arg: str | None) -> None:
        if not await self._misbehaves("RCPT"):
            await super().smtp_RCPT(arg)

    async def smtp_DATA(self, arg: str) -> None:
        if await self._misbehaves("DATA"):
            return
        if "CONTENT" in self._mail_server.answers:
            await super().push("354 go on")
            await self._reader.readuntil()
            await self._misbehaves("CONTENT")
        else:
            await super().smtp_DATA(arg)


class _Handler:
    """What a connection does with a whole mail, and with who brings it."""

    def __init__(self, server: MailServer, silence: Callable[[str | None], Awaitable[None]]) -> None:
        self._server = server
        self._silence = silence

    async def handle_DATA(self, smtp: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.original_content, bytes)
        sender, recipients = envelope.mail_from or "", tuple(envelope.rcpt_tos)
        answer = self._server.answer("END")
        is_kept = answer is None or answer in (DROP, HANG)
        mail = Mail(sender, recipients, envelope.original_content) if is_kept else None
        await self._server.note("END", mail)
        await self._silence(answer)
        return answer or "250 2.0.0 taken"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        return AuthResult(success=self._server.knows(data), handled=False)


def self_signed(folder: Path) -> Path:
    """A file with a key and a certificate for 127.0.0.1 that is its own authority: a client that is to trust it has
    it as SSL_CERT_FILE."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.test")])
    now = datetime.now(UTC)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "mail.test.pem"
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
