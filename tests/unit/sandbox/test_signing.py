"""Webhooks are signed with keys that every start finds again, that `/jwks.json` shows, and that can be rotated."""

from pathlib import Path
from typing import Any

from aiohttp import web
from tests.unit.sandbox.asking import Asking, config
from tests.unit.transports.receiver import Received, Receiver

from milepost.domain.errors import MilepostError
from milepost.domain.instant import Instant
from milepost.sandbox.program import Sandbox
from milepost.transports.signature import SignatureVerifier


async def verified(sandbox_url: str, received: Received) -> bool:
    verifier = SignatureVerifier(f"{sandbox_url}/jwks.json", clock=lambda: Instant(0))
    headers = {name.encode(): value.encode() for name, value in received.headers.items()}
    try:
        await verifier.verify(headers, received.body)
        await verifier.verify(headers, received.body)
    except MilepostError:
        return False
    return True


class Jwks:
    """Answers as the sandbox's `/jwks.json` did when it was asked."""

    def __init__(self, document: Any) -> None:
        self._document = document

    async def __call__(self, received: Received) -> Any:
        assert received.path == "/jwks.json"
        return web.json_response(self._document)


async def test_what_is_sent_is_signed_with_a_key_of_the_jwks(tmp_path: Path) -> None:
    async with Receiver() as hub:
        sandbox = Sandbox(config(tmp_path, hub_url=hub.url))
        await sandbox.open()
        asking = Asking(sandbox)
        before = await asking.get("/jwks.json")
        await asking.post("/sandbox/events", {"type": "PACKAGE_DELIVERY_CANCELLED"})
        await sandbox.settle()
        rotated = await asking.post("/sandbox/signing-keys/rotate", {})
        await asking.post("/sandbox/events", {"type": "PACKAGE_DELIVERY_CANCELLED"})
        await sandbox.settle()
        after = await asking.get("/jwks.json")
        await asking.close()
        await sandbox.close()
    old, new = hub.received[0], hub.received[-1]
    assert new.headers["x-amzn-kid"] == rotated["keyId"] != old.headers["x-amzn-kid"]
    # The next key was shown before it was used, and the former one still is.
    async with Receiver(Jwks(before)) as jwks:
        assert await verified(jwks.url, old)
        assert await verified(jwks.url, new)
    async with Receiver(Jwks(after)) as jwks:
        assert await verified(jwks.url, old)
        assert await verified(jwks.url, new)
        assert not await verified(jwks.url, new._replace(body=new.body + b" "))


async def test_the_jwks_has_the_former_key_the_active_one_and_the_next(tmp_path: Path) -> None:
    sandbox = Sandbox(config(tmp_path))
    await sandbox.open()
    asking = Asking(sandbox)
    active = [sandbox.signing.signer.key_id]
    for _ in range(4):
        active.append((await asking.post("/sandbox/signing-keys/rotate", {}))["keyId"])
        shown = [key["kid"] for key in (await asking.get("/jwks.json"))["keys"]]
        assert shown[:2] == active[-2:]
        assert len(shown) == 3
    await asking.close()
    await sandbox.close()


async def test_keys_are_kept_over_a_restart(tmp_path: Path) -> None:
    shown = []
    for _ in range(2):
        sandbox = Sandbox(config(tmp_path))
        await sandbox.open()
        shown.append(sandbox.signing.signer.jwks())
        await sandbox.close()
    assert shown[0] == shown[1]
    assert "PRIVATE" not in str(shown)
    assert all("d" not in key for key in shown[0]["keys"])
