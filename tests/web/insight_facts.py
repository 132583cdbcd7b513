"""A shop of several business products whose parcels live in the sandbox's world, put into a hub as it would hear of
them; and its raw facts as an analyst gets them: the exports, and what order answers say of line items.

Some events are lost, with the answer that each would have led to, so that not everything is known; some parcels are
never heard of again. Which, the seed says.
"""

import json
import random
import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest
from msgspec import Struct
from tests.web.told import ENDS, tell, went
from tests.web.world import World

from milepost.domain.envelope import parse_event
from milepost.domain.instant import DAY, MINUTE, Instant, parse_instant, to_datetime
from milepost.sandbox import histories
from milepost.sandbox.histories import Answer, Heard, History, Life, lives
from milepost.sandbox.world import Step, business_product_of
from milepost.store import Arrival, NewRecord

UNTIL = parse_instant("2026-06-08T10:00:00Z")
"""A Monday."""
SHARES = {
    "mixed": 600,
    "label-only": 70,
    "returned": 40,
    "delivered-then-out": 60,
    "split": 40,
    "stalled-over-a-weekend": 40,
    "date-only-estimate": 30,
    "one-of-three-cancelled": 40,
    "cancelled-then-scanned": 30,
    "handed-to-locker": 30,
    "starts-later": 20,
    "odd-casing": 20,
    "unknown-code": 20,
    "future-scan": 20,
}
"""What orders live, of so many: the seldom more often than in a history of the sandbox."""
WORLDS = {27: 18, 28: 18, 29: 110}
"""Seeds of worlds, each a business product, and of how many days its orders are."""
LOSING = frozenset({29})
"""Those of which some events were lost; of the others every one came. Their API does not say where an order goes."""
LOST, SILENT = 0.04, 0.12
"""Shares of events that are lost, of orders of which nothing is heard any more from some point on."""


class Shop:
    """What really happened (`lives`), and the facts that the hub has of it."""

    def __init__(self, folder: Path, deliveries: int) -> None:
        self.folder = folder
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(histories, "_SHARES", SHARES)
            self.lives: dict[int, list[Life]] = {
                seed: [life for chunk in range(history.chunks) for life in lives(history, chunk)]
                for seed, days in WORLDS.items()
                for history in (History(seed, deliveries, UNTIL, days),)
            }

    async def tell(self, world: World) -> None:
        """Journal what is heard, in rounds as it would come, and fold it."""
        for seed, known in self.lives.items():
            heard = [list(_heard(seed, life)) for life in known]
            for number in range(max(map(len, heard))):
                each = [one[number] for one in heard if number < len(one)]
                await _journal(world, business_product_of(seed), each, without=seed in LOSING)
        world.now = UNTIL
        await world.project()

    async def facts(self, world: World) -> duckdb.DuckDBPyConnection:
        """Tables `facts`, `orders`, `notifications` (exports, as Parquet), `held` (what order answers say is in
        which delivery) and `items` (what was ordered)."""
        found = duckdb.connect(
            config={"autoinstall_known_extensions": "false", "TimeZone": "UTC", "threads": 1}
        )
        for name in ("facts", "orders", "notifications"):
            file = self.folder / f"{name}.parquet"
            answer = await world.get(f"/v1/exports/{name}", format="parquet")
            assert answer.status_code == 200, answer.text
            file.write_bytes(answer.content)
            found.execute(f"create table {name} as from read_parquet('{file}')")
        await self._line_items(world, found)
        return found

    async def _line_items(self, world: World, found: duckdb.DuckDBPyConnection) -> None:
        held: dict[tuple[str, ...], float] = {}
        items: dict[tuple[str, ...], float] = {}
        for record in await world.store.read(lambda tx: tx.journal.after(0, 1_000_000)):
            if record.kind != "snapshot" or (said := json.loads(record.body))["query"] != "order":
                continue
            whose, order = record.business_product_id, said["answer"]
            items |= {(whose, order["id"], i["id"]): i["amount"]["value"] for i in order["lineItems"]}
            held |= {
                (whose, order["id"], package["id"], each["lineItem"]["id"]): each["amount"]["value"]
                for package in order["packageInformation"]["details"]
                for each in package["packageInformationDetailsFor"]["orderLineItems"]
            }
        found.execute("create table held (product text, ord text, delivery text, item text, pieces double)")
        found.execute("create table items (product text, ord text, item text, pieces double)")
        for table, rows in (("held", held), ("items", items)):
            values = [(*key, pieces) for key, pieces in rows.items()]
            found.executemany(f"insert into {table} values ({', '.join('?' * len(values[0]))})", values)


def _heard(seed: int, life: Life) -> Iterator[Heard]:
    """What of a life reaches the hub."""
    draw = random.Random(f"{seed}/{life.world.id}")
    some = seed in LOSING
    end = draw.randrange(2, 6) if some and draw.random() < SILENT else len(life.heard)
    for one in life.heard[:end]:
        if not some or draw.random() >= LOST:
            yield one


async def _journal(world: World, product: str, heard: Sequence[Heard], *, without: bool) -> None:
    arrivals = [Arrival(parse_event(h.body), h.body, h.received_at, "webhook") for h in heard]
    await world.store.append(arrivals)
    records = [
        NewRecord("snapshot", product, a.query, a.at, a.at, "hydration", _body(a, without))
        for a in (h.answer for h in heard)
        if a is not None
    ]
    await world.store.write(lambda tx: tx.journal.add(records))


