"""Which record is for whom: forms, types, business products, carriers, CEL."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from milepost.domain.attempt import Destination
from milepost.domain.errors import Invalid
from milepost.domain.instant import Instant
from milepost.domain.intent import Intent
from milepost.domain.record import Record
from milepost.domain.subscriber import Filter
from milepost.pipeline.subscribers import LONGEST_EXPRESSION, Matching, compile_expression

NOW = Instant(1_737_376_496_000)


def intent(
    type: str = "order.updated",
    product: str = "bp-1",
    data: dict[str, Any] | None = None,
    about: str = "told/order/o-1",
    carriers: tuple[str, ...] = ("UPS",),
) -> Record:
    body = Intent(type, NOW, "new", data or {"state": "SHIPPED", "n": 3}, (about,), "o-1", None, carriers)
    return Record(7, "intent", product, type, NOW, NOW, "projector", (), None, msgspec.json.encode(body))


def event(resource: str = "order/o-1/delivery/d-1", product: str = "bp-1", **data: Any) -> Record:
    body = {
        "idempotencyKey": "k",
        "eventDescriptor": "PACKAGE_DELIVERED",
        "resources": [f"businessProduct/{product}/{resource}"],
        "eventId": "e",
        "apiVersion": "2024-11-01",
        "subscriptionId": "s",
        "eventTime": "2025-01-20T12:34:56Z",
        "data": data,
    }
    return Record(
        7, "event", product, "PACKAGE_DELIVERED", NOW, NOW, "webhook", (), None, msgspec.json.encode(body)
    )


def subscriber(form: Any = "milepost", types: tuple[str, ...] = (), **wanted: Any) -> Destination:
    text = msgspec.json.encode(Filter(**wanted)) if wanted else b""
    return Destination("sub_1", "webhook", b"", types, form=form, filter=text)


def test_each_form_takes_its_kind_of_record() -> None:
    matching = Matching()
    for record, form in ((intent(), "milepost"), (event(), "amazon")):
        assert matching.wants(subscriber(form), record)
        other = "amazon" if form == "milepost" else "milepost"
        assert not matching.wants(subscriber(other), record)
    conflict = msgspec.structs.replace(event(), kind="conflict")
    assert not matching.wants(subscriber("amazon"), conflict)


def test_a_test_message_is_for_nobody_who_did_not_ask() -> None:
    assert not Matching().wants(subscriber(), intent("test"))


def test_types_and_business_products() -> None:
    matching = Matching()
    assert matching.wants(subscriber(types=("order.updated", "capture.ready")), intent())
    assert not matching.wants(subscriber(types=("capture.ready",)), intent())
    assert matching.wants(subscriber(business_product_ids=("bp-1", "bp-2")), intent())
    assert not matching.wants(subscriber(business_product_ids=("bp-2",)), intent())


def test_carriers_in_any_case_and_none_for_what_names_none() -> None:
    matching = Matching()
    assert matching.wants(subscriber(carriers=("ups", "DHL")), intent())
    assert not matching.wants(subscriber(carriers=("DHL",)), intent())
    assert not matching.wants(subscriber(carriers=("UPS",)), intent(carriers=()))
    moved = event("carrier/UPS/tracker/1Z")
    assert matching.wants(subscriber("amazon", carriers=("Ups",)), moved)
    assert not matching.wants(subscriber("amazon", carriers=("UPS",)), event())
    tracker = {"packageTrackerIdentifier": {"carrierCode": "UPS", "trackingNumber": "1Z"}}
    order = {"id": "o-1", "packageInformation": {"details": [{"id": "d-1", "packageTracker": tracker}]}}
    assert matching.wants(subscriber("amazon", carriers=("UPS",)), event(order=order))


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("type == 'order.updated' && data.state in ['SHIPPED']", True),
        ("data.n > 2", True),
        ("data.n > 3", False),
        ("message.data.state.startsWith('SHIP')", True),
        ("businessProductId == 'bp-1' && reason != 'replay'", True),
        ("has(data.missing) && data.missing == 1", False),
        ("data.missing == 1", False),
        ("data.n / 0 == 1", False),
        ("data.state.matches('(')", False),
        ("data.n", False),
        ("timestamp(timestamp) > timestamp('2025-01-01T00:00:00Z')", True),
    ],
)
def test_an_expression_must_be_true(expression: str, holds: bool) -> None:
    compile_expression(expression, "milepost")
    assert Matching().wants(subscriber(expression=expression), intent()) is holds


def test_an_expression_over_an_event_of_amazons() -> None:
    expression = "resources.exists(r, r.contains('/order/o-1')) && type == 'PACKAGE_DELIVERED' && data.n == 1"
    compile_expression(expression, "amazon")
    assert Matching().wants(subscriber("amazon", expression=expression), event(n=1))
    assert not Matching().wants(
        subscriber("amazon", expression=expression), event("order/o-2/delivery/d", n=1)
    )


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "data.(",
        "unknown == 1",
        "x" * (LONGEST_EXPRESSION + 1),
        "(" * 400 + "true" + ")" * 400,
        "[1].all(a, [1].all(b, [1].all(c, true)))",
        "\0",
        "'\ud800'",
    ],
)
def test_an_expression_that_cannot_be_used_is_refused(expression: str) -> None:
    with pytest.raises(Invalid) as refused:
        compile_expression(expression, "milepost")
    assert refused.value.context == {"field": "expression"}


def test_a_variable_belongs_to_its_form() -> None:
    compile_expression("eventId == 'e'", "amazon")
    with pytest.raises(Invalid, match="eventId"):
        compile_expression("eventId == 'e'", "milepost")


def test_what_is_beyond_a_filter_stops_nothing() -> None:
    assert not Matching().wants(subscriber(expression="data.a == 1"), intent(data={"a": 2**70}))
    deep: dict[str, Any] = {}
    for _ in range(90):
        deep = {"a": deep}
    assert not Matching().wants(subscriber(expression="data.b == 1"), intent(data=deep))


def test_a_filter_that_became_unusable_stops_nobody_else() -> None:
    matching = Matching()
    for text in (b'{"expression": "no longer CEL ("}', b"{", b'{"carriers": 7}'):
        broken = msgspec.structs.replace(subscriber(), filter=text)
        assert [matching.wants(d, intent()) for d in (broken, subscriber())] == [False, True]


def test_the_expressions_of_the_page_hold() -> None:
    page = (Path(__file__).parents[3] / "docs" / "subscribers.md").read_text("utf-8")
    (block,) = re.findall(r"^```text\n(.*?)^```", page, re.M | re.S)
    order = intent(data={"deliveries": [{"state": "PENDING"}, {"state": "IN_TRANSIT"}]})
    capture = intent("capture.ready", data={"suggestion": {"amount": "120.50"}})
    for expression, fits in zip(block.splitlines(), (order, capture), strict=True):
        compile_expression(expression, "milepost")
        held = [Matching().wants(subscriber(expression=expression), record) for record in (order, capture)]
        assert held == [fits is order, fits is capture], expression
    none = intent("capture.ready", data={"suggestion": None})
    assert not Matching().wants(subscriber(expression=expression), none)
