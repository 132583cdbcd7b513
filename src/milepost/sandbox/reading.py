"""What can be read from an order document, whoever wrote it: the seed's own, and those that callers put in.

Pure. How documents are made is `world`, how they change `transitions`, how they are kept `keeper`.
"""

from collections.abc import Iterator
from typing import Any

from milepost.domain.errors import Invalid
from milepost.domain.record import package_details, tracker_identity, tracker_subject
from milepost.sandbox.catalog import Place
from milepost.sandbox.order_shape import check_shape


def home_of(order: dict[str, Any]) -> Place:
    """Where an order's parcels go: its recipient's address, as far as the document has one."""
    recipients = order.get("recipients")
    recipient = recipients[0] if isinstance(recipients, list) and recipients else {}
    address = recipient.get("shippingAddress") if isinstance(recipient, dict) else None
    address = address if isinstance(address, dict) else {}
    return Place(str(address.get("locality") or "Portland"), str(address.get("region") or "OR"), "", "")


def check_id(value: object, field: str) -> None:
    """Raises `Invalid` for what no resource of an event could carry as an id: slashes stand between ids there."""
    if not isinstance(value, str) or not value or "/" in value or not value.isprintable():
        raise Invalid(f"{field} is printable characters without a slash, at least one", field=field)


def complete(order: dict[str, Any]) -> dict[str, Any]:
    """An order document given by a caller, with the parts that packages need. Raises `Invalid`."""
    check_id(order.get("id"), "id")
    check_shape(order)
    information = order.get("packageInformation")
    details = information.get("details") if isinstance(information, dict) else None
    details = package_details(order) if not isinstance(details, list) else details
    packages: dict[str, dict[str, Any]] = {}
    for detail in details:
        if not isinstance(detail, dict):
            raise Invalid("each of packageInformation.details needs an id", field="packageInformation")
        check_id(detail.get("id"), "packageInformation.details.id")
        _check_tracker(detail)
        contents = detail.get("packageInformationDetailsFor")
        entries = contents.get("orderLineItems") if isinstance(contents, dict) else None
        for entry in entries or ():
            _check_has_id(entry.get("lineItem") if isinstance(entry, dict) else None, "orderLineItems")
        packages[detail["id"]] = {
            "reason": None,
            "packageTracker": None,
            **detail,
            "state": detail.get("state") or "PENDING",
            "packageInformationDetailsFor": {"orderLineItems": entries or []},
        }
    for item in order.get("lineItems") or ():
        _check_has_id(item, "lineItems")
    _check_returns(order.get("returns"))
    _check_refunds(order.get("refunds"))
    if not packages:
        raise Invalid("an order document needs packageInformation.details", field="packageInformation")
    summary = information.get("summary") if isinstance(information, dict) else None
    stated = isinstance(summary, dict) and isinstance(summary.get("state"), str)
    return {
        "aliases": [],
        "lineItems": [],
        **order,
        "packageInformation": {
            **(information or {}),
            "summary": summary if stated else {"state": "PENDING"},
            "details": list(packages.values()),
        },
    }


def _check_returns(returns: object) -> None:
    details = returns.get("details") if isinstance(returns, dict) else None
    for given_back in details or ():
        if not isinstance(given_back, dict):
            raise Invalid("each of returns needs an id", field="returns")
        check_id(given_back.get("id"), "returns.details.id")
        listed = given_back.get("returnPackageDetails")
        if not isinstance(listed, list) or not listed or not all(isinstance(p, dict) for p in listed):
            raise Invalid("each return needs returnPackageDetails", field="returns")
        for parcel in listed:
            _check_tracker(parcel)


def _check_refunds(refunds: object) -> None:
    for refund in (refunds.get("details") if isinstance(refunds, dict) else None) or ():
        check_id(refund.get("id") if isinstance(refund, dict) else None, "refunds.details.id")


def _check_tracker(parcel: dict[str, Any]) -> None:
    for part in tracker_identity(parcel.get("packageTracker")) or ():
        check_id(part, "packageTrackerIdentifier")


def _check_has_id(value: object, field: str) -> None:
    if not isinstance(value, dict) or not isinstance(value.get("id"), str):
        raise Invalid(f"each of {field} needs an id", field=field)


def first_open_delivery(order: dict[str, Any]) -> str:
    """The package a trigger means that names none: the first that can still come to it, else the first."""
    details = order["packageInformation"]["details"]
    open_ones = [d for d in details if d["state"] in ("PENDING", "IN_TRANSIT")]
    return str((open_ones or details)[0]["id"])


def alias_term(type: str, id: str) -> str:
    return f"alias/{type}/{id}".lower()


def parcels(order: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything that travels: packages, then the parcels of returns; with the id of the package or the return."""
    for detail in order["packageInformation"]["details"]:
        yield detail["id"], detail
    for given_back in (order.get("returns") or {}).get("details") or ():
        for parcel in given_back.get("returnPackageDetails") or ():
            yield given_back["id"], parcel


def find_tracker(order: dict[str, Any], carrier: str, number: str) -> tuple[str, dict[str, Any]] | None:
    """The tracker of that number, and the id of the package or return that it is of; the newest where several
    parcels of the order had the number. Carrier codes are compared without case."""
    found: tuple[str, dict[str, Any]] | None = None
    for parcel_id, parcel in parcels(order):
        identity = tracker_identity(parcel.get("packageTracker"))
        if identity is not None and (identity[0].lower(), identity[1]) == (carrier.lower(), number):
            found = parcel_id, parcel["packageTracker"]
    return found


def terms(order: dict[str, Any]) -> tuple[str, ...]:
    """What an order is found by: its aliases, and the ids and trackers of its parcels."""
    found = [alias_term(str(a.get("aliasType")), str(a.get("aliasId"))) for a in order.get("aliases") or ()]
    for parcel_id, parcel in parcels(order):
        found.append(f"delivery/{parcel_id}".lower())
        identity = tracker_identity(parcel.get("packageTracker"))
        if identity is not None:
            found.append(tracker_subject(*identity).lower())
    return tuple(dict.fromkeys(found))
