"""Canaries: a hub that is given personal data and secrets on every road says none of it in its log, in its metrics,
in what commands print, or when it dies.

What may show a person is what somebody asks for one (`SHOWS`), and besides `notes list`, `quarantine show`, `explain`
and `export`, which are asked for words, bodies and facts. Backups have a test of their own."""

import asyncio
import json
import re
import signal
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.e2e.processes import WAIT_S, Place, place
from tests.e2e.recorder import Recorder
from tests.smtp_server import MailServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORDER, BOX = "CANARY-ORDER-2", "canary-box-2"
NAME, EMAIL = "Zebulon Quackenbush", "canary.zebulon@example.com"
STREET, PHONE = "Nightingale-Row-4711", "555-0142-9931"
PERSONAL = (NAME, EMAIL, STREET, PHONE, "Quackenbush")
PASSWORD, API_KEY = "canary-webhook-password-77", "mp_canary-api-key-77"
OAUTH, CLIENT = "canary-oauth-secret-77", "canary-client-secret-77"
SMTP_LOGIN = ("canary-mail-user", "canary-smtp-password-77")
TRACKING, POSTING = "canary-tracking-secret-77-0123456789abcdef", "whsec_" + "Q0FO" * 10
CONSOLE, WRONG = "canary console password 77", "canary wrong password 77"
SECRETS = (PASSWORD, API_KEY, OAUTH, CLIENT, SMTP_LOGIN[1], TRACKING, POSTING, CONSOLE, WRONG)
PUBLIC_URL = "https://orders.shop.example"

