"""Schemas: published for every type, sound, and true of the messages that the projector journals."""

from typing import Any

import jsonschema
import msgspec
import pytest
from tests.web.world import World, one_delivery

from milepost.domain.attempt import Destination, Message
from milepost.domain.instant import Instant
from milepost.domain.intent import TYPES, Intent
from milepost.domain.intent_data import condition_data
from milepost.domain.message import render, told, trial_intent
from milepost.domain.message_schema import DATA, schema_of
from milepost.domain.tracker_trace import _WHY

SUBSCRIBER = Destination("sub_1", "webhook", b"", form="milepost")


def strict(schema: Any) -> Any:
    """The same, but without room for a field that it does not name."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: strict(value) for name, value in schema.items()}
    return inner | {"additionalProperties": False} if "properties" in inner else inner


def check(body: bytes) -> str:
    document = msgspec.json.decode(body)
    jsonschema.validate(document, strict(schema_of(document["type"])), jsonschema.Draft202012Validator)
    assert len(body) < 20_000
    return str(document["type"])


async def test_every_type_has_a_schema(world: World) -> None:
    listed = (await world.get("/v1/schemas")).json()
    assert [item["type"] for item in listed["items"]] == [*TYPES, "test"]
    assert listed["next"] is None
    for item in listed["items"]:
        answer = await world.get(item["url"])
        assert answer.status_code == 200
        schema = answer.json()
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["title"] == item["type"]
        assert schema["properties"]["type"]["enum"] == [item["type"]]
    assert (await world.get("/v1/schemas/order.created")).status_code == 404


async def test_what_the_projector_tells_is_as_described(world: World) -> None:
    await one_delivery(world)
    records = await world.store.read(lambda tx: tx.journal.after(0, 500))
    told_of = [r for r in records if r.kind == "intent"]
    seen = set()
    for record in told_of:
        for replay in ("", "rpl_1"):
            message = Message("m", "sub_1", record.position, "pending", 0, world.now, replay=replay)
            seen.add(check(render(record, SUBSCRIBER, message)))
    assert seen >= {
        "order.updated",
        "delivery.shipped",
        "delivery.delivered",
        "tracker.updated",
        "capture.ready",
    }


@pytest.mark.parametrize("type", ["condition.raised", "condition.cleared"])
def test_conditions_are_as_described(type: str) -> None:
    found = {"code": "STALLED", "kind": None, "source": "sweeper", "raisedAt": "2025-01-20T12:00:00Z",
             "clearedAt": None, "count": None, "evidence": {"businessDays": 3}}  # fmt: skip
    for condition in (found, {"code": "STALLED", "kind": None}):
        for about in (
            {"orderId": "o", "deliveryId": "d"},
            {"orderId": "o"},
            {"carrierCode": "UPS", "trackingNumber": "1Z"},
        ):
            data = condition_data("delivery/d", condition) | about
            assert check(told("bp", Intent(type, Instant(0), "new", data, ()))) == type


def test_a_test_message_is_as_described() -> None:
    assert check(told("", trial_intent("sub_1", Instant(0)))) == "test"


def test_a_field_that_is_missing_is_seen() -> None:
    broken = told("bp", Intent("tracker.updated", Instant(0), "new", {"carrierCode": "UPS"}, ()))
    with pytest.raises(jsonschema.ValidationError):
        check(broken)
    assert set(DATA) == {*TYPES, "test"}


def test_the_words_are_those_of_everything_else() -> None:
    """A parcel is a delivery; what has a tracking number is a tracker."""
    for name in DATA:
        assert "Parcel" not in schema_of(name)["$defs"]
    told_of = schema_of("tracker.updated")["$defs"]["Milestone"]["properties"]["standing"]["description"]
    for standing, _ in _WHY:
        assert standing in told_of
