"""Events as records and as what each subscription gets: keys in the seeds' order, the same bytes at every try."""

from base64 import b64decode
from pathlib import Path
from typing import Any

import msgspec
import pytest

from milepost.domain.attempt import Destination, Message
from milepost.domain.envelope import parse_event
from milepost.domain.instant import Instant, parse_instant
from milepost.domain.record import Record
from milepost.sandbox.events import OVERSIZE, SKEW, event_body, legacy_name, render
from milepost.sandbox.publication import Publication
from milepost.sandbox.world import WorldOrder

SEEDS = Path(__file__).parents[2] / "seeds"
AT = parse_instant("2025-01-20T12:34:56.789Z")
DELIVERY = Publication("PACKAGE_DELIVERED", (("order", "o-1"), ("delivery", "d-1")), {"order": {"id": "o-1"}})
ORDER = WorldOrder("bp-1", {"id": "o-1"})


def record(publication: Publication = DELIVERY, serial: int = 0) -> Record:
    body = event_body(7, ORDER, serial, publication, AT)
    return Record(1, "event", "bp-1", publication.type, AT, AT, "sandbox", (), None, body)


def destination(id: str = "subscription-1", **subscription: str) -> Destination:
    settings = {"url": "http://127.0.0.1:1/", "subscription": subscription}
    return Destination(id, "webhook", msgspec.json.encode(settings))


def message(form: str = "", tries: int = 0) -> Message:
    return Message("m", "subscription-1", 1, "pending", tries, Instant(0), form=form)


def rendered(form: str = "", tries: int = 0, **subscription: str) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(
        render(record(), destination(**subscription), message(form, tries))
    )
    return decoded


def test_a_record_belongs_to_no_subscription() -> None:
    neutral = parse_event(record().body)
    assert (neutral.idempotency_key, neutral.subscription_id) == ("", "")
    assert neutral.event_time == "2025-01-20T12:34:56Z"
    assert not neutral.flags


def test_what_a_subscription_gets_has_the_seeds_keys_in_their_order() -> None:
    seed = msgspec.json.decode((SEEDS / "delivered.webhook.json").read_bytes())
    assert list(rendered()) == list(seed)
    bridge = msgspec.json.decode((SEEDS / "delivered.eventbridge.json").read_bytes())
    document = rendered("bridge")
    assert list(document) == list(bridge)
    assert list(document["detail"]) == list(bridge["detail"])
    assert document["id"] == document["detail"]["eventId"]
    for outer, inner in (
        ("time", "eventTime"),
        ("resources", "resources"),
        ("detail-type", "eventDescriptor"),
    ):
        assert document[outer] == document["detail"][inner]


def test_every_try_carries_the_same_bytes() -> None:
    tries = {render(record(), destination(), message(tries=n)) for n in range(5)}
    assert len(tries) == 1


def test_two_subscriptions_get_one_event_under_two_keys() -> None:
    one, other = (
        msgspec.json.decode(render(record(), destination(one_id), message())) for one_id in ("sub-1", "sub-2")
    )
    assert one["eventId"] == other["eventId"]
    assert one["idempotencyKey"] != other["idempotencyKey"]
    assert (one["subscriptionId"], other["subscriptionId"]) == ("sub-1", "sub-2")
    assert b64decode(one["idempotencyKey"]).decode() == f"sub-1#{one['eventId']}"


def test_other_events_have_other_ids() -> None:
    ids = {parse_event(record(serial=n).body).event_id for n in range(50)}
    assert len(ids) == 50


def test_the_version_and_the_name_are_the_subscriptions() -> None:
    sent = rendered(apiVersion="2024-04-01", eventType="DELIVERY_COMPLETED")
    assert (sent["apiVersion"], sent["eventDescriptor"]) == ("2024-04-01", "DELIVERY_COMPLETED")
    assert rendered()["apiVersion"] == "2024-11-01"


def test_each_form_is_wrong_in_its_own_way() -> None:
    good = rendered()
    assert rendered("legacy") == good | {"eventDescriptor": "DELIVERY_COMPLETED"}
    assert rendered("empty") == good | {"data": {}}
    second = rendered("second")
    assert second["eventId"] == good["eventId"]
    assert second["subscriptionId"] != good["subscriptionId"]
    assert second["idempotencyKey"] != good["idempotencyKey"]
    late = parse_instant(good["eventTime"]) - parse_instant(rendered("skew")["eventTime"])
    assert late == SKEW
    both = rendered("legacy,bridge")
    assert both["detail-type"] == both["detail"]["eventDescriptor"] == "DELIVERY_COMPLETED"


def test_only_the_first_try_is_oversize() -> None:
    assert len(rendered("oversize")["padding"]) == OVERSIZE
    assert rendered("oversize", tries=1) == rendered()


@pytest.mark.parametrize(
    ("type", "former"),
    [
        ("PACKAGE_DELIVERED", "DELIVERY_COMPLETED"),
        ("RETURN_STARTED", "RETURN_STARTED"),
        ("SOMETHING_NEW", "SOMETHING_NEW"),
    ],
)
def test_a_type_that_never_had_another_name_keeps_its_own(type: str, former: str) -> None:
    assert legacy_name(type) == former
