"""Fuzz resource identifiers: `python tests/fuzz/fuzz_resource.py -runs=100000` (libFuzzer's options).

The invariant: any text gives a `Resource` or `Malformed`, nothing else. What parses is written back exactly,
has a business product, and its ids are found by key wherever they stand.
"""

import sys

import atheris

with atheris.instrument_imports(include=["milepost"]):
    from milepost.domain.errors import Malformed
    from milepost.domain.resource import Resource, parse_resource


def check(text: str) -> Resource | None:
    """Check the invariant for one text; returns the resource when it is one."""
    segments = text.split("/")
    fine = len(segments) % 2 == 0 and all(segments) and segments[0] == "businessProduct"
    try:
        resource = parse_resource(text)
    except Malformed:
        resource = None
    assert (resource is not None) == fine
    if resource is None:
        return None
    assert str(resource) == text
    assert resource.business_product_id
    assert parse_resource(str(resource)) == resource
    first: dict[str, str] = {}
    for key, value in resource.pairs:
        first.setdefault(key, value)
    assert all(resource.get(key) == value for key, value in first.items())
    assert (resource.order_id, resource.tracking_number) == (first.get("order"), first.get("tracker"))
    return resource


def main() -> None:
    def one(data: bytes) -> None:
        text = atheris.FuzzedDataProvider(data).ConsumeUnicode(len(data))
        check(text)
        check(f"businessProduct/bp-1/{text}")

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
