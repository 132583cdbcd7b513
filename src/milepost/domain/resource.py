"""Resource identifiers: the key/value paths in an event's `resources`.

`businessProduct/{id}/` followed by resource types (keys) and ids (values) separated by slashes (each seed,
"Fields"). Pairs are read by key name, never by position, so that both forms of a milestone's resource are
one thing: `businessProduct/…/carrier/…/tracker/…` as documented, and the same with `order/…` before
`carrier` as seen in real traffic (buy-with-prime.md 1.3). Keys nobody has documented are kept.

What an event means is not decided here (`event`, `envelope`).
"""

from collections.abc import Iterable

import msgspec

from milepost.domain.errors import Malformed

BUSINESS_PRODUCT = "businessProduct"
_START = f"{BUSINESS_PRODUCT}/"


class Resource(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """One resource identifier. It keeps its text, since most are only compared and written again; what it names
    is read from the text when somebody asks."""

    text: str

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> "Resource":
        """The resource of these pairs, businessProduct first. Raises `Malformed` as `parse_resource` does."""
        return parse_resource("/".join(f"{key}/{value}" for key, value in pairs))

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(key, id) in the order they were written."""
        segments = self.text.split("/")
        return tuple(zip(segments[::2], segments[1::2], strict=True))

    @property
    def business_product_id(self) -> str:
        return self.text.split("/", 2)[1]

    @property
    def ids(self) -> dict[str, str]:
        """Key to id; of a key written twice the first. One reading for those who want several."""
        return dict(reversed(self.pairs))

    def get(self, key: str) -> str | None:
        """The id behind `key` (the first, were it written twice), or None."""
        return self.ids.get(key)

    @property
    def order_id(self) -> str | None:
        return self.get("order")

    @property
    def delivery_id(self) -> str | None:
        return self.get("delivery")

    @property
    def carrier_code(self) -> str | None:
        return self.get("carrier")

    @property
    def tracking_number(self) -> str | None:
        return self.get("tracker")

    def __str__(self) -> str:
        return self.text


def parse_resource(text: str) -> Resource:
    """`businessProduct/{id}/…` to a `Resource`; `str()` of it is the exact inverse.

    Raises `Malformed`: odd number of segments, an empty segment, or another first key than businessProduct.
    """
    # An odd number of slashes, none doubled, none at the end: every key has its value.
    if text.startswith(_START) and text.count("/") & 1 and "//" not in text and text[-1] != "/":
        return Resource(text)
    raise Malformed(_complaint(text), field="resources")


def _complaint(text: str) -> str:
    segments = text.split("/")
    if len(segments) % 2:
        return f"resource {text!r} has {len(segments)} segments; key/value pairs need an even number"
    if segments[0] != BUSINESS_PRODUCT:
        return f"resource {text!r} does not start with businessProduct/{{id}}"
    return f"resource {text!r} has an empty segment"
