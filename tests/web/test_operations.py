"""Quarantine, hydration and failed folds: seen, and set going again."""

from collections.abc import Mapping

import msgspec
from tests.web.world import World, event

from milepost.domain.errors import Malformed
from milepost.domain.instant import Instant
from milepost.store import Ask, FailedFold, Store

BROKEN = b'{"eventDescriptor": "PACKAGE_DELIVERED"'


async def _quarantined(world: World, body: bytes) -> None:
    try:
        await world.ingest.ingest(body)
    except Malformed:
        return
    raise AssertionError("it was read")


async def test_what_could_not_be_read_is_shown_with_the_reason(world: World) -> None:
    await _quarantined(world, BROKEN)
    await _quarantined(world, b"\xff\xfe")
    items = (await world.get("/v1/quarantine")).json()["items"]
    assert [(item["id"], item["code"], item["size"]) for item in items] == [
        (1, "malformed_event", len(BROKEN)),
        (2, "malformed_event", 2),
    ]
    first = (await world.get("/v1/quarantine/1")).json()
    assert first["body"] == BROKEN.decode()
    assert first["reason"]
    second = (await world.get("/v1/quarantine/2")).json()
    assert (second["body"], second["bodyBase64"]) == (None, "//4=")


async def test_a_release_ingests_once(world: World) -> None:
    body = msgspec.json.encode(event("PACKAGE_DELIVERED", 1, "order/order-1/delivery/delivery-1"))
    await world.store.write(
        lambda tx: tx.journal.quarantine(body, "malformed_event", "fixed since", world.now, "webhook", ())
    )
    operator = await world.key("operate")
    for status in ("accepted", "duplicate"):
        answer = await world.post("/v1/quarantine/1/release", key=operator)
        assert (answer.status_code, answer.json()) == (200, {"status": status, "position": 1})
    assert (await world.get("/v1/events/event-1")).status_code == 200
    released = (await world.get("/v1/quarantine", released=True)).json()["items"]
    assert [(item["position"], item["releasedAt"]) for item in released] == [(1, world.at())]
    assert (await world.get("/v1/quarantine", released=False)).json()["items"] == []


async def test_a_body_that_still_cannot_be_read_stays(world: World) -> None:
    await _quarantined(world, BROKEN)
    answer = await world.post("/v1/quarantine/1/release")
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_event")
    assert (await world.get("/v1/quarantine/1")).json()["releasedAt"] is None


class Hydrator:
    """Reopens an ask in the store, as the pipeline's does."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def ask(self, wanted: Mapping[tuple[str, str], str]) -> int:
        """Nobody asks that of this one."""
        raise AssertionError(wanted)

    async def retry(self, business_product_id: str, target: str) -> None:
        ask = Ask(business_product_id, target, 0, Instant(1_000), 0, (1,))
        await self.store.write(lambda tx: tx.work.put([ask]))


async def test_a_question_that_was_given_up_is_asked_again(store: Store) -> None:
    world = World(store, hydrator=Hydrator(store))
    ask = Ask("bp-1", "order/order-1", 0, world.now, 9, (1,), "gaveUp", "not found")
    await store.write(lambda tx: tx.work.put([ask]))
    (item,) = (await world.get("/v1/hydration", state="gaveUp")).json()["items"]
    assert (item["target"], item["tries"], item["waiting"], item["error"]) == (
        "order/order-1",
        9,
        [1],
        "not found",
    )
    body = {"businessProductId": "bp-1", "target": "order/order-1"}
    answer = await world.post("/v1/hydration/retry", body)
    assert (answer.status_code, answer.json()["state"]) == (202, "open")
    assert (await world.get("/v1/hydration", state="gaveUp")).json()["items"] == []
    answer = await world.post("/v1/hydration/retry", {**body, "target": "order/unknown"})
    assert answer.status_code == 404


async def test_without_an_api_a_retry_says_what_is_missing(world: World) -> None:
    ask = Ask("bp-1", "order/order-1", 0, world.now, 9, (1,), "gaveUp", "")
    await world.store.write(lambda tx: tx.work.put([ask]))
    body = {"businessProductId": "bp-1", "target": "order/order-1"}
    answer = await world.post("/v1/hydration/retry", body)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "BWP_API_URL" in answer.json()["detail"]


async def test_failed_folds_are_listed_page_by_page(world: World) -> None:
    failures = [
        FailedFold("projector", position, "bp-1", subject, "ValueError: no", world.now)
        for position in (1, 2)
        for subject in ("a", "b")
    ]
    await world.store.write(lambda tx: tx.views.fail(failures))
    seen, after = [], {}
    while True:
        page = (await world.get("/v1/failures", limit=1, **after)).json()
        seen += [(item["position"], item["subject"]) for item in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == [(1, "a"), (1, "b"), (2, "a"), (2, "b")]
