"""Receiving from Amazon SQS: what becomes of a message, in the journal and in the queue, whatever goes wrong.

The queue is the fake AWS's over HTTP, with a proxy before it for what that fake never does; the store is real.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
import structlog
from aiohttp import web
from tests.chance import SEED
from tests.e2e.running import over_eventbridge, until
from tests.partner_bus import PartnerBus
from tests.unit.transports.sqs_proxy import Call, Forward, SqsProxy, answered, passing, refused
from tests.unit.transports.sqs_receiving import BEAT_S, NOW, PRODUCT, STOP_S, Road, document

from milepost import sql
from milepost.domain.errors import Misconfigured, StoreUnavailable
from milepost.store import Arrival, Store
from milepost.transports import sqs
from milepost.transports.sqs import counters, readiness, receivers
from milepost.transports.sqs_queue import Deleted, Message, Queue
from milepost.transports.sqs_settling import MAX_BODY

RECEIVE, DELETE, SHOW = "ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"


@pytest.fixture
def bus() -> Iterator[PartnerBus]:
    with PartnerBus() as made:
        yield made


@pytest.fixture
async def proxy(bus: PartnerBus) -> AsyncIterator[SqsProxy]:
    async with SqsProxy(bus) as made:
        yield made


@pytest.fixture
async def fifo(bus: PartnerBus) -> AsyncIterator[SqsProxy]:
    attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    async with SqsProxy(bus, "events.fifo", **attributes) as made:
        yield made


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await sql.open_store(f"sqlite:///{tmp_path / 'hub.db'}", clock=lambda: NOW, owner="the test")
    yield opened
    await opened.close()


@pytest.fixture
def road(proxy: SqsProxy, store: Store) -> Road:
    return Road(proxy, store)


# ── In the journal ─────────────────────────────────────────────────────────────────────────────────────────


async def test_every_event_is_journalled_counted_and_deleted(road: Road, proxy: SqsProxy) -> None:
    proxy.put(*(document(n) for n in range(23)))
    replayed = {**over_eventbridge(document("again")), "replay-name": "of-the-test"}
    proxy.put(over_eventbridge(document(5)), over_eventbridge(document("bridged")), replayed)
    assert await road.drain() == {
        "received": 26,
        "accepted": 25,
        "duplicate": 1,
        "replayed": 1,
        "deleted": 26,
    }
    assert proxy.depth == 0
    assert sorted(await road.keys()) == sorted([*map(str, range(23)), "bridged", "again"])
    assert await road.quarantined() == []
    records = await road.store.store.read(lambda tx: tx.journal.after(0, 100))
    assert {r.event().idempotency_key: r.event().road for r in records}["key-again"] == "replay"


async def test_what_cannot_be_read_is_kept_with_the_reason_then_deleted(
    proxy: SqsProxy, store: Store
) -> None:
    road = Road(proxy, store, business_product_ids=(PRODUCT, "bp-2"))
    wrapped = {"Type": "Notification", "TopicArn": "arn:aws:sns:us-east-1:1:t", "Message": "{}"}
    proxy.put("no JSON", wrapped, document("theirs", "bp-9"), document("ours"), '"replay-name"')
    assert await road.drain() == {
        "received": 5,
        "accepted": 1,
        "malformed": 3,
        "forbidden": 1,
        "deleted": 5,
    }
    assert proxy.depth == 0
    kept = {entry.body: entry for entry in await road.quarantined()}
    assert len(kept) == 4
    assert {entry.business_product_ids for entry in kept.values()} == {(PRODUCT, "bp-2")}
    assert (kept[b"no JSON"].code, kept[b"no JSON"].road) == ("malformed_event", "eventbridge")
    reasons = {
        entry.code: entry.reason
        for entry in kept.values()
        if entry.body not in (b"no JSON", b'"replay-name"')
    }
    assert "raw message delivery" in reasons["malformed_event"]
    assert "'bp-9' is not bound" in reasons["unbound_business_product"]


async def test_what_no_queue_should_bring_is_kept_too(road: Road, proxy: SqsProxy) -> None:
    """Larger than SQS allows, half a surrogate pair, no body, and a field of a webhook body that looks like more."""
    odd = {**document("odd"), "replay-name": 5}
    bodies = ["x" * (MAX_BODY + 1), "\\ud800", None, odd]
    messages = [
        {"MessageId": f"m{n}", "ReceiptHandle": f"r{n}", "Body": body}
        if isinstance(body, str)
        else {"MessageId": f"m{n}", "ReceiptHandle": f"r{n}"}
        for n, body in enumerate(bodies[:3])
    ]
    proxy.put(odd)

    async def meddle(operation: str, given: Call, forward: Forward) -> web.StreamResponse:
        if operation == RECEIVE and len(proxy.of(RECEIVE)) == 1:
            whole = answered({"Messages": messages})
            text = bytes(whole.body).replace(b"\\\\ud800", b"\\ud800")  # type: ignore[arg-type]
            return web.Response(body=text, headers={"content-type": "application/x-amz-json-1.0"})
        return await forward(given)

    proxy.meddle = meddle
    assert await road.drain() == {"received": 4, "accepted": 1, "malformed": 3, "deleted": 1, "undeleted": 3}
    codes = {entry.body: entry.code for entry in await road.quarantined()}
    assert codes == {
        b"x" * (MAX_BODY + 1): "too_large",
        "\ud800".encode("utf-8", "surrogatepass"): "malformed_event",
        b"": "malformed_event",
    }


async def test_a_receive_of_ten_shares_commits_and_nothing_is_deleted_before_them(
    road: Road, proxy: SqsProxy
) -> None:
    proxy.put(*(document(n) for n in range(10)))
    road.store.go.clear()
    async with road.running():
        await road.store.held(10)
        assert (proxy.of(DELETE), proxy.depth) == ([], 10)
        road.store.go.set()
        (call,) = await proxy.called(DELETE, 1)
        assert len(call["Entries"]) == 10
    assert (proxy.depth, road.store.most_at_once, road.store.appends) == (0, 10, 1)
    assert road.counted == {"received": 10, "accepted": 10, "deleted": 10}


async def test_a_bug_costs_one_message_its_time_and_no_other(
    road: Road, proxy: SqsProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = road.store.append

    async def broken(arrivals: Sequence[Arrival]) -> Any:
        if any(b"key-poison" in arrival.body for arrival in arrivals):
            raise RuntimeError(f"secret: {arrivals!r}")
        return await whole(arrivals)

    monkeypatch.setattr(road.ingest, "_append", broken)
    proxy.put(document(1), document("poison"), document(2))
    with structlog.testing.capture_logs() as logged:
        assert await road.drain() == {"received": 3, "accepted": 2, "failed": 1, "deleted": 2, "released": 1}
    assert [entry["VisibilityTimeout"] for entry in proxy.of(SHOW)[0]["Entries"]] == [2]
    (told,) = [line for line in logged if line["event"] == "sqs.failed"]
    assert (told["error"], "key-poison" in str(told)) == ("RuntimeError", False)
    assert proxy.depth == 1


async def test_a_queue_in_sequence_keeps_to_it_within_each_group(fifo: SqsProxy, store: Store) -> None:
    # One poller: the fake gives a group to two receives that come in the same moment.
    road = Road(fifo, store)
    for n in range(12):
        fifo.put(document(f"a{n}"), group="a")
        fifo.put(document(f"b{n}"), group="b")
    assert (await road.drain())["accepted"] == 24
    keys = await road.keys()
    for group in "ab":
        assert [key for key in keys if key[0] == group] == [f"{group}{n}" for n in range(12)]
    assert (road.store.most_at_once <= 2, fifo.depth) == (True, 0)


async def test_behind_one_that_was_not_kept_nothing_of_its_group_is_tried(
    fifo: SqsProxy, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    road = Road(fifo, store)
    whole, tried = road.ingest.ingest, []

    async def away_once(body: bytes, *rest: Any) -> Any:
        tried.append(body)
        if b"key-a1" in body and tried.count(body) == 1:
            raise StoreUnavailable("away for a moment")
        return await whole(body, *rest)

    monkeypatch.setattr(road.ingest, "ingest", away_once)
    for n in range(4):
        fifo.put(document(f"a{n}"), group="a")
    counted = await road.drain()
    assert await road.keys() == ["a0", "a1", "a2", "a3"]
    assert (counted["accepted"], counted["unstored"], counted["released"]) == (4, 3, 3)


# ── In the queue ───────────────────────────────────────────────────────────────────────────────────────────


def failing_deletes(proxy: SqsProxy, times: int, *, fault: bool, code: str = "InternalError") -> None:
    """Every second entry of the first `times` calls is not deleted, and the answer says so."""

    async def meddle(operation: str, given: Call, forward: Forward) -> web.StreamResponse:
        if operation != DELETE or len(proxy.of(DELETE)) > times:
            return await forward(given)
        bad = given["Entries"][1::2]
        await forward({**given, "Entries": given["Entries"][::2]})
        failed = [{"Id": e["Id"], "SenderFault": fault, "Code": code} for e in bad]
        return answered({"Successful": [{"Id": e["Id"]} for e in given["Entries"][::2]], "Failed": failed})

    proxy.meddle = meddle


async def test_only_deletes_that_failed_are_tried_again(road: Road, proxy: SqsProxy) -> None:
    proxy.put(*(document(n) for n in range(4)))
    failing_deletes(proxy, 2, fault=False)
    assert await road.drain() == {"received": 4, "accepted": 4, "deleted": 4}
    sent = [[entry["ReceiptHandle"] for entry in call["Entries"]] for call in proxy.of(DELETE)]
    assert sent[1:] == [sent[0][1::2], sent[0][3:]]
    assert len(road.sleeps.taken) == 2
    assert proxy.depth == 0


async def test_a_delete_that_is_refused_is_counted_and_the_message_is_a_duplicate_when_it_comes_again(
    road: Road, proxy: SqsProxy, bus: PartnerBus
) -> None:
    proxy.put(document(1), document(2))
    failing_deletes(proxy, 1, fault=True, code="ReceiptHandleIsInvalid")
    assert await road.drain() == {"received": 2, "accepted": 2, "deleted": 1, "undeleted": 1}
    assert len(proxy.of(DELETE)) == 1
    assert bus.let_visibility_run_out(proxy.behind) == 1
    assert await road.drain() == {
        "received": 3,
        "accepted": 2,
        "duplicate": 1,
        "deleted": 2,
        "undeleted": 1,
    }
    assert (proxy.depth, await road.keys()) == (0, ["1", "2"])


async def test_deletes_that_all_fail_end_and_are_counted(
    road: Road, proxy: SqsProxy, bus: PartnerBus
) -> None:
    async def meddle(operation: str, given: Call, forward: Forward) -> web.StreamResponse:
        return refused("RequestThrottled") if operation == DELETE else await forward(given)

    proxy.meddle = meddle
    proxy.put(document(1))
    assert await road.drain() == {"received": 1, "accepted": 1, "undeleted": 1}
    assert len(proxy.of(DELETE)) == sqs.DELETE_TRIES
    assert road.receiver.parts.deleting.kind == "throttled"
    proxy.meddle = passing
    bus.let_visibility_run_out(proxy.behind)
    assert (await road.drain())["duplicate"] == 1
    assert (proxy.depth, road.receiver.parts.failing) == (0, [])


async def test_a_poison_message_that_cannot_be_deleted_is_kept_once(
    road: Road, proxy: SqsProxy, bus: PartnerBus
) -> None:
    proxy.put("poison")

    async def meddle(operation: str, given: Call, forward: Forward) -> web.StreamResponse:
        return refused("InternalError", 500) if operation == DELETE else await forward(given)

    proxy.meddle = meddle
    for _ in range(3):
        await road.drain()
        bus.let_visibility_run_out(proxy.behind)
    proxy.meddle = passing
    assert await road.drain() == {
        "received": 4,
        "malformed": 1,
        "repeated": 3,
        "deleted": 1,
        "undeleted": 3,
    }
    assert ([entry.body for entry in await road.quarantined()], proxy.depth) == ([b"poison"], 0)


async def test_deletes_of_several_receives_go_together_while_one_is_under_way(
    road: Road, proxy: SqsProxy
) -> None:
    first = asyncio.Event()

    async def meddle(operation: str, given: Call, forward: Forward) -> web.StreamResponse:
        if operation == DELETE and len(proxy.of(DELETE)) == 1:
            await first.wait()
        return await forward(given)

    proxy.meddle = meddle
    async with road.running():
        for n in range(4):
            proxy.put(document(n))

            async def came(n: int = n) -> bool:
                return road.receiver.outcomes.accepted == n + 1

            await until(came, f"event {n} is journalled though the first delete is not answered")
            await proxy.called(DELETE, 1)
        first.set()
        calls = await proxy.called(DELETE, 2)
    assert [len(call["Entries"]) for call in calls] == [1, 3]
    assert (proxy.depth, road.counted["deleted"]) == (0, 4)


async def test_what_is_doomed_in_the_moment_a_delete_ends_is_deleted_too(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to one delete and the commit of another message may be seen in the same turn of the loop."""
    receiver, answer = road.receiver, asyncio.get_running_loop().create_future()
    deleted: list[str] = []

    async def delete(messages: list[Message]) -> Deleted:
        deleted.extend(message.id for message in messages)
        if len(deleted) == 1:
            await answer
        return Deleted(len(messages), [], [])

    async def committed() -> None:
        await answer
        receiver._delete_soon([Message("second", "r2", "{}")])

    receiver._queue = Queue(receiver.url, wait_s=0, visibility_s=30, connections=1)
    monkeypatch.setattr(receiver._queue, "delete", delete)
    receiver._delete_soon([Message("first", "r1", "{}")])
    await asyncio.sleep(0)  # it waits for its answer first
    second = asyncio.create_task(committed())
    await asyncio.sleep(0)
    answer.set_result(None)
    await second
    await receiver._deleted()
    assert deleted == ["first", "second"]


