"""Mails against a real server, well-behaved and not: what arrives, and what is known when it goes wrong."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs
from tests.smtp_server import DROP, HANG, MailServer, self_signed

from milepost.domain.errors import Misconfigured
from milepost.domain.instant import Instant, parse_instant, to_datetime
from milepost.domain.notification import Notification
from milepost.pipeline.channels import Outcome
from milepost.shopper.composing import Composed
from milepost.transports.email import MOST_A_CONNECTION, EmailChannel, parse_smtp_url
from milepost.transports.mail_message import checked_address, parse_sender

NOW = parse_instant("2025-03-03T12:00:00Z")
ADDRESS = "ada.lovelace@shopper.example"
UNSUBSCRIBE = "https://track.shop.example/unsubscribe/" + "x" * 300
SENDER = parse_sender("Ädas Shop <orders@shop.example>", "help@shop.example")


def clock() -> Instant:
    return NOW


def notification(id: str = "ntf_1") -> Notification:
    return Notification(id, "bp", "o", "d", "delivered", "", "SENDING", NOW, NOW, NOW, ())


def composed(subject: str = "Delivered: your parcel", text: str = "It is there.\n") -> Composed:
    return Composed("delivered", "en", subject, text, f"<p>{text}</p>", "", {})


def channel(server: MailServer, **options: object) -> EmailChannel:
    settings = {"command_s": 5.0, "answer_s": 5.0, **options}
    return EmailChannel(parse_smtp_url(server.url), SENDER, clock, **settings)  # type: ignore[arg-type]


async def send(made: EmailChannel, id: str = "ntf_1", address: str = ADDRESS, **words: str) -> Outcome:
    return await made.send(notification(id), composed(**words), address, UNSUBSCRIBE)


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with MailServer() as running:
        yield running


@pytest.fixture
async def mails(server: MailServer) -> AsyncIterator[EmailChannel]:
    made = channel(server)
    yield made
    await made.close()


# What arrives.


async def test_a_mail_has_both_forms_and_the_headers_that_mail_programs_look_for(
    server: MailServer, mails: EmailChannel
) -> None:
    text = "Es ist da: Ünïcödé.\n.\n.. a line of dots\n" + "long " * 300 + "\n"
    assert await send(mails, subject="Zugestellt: Pâté für Ada", text=text) == Outcome("sent")
    (mail,) = server.mails
    assert (mail.sender, mail.recipients) == ("orders@shop.example", (ADDRESS,))
    message = mail.message
    assert message["from"] == "Ädas Shop <orders@shop.example>"
    assert (message["to"], message["reply-to"]) == (ADDRESS, "help@shop.example")
    assert message["subject"] == "Zugestellt: Pâté für Ada"
    assert message["message-id"] == "<ntf_1@shop.example>"
    assert message["auto-submitted"] == "auto-generated"
    assert f"List-Unsubscribe: <{UNSUBSCRIBE}>\r\n".encode() in mail.content, "neither folded nor encoded"
    assert message["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
    assert parsedate_to_datetime(message["date"]) == to_datetime(NOW)
    assert message.get_content_type() == "multipart/alternative"
    assert (mail.text, mail.html) == (text, f"<p>{text}</p>\n")
    assert mail.content.isascii(), "any server takes it"
    assert max(map(len, mail.content.split(b"\r\n"))) < 998
    assert b"\n" not in mail.content.replace(b"\r\n", b"")


async def test_a_copy_can_be_told_by_its_id(server: MailServer, mails: EmailChannel) -> None:
    for each in ("ntf_1", "ntf_2", "ntf_1"):
        await send(mails, each)
    ids = [mail.message["message-id"] for mail in server.mails]
    assert ids[0] == ids[2] != ids[1]


@pytest.mark.parametrize(
    ("link", "headers"),
    [
        (None, []),
        ("http://shop.example/u/1", ["List-Unsubscribe"]),
        ("https://shop.example/u/1", ["List-Unsubscribe", "List-Unsubscribe-Post"]),
        ("https://shop.example/>\r\nBcc: x@y.example", []),
    ],
)
async def test_who_has_no_good_link_gets_no_header_of_it(
    server: MailServer, mails: EmailChannel, link: str | None, headers: list[str]
) -> None:
    await mails.send(notification(), composed(), ADDRESS, link)
    names = [name for name in server.mails[0].message if name.startswith("List-")]
    assert names == headers


async def test_nothing_that_comes_from_an_order_makes_a_header(
    server: MailServer, mails: EmailChannel
) -> None:
    subject = "Your\r\nBcc: eve@evil.example\r\n\r\nparcel\x00\u2028X: y\ud800"
    assert (await send(mails, subject=subject, text="x\r\n.\r\nMAIL FROM:<e@e.example>\r\n")).result == "sent"
    (mail,) = server.mails
    assert mail.message["bcc"] is None
    assert mail.message["subject"] == "Your Bcc: eve@evil.example parcel X: y?"
    assert mail.recipients == (ADDRESS,)
    assert "MAIL FROM" in mail.text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "ada@",
        "@shopper.example",
        "ada@localhost",
        "ada@shopper..example",
        "ada@-shopper.example",
        "ada@[127.0.0.1]",
        "ada@127.0.0.1",
        "a b@shopper.example",
        "ada@shopper.example>\r\nRCPT TO:<eve@evil.example",
        "ada@shopper.example,eve@evil.example",
        "Ada <ada@shopper.example>",
        '"ada x"@shopper.example',
        "ada\x00@shopper.example",
        ".ada@shopper.example",
        "ada..l@shopper.example",
        "a" * 65 + "@shopper.example",
        "ada@" + "a" * 64 + ".example",
        "ada@" + "a." * 130 + "example",
        "ada\ud800@shopper.example",
    ],
)
async def test_what_is_no_address_is_refused_and_no_server_is_asked(
    server: MailServer, mails: EmailChannel, text: str
) -> None:
    outcome = await send(mails, address=text)
    assert (outcome.result, outcome.is_nobody, server.connections) == ("refused", True, 0)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (" Ada.L+shop@Shopper.example ", "Ada.L+shop@Shopper.example"),
        ("o'brien@mail.shopper.example", "o'brien@mail.shopper.example"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("jörg@shopper.example", "jörg@shopper.example"),
    ],
)
def test_what_is_an_address(text: str, address: str) -> None:
    assert checked_address(text) == address


async def test_an_address_in_another_alphabet_needs_a_server_that_takes_it(
    server: MailServer, mails: EmailChannel
) -> None:
    outcome = await send(mails, address="jörg@shopper.example")
    assert (outcome.result, outcome.is_nobody, server.mails) == ("refused", False, [])
    assert (await send(mails)).result == "sent", "the connection is still good"
    assert server.connections == 1
    async with MailServer(utf8=True) as other:
        made = channel(other)
        assert (await send(made, address="jörg@shopper.example")).result == "sent"
        await made.close()
        assert other.mails[0].recipients == ("jörg@shopper.example",)


# Connections.


async def test_a_burst_goes_by_one_connection(server: MailServer, mails: EmailChannel) -> None:
    outcomes = await asyncio.gather(*(send(mails, f"ntf_{n}") for n in range(20)))
    assert {outcome.result for outcome in outcomes} == {"sent"}
    assert (len(server.mails), server.connections) == (20, 1)


async def test_a_connection_carries_no_more_than_most_servers_bear(
    server: MailServer, mails: EmailChannel
) -> None:
    for n in range(MOST_A_CONNECTION + 1):
        assert (await send(mails, f"ntf_{n}")).result == "sent"
    assert server.connections == 2


async def test_a_connection_that_rests_is_closed(server: MailServer) -> None:
    made = channel(server, idle_s=0.01)
    await send(made)
    async with asyncio.timeout(60):
        await server.left()
    await send(made, "ntf_2")
    await made.close()
    assert (len(server.mails), server.connections) == (2, 2)


async def test_a_connection_that_the_server_closed_meanwhile_is_opened_anew(
    server: MailServer, mails: EmailChannel
) -> None:
    await send(mails)
    server.answers["MAIL"] = [DROP]
    assert (await send(mails, "ntf_2")).result == "sent"
    server.answers["MAIL"] = ["421 4.4.2 idle for too long"]
    assert (await send(mails, "ntf_3")).result == "sent"
    server.hang_up()
    assert (await send(mails, "ntf_4")).result == "sent"
    assert (len(server.mails), server.connections) == (4, 4)


# When it goes wrong: what is sure, and what nobody knows.


@pytest.mark.parametrize(
    ("stage", "answer", "result", "is_out"),
    [
        # About us: nothing would go, whatever it is.
        ("CONNECT", "554 5.3.2 no service", "again", True),
        ("CONNECT", "421 4.3.2 too many connections", "again", True),
        ("CONNECT", DROP, "again", True),
        ("CONNECT", HANG, "again", True),
        ("EHLO", DROP, "again", True),
        ("EHLO", HANG, "again", True),
        ("MAIL", "550 5.7.1 not you", "again", True),
        ("MAIL", "451 4.3.0 not now", "again", True),
        ("MAIL", DROP, "again", True),
        ("MAIL", HANG, "again", True),
        # About this mail.
        ("RCPT", "550 5.1.1 <ada.lovelace@shopper.example> no such mailbox", "refused", False),
        ("RCPT", "550 5.7.1 blocked", "refused", False),
        ("RCPT", "450 4.2.0 greylisted", "again", False),
        ("RCPT", "421 4.3.2 shutting down", "again", True),
        ("RCPT", DROP, "again", True),
        ("RCPT", HANG, "again", True),
        ("DATA", "554 5.5.1 no", "refused", False),
        ("DATA", "452 4.3.1 disk full", "again", False),
        ("DATA", DROP, "again", True),
        ("DATA", HANG, "again", True),
        # The server has it: only an answer tells.
        ("END", "550 5.7.1 spam", "refused", False),
        ("END", "451 4.3.0 queue is full", "again", False),
        ("END", "421 4.3.2 shutting down", "again", True),
        ("END", DROP, "unknown", False),
        ("END", HANG, "unknown", False),
        ("END", "999 what", "unknown", False),
        ("END", "nonsense", "unknown", False),
        ("END", "354 go on", "unknown", False),
        ("CONTENT", DROP, "unknown", False),
        ("CONTENT", HANG, "unknown", False),
    ],
)
async def test_what_is_known_when_a_server_misbehaves(
    server: MailServer, stage: str, answer: str, result: str, is_out: bool
) -> None:
    seconds = 1.0 if answer == HANG else 10.0
    made = channel(server, command_s=seconds, answer_s=seconds)
    server.answers[stage] = answer
    outcome = await send(made)
    assert (outcome.result, outcome.is_out) == (result, is_out), outcome
    assert outcome.is_nobody == (stage == "RCPT" and "5.1.1" in answer)
    assert "ada" not in outcome.detail
    if result != "unknown":
        assert server.mails == [], "what is sure is true"
    # The next one finds a connection that both sides understand.
    server.answers.clear()
    taken = len(server.mails)
    assert (await send(made, "ntf_2")).result == "sent"
    assert [m.message["message-id"] for m in server.mails[taken:]] == ["<ntf_2@shop.example>"]
    await made.close()


async def test_after_a_refused_mail_the_connection_is_used_on(
    server: MailServer, mails: EmailChannel
) -> None:
    for stage in ("RCPT", "DATA", "END"):
        server.answers = {stage: ["550 5.7.1 no"]}
        assert (await send(mails)).result == "refused"
        assert (await send(mails)).result == "sent"
    assert server.connections == 1


async def test_nobody_listens() -> None:
    async with MailServer() as gone:
        pass
    made = channel(gone)
    outcome = await send(made)
    assert (outcome.result, outcome.is_out) == ("again", True)
    assert "Refused" in outcome.detail
    await made.close()


async def test_one_that_is_cancelled_leaves_no_half_connection(server: MailServer) -> None:
    made = channel(server)
    server.answers["END"] = [HANG]
    sending = asyncio.create_task(send(made))
    await server.reached("END")
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert (await send(made, "ntf_2")).result == "sent"
    await made.close()


async def test_no_line_of_the_log_has_an_address_or_a_text(server: MailServer) -> None:
    structlog.reset_defaults()
    server.answers = {"RCPT": ["550 5.1.1 <ada.lovelace@shopper.example> Ada is not here"], "END": [DROP]}
    made = channel(server)
    with capture_logs() as lines:
        await send(made)
        await send(made)
    await made.close()
    assert [line["event"] for line in lines] == ["email.not_sent", "email.not_sent"]
    assert "ada" not in str(lines).lower()
    assert "parcel" not in str(lines)


# Settings.


async def test_with_tls_and_login(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    trusting = ssl.create_default_context(cafile=str(certificate))
    for implicit in (False, True):
        async with MailServer(certificate=certificate, implicit=implicit, login=("me", "pa ss@/")) as server:
            url = server.url.replace("me:pa ss@/@", "me:pa%20ss%40%2F@")
            for tls, result in ((trusting, "sent"), (None, "again")):
                made = EmailChannel(parse_smtp_url(url), SENDER, clock, tls=tls)
                outcome = await send(made)
                await made.close()
                assert (outcome.result, outcome.is_out) == (result, result == "again")
            assert "CERTIFICATE_VERIFY_FAILED" in outcome.detail, "who it is, is checked"
            made = EmailChannel(parse_smtp_url(url.replace("pa%20", "no")), SENDER, clock, tls=trusting)
            outcome = await send(made)
            await made.close()
            assert (outcome.result, outcome.is_out) == ("again", True)
            assert "535" in outcome.detail
            assert len(server.mails) == 1


async def test_a_server_without_starttls_is_sent_nothing(server: MailServer) -> None:
    made = EmailChannel(parse_smtp_url(server.url.removesuffix("?starttls=never")), SENDER, clock)
    outcome = await send(made)
    await made.close()
    assert (outcome.result, outcome.is_out, server.mails) == ("again", True, [])
    assert "STARTTLS" in outcome.detail


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("smtp://mail.shop.example", ("mail.shop.example", 587, "starttls", None, None)),
        ("smtp://u:p%40%3A@mail.shop.example:2525", ("mail.shop.example", 2525, "starttls", "u", "p@:")),
        ("smtps://u:p@mail.shop.example/", ("mail.shop.example", 465, "tls", "u", "p")),
        ("smtp://mail:1025?starttls=never", ("mail", 1025, "none", None, None)),
        ("smtp://u:p@localhost?starttls=never", ("localhost", 25, "none", "u", "p")),
    ],
)
def test_a_mail_server_is_read(url: str, read: tuple[object, ...]) -> None:
    server = parse_smtp_url(url)
    assert (server.host, server.port, server.security, server.username, server.password) == read


@pytest.mark.parametrize(
    "url",
    [
        "mail.shop.example:587",
        "http://mail.shop.example",
        "smtp://:secret@",
        "smtp://u:secret@mail.shop.example:mail",
        "smtp://u:secret@mail.shop.example?starttls=no",
        "smtp://u:secret@mail.shop.example?tls=never",
        "smtp://u:secret@mail.shop.example?starttls=never",
        "smtp://u:secret@mail.shop.example/path",
    ],
)
def test_what_is_no_mail_server_is_said_without_its_password(url: str) -> None:
    with pytest.raises(Misconfigured, match="MILEPOST_SMTP_URL") as refused:
        parse_smtp_url(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "Shop", "Shop <orders>", "örders@shop.example"])
def test_a_sender_is_an_address(text: str) -> None:
    with pytest.raises(Misconfigured, match="MAIL_FROM"):
        parse_sender(text, None)
    with pytest.raises(Misconfigured, match="MAIL_REPLY_TO"):
        parse_sender("orders@shop.example", text or "nobody")


async def test_a_sender_with_a_long_domain_and_no_name(server: MailServer) -> None:
    sender = parse_sender("orders@" + "mail." * 20 + "shop.example", None)
    made = EmailChannel(parse_smtp_url(server.url), sender, clock)
    assert (await send(made, "ntf_" + "0" * 32)).result == "sent"
    await made.close()
    (mail,) = server.mails
    assert mail.message["message-id"] == f"<ntf_{'0' * 32}@{sender.domain}>"
    assert mail.message["from"].addresses[0].addr_spec == sender.address
