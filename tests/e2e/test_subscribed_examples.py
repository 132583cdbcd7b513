"""The handlers of examples/, written for Buy with Prime's webhook, subscribed to the hub in its place: they receive
the same documents, once each, and handle them as they handle Amazon's.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.e2e.recorder import Recorder
from tests.e2e.test_examples import PASSWORD, USERNAME, Example, dynamodb

from milepost.hub import Hub
from milepost.store import Transaction
from milepost.testing.hosting import Host, hosted, until
from milepost.testing.hub import WORD, MilepostHub
from milepost.testing.hub import config as hub_config
from milepost.testing.sandbox import BuyWithPrime, running

Document = dict[str, Any]
OF_ONE = ("subscriptionId", "idempotencyKey")
BASIC = {"basicAuthConfig": {"username": USERNAME, "password": PASSWORD}}


def documents(recorder: Recorder) -> dict[str, Document]:
    """What came, by eventId, whatever road it came by; what differs by subscription is left out."""
    found = [got.document.get("detail", got.document) for got in recorder.got]
    return {one["eventId"]: {k: v for k, v in one.items() if k not in OF_ONE} for one in found}


class Publishing:
    """A hub that is subscribed to a Buy with Prime, and passes on."""

    def __init__(self, host: Host, hub: Hub, source: BuyWithPrime) -> None:
        self._host = host
        self._hub = hub
        self._source = source
        self.url = f"{host.url}/webhooks/buy-with-prime"

    def add(self, url: str, **fields: Any) -> str:
        body = {"name": "handler", "url": url, "form": "amazon"} | fields
        headers = {"authorization": f"Bearer {WORD}", "content-type": "application/json"}
        return str(self._host.ask("POST", "/v1/subscribers", json.dumps(body), headers)["id"])

    def journalled(self) -> list[bytes]:
        """The bodies of events as they came here."""
        records = self._host.call(self._hub.store.read(lambda tx: tx.journal.events(0, 500, None, None)))
        return [record.body for record in records]

    def wait(self) -> None:
        """Return once everything that was published came here, and was passed on."""
        self._source.wait_until_delivered()

        def passed_on(tx: Transaction) -> bool:
            counts = tx.attempts.count()
            everything = tx.journal.checkpoint("publisher") >= tx.journal.last_position()
            return everything and not counts.get("pending") and not counts.get("waiting")

        found = until(lambda: self._host.call(self._hub.store.read(passed_on)) or None, 60.0)
        assert found, "the hub has not passed everything on"


def detail(body: bytes) -> bytes:
    """A body's event, as it stands there."""
    document = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return bytes(document["detail"]) if "detail" in document else body


@contextmanager
def publishing(folder: Path, source: BuyWithPrime) -> Iterator[Publishing]:
    settings = hub_config(folder, source).model_copy(update={"egress_allow": ("127.0.0.0/8",)})
    hub = Hub(settings, clock=source.clock.now)
    with hosted(hub) as host:
        made = Publishing(host, hub, source)
        source.subscribe(made.url, None, MilepostHub.username, MilepostHub.password)
        yield made


@pytest.mark.parametrize("name", ["flask", "fastapi", "node", "lambda"])
def test_a_handler_receives_the_same_from_the_hub(name: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        source = stack.enter_context(running(tmp_path, stepped=False, start=None, seed=5))
        hub = stack.enter_context(publishing(tmp_path, source))
        settings = stack.enter_context(dynamodb()) if name == "lambda" else {}
        directly, through = Recorder(), Recorder()
        stack.callback(directly.close)
        stack.callback(through.close)
        example = Example(name, tmp_path, source, **settings)
        stack.callback(example.program.end)
        source.subscribe(directly.url, None, USERNAME, PASSWORD)
        hub.add(through.url)
        hub.add(example.url, auth=BASIC, ordered=True)
        source.faults(duplicate=0.5, both_roads=0.5)

        order_id = source.trigger("PACKAGE_DELIVERED").order_id
        source.trigger("RETURN_COMPLETED", order=order_id)
        hub.wait()

        assert documents(directly) == documents(through)
        assert len(through.bodies) == len(documents(through)) >= 5
        # Byte for byte what came, or what stood under `detail` there.
        bodies = zip(sorted(through.bodies), sorted(hub.journalled(), key=detail), strict=True)
        assert all(sent == detail(came) and sent in came for sent, came in bodies)
        learned = example.learned()
        assert sorted(one["eventId"] for one in learned) == sorted(documents(through))
        assert order_id in {one["answer"]["id"] for one in learned if "order" in one}
