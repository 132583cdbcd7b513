"""Acting for a visitor: a page's form does what the API does, by the same functions, as somebody of the same reach.

Handlers of the API are called as the plain functions they are (`handler.fn`): `await get_subscriber.fn(context,
acting(visitor), id)`. What a visitor's role lets them do was decided when the route admitted them; within that, they
act with every scope for their business products, and what they did is logged under their name.
"""

from milepost.domain.errors import MilepostError
from milepost.web.authentication import Principal
from milepost.web.visiting import Visitor


def acting(visitor: Visitor) -> Principal:
    """The visitor as the functions of the API know who asks."""
    return Principal(visitor.id, "admin", visitor.business_products)


def said(error: MilepostError) -> str:
    """An error as a sentence beside the form that it is about."""
    detail = error.detail.strip() or error.code
    return detail[0].upper() + detail[1:] + ("" if detail.endswith((".", "!", "?")) else ".")
