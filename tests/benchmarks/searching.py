"""Search by tracking number among 100,000 deliveries, through the hub's own HTTP API and in the store alone."""

import asyncio
import random
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import msgspec
from tests.benchmarks.history import PRODUCT, tracking_number
from tests.benchmarks.report import Row, Table
from tests.benchmarks.servers import hub

from milepost import sql
from milepost.hub import now
from milepost.store import Store, Transaction, View

DELIVERIES = 100_000
SEARCHES = 500


def run() -> Table:
    """Milliseconds a search: p50 and p99 of 500 searches each."""
    with tempfile.TemporaryDirectory(prefix="milepost-bench-") as name:
        folder = Path(name) / "hub"
        folder.mkdir()
        in_store = asyncio.run(_fill_and_search(folder / "hub.db"))
        moved = Path(name) / "served"
        with hub(moved, consumers=False, database=folder / "hub.db") as server:
            over_http = _search_over_http(server.port)
    table = Table(
        f"Search by tracking number, {DELIVERIES:,} deliveries", ("road", "p50 ms", "p99 ms", "found")
    )
    for road, times in (("store", in_store), ("GET /v1/search", over_http)):
        ordered = sorted(times)
        p99 = ordered[int(len(ordered) * 0.99)]
        table.rows.append(
            Row(road, f"{statistics.median(times):.2f}", f"{p99:.2f}", f"{len(times)} of {SEARCHES}")
        )
    table.bars.append(
        ("search by tracking number over HTTP, p50 ms", statistics.median(over_http), "<=", 5.0)
    )
    return table


async def _fill_and_search(path: Path) -> list[float]:
    store = await sql.open_store(f"sqlite:///{path}", clock=now, owner="bench")
    try:
        for first in range(0, DELIVERIES, 5_000):
            views = [_view(n) for n in range(first, first + 5_000)]

            def put(tx: Transaction, views: list[View] = views) -> None:
                tx.views.put(views)

            await store.write(put)
        return [await _search(store, n) for n in _sample()]
    finally:
        await store.close()


def _sample() -> list[int]:
    return random.Random(7).sample(range(DELIVERIES), SEARCHES)


async def _search(store: Store, n: int) -> float:
    started = time.perf_counter()
    found = await store.read(lambda tx: tx.views.search(tracking_number(n).lower(), 10, None))
    assert [view.id for view in found] == [f"delivery-{n}"]
    return (time.perf_counter() - started) * 1000


def _search_over_http(port: int) -> list[float]:
    times = []
    headers = {"authorization": "Bearer bench-key"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
        for n in _sample():
            started = time.perf_counter()
            response = client.get("/v1/search", params={"q": tracking_number(n)})
            times.append((time.perf_counter() - started) * 1000)
            assert [item["id"] for item in response.json()["items"]] == [f"delivery-{n}"], response.text
    return times


def _view(n: int) -> View:
    document = {
        "id": f"delivery-{n}",
        "businessProductId": PRODUCT,
        "orderId": f"322-{n:08d}",
        "state": "IN_TRANSIT",
        "reason": None,
        "shippedAt": None,
        "deliveredAt": None,
        "estimatedDelivery": None,
        "lineItems": [],
        "trackers": [
            {
                "carrierCode": "ups",
                "trackingNumber": tracking_number(n),
                "stage": "IN_TRANSIT",
                "milestones": [],
            }
        ],
        "conditions": [],
    }
    terms = (f"delivery-{n}", tracking_number(n).lower())
    return View(
        "delivery",
        PRODUCT,
        f"delivery-{n}",
        msgspec.json.encode(document),
        "IN_TRANSIT",
        f"322-{n:08d}",
        n + 1,
        None,
        terms,
    )