async def test_what_waits_for_its_commit_stays_invisible(road: Road, proxy: SqsProxy) -> None:
    proxy.put(*(document(n) for n in range(12)))
    road.store.go.clear()
    async with road.running():
        await road.store.held(10)
        # The other two were received meanwhile, and wait for their turn.
        await proxy.called(RECEIVE, 2)
        road.sleeps.waits[BEAT_S].release()
        (call,) = await proxy.called(SHOW, 1)
        assert {entry["VisibilityTimeout"] for entry in call["Entries"]} == {30}
        assert len(call["Entries"]) == 10
        road.sleeps.waits[BEAT_S].release()
        await proxy.called(SHOW, 2)
        road.store.go.set()

        async def all_done() -> bool:
            return road.receiver.outcomes.deleted == 12

        await until(all_done, "all are deleted")
        calls = len(proxy.of(SHOW))
        road.sleeps.waits[BEAT_S].release()
    assert len(proxy.of(SHOW)) == calls
    assert road.counted["extended"] >= 20


# ── Trouble ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_while_the_store_is_away_nothing_is_deleted_and_pauses_grow(
    proxy: SqsProxy, store: Store
) -> None:
    road = Road(proxy, store, wait_s=1)

    async def visible_at_once(operation: str, given: Call, forward: Forward) -> web.StreamResponse:
        """No test waits for the seconds that it is told."""
        if operation == SHOW:
            shown = [{**entry, "VisibilityTimeout": 0} for entry in given["Entries"]]
            return await forward({**given, "Entries": shown})
        return await forward(given)

    proxy.meddle = visible_at_once
    proxy.put(*(document(n) for n in range(3)), "poison")
    road.store.away = True
    with structlog.testing.capture_logs() as logged:
        async with road.running():
            taken = [*await road.sleeps.many(8)]
            assert (proxy.of(DELETE), proxy.depth) == ([], 4)
            # Nothing is received in vain meanwhile: each receive brings a message nearer to the dead letters.
            assert len(proxy.of(RECEIVE)) <= 2
            road.store.away = False

            async def stored() -> bool:
                return road.receiver.outcomes.deleted == 4

            await until(stored, "everything is stored and deleted")
    counted = road.counted
    assert (counted["accepted"], counted["malformed"]) == (3, 1)
    assert counted["unstored"] == counted["released"]
    # The next messages were received before the first failure was known, so there may be one more.
    _grows(taken, first=1.0, most=60.0, more=1)
    assert counted["unstored"] <= 2 * 4
    assert proxy.of(SHOW)[0]["Entries"][0]["VisibilityTimeout"] == 0
    kinds = [line["event"] for line in logged if line["event"].startswith("sqs.")]
    assert (kinds.count("sqs.trouble"), kinds.count("sqs.recovered")) == (1, 1)