def _body(answer: Answer, without: bool) -> bytes:
    """As it was answered; `without` by a schema that does not say where an order goes."""
    said = json.loads(answer.body)
    if without:
        said["answer"].pop("recipients", None)
    return json.dumps(said).encode()


# ── What really happened ───────────────────────────────────────────────────────────────────────────────────


class Parcel(Struct, frozen=True):
    """One package of the world, whatever was heard of it."""

    order_id: str
    codes: frozenset[str]
    """Of all its scans; and why it was cancelled, if it was."""
    shipped_at: Instant | None
    scanned_at: Instant | None
    """When the carrier had it first, by a scan before its delivery."""
    delivered_at: Instant | None
    taken_back: bool
    """A scan within three days said that it was not delivered after all."""
    promised: date | None
    promise_ends: Instant | None
    delivered_on: date | None
    never_scanned: bool

    @property
    def on_time(self) -> bool:
        return (
            self.promised is not None and self.delivered_on is not None and self.delivered_on <= self.promised
        )


_MOVING = ("IN_TRANSIT", "OUT_FOR_DELIVERY", "AVAILABLE_FOR_PICKUP", "DELIVERY_ATTEMPTED")
_ZONES = {
    "OR": "America/Los_Angeles",
    "TX": "America/Chicago",
    "VT": "America/New_York",
    "GA": "America/New_York",
    "ID": "America/Boise",
    "MN": "America/Chicago",
}


def really(life: Life) -> list[Parcel]:
    """An order's packages, as soon as the hub can know that they are its: that is when it was asked about."""
    if not any(one.answer is not None and one.answer.query == "order" for one in life.heard):
        return []
    return [_parcel(life, package) for package in life.parcels]


def _parcel(life: Life, package: dict[str, Any]) -> Parcel:
    steps = [step for step in life.happened if step.delivery_id == package["id"]]
    scans = [
        (re.sub(r"(?<=[a-z])(?=[A-Z])", "_", step.milestone).upper(), _occurred(step))
        for step in steps
        if step.milestone
    ]
    moving = [at for code, at in scans if code in _MOVING]
    told = [step.at for step in steps if step.state == "IN_TRANSIT"]
    delivered = next((at for code, at in scans if code == "DELIVERED"), None)
    belied = delivered is not None and any(
        code in ("IN_TRANSIT", "OUT_FOR_DELIVERY") and 0 < at - delivered <= 3 * DAY for code, at in scans
    )
    zone = ZoneInfo(_ZONES[life.world.order["recipients"][0]["shippingAddress"]["region"]])
    promised = _promised(package, sum(step.moved_by for step in steps))
    cancelled = package["state"] == "CANCELLED" and package["reason"] != "UNDELIVERABLE" and not moving
    heard = min([*moving, *([delivered] if delivered is not None else [])], default=None)
    due = min((_four_weekdays_after(at) for at in told), default=None)
    ends = None if promised is None else datetime.combine(promised + timedelta(1), time(), zone)
    return Parcel(
        life.world.id,
        frozenset((*(code for code, _ in scans), *filter(None, [package["reason"]]))),
        None if cancelled else min([*moving, *told], default=None),
        min(moving, default=None),
        None if belied or delivered is None else delivered,
        belied,
        promised,
        None if ends is None else Instant(int(ends.timestamp() * 1000)),
        None if belied or delivered is None else to_datetime(delivered).astimezone(zone).date(),
        due is not None and due <= UNTIL and (heard is None or heard > due),
    )


def _occurred(step: Step) -> Instant:
    """A clock that is ahead is not believed (T9)."""
    occurred = parse_instant(step.occurred_at) if step.occurred_at else step.at
    return occurred if occurred <= step.at + 15 * MINUTE else step.at


def _promised(package: dict[str, Any], moved: int) -> date | None:
    """The last day of the window as it was before the carrier moved it; it only ever does so under way."""
    tracker = package["packageTracker"]
    if tracker is None:
        return None
    text = tracker["estimatedDeliveryDate"]["latest"]
    return (
        date.fromisoformat(text)
        if len(text) == 10
        else to_datetime(Instant(parse_instant(text) - moved)).date()
    )


def _four_weekdays_after(at: Instant) -> Instant:
    left = 4
    while left or to_datetime(at).weekday() > 4:
        if to_datetime(at).weekday() > 4:
            at = Instant(at // DAY * DAY + DAY)
        else:
            at, left = Instant(at + DAY), left - 1
            while to_datetime(at).weekday() > 4:
                at = Instant(at + DAY)
    return at


async def tell_shoppers(world: World, seed: int = 5) -> None:
    """Notifications in every state, suppressed ones by several rules, of a few orders of each business product."""
    draw = random.Random(seed)
    for number in range(90):
        product = business_product_of(draw.choice(list(WORLDS)))
        state = draw.choice(list(ENDS))
        told = await tell(world, f"told-{number}", product=product, order_id=f"order-{draw.randrange(20)}")
        changes: dict[str, Any] = {
            "SENDING": {"lease_until": world.now},
            "SUPPRESSED": {"reason": "it is so"},
        }
        await went(
            world,
            told,
            *ENDS[state],
            **changes.get(state, {}) | ({"rule": draw.choice((6, 7, 13))} if state == "SUPPRESSED" else {}),
        )
