"""Corrections on an order's page: what an agent knows better than carriers and Buy with Prime (T11).

The forms write by the same functions as the API (`web.corrections`), in the name of the visitor.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, post
from litestar.params import PathParameter

from milepost.domain.correction import TRACKER_STAGES
from milepost.domain.errors import Invalid
from milepost.domain.record import delivery_subject, tracker_subject
from milepost.web.console.forms import read_form, see_folded
from milepost.web.console.order_links import Here
from milepost.web.console.pages import ERRORS
from milepost.web.console.telling import tell_of_order
from milepost.web.console.wording import spoken
from milepost.web.context import Hub
from milepost.web.corrections import CorrectionRequest, correct, withdraw
from milepost.web.reading import BusinessProduct, OrderId
from milepost.web.visiting import Looking, needs

STATES: Final = tuple((stage, spoken(stage)) for stage in TRACKER_STAGES)
"""What can be true instead, and how it is said. A parcel takes two of them, which the API's own error names."""


def subjects_of(order: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """What of an order can be corrected: each delivery and each of its trackers, with what it is called."""
    found: dict[str, str] = {}
    for place, delivery in enumerate(order["deliveries"], 1):
        found[delivery_subject(delivery["id"])] = f"Parcel {place}"
        for tracker in delivery["trackers"]:
            carrier, number = tracker["carrierCode"], tracker["trackingNumber"]
            found.setdefault(tracker_subject(carrier, number), f"Parcel {place}: {carrier} {number}")
    return list(found.items())


@post(
    "/orders/{order_id:str}/corrections",
    opt=needs("serve"),
    status_code=303,
    exception_handlers=ERRORS,
    include_in_schema=False,
)
async def correct_order(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    order_id: OrderId,
    business_product_id: BusinessProduct = None,
) -> Response[str]:
    form = await read_form(request, visitor)
    reach = visitor.reach(business_product_id)
    made = await correct(context, reach, order_id, _asked(form), visitor.name)
    told = {"position": made.position, "state": made.state}
    await tell_of_order(context, visitor, "correction.made", order_id, reach, told)
    return await see_folded(
        context, f"{Here(order_id, business_product_id).path(done='corrected')}#corrections"
    )


@post(
    "/orders/{order_id:str}/corrections/{position:int}/withdraw",
    opt=needs("serve"),
    status_code=303,
    exception_handlers=ERRORS,
    include_in_schema=False,
)
async def withdraw_correction_of_order(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    order_id: OrderId,
    position: Annotated[int, PathParameter(ge=1)],
    business_product_id: BusinessProduct = None,
) -> Response[str]:
    form = await read_form(request, visitor)
    reach, reason = visitor.reach(business_product_id), form.get("reason", "")[:2_000]
    await withdraw(context, reach, order_id, position, visitor.name, reason)
    told = {"position": position}
    await tell_of_order(context, visitor, "correction.withdrawn", order_id, reach, told)
    return await see_folded(
        context, f"{Here(order_id, business_product_id).path(done='withdrawn')}#corrections"
    )


def _asked(form: Mapping[str, str]) -> CorrectionRequest:
    """The form as the API's request; its times are UTC. Raises `Invalid`."""
    kind, _, name = form.get("subject", "").partition("/")
    expires = form.get("expires", "")
    given: dict[str, Any] = {
        "occurredAt": f"{form.get('occurred', '')}Z",
        "reason": form.get("reason", ""),
        "expiresAt": f"{expires}Z" if expires else None,
    }
    if kind == "tracker":
        carrier, _, number = name.partition("/")
        given |= {"carrierCode": carrier, "trackingNumber": number, "stage": form.get("state")}
    else:
        given |= {"deliveryId": name, "state": form.get("state")}
    try:
        return msgspec.convert(given, CorrectionRequest)
    except msgspec.ValidationError as e:
        raise Invalid(str(e), field="reason") from e


HANDLERS = [correct_order, withdraw_correction_of_order]