def _grows(pauses: list[float], first: float, most: float, more: int = 0) -> None:
    """Each pause is at most as long as it may be, at least half as long, and only then is there another try."""
    for n, pause in enumerate(pauses):
        shortest = min(most, first * 2**n) / 2
        assert shortest <= pause <= min(most, first * 2 ** (n + more)), (n, pauses)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("RequestThrottled", 400, "throttled"),
        ("ThrottlingException", 400, "throttled"),
        ("OverLimit", 403, "throttled"),
        ("InternalFailure", 500, "unavailable"),
        ("ServiceUnavailable", 503, "unavailable"),
    ],
)
async def test_while_aws_is_away_pauses_grow_and_it_recovers_by_itself(
    road: Road, proxy: SqsProxy, code: str, status: int, kind: str
) -> None:
    async def away(operation: str, given: Call, forward: Forward) -> web.StreamResponse:
        return refused(code, status)

    proxy.put(document(1))
    proxy.meddle = away
    async with road.running():
        taken = [*await road.sleeps.many(8)]
        part = road.receiver.parts.receiving
        assert (part.kind, code in part.words) == (kind, True)
        assert readiness([road.receiver])[0] == []
        proxy.meddle = passing
        await proxy.called(DELETE, 1)
        assert road.receiver.parts.failing == []
    _grows(taken, first=0.5, most=30.0)
    assert road.receiver.last_success == NOW
    assert road.counted == {"received": 1, "accepted": 1, "deleted": 1}


