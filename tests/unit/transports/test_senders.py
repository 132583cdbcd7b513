"""The senders of a hub: each kind by its own, and AWS's client only once something is for a bus."""

import json
import sys
from collections.abc import Iterator

import msgspec
import pytest
from tests.partner_bus import PartnerBus, queue_arn
from tests.unit.transports.receiver import Receiver

from milepost.domain.attempt import Destination, Message
from milepost.domain.errors import Misconfigured
from milepost.domain.instant import parse_instant
from milepost.domain.subscriber import EventBusSettings
from milepost.domain.webhook_settings import WebhookSettings
from milepost.pipeline.sending import Parcel
from milepost.transports.senders import Senders

NOW = parse_instant("2025-01-20T12:00:00Z")
BODY = b'{"type":"test","timestamp":"2025-01-20T12:00:00Z","data":{}}'
PARCEL = Parcel(Message("1-sub_1", "sub_1", 1, "pending", 0, NOW), BODY)
ON_A_BUS = Destination("sub_1", "eventBus", msgspec.json.encode(EventBusSettings("orders")), form="milepost")


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[PartnerBus]:
    """EventBridge where AWS's own settings say that it is."""
    with PartnerBus() as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", made.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        yield made


async def test_a_webhook_needs_nothing_of_aws() -> None:
    async with Receiver() as receiver, Senders(lambda: NOW, allow=("127.0.0.0/8",)) as senders:
        settings = msgspec.json.encode(WebhookSettings(receiver.url))
        (outcome,) = await senders.by_kind["webhook"].send(Destination("d", "webhook", settings), [PARCEL])
        assert outcome.status == 200
        assert receiver.received[0].body == BODY


async def test_a_private_address_is_refused_unless_it_is_allowed() -> None:
    async with Receiver() as receiver, Senders(lambda: NOW) as senders:
        settings = msgspec.json.encode(WebhookSettings(receiver.url))
        (outcome,) = await senders.by_kind["webhook"].send(Destination("d", "webhook", settings), [PARCEL])
        assert (outcome.status, outcome.reached) == (None, False)
        assert not receiver.received


async def test_a_bus_is_found_by_the_settings_of_aws(bus: PartnerBus) -> None:
    events = bus.client("events")
    events.create_event_bus(Name="orders")
    url = bus.client("sqs").create_queue(QueueName="got")["QueueUrl"]
    events.put_rule(Name="all", EventBusName="orders", EventPattern='{"source": ["milepost"]}')
    events.put_targets(Rule="all", EventBusName="orders", Targets=[{"Id": "1", "Arn": queue_arn("got")}])
    async with Senders(lambda: NOW) as senders:
        for _ in range(2):
            (outcome,) = await senders.by_kind["eventBus"].send(ON_A_BUS, [PARCEL])
            assert outcome.status == 200, outcome
    assert [json.loads(body)["detail"]["id"] for body in bus.received(url)] == ["1-sub_1"] * 2


async def test_without_the_extra_it_is_what_came_of_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiobotocore.session", None)
    async with Senders(lambda: NOW) as senders:
        outcomes = await senders.by_kind["eventBus"].send(ON_A_BUS, [PARCEL, PARCEL])
        assert [(o.status, o.reached) for o in outcomes] == [(None, False)] * 2
        assert "milepost[aws]" in outcomes[0].error


def test_a_bad_network_is_misconfigured() -> None:
    with pytest.raises(Misconfigured):
        Senders(lambda: NOW, allow=("everywhere",))
