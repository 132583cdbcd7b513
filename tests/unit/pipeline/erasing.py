"""A place for tests of erasures: a hub's pipeline over one database, an eraser on it that can be killed between any
two writes, and a search of everything that the database's files hold."""

from pathlib import Path
from typing import Any

import msgspec
from tests.unit.domain.history import (
    BOX,
    BP,
    DELIVERED,
    MILESTONE,
    ORDER,
    SHIPPED,
    UPS,
    USPS,
    Arrived,
    event,
    order_answer,
    package,
    scan,
    tracker_answer,
)
from tests.unit.pipeline.retaining import Place

from milepost.domain.condition import Policy
from milepost.domain.erasure import Erasure
from milepost.domain.instant import Instant
from milepost.domain.record import Correction, Note, noted_subject, order_subject
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.eraser import Eraser
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.pipeline.projector import Projector

EMAIL, NAME, STREET = "Canary.Jane@example.com", "Zebulon Quackenbush", "Nightingale-Row-4711"
PHONE, URL, WORDS = "+1-555-0142-9931", "https://carrier.example/t?secret=c4n4ry", "left-with-Quackenbush"
CANARIES = (EMAIL, NAME, STREET, PHONE, URL, WORDS, "canary.jane", "quackenbush")


OTHER, OTHERS_EMAIL = "322-OTHER-ORDER1", "somebody.else@example.com"


class Killed(BaseException):
    """The process ends here."""


def customer(email: str = EMAIL, name: str = NAME) -> dict[str, Any]:
    return {"contact": {"id": "customer-77-" + PHONE, "name": name, "email": email}, "street": STREET}


def personal_scan(code: str, at: str) -> dict[str, Any]:
    made = scan(code, at)
    made["status"]["message"] = [{"locale": "en-US", "value": f"{WORDS} at {STREET}"}]
    made["address"]["street"] = STREET
    return made


def history(order: str = ORDER, *, email: str = EMAIL, tracker: tuple[str, str] = UPS) -> list[Arrived]:
    """One order from its shipping to its delivery, full of what is personal."""
    box = f"{order}-{BOX}"
    data = {
        "order": {
            "id": order,
            "customer": customer(email),
            "packageInformation": {"details": [package(box, "DELIVERED", tracker=tracker, trackingUrl=URL)]},
        },
        "note": STREET,
    }
    answer = order_answer(
        "2025-01-21T00:00:00Z",
        package(
            box,
            "IN_TRANSIT",
            tracker=tracker,
            items=(("item-1", "2"),),
            trackingUrl=URL,
            milestones=[personal_scan("IN_TRANSIT", "2025-01-20T15:00:00Z")],
        ),
        customer=customer(email),
        deliveryAddress={"addressLine1": STREET, "phone": PHONE},
    )
    body = msgspec.json.decode(answer.body)
    body["orderId"] = body["answer"]["id"] = order
    answer = msgspec.structs.replace(answer, body=msgspec.json.encode(body))
    told = Correction(
        f"cor_{order}",
        f"delivery/{box}",
        order,
        "DELIVERED",
        "2025-01-22T09:00:00Z",
        Instant(0),
        "key_1",
        f"{NAME} of {STREET} called",
        (order_subject(order), f"delivery/{box}"),
    )
    note = Note(order, f"call {NAME} at {PHONE}", "key_1", Instant(0), (noted_subject(order_subject(order)),))
    return [
        event(SHIPPED, "2025-01-20T14:00:00Z", box, order=order),
        answer,
        event(MILESTONE, "2025-01-21T01:00:00Z", tracker=tracker, order=order),
        tracker_answer(
            "2025-01-21T02:00:00Z",
            tracker,
            personal_scan("IN_TRANSIT", "2025-01-20T15:00:00Z"),
            trackingUrl=URL,
        ),
        event(DELIVERED, "2025-01-22T10:00:00Z", box, order=order, data=data, road="eventbridge"),
        Arrived("note", "note", Instant(0), msgspec.json.encode(note)),
        Arrived("correction", "correction", Instant(0), msgspec.json.encode(told)),
    ]


class Erasing(Place):
    """A place with an eraser. `folder` may hold the file of an earlier one."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **settings)
        self.kill_at: tuple[str, int] | None = None
        self.points: list[str] = []
        self.largest = 1_000_000_000

    async def open(self) -> "Erasing":
        await super().open()
        self.eraser = Eraser(self.store, self.clock, largest=self.largest, probe=self._probe)
        return self

    def _probe(self, point: str) -> None:
        self.points.append(point)
        if (
            self.kill_at is not None
            and self.points.count(point) == self.kill_at[1]
            and point == self.kill_at[0]
        ):
            raise Killed

    async def ask(self, *orders: str, **fields: Any) -> Erasure:
        """Ask for an erasure of these orders."""
        last = await self.store.read(lambda tx: tx.journal.last_position())
        made = {"id": "era_1", "state": "ASKED", "position": last, **fields}
        erasure = Erasure(
            made.pop("id"), BP, made.pop("state"), self.now, "key_1", orders or (ORDER,), **made
        )
        await self.store.write(lambda tx: tx.erasures.put(erasure))
        return erasure

    async def erase(self, id: str = "era_1") -> Erasure:
        """Run projector and eraser until nothing moves."""
        for _ in range(10):
            await self.projector.catch_up()
            await self.eraser.look()
            found = await self.store.read(lambda tx: tx.erasures.get(id))
            assert found is not None
            if found.state == "DONE":
                await self.projector.catch_up()
                return found
        raise AssertionError(f"still {found.state}")

    def another_projector(self) -> Consumer:
        """One that has folded nothing yet, as another hub's."""
        return Consumer(
            self.store, PROJECTOR, Projector(self.store, Policy(), self.clock).prepare, self.clock
        )

    def bytes_with(self, *words: str) -> list[tuple[str, str]]:
        """(file, word) of every file of the database that holds one of these words in any case."""
        found: list[tuple[str, str]] = []
        for path in sorted(self.path.parent.glob(self.path.name + "*")):
            held = path.read_bytes().lower()
            found += [(path.name, word) for word in words if word.lower().encode() in held]
        return found


async def fill(place: Erasing) -> None:
    """Two orders of two shoppers, and a body in quarantine about the first."""
    await place.come(*history(), *history(OTHER, email=OTHERS_EMAIL, tracker=USPS))
    body = b'{"resources": ["businessProduct/%s/order/%s"], "who": "%s"' % (
        BP.encode(),
        ORDER.encode(),
        EMAIL.encode(),
    )
    await place.store.write(
        lambda tx: tx.journal.quarantine(body, "malformed", f"odd {EMAIL}", place.now, "webhook", ())
    )
    await place.settle(answered=False)
