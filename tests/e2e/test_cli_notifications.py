"""`milepost notifications` beside a hub that really sends: a shopper is told by a mail server, ends it by the link in
the mail, and is told nothing more; an agent sees each, why it was kept back, and sends one again.
"""

import asyncio
import re
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.e2e.processes import WAIT_S, Place, place
from tests.smtp_server import Mail, MailServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = {
    "NOTIFICATIONS": "true",
    "NOTIFICATION_HOLD_S": "0",
    "NOTIFICATION_HOLD_DELIVERED_S": "0",
    "NOTIFICATIONS_PER_DAY": "50",
    "MAIL_FROM": "Kettle <orders@shop.example>",
    "TRACKING_SECRET": "s" * 32,
    "PUBLIC_URL": "https://orders.shop.example",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mails() -> AsyncIterator[MailServer]:
    async with MailServer() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(mails: MailServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    placed = place(tmp_path_factory.mktemp("notifications"), SMTP_URL=mails.url, **SETTINGS)
    running = await asyncio.to_thread(placed.__enter__)
    try:
        yield running
    finally:
        await asyncio.to_thread(placed.__exit__, None, None, None)


async def run(hub: Place, *arguments: str) -> Any:
    """A command's JSON."""
    ran = await asyncio.to_thread(hub.run, "notifications", *arguments, "--json")
    return ran.json()


async def told(hub: Place, order_id: str, kind: str, *states: str) -> dict[str, Any]:
    """The notification of a kind, once it is in one of these states: another process gives no signal of that."""
    deadline = time.monotonic() + WAIT_S
    while True:
        found = (await asyncio.to_thread(hub.get, f"/v1/notifications?orderId={order_id}"))["items"]
        last: dict[str, Any] | None = next((n for n in reversed(found) if n["kind"] == kind), None)
        if last is not None and last["state"] in states:
            return last
        assert time.monotonic() < deadline, [(n["kind"], n["state"], n["rule"], n["reason"]) for n in found]
        await asyncio.sleep(0.05)


async def sent(hub: Place, order_id: str) -> dict[str, Any]:
    """That it was delivered, as sent: where it waits for other parcels, or was history when the hub first
    heard of it, an agent lets it go."""
    last = await told(hub, order_id, "delivered", "WAITING", "SUPPRESSED", "SENT")
    if last["state"] == "WAITING":
        await asyncio.to_thread(hub.run, "notifications", "suppress", last["id"], "--reason", "told at once")
        last = await told(hub, order_id, "delivered", "SUPPRESSED", "SENT")
    if last["state"] == "SUPPRESSED":
        again = await run(hub, "resend", last["id"], "--may-arrive-twice")
        assert (again["state"], again["byHand"]) == ("WAITING", True)
    return await told(hub, order_id, "delivered", "SENT")


def post(url: str, fields: dict[str, str]) -> int:
    body = urllib.parse.urlencode(fields).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=WAIT_S) as answer:
        status: int = answer.status
        return status


async def test_a_shopper_is_told_and_ends_it(hub: Place, mails: MailServer) -> None:
    order = await asyncio.to_thread(hub.deliver)
    mine = await sent(hub, order["id"])
    mail = next(m for m in mails.mails if order["customer"]["email"] in m.recipients)
    (listed,) = await run(hub, "list", "--order", order["id"], "--kind", "delivered")
    assert listed == mine
    assert mine["channel"] == "email"
    shown = await run(hub, "show", mine["id"])
    assert [step["state"] for step in shown["history"]][-3:] == ["WAITING", "SENDING", "SENT"]
    assert order["customer"]["email"] not in str(shown)

    # By the one click of a mail program, with the link of the mail on this hub's address.
    link = unsubscribe_link(mail).replace("https://orders.shop.example", hub.hub_url)
    assert await asyncio.to_thread(post, link, {"List-Unsubscribe": "One-Click"}) == 200
    resent = await run(hub, "resend", mine["id"], "--may-arrive-twice", "--reason", "asked")
    assert (resent["state"], resent["byHand"]) == ("WAITING", True)
    kept_back = await told(hub, order["id"], "delivered", "SUPPRESSED")
    assert kept_back["rule"] == 13

    # What the shopper chose is not an agent's block, so letting go of one leaves it.
    freed = await run(hub, "unblock", mine["recipient"])
    assert (freed["off"], freed["blocked"]) == (["all"], None)


async def test_a_blocked_shopper_gets_nothing(hub: Place, mails: MailServer) -> None:
    order = await asyncio.to_thread(hub.deliver)
    mine = await sent(hub, order["id"])
    blocked = await run(hub, "block", order["customer"]["email"], "--reason", "asked us to")
    assert (blocked["recipient"], blocked["blocked"]) == (mine["recipient"], "asked us to")
    count = len(mails.mails)
    await run(hub, "resend", mine["id"], "--may-arrive-twice")
    assert (await told(hub, order["id"], "delivered", "SUPPRESSED"))["rule"] == 13
    assert (await run(hub, "unblock", order["customer"]["email"]))["blocked"] is None
    # It was told once, whatever became of it since.
    await run(hub, "resend", mine["id"], "--may-arrive-twice")
    await told(hub, order["id"], "delivered", "SENT")
    assert len(await mails.got(count + 1)) == count + 1


async def test_what_is_misused_is_told(hub: Place) -> None:
    async def refused(*arguments: str) -> tuple[int, str]:
        ran = await asyncio.to_thread(hub.run, "notifications", *arguments)
        return ran.code, ran.err

    assert (await refused("show", "ntf_0"))[0] == 1
    assert (await refused("preview", "letter"))[0] == 2
    code, words = await refused("list", "--state", "GONE")
    assert (code, "WAITING" in words) == (1, True)
    order = await asyncio.to_thread(hub.deliver)
    mine = await sent(hub, order["id"])
    code, words = await refused("resend", mine["id"])
    assert (code, "may arrive twice" in words) == (1, True)
    preview = await run(hub, "preview", "delivered", "--order", order["id"], "--locale", "es")
    assert preview["document"]["id"] == mine["id"]


def unsubscribe_link(mail: Mail) -> str:
    """Of the header that mail programs read, which the text holds too."""
    assert mail.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    found = re.search(r"<(https://[^>]+)>", mail.message["List-Unsubscribe"])
    assert found is not None
    assert found[1] in mail.text
    return found[1]