QUIET = (
    ("orders", "--json"),
    ("orders",),
    ("track", "ups", "NO-SUCH-NUMBER"),
    ("captures", "list", "--json"),
    ("subscribers", "list", "--json"),
    ("subscribers", "list"),
    ("attempts",),
    ("attempts", "--json"),
    ("quarantine", "list"),
    ("missing",),
    ("roads",),
    ("retention",),
    ("notifications", "list"),
    ("notifications", "list", "--json"),
    ("keys", "status"),
    ("erase", "--list"),
    ("erase", "--order", ORDER),
    ("erase", "--email", EMAIL),
    ("erase", "--email", "nobody-" + EMAIL),
    ("users", "list", "--json"),
    ("users", "list"),
    ("tail", "--no-follow", "--limit", "5"),
    ("rebuild", "--verify"),
    ("doctor",),
)
"""Commands that nobody asks for a person: they print no personal data. Secrets no command prints."""
SHOWS = frozenset({"orders", "quarantine"})
"""Those that list orders with their customers' names, and reasons why bodies could not be read, which quote them."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mails() -> AsyncIterator[MailServer]:
    async with MailServer(login=SMTP_LOGIN) as server:
        # What a mail server says may quote whom the mail is for.
        server.answers["RCPT"] = [f"550 5.7.1 <{EMAIL}> {NAME} is not wanted here"]
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(mails: MailServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    placed = place(
        tmp_path_factory.mktemp("canaries"),
        ("canary-user", PASSWORD),
        API_KEY,
        LOG_LEVEL="debug",
        EGRESS_ALLOW="127.0.0.0/8",
        OAUTH_CLIENT_ID="canary-client",
        OAUTH_CLIENT_SECRET=OAUTH,
        NOTIFICATIONS="true",
        NOTIFICATION_HOLD_S="0",
        NOTIFICATION_HOLD_DELIVERED_S="0",
        NOTIFICATIONS_PER_DAY="50",
        NOTIFICATION_WEBHOOK_SECRET=POSTING,
        SMTP_URL=mails.url,
        MAIL_FROM="Kettle <orders@shop.example>",
        TRACKING_SECRET=TRACKING,
        PUBLIC_URL=PUBLIC_URL,
    )
    running = await asyncio.to_thread(placed.__enter__)
    try:
        yield running
    finally:
        await asyncio.to_thread(placed.__exit__, None, None, None)


def ask(url: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    """(status, answer) of a request."""
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def bodies(product: str) -> list[bytes]:
    """What no parser takes, and what it takes but should say nothing of."""
    resource = f"businessProduct/{product}/order/{ORDER}/delivery/{BOX}"
    good: dict[str, Any] = {
        "idempotencyKey": f"key-{PHONE}",
        "eventDescriptor": "PACKAGE_DELIVERED",
        "resources": [resource],
        "eventId": "canary-event",
        "apiVersion": "2024-11-01",
        "subscriptionId": "s",
        "eventTime": "2025-01-20T12:34:56Z",
        "data": {
            "order": {"id": ORDER, "customer": {"contact": {"name": NAME, "email": EMAIL}, "street": STREET}}
        },
    }
    return [
        json.dumps(each).encode()
        for each in (
            good,
            good | {"data": {"order": {"id": ORDER, "customer": {"contact": {"name": f"{NAME} Jr"}}}}},
            good | {"eventTime": EMAIL},
            good | {"resources": [f"{NAME}/{STREET}"]},
            good | {"resources": [resource, f"businessProduct/{EMAIL}/order/1"]},
            good
            | {"eventDescriptor": "SOMETHING_NEW", "idempotencyKey": PHONE, "eventId": "e2", NAME: EMAIL},
            good | {"eventId": {"street": STREET}},
            good | {"data": [PHONE]},
            {NAME: EMAIL},
            [STREET],
        )
    ] + [EMAIL.encode() + b"\xff{", b'{"name": "' + NAME.encode()]


def fed(hub: Place, receiver: Recorder) -> None:
    """Everything that the hub is told, by every road, right and wrong."""
    world = {
        "id": ORDER,
        "customer": {"contact": {"name": NAME, "email": EMAIL}},
        "packageInformation": {"details": [{"id": BOX}]},
    }
    created = json.dumps({"order": world}).encode()
    assert ask(f"{hub.sandbox_url}/sandbox/orders", created, **{"content-type": "application/json"})[0] < 300
    assert hub.run("subscribers", "add", "OMS", "--to", receiver.url, "--amazon").code == 0
    assert hub.run("trigger", "PACKAGE_DELIVERED", "--order", ORDER).code == 0
    deadline = time.monotonic() + WAIT_S
    order: dict[str, Any] = {}
    while time.monotonic() < deadline and not order.get("customer"):
        status, answer = ask(f"{hub.hub_url}/v1/orders/{ORDER}", authorization=f"Bearer {API_KEY}")
        order = json.loads(answer) if status == 200 else {}
        time.sleep(0.05)  # a fold gives no signal to another process
    assert order["customer"]["email"] == EMAIL
    for body in bodies(order["businessProductId"]):
        hub.send(body)
    ask(f"{hub.hub_url}/webhooks/buy-with-prime", b"{}", authorization=f"Basic {PASSWORD}")
    ask(f"{hub.hub_url}/oauth/token", f"grant_type=client_credentials&client_secret={OAUTH}".encode())
    for path in (
        f"/v1/search?q={EMAIL}",
        f"/v1/orders/{EMAIL}",
        f"/v1/{EMAIL}?limit={PHONE}",
        f"/track/{EMAIL}",
    ):
        ask(f"{hub.hub_url}{path}", authorization=f"Bearer {API_KEY}")
    ask(f"{hub.hub_url}/v1/orders", authorization=f"Bearer {CLIENT}{EMAIL}")
    for text in (json.dumps({"text": f"{NAME} {PHONE}"}), json.dumps({"text": {"name": NAME}}), "{" + EMAIL):
        ask(
            f"{hub.hub_url}/v1/orders/{ORDER}/notes",
            text.encode(),
            authorization=f"Bearer {API_KEY}",
            **{"content-type": "application/json"},
        )
    receiver.wait(2)


def mailed(hub: Place, mails: MailServer) -> list[str]:
    """One mail that is refused, then one that is taken and whose link is used; what that link is good for."""
    deadline, tried = time.monotonic() + WAIT_S, Counter[str]()
    while not mails.mails or tried["FAILED"] == 0:
        assert time.monotonic() < deadline, (tried, mails.commands)
        items = hub.get(f"/v1/notifications?orderId={ORDER}")["items"]
        settled = [n for n in items if n["state"] in ("SUPPRESSED", "FAILED", "SENT")]
        tried["FAILED"] += any(n["state"] == "FAILED" for n in settled)
        if settled and len(settled) == len(items):
            hub.run("notifications", "resend", settled[-1]["id"], "--may-arrive-twice")
        time.sleep(0.05)  # a notifier gives no signal to another process
    assert "AUTH" in mails.commands
    mail = mails.mails[0]
    assert mail.recipients == (EMAIL,)
    link = re.search(rf"<{PUBLIC_URL}(/[^>]+)>", mail.message["List-Unsubscribe"])
    assert link is not None
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert ask(f"{hub.hub_url}{link[1]}", b"List-Unsubscribe=One-Click", **form)[0] == 200
    assert ask(f"{hub.hub_url}{link[1]}x", b"List-Unsubscribe=One-Click", **form)[0] >= 400
    assert hub.run("notifications", "block", EMAIL, "--reason", f"{NAME} asked").code == 0
    return [part for part in re.split(r"[/.?=&]", link[1]) if len(part) > 30]


def signed_in(hub: Place) -> tuple[list[str], str]:
    """What lets people in: tokens of links and of a session, all used; and the link that the hub printed."""
    first = hub.hub.line("/setup/").rpartition("/")[2]
    again = {"password": CONSOLE, "again": CONSOLE}
    taken = form(hub, f"/setup/{first}", name="Ada", signInName="canary-ada", **again)
    assert taken.status_code == 303
    session = taken.cookies["__Host-milepost_session"]
    page = httpx.get(f"{hub.hub_url}/audit?actor={session}", cookies=dict(taken.cookies))
    assert page.status_code == 200
    for name, password, status in (
        ("canary-ada", WRONG, 401),
        (CONSOLE, WRONG, 401),
        ("canary-ada", CONSOLE, 303),
    ):
        assert form(hub, "/sign-in", name=name, password=password).status_code == status
    invited = hub.run("users", "invite", "canary-grace", "Grace", "--json").json()["link"]["path"]
    assert form(hub, invited, password="short", again="short").status_code == 400
    made = hub.run("users", "reset", "CANARY-GRACE", "--json").json()["link"]["path"]
    assert form(hub, invited, **again).status_code == 404
    assert form(hub, made, **again).status_code == 303
    return [session, *(path.rpartition("/")[2] for path in (invited, made))], first


def form(hub: Place, path: str, **fields: str) -> httpx.Response:
    return httpx.post(f"{hub.hub_url}{path}", data=fields, timeout=WAIT_S)


def found(text: str, words: tuple[str, ...]) -> list[str]:
    return [word for word in words if word.lower() in text.lower()]


async def test_nothing_personal_and_no_secret_is_said_where_nobody_asked_for_it(
    hub: Place, mails: MailServer
) -> None:
    await asyncio.to_thread(say_nothing, hub, mails)


def say_nothing(hub: Place, mails: MailServer) -> None:
    receiver = Recorder()
    receiver.status = 500
    try:
        fed(hub, receiver)
        links = mailed(hub, mails)
        assert links
        tokens, first = signed_in(hub)
        status, metrics = ask(f"{hub.hub_url}/metrics", authorization=f"Bearer {API_KEY}")
        assert status == 200
        assert found(metrics, PERSONAL + SECRETS) == []
        told: dict[str, list[str]] = {}
        for arguments in QUIET:
            ran = hub.run(*arguments)
            given = " ".join(arguments)
            assert ran.code != 2, (given, ran)
            wanted = () if arguments[0] in SHOWS else PERSONAL
            told[given] = [word for word in found(ran.out + ran.err, wanted + SECRETS) if word not in given]
        assert {given: words for given, words in told.items() if words} == {}
        signing = hub.run("subscribers", "add", "second", "--to", receiver.url, "--json").json()
        assert found(hub.run("subscribers", "list", "--json").out, (signing["secret"],)) == []
        assert hub.run("erase", "--email", EMAIL, "--yes", "--wait").code == 0
        hub.hub.process.send_signal(signal.SIGABRT)
        hub.hub.process.wait(WAIT_S)
        logged = "\n".join([*hub.hub.printed, *hub.hub.log])
        assert "erasure" in logged
        assert "email.not_sent" in logged
        assert "console.sign_in_failed" in logged
        assert found(logged, (*PERSONAL, *SECRETS, signing["secret"], *links, *tokens)) == []
        assert found("\n".join(hub.hub.log), (first,)) == [], "it is printed, and not logged"
    finally:
        receiver.close()
