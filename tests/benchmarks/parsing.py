"""Decode + validate + resources of the thin event, beside Powertools' EventBridgeModel on the same document.

Every round parses documents with ids of their own, so that no cache answers for the parser. Powertools reads the
EventBridge document (that is what its model is for); Milepost is measured on that document and on the webhook body.
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence

from aws_lambda_powertools.utilities.parser.models import EventBridgeModel
from tests.benchmarks.report import Row, Table

from milepost.domain.envelope import parse_event

DOCUMENTS = 20_000


def run(rounds: int) -> Table:
    """Microseconds of processor time a document, medians over interleaved rounds."""
    webhook = [_webhook(n) for n in range(DOCUMENTS)]
    bridge = [_bridge(n) for n in range(DOCUMENTS)]
    contenders: dict[str, tuple[Callable[[bytes], object], Sequence[bytes]]] = {
        "Milepost, webhook body": (parse_event, webhook),
        "Milepost, EventBridge document": (parse_event, bridge),
        "Powertools EventBridgeModel": (
            lambda body: EventBridgeModel.model_validate(json.loads(body)),
            bridge,
        ),
        "json.loads alone": (json.loads, webhook),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, (parse, documents) in contenders.items():
            times[name].append(_microseconds(parse, documents))
    thin = statistics.median(times["Milepost, webhook body"])
    ratio = statistics.median(
        ours / theirs
        for ours, theirs in zip(
            times["Milepost, EventBridge document"], times["Powertools EventBridgeModel"], strict=True
        )
    )
    table = Table(
        f"Decode + validate + resources, thin event ({rounds} interleaved rounds, medians)",
        ("parser", "CPU µs/event", "min", "max"),
        [
            Row(name, f"{statistics.median(t):.2f}", f"{min(t):.2f}", f"{max(t):.2f}")
            for name, t in times.items()
        ],
    )
    table.bars.append(("thin event parsed, µs", thin, "<=", 4.0))
    table.bars.append(("EventBridge document, of Powertools' time", ratio, "<=", 0.5))
    return table


def _microseconds(parse: Callable[[bytes], object], documents: Sequence[bytes]) -> float:
    # Processor time: what else the machine does meanwhile is not the parser's.
    started = time.process_time()
    for document in documents:
        parse(document)
    return (time.process_time() - started) / len(documents) * 1e6


def _detail(n: int) -> dict[str, object]:
    return {
        "idempotencyKey": f"example-idempotency-key-{n}",
        "eventDescriptor": "PACKAGE_DELIVERY_IN_TRANSIT",
        "resources": [f"businessProduct/business-product-id/order/order-id-{n}/delivery/delivery-id-{n}"],
        "eventId": f"example-event-id-{n}",
        "apiVersion": "2024-11-01",
        "subscriptionId": "example-subscription-id",
        "eventTime": f"2025-01-{n % 28 + 1:02d}T{n % 24:02d}:{n % 60:02d}:{n // 60 % 60:02d}Z",
        "data": {},
    }


def _webhook(n: int) -> bytes:
    return json.dumps(_detail(n), separators=(",", ":")).encode()


def _bridge(n: int) -> bytes:
    detail = _detail(n)
    document = {
        "version": "0",
        "id": f"6a7e8feb-b491-4cf7-a9f1-bf37{n:08d}",
        "detail-type": detail["eventDescriptor"],
        "source": "aws.partner/buywithprime/partner-event-source-name",
        "account": "123456789012",
        "time": detail["eventTime"],
        "region": "us-east-1",
        "resources": detail["resources"],
        "detail": detail,
    }
    return json.dumps(document, separators=(",", ":")).encode()