async def test_several_pollers_try_one_at_a_time(proxy: SqsProxy, store: Store) -> None:
    road = Road(proxy, store, pollers=8)

    async def away(operation: str, given: Call, forward: Forward) -> web.StreamResponse:
        return refused("InternalFailure", 500)

    proxy.meddle = away
    async with road.running():
        await proxy.called(RECEIVE, 8)

        async def noticed() -> bool:
            return road.receiver.parts.receiving.failures >= 8

        await until(noticed, "every poller has failed")
        proxy.most_at_once.clear()
        await proxy.called(RECEIVE, 20)
        assert proxy.most_at_once[RECEIVE] == 1


async def test_an_answer_that_does_not_say_what_was_deleted_deletes_nothing(
    road: Road, proxy: SqsProxy
) -> None:
    async def nonsense(operation: str, given: Call, forward: Forward) -> web.StreamResponse:
        if operation == DELETE:
            return web.Response(body=b"<html>", headers={"content-type": "text/html"})
        return await forward(given)

    proxy.put(document(1))
    proxy.meddle = nonsense
    assert await road.drain() == {"received": 1, "accepted": 1, "undeleted": 1}
    assert len(proxy.of(DELETE)) == sqs.DELETE_TRIES


async def test_an_endpoint_that_is_not_there_is_trouble_like_any(bus: PartnerBus, store: Store) -> None:
    async with SqsProxy(bus, "gone") as gone:
        pass
    road = Road(gone, store)
    async with road.running():
        await road.sleeps.many(2)
        assert road.receiver.parts.receiving.kind == "unavailable"


