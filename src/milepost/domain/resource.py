"""Resource identifiers: the key/value paths in an event's `resources`.

`businessProduct/{id}/` followed by resource types (keys) and ids (values) separated by slashes (each seed,
"Fields"). Pairs are read by key name, never by position, so that both forms of a milestone's resource are
one thing: `businessProduct/…/carrier/…/tracker/…` as documented, and the same with `order/…` before
`carrier` as seen in real traffic (buy-with-prime.md 1.3). Keys nobody has documented are kept.

What an event means is not decided here (`event`, `envelope`).
"""

from functools import lru_cache

import msgspec

from milepost.domain.errors import Malformed

BUSINESS_PRODUCT = "businessProduct"


class Resource(msgspec.Struct, frozen=True, cache_hash=True):
    """One resource identifier, as its pairs in the order they were written."""

    pairs: tuple[tuple[str, str], ...]

    @property
    def business_product_id(self) -> str:
        return self.pairs[0][1]

    def get(self, key: str) -> str | None:
        """The id behind `key` (the first, were it written twice), or None."""
        for k, v in self.pairs:
            if k == key:
                return v
        return None

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
        return "/".join(f"{k}/{v}" for k, v in self.pairs)


@lru_cache(maxsize=8_192)
def parse_resource(text: str) -> Resource:
    """`businessProduct/{id}/…` to a `Resource`; `str()` of it is the exact inverse.

    Raises `Malformed`: odd number of segments, an empty segment, or another first key than businessProduct.
    """
    segments = text.split("/")
    if len(segments) % 2:
        raise Malformed(
            f"resource {text!r} has {len(segments)} segments; key/value pairs need an even number",
            field="resources",
        )
    if segments[0] != BUSINESS_PRODUCT:
        raise Malformed(f"resource {text!r} does not start with businessProduct/{{id}}", field="resources")
    if not all(segments):
        raise Malformed(f"resource {text!r} has an empty segment", field="resources")
    return Resource(tuple(zip(segments[::2], segments[1::2], strict=False)))
