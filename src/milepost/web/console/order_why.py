"""`/orders/{orderId}/why`: why an order, each of its deliveries and each tracker is in its state.

The API's explanation (`web.explanations`) in the order in which a person asks: of each thing first the sentence, then
the facts that made it so, then those that were set aside and by which rule.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from litestar import Request, Response, get
from msgspec import Struct

from milepost.domain.record import delivery_subject, order_subject, tracker_subject
from milepost.shopper.parcels import carrier_name
from milepost.store import Transaction
from milepost.web.console.order_links import ASKING, Here, parcel_anchor
from milepost.web.console.pages import page
from milepost.web.context import Hub
from milepost.web.explanations import order_explanation, tracker_explanation, why_delivery
from milepost.web.reading import (
    AsOf,
    BusinessProduct,
    CarrierCode,
    OrderId,
    TrackingNumber,
    find_view,
    parse_as_of,
    path_of,
    tracker_id,
)
from milepost.web.visiting import Looking, needs

Document = Mapping[str, Any]

BY_AGENTS: Final = frozenset({"correction", "withdrawal"})
_WORD: Final = re.compile(r"[\w-]{8,}")
MOST_FACTS: Final = 200
"""Of one thing, used and set aside each; the newest. The API has them all."""


class Reasons(Struct, frozen=True):
    """Why one thing is in its state. `state` is a code."""

    title: str
    anchor: str
    state: str
    why: str
    used: Sequence[Document]
    aside: Sequence[Document]
    left_out: int
    """How many facts are not shown."""


@get("/orders/{order_id:str}/why", opt=needs("orders"), exception_handlers=ASKING, include_in_schema=False)
async def why_order_page(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    order_id: OrderId,
    business_product_id: BusinessProduct = None,
    as_of: AsOf = None,
) -> Response[str]:
    reach, at = visitor.reach(business_product_id), parse_as_of(as_of or None)

    def read(tx: Transaction) -> tuple[dict[str, Any], dict[str, str]]:
        return order_explanation(tx, find_view(tx, "order", order_id, reach), at)

    explained, whys = await context.store.read(read)
    here = Here(order_id, business_product_id)
    return page(
        request,
        visitor,
        "order_why.html",
        now=context.clock(),
        title=f"Why order {order_id} is as it is",
        back=here.path(asOf=as_of or None),
        back_text="Back to the order",
        records=here if visitor.may("serve") else None,
        as_of=at,
        sections=list(_of_order(explained if visitor.may("serve") else _unsigned(explained), whys)),
        most=MOST_FACTS,
        by_agents=BY_AGENTS,
    )


@get(
    "/trackers/{carrier_code:str}/{tracking_number:str}/why",
    opt=needs("orders"),
    exception_handlers=ASKING,
    include_in_schema=False,
)
async def why_tracker_page(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    carrier_code: CarrierCode,
    tracking_number: TrackingNumber,
    business_product_id: BusinessProduct = None,
    as_of: AsOf = None,
) -> Response[str]:
    reach, at = visitor.reach(business_product_id), parse_as_of(as_of or None)
    back = path_of(
        "trackers", carrier_code, tracking_number, businessProductId=business_product_id, asOf=as_of or None
    )

    def read(tx: Transaction) -> dict[str, Any]:
        view = find_view(tx, "tracker", tracker_id(carrier_code, tracking_number), reach)
        return tracker_explanation(tx, view, at)

    explained = await context.store.read(read)
    explained = explained if visitor.may("serve") else _unsigned(explained)
    shown = explained["view"]
    name = f"{carrier_name(shown['carrierCode'])} {shown['trackingNumber']}"
    return page(
        request,
        visitor,
        "order_why.html",
        now=context.clock(),
        title=f"Why {name} is as it is",
        back=back,
        back_text="Back to the tracker",
        records=None,
        as_of=at,
        sections=[_reasons(name, "tracker", shown["stage"], explained["state"], explained["facts"])],
        most=MOST_FACTS,
        by_agents=BY_AGENTS,
    )


def _unsigned(explained: Document) -> dict[str, Any]:
    """Without what agents wrote, for who may not serve customers (`orders` says why)."""
    facts = [
        fact | {"text": "An agent told or withdrew a correction."} if fact["kind"] in BY_AGENTS else fact
        for fact in explained["facts"]
    ]
    return {**explained, "facts": facts}


def _named(fact: Document, names: Mapping[str, str]) -> Document:
    """With the parcels' places instead of their ids, but for what agents wrote."""
    if fact["kind"] in BY_AGENTS:
        return fact
    return {**fact, "text": _WORD.sub(lambda found: names.get(found[0], found[0]), fact["text"])}


def _of_order(explained: Document, whys: Mapping[str, str]) -> Iterator[Reasons]:
    order = explained["view"]
    names = {d["id"]: f"parcel {place}" for place, d in enumerate(order["deliveries"], 1)}
    facts = [_named(fact, names) for fact in explained["facts"]]
    about: dict[str, list[Document]] = {}
    for fact in facts:
        about.setdefault(fact["about"], []).append(fact)
    own = about.get(order_subject(order["id"]), [])
    yield _reasons("The order", "order", order["state"], explained["state"], own)
    seen: set[str] = set()
    for place, delivery in enumerate(order["deliveries"], 1):
        title, why = f"Parcel {place}", why_delivery(delivery)
        listed = about.get(delivery_subject(delivery["id"]), [])
        yield _reasons(title, parcel_anchor(place), delivery["state"], why, listed)
        for number, tracker in enumerate(delivery["trackers"], 1):
            subject = tracker_subject(tracker["carrierCode"], tracker["trackingNumber"])
            # Of one that several deliveries share the facts stand once.
            listed = [] if subject in seen else about.get(subject, [])
            seen.add(subject)
            name = f"{title}: {carrier_name(tracker['carrierCode'])} {tracker['trackingNumber']}"
            anchor = f"{parcel_anchor(place)}-tracker-{number}"
            yield _reasons(name, anchor, tracker["stage"], whys.get(subject, ""), listed)


def _reasons(title: str, anchor: str, state: str, why: str, facts: Sequence[Document]) -> Reasons:
    used = [fact for fact in facts if fact["used"]]
    aside = [fact for fact in facts if not fact["used"]]
    shown = [listed[-MOST_FACTS:] for listed in (used, aside)]
    return Reasons(title, anchor, state, why, shown[0], shown[1], len(facts) - sum(map(len, shown)))


HANDLERS = [why_order_page, why_tracker_page]
