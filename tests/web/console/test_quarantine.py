"""Quarantine on pages and in the API: seen, mended, retried alone and together, dismissed; whose it is."""

import msgspec
import pytest
from tests.web.console.lookers import SCRIPT, look_as, opened, sent, words
from tests.web.world import World, event

from milepost.domain.errors import Malformed
from milepost.store import Store
from milepost.web.findings import books_findings

GOOD = msgspec.json.encode(event("PACKAGE_DELIVERED", 1, "order/order-1/delivery/delivery-1"))
CUT = GOOD[:-1]


@pytest.fixture
def world(store: Store) -> World:
    return World(store, insecure=True, admin_key=None)


@pytest.fixture(autouse=True)
def operator(monkeypatch: pytest.MonkeyPatch) -> None:
    look_as(monkeypatch, "operator")


async def _kept(world: World, body: bytes, *products: str) -> None:
    with pytest.raises(Malformed):
        await world.ingest.ingest(body, products)


async def _put(world: World, body: bytes, code: str = "malformed_event") -> None:
    """A body that could not be read when it came and can be read now."""
    await world.store.write(lambda tx: tx.journal.quarantine(body, code, "not then", world.now, "sqs", ()))


async def test_a_body_is_shown_with_the_reason_and_what_to_do(world: World) -> None:
    await _kept(world, CUT)
    await _kept(world, b"\xff\xfe\x00binary")
    listed = await opened(world, "/quarantine")
    assert listed.index("/quarantine/2") < listed.index("/quarantine/1")
    first = words(await opened(world, "/quarantine/1"))
    assert CUT.decode() in first
    assert "mend it here" in first
    second = await opened(world, "/quarantine/2")
    assert "000000  ff fe 00 62 69 6e 61 72 79" in second
    assert "...binary" in second


async def test_a_mended_body_is_ingested_and_the_original_stays(world: World) -> None:
    await _kept(world, CUT)
    refused = await sent(world, "/quarantine/1/retry", body="{}")
    assert refused.status_code == 400
    assert "Nothing was done" in words(refused.text)
    done = await sent(world, "/quarantine/1/retry", body=GOOD.decode())
    assert (done.status_code, done.headers["location"]) == (303, "/quarantine/1?done=accepted")
    await world.project()
    kept = (await world.get("/v1/quarantine/1", None)).json()
    assert (kept["body"], kept["position"], kept["handledBy"]) == (CUT.decode(), 1, "usr_operator")
    became = (await world.get("/v1/events/event-1", None)).json()
    assert msgspec.json.encode(became["body"]) == msgspec.json.encode(msgspec.json.decode(GOOD))
    said = words(await opened(world, "/events/1"))
    assert "let out of quarantine by usr_operator, with a body that was mended by hand" in said
    again = await sent(world, "/quarantine/1/retry", body=GOOD.replace(b"event-1", b"event-2").decode())
    assert again.headers["location"].endswith("done=duplicate")
    assert (await world.get("/v1/events/event-2", None)).status_code == 404


async def test_all_of_a_reason_are_retried_as_they_came(world: World) -> None:
    for number in range(3):
        await _put(
            world, GOOD.replace(b"event-1", b"event-%d" % number).replace(b"key-1", b"key-%d" % number)
        )
    await _kept(world, CUT)
    await _put(world, GOOD, "unbound_business_product")
    answer = await sent(world, "/quarantine/retry", code="malformed_event")
    assert answer.headers["location"] == "/quarantine?done=retried&released=3&left=1"
    page = await opened(world, "/quarantine", done="retried", released=3, left=1)
    assert "3 let in, 1 stay as they are." in words(page)
    ids = [item["eventId"] for item in (await world.get("/v1/events", None)).json()["items"]]
    assert ids == ["event-0", "event-1", "event-2"]


async def test_what_is_dismissed_stays_and_can_still_be_let_in(world: World) -> None:
    await _put(world, GOOD)
    assert (await sent(world, "/quarantine/1/dismiss")).status_code == 303
    assert "/quarantine/1" not in await opened(world, "/quarantine")
    assert "usr_operator" in await opened(world, "/quarantine", state="dismissed")
    assert (await sent(world, "/quarantine/1/dismiss")).status_code == 409
    assert (await world.post("/v1/quarantine/1/dismiss", key=None)).status_code == 409
    counts = await world.store.read(lambda tx: tx.journal.counts("projector"))
    assert (counts.arrivals, counts.quarantined) == (1, 1)
    (finding,) = [f for f in books_findings(counts, {}) if f.check == "quarantine"]
    assert (finding.ok, finding.found) == (True, "nothing waits, 1 dismissed")
    assert "In quarantine 0 In quarantine 1 dismissed" in words(await opened(world, "/health"))
    assert (await sent(world, "/quarantine/1/retry")).headers["location"].endswith("done=accepted")
    assert "/quarantine/1" in await opened(world, "/quarantine", state="released")


async def test_the_api_takes_a_mended_body_too(world: World) -> None:
    await _kept(world, CUT)
    refused = await world.post("/v1/quarantine/1/retry", {"body": "[]"}, key=None)
    assert (refused.status_code, refused.json()["code"]) == (400, "malformed_event")
    taken = await world.post("/v1/quarantine/1/retry", {"body": GOOD.decode()}, key=None)
    assert taken.json() == {"status": "accepted", "position": 1}
    assert (await world.post("/v1/quarantine/9/retry", {}, key=None)).status_code == 404


async def test_a_visitor_sees_and_mends_only_what_its_senders_may_send(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _kept(world, CUT, "bp-1")
    await _kept(world, CUT)
    await _kept(world, CUT, "bp-2")
    look_as(monkeypatch, "operator", "bp-2")
    page = await opened(world, "/quarantine")
    assert "/quarantine/3" in page
    assert "/quarantine/1" not in page
    for hidden in (1, 2, 9):
        assert (await world.get(f"/quarantine/{hidden}", None)).status_code == 404
        assert (await sent(world, f"/quarantine/{hidden}/retry", body="{}")).status_code == 404
        assert (await sent(world, f"/quarantine/{hidden}/dismiss")).status_code == 404
    foreign = await sent(world, "/quarantine/3/retry", body=GOOD.decode())
    assert foreign.status_code == 400
    assert "not bound" in words(foreign.text)
    assert (await world.get("/v1/events", None)).json()["items"] == []


async def test_script_in_a_body_or_a_reason_is_text(world: World) -> None:
    body = f'{{"a": "{SCRIPT}</textarea>{SCRIPT}"'.encode()
    await world.store.write(
        lambda tx: tx.journal.quarantine(body, SCRIPT, SCRIPT, world.now, SCRIPT, (SCRIPT,))
    )
    for path in ("/quarantine", "/quarantine/1", "/events"):
        page = await opened(world, path)
        assert "<script>" not in page.partition("<body")[2], path
        assert page.count("</textarea>") <= 1


async def test_a_form_without_its_token_or_role_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _put(world, GOOD)
    for path in ("/quarantine/1/retry", "/quarantine/1/dismiss", "/quarantine/retry"):
        assert (await sent(world, path, form_token="other")).status_code == 403
    look_as(monkeypatch, "agent")
    assert (await sent(world, "/quarantine/1/retry")).status_code == 403
    assert (await world.get("/v1/quarantine/1", None)).json()["releasedAt"] is None
