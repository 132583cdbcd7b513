"""Fuzz the two wires: `python tests/fuzz/fuzz_envelope.py -runs=100000` (libFuzzer's options).

The invariant: any bytes give an `Event` or `Malformed`, nothing else. What parses round-trips through both
formatters, and everything that is made of it later (identity, conflict hash, subjects, fact) is total.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["milepost"]):
    from milepost.domain.envelope import Bridge, Event, format_eventbridge, format_webhook, parse_event
    from milepost.domain.errors import Malformed
    from milepost.domain.fact import fact_of
    from milepost.domain.instant import Instant
    from milepost.domain.record import Record, conflict_hash, identity_hashes, subjects_of

import msgspec

SEEDS = Path(__file__).parent.parent / "seeds"


def without_road(event: Event) -> Event:
    """An event without what only its envelope can say."""
    said = tuple(
        f for f in event.flags if f not in ("typeDisagreement", "timeDisagreement", "resourcesDisagreement")
    )
    return msgspec.structs.replace(event, bridge=None, flags=said)


def attempt(body: bytes) -> tuple[Event | None, Malformed | None]:
    try:
        return parse_event(body), None
    except Malformed as e:
        return None, e


def check(body: bytes) -> Event | None:
    """Check the invariant for one body; returns the event when there is one."""
    event, refusal = attempt(body)
    if event is None:
        assert refusal is not None
        assert refusal.detail
        assert refusal.context["field"]
        return None
    texts = tuple(map(str, event.resources))
    bridge = event.bridge or Bridge("0", "x", event.descriptor, "s", "a", event.event_time, "r", texts)
    webhook, document = format_webhook(event), format_eventbridge(event, bridge)
    assert parse_event(webhook) == without_road(event), "the webhook body says something else"
    assert without_road(parse_event(document)) == without_road(event), "the document says something else"
    assert parse_event(document).bridge == bridge, "the envelope says something else"
    assert format_webhook(parse_event(webhook)) == webhook, "formatting is not stable"
    by_key, by_event_id = identity_hashes(event)
    assert by_key or by_event_id, "nothing identifies the event"
    conflict_hash(1, event)
    for kind in ("event", "conflict"):
        record = Record(
            1,
            kind,
            event.business_product_id,
            event.type,
            Instant(0),
            event.published_at,
            "webhook",
            (),
            None,
            body,
        )
        assert subjects_of(record)
        fact_of(record)
    return event


def damaged(seed: bytes, data: bytes) -> bytes:
    """A seed with the fuzzer's bytes in place of a few of its own."""
    body = bytearray(seed)
    start = int.from_bytes(data[:2], "big") % len(body)
    body[start : start + data[2] % 24] = data[3:]
    return bytes(body)


def spliced(seed: bytes, data: bytes) -> bytes:
    """A seed with the fuzzer's bytes in place of the value of one field, or as one more field."""
    document = msgspec.json.decode(seed, type=dict[str, msgspec.Raw])
    where = document
    if "detail" in document and data[0] % 2:
        where = msgspec.json.decode(document["detail"], type=dict[str, msgspec.Raw])
    names = [*where, "unknown"]
    where[names[data[1] % len(names)]] = msgspec.Raw(data[2:])
    if where is not document:
        document["detail"] = msgspec.Raw(msgspec.json.encode(where))
    return msgspec.json.encode(document)


def main() -> None:
    seeds = [path.read_bytes() for path in sorted(SEEDS.glob("*.json"))]

    def one(data: bytes) -> None:
        check(data)
        # Random bytes rarely get past the first brace: the same bytes also decide how a seed is changed.
        if len(data) > 3:
            seed = seeds[data[0] % len(seeds)]
            check(damaged(seed, data[1:]))
            check(spliced(seed, data[1:]))

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