async def test_a_call_that_is_not_answered_ends(
    road: Road, proxy: SqsProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("milepost.transports.sqs_queue.MARGIN_S", 0.2)
    over = asyncio.Event()

    async def silent(operation: str, given: Call, forward: Forward) -> web.StreamResponse:
        await over.wait()
        return await forward(given)

    proxy.meddle = silent
    async with road.running():
        await road.sleeps.many(1)
        assert road.receiver.parts.receiving.kind == "unavailable"
        over.set()


async def test_a_queue_that_is_gone_is_named_once_and_tried_slowly(
    road: Road, proxy: SqsProxy, bus: PartnerBus
) -> None:
    sqs_client = bus.client("sqs")
    sqs_client.delete_queue(QueueUrl=proxy.behind)
    with structlog.testing.capture_logs() as logged:
        async with road.running():
            taken = [*await road.sleeps.many(5)]
            broken, shown = readiness([road.receiver])
            assert broken == ["sqs.events"]
            # Anybody may ask: AWS's words, which tell accounts and roles, are in the log alone.
            assert shown["events"]["trouble"] == {"receiving": "missing"}  # type: ignore[index]
            sqs_client.create_queue(QueueName="events")
            proxy.put(document(1))
            await proxy.called(DELETE, 1)
            assert readiness([road.receiver])[0] == []
    assert all(30 <= pause <= 60 for pause in taken)
    told = [line for line in logged if line["event"] == "sqs.trouble"]
    assert [(line["kind"], line["queue"], "check its URL" in line["hint"]) for line in told] == [
        ("missing", "events", True)
    ]


async def test_a_permission_that_is_missing_says_which(road: Road, proxy: SqsProxy) -> None:
    async def denied(operation: str, given: Call, forward: Forward) -> web.StreamResponse:
        return refused("AccessDeniedException") if operation == DELETE else await forward(given)

    proxy.put(document(1))
    proxy.meddle = denied
    with structlog.testing.capture_logs() as logged:
        async with road.running():
            taken = await road.sleeps.many(1)
            assert readiness([road.receiver])[0] == ["sqs.events"]
            assert taken[0] >= 30
    (told,) = [line for line in logged if line["event"] == "sqs.trouble"]
    assert (told["part"], "sqs:DeleteMessage" in told["hint"]) == ("deleting", True)


async def test_to_hide_messages_is_not_needed(road: Road, proxy: SqsProxy) -> None:
    async def denied(operation: str, given: Call, forward: Forward) -> web.StreamResponse:
        return refused("AccessDeniedException") if operation == SHOW else await forward(given)

    proxy.put(document(1))
    proxy.meddle = denied
    road.store.go.clear()
    async with road.running():
        await road.store.held(1)
        road.sleeps.waits[BEAT_S].release()
        await proxy.called(SHOW, 1)

        async def noticed() -> bool:
            return [part.name for part in road.receiver.parts.failing] == ["hiding"]

        await until(noticed, "it is noticed")
        assert readiness([road.receiver])[0] == []
        road.store.go.set()
        await proxy.called(DELETE, 1)
    assert road.counted == {"received": 1, "accepted": 1, "deleted": 1}


async def test_an_end_that_will_not_come_is_not_waited_for(road: Road, proxy: SqsProxy) -> None:
    async def away(operation: str, given: Call, forward: Forward) -> web.StreamResponse:
        return refused("InternalFailure", 500)

    proxy.meddle = away
    assert await road.drain() == {}
    assert road.receiver.parts.hopeless


async def test_empty_answers_at_once_are_no_tight_loop(proxy: SqsProxy, store: Store) -> None:
    road = Road(proxy, store, wait_s=20)

    async def impatient(operation: str, given: Call, forward: Forward) -> web.StreamResponse:
        return answered({})

    proxy.meddle = impatient
    async with road.running():
        assert await road.sleeps.many(3) == [1.0] * 3
    assert abs(len(proxy.of(RECEIVE)) - len(road.sleeps.taken)) <= 1


# ── Stopping ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_stop_finishes_what_was_received(road: Road, proxy: SqsProxy) -> None:
    proxy.put(*(document(n) for n in range(3)))
    road.store.go.clear()
    async with road.running() as stop:
        await road.store.held(3)
        stop.set()
        road.store.go.set()
    assert road.counted == {"received": 3, "accepted": 3, "deleted": 3}
    assert proxy.depth == 0


async def test_what_is_not_committed_in_time_is_visible_again_at_once(
    road: Road, proxy: SqsProxy, bus: PartnerBus
) -> None:
    proxy.put(*(document(n) for n in range(3)))
    road.store.go.clear()
    async with road.running() as stop:
        await road.store.held(3)
        stop.set()
        road.sleeps.waits[STOP_S].release()
        (call,) = await proxy.called(SHOW, 1)
        assert [entry["VisibilityTimeout"] for entry in call["Entries"]] == [0] * 3
    # A poll that was under way may have taken them once more, and shows them again too.
    assert road.counted.keys() == {"received", "unstored", "released"}
    assert len(set(road.counted.values())) == 1
    road.store.go.set()
    assert (await road.drain())["accepted"] == 3
    assert proxy.depth == 0


async def test_a_stop_does_not_wait_for_a_long_poll_or_a_pause(proxy: SqsProxy, store: Store) -> None:
    road = Road(proxy, store, wait_s=20, pollers=3)
    async with road.running() as stop:
        await proxy.called(RECEIVE, 3)
        stop.set()
        started = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - started < 5


# ── Several queues ─────────────────────────────────────────────────────────────────────────────────────────


class Named:
    def __init__(self, url: str, *products: str) -> None:
        self.url = url
        self.business_products = products


class Settings:
    sqs_pollers = 3

    def __init__(self, url: str | None, *queues: Named) -> None:
        self.sqs_queue_url = url
        self.sqs_queues = queues


def test_a_receiver_for_each_queue_of_the_settings(road: Road) -> None:
    def made(settings: Settings) -> list[str]:
        return [r.url for r in receivers(settings, road.ingest, lambda: NOW, Random(1))]

    assert made(Settings(None)) == []
    assert made(Settings("https://q/1/a", Named("https://q/1/b", PRODUCT))) == [
        "https://q/1/b",
        "https://q/1/a",
    ]
    for twice in (
        Settings("https://q/1/a", Named("https://q/1/a")),
        Settings(None, *[Named("https://q/1/a")] * 2),
    ):
        with pytest.raises(Misconfigured, match="named twice"):
            made(twice)


def test_queues_of_one_name_have_numbers_of_their_own(road: Road) -> None:
    of = "https://sqs.{}.amazonaws.com/123456789012/events.fifo".format
    settings = Settings(of("us-east-1"), Named(of("eu-west-1")))
    made = receivers(settings, road.ingest, lambda: NOW, Random(1))
    made[0].last_success = made[1].last_success = NOW
    assert [receiver.name for receiver in made] == ["events.fifo", "events.fifo.2"]
    assert [counters(made)[f"sqs.{r.name}.last_success_ms"] for r in made] == [NOW, NOW]
    assert list(readiness(made)[1]) == ["events.fifo", "events.fifo.2"]


def test_without_the_extra_it_says_what_to_install(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert receivers(Settings(None), road.ingest, lambda: NOW, Random(1)) == []
    with pytest.raises(Misconfigured, match=r'pip install "milepost\[aws\]"'):
        receivers(Settings("https://q/1/a"), road.ingest, lambda: NOW, Random(1))


async def test_each_queue_has_its_numbers(road: Road, proxy: SqsProxy) -> None:
    proxy.put(document(1))
    await road.drain()
    counted = counters([road.receiver])
    assert counted["sqs.events.accepted"] == counted["sqs.events.deleted"] == 1
    assert counted["sqs.events.last_success_ms"] == NOW
    assert readiness([road.receiver]) == (
        [],
        {"events": {"lastSuccess": "2027-01-20T12:00:00Z", "oldestAgeMs": 0, "trouble": {}}},
    )


async def test_the_age_of_the_oldest_message_is_shown(road: Road, proxy: SqsProxy) -> None:
    ages: list[int] = []
    sent = str(NOW - 90_000)

    async def old(operation: str, given: Call, forward: Forward) -> web.StreamResponse:
        if operation == RECEIVE:
            ages.append(road.receiver.oldest_age_ms)
        if operation != RECEIVE or len(proxy.of(RECEIVE)) > 1:
            return await forward(given)
        attributes = {"SentTimestamp": sent, "ApproximateReceiveCount": "1"}
        body = {"MessageId": "m", "ReceiptHandle": "r", "Body": "{}", "Attributes": attributes}
        return answered({"Messages": [body]})

    proxy.meddle = old
    await road.drain()
    assert ages[:2] == [0, 90_000]
    assert road.receiver.oldest_age_ms == 0


# ── Everything at once ─────────────────────────────────────────────────────────────────────────────────────


async def test_nothing_is_lost_or_doubled_whatever_fails(
    proxy: SqsProxy, store: Store, bus: PartnerBus
) -> None:
    print(f"MILEPOST_SEED={SEED}")
    random = Random(SEED)
    road = Road(proxy, store, pollers=3)

    async def meddle(operation: str, given: Call, forward: Forward) -> web.StreamResponse:
        road.store.away = random.random() < 0.1
        luck = random.random()
        if luck < 0.15:
            return refused(random.choice(["RequestThrottled", "InternalFailure"]), random.choice([400, 500]))
        if operation == DELETE and luck < 0.5:
            part = random.sample(given["Entries"], k=len(given["Entries"]) // 2)
            if part:
                await forward({**given, "Entries": part})
            gone = {entry["Id"] for entry in part}
            failed = [
                {"Id": e["Id"], "SenderFault": random.random() < 0.3, "Code": "Odd"}
                for e in given["Entries"]
                if e["Id"] not in gone
            ]
            return answered({"Successful": [{"Id": one} for one in gone], "Failed": failed})
        answer = await forward(given)
        # What was done may be done without anybody being told.
        return refused("InternalFailure", 500) if luck > 0.95 else answer

    proxy.put(*(document(n % 30) for n in range(60)), *(f"poison {n}" for n in range(5)))
    proxy.meddle = meddle
    while proxy.depth:
        await road.drain()
        bus.let_visibility_run_out(proxy.behind)
    assert sorted(await road.keys()) == sorted(map(str, range(30)))
    assert sorted(entry.body for entry in await road.quarantined()) == [b"poison %d" % n for n in range(5)]
    counts = await store.read(lambda tx: tx.journal.counts("projector"))
    counted = road.counted
    assert counts.events == counted["accepted"] == 30
    assert counts.duplicates == counted["duplicate"] >= 30
    assert counts.quarantined == counted["malformed"] == 5
