"""What we send verifies with the official libraries, of Python and of npm: every form, before, during and after a
rotation; and nothing else does.

The npm ones are those of `verifiers/package-lock.json`.
"""

import asyncio
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import standardwebhooks
import svix.webhooks
from tests import npm
from tests.unit.transports.receiver import Receiver

from milepost.domain.attempt import Destination, Message
from milepost.domain.instant import HOUR, Instant
from milepost.domain.subscriber import rotated
from milepost.domain.webhook_settings import StandardSignature, StandardWebhooks, WebhookSettings
from milepost.pipeline import signing_keys
from milepost.pipeline.sending import Parcel
from milepost.transports.webhook_sender import WebhookSender

HERE = Path(__file__).with_name("verifiers")
BODIES = (
    b'{"test": 2432232314}',
    '{"type":"order.updated","data":{"name":"Zo\u00eb \u2013 \U0001f4e6"}}'.encode(),
    b'{"a":"' + b"x" * 100_000 + b'"}',
)


class Case(NamedTuple):
    """A request as it came, a receiver's key, and whether that receiver accepts it."""

    key: str
    headers: dict[str, str]
    body: str
    good: bool


@pytest.fixture(scope="module")
def installed(request: pytest.FixtureRequest) -> Path:
    return npm.installed(HERE, request.config)


async def sent(signature: StandardWebhooks, now: Instant) -> list[tuple[dict[str, str], str]]:
    """Each body as a receiver got it."""
    async with Receiver() as receiver, WebhookSender(lambda: now, allow=("127.0.0.0/8",)) as sender:
        settings = WebhookSettings(receiver.url, signature=StandardSignature(signature))
        destination = Destination("sub_1", "webhook", msgspec.json.encode(settings))
        for number, body in enumerate(BODIES):
            message = Message(f"{number}-sub_1~rrpl_1", "sub_1", number, "pending", 0, now)
            (outcome,) = await sender.send(destination, [Parcel(message, body)])
            assert outcome.status == 200, outcome
        return [(r.headers, r.body.decode()) for r in await receiver.got(len(BODIES))]


async def cases() -> list[Case]:
    now = Instant(time.time_ns() // 1_000_000)
    first, second, stranger = (signing_keys.new_secret() for _ in range(3))
    private, other = signing_keys.new_private_key(), signing_keys.new_private_key()
    plain = StandardWebhooks((first,))
    during = rotated(plain, second, now, Instant(now + HOUR))
    after = rotated(plain, second, now, now)
    pair = rotated(StandardWebhooks((first,)), private, now, Instant(now + HOUR))
    public, foreign = signing_keys.public_key_of(private), signing_keys.public_key_of(other)
    wanted = {
        plain: {first: True, stranger: False},
        during: {first: True, second: True, stranger: False},
        after: {first: False, second: True},
        pair: {first: True, stranger: False, public: True, foreign: False},
    }
    found: list[Case] = []
    for signature, keys in wanted.items():
        for headers, body in await sent(signature, now):
            for key, good in keys.items():
                found.append(Case(key, headers, body, good))
                found.append(Case(key, headers, body.replace("}", " }", 1), False))
    late = Instant(now - 6 * 60_000)
    found += [Case(first, headers, body, False) for headers, body in await sent(plain, late)]
    return found


def by_npm(folder: Path, given: list[Case]) -> list[dict[str, bool]]:
    asked = json.dumps([{"key": c.key, "headers": c.headers, "body": c.body} for c in given])
    done = subprocess.run(
        [npm.NODE, "verify.mjs"],
        cwd=folder,
        input=asked,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "NODE_OPTIONS": ""},
    )
    answers: list[dict[str, bool]] = json.loads(done.stdout)
    return answers


def accepts(verifier: Any, case: Case) -> bool:
    try:
        verifier(case.key).verify(case.body, case.headers)
    except standardwebhooks.webhooks.WebhookVerificationError:
        return False
    return True


def test_the_official_libraries_accept_what_we_sign_and_nothing_else(installed: Path) -> None:
    given = asyncio.run(cases())
    answers = by_npm(installed, given)
    for case, answer in zip(given, answers, strict=True):
        about = (case.key[:6], case.good, case.headers["webhook-signature"])
        assert set(answer.values()) == {case.good}, about
        if not case.key.startswith(signing_keys.PUBLIC):
            assert accepts(standardwebhooks.Webhook, case) == case.good, about
            assert accepts(svix.webhooks.Webhook, case) == case.good, about
    assert len(given) >= 60
