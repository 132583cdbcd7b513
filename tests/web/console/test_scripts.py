"""Script in every field that an event, an order or a tracker can carry, or people type: it is text on every page.

The list of pages is the console's own routes: one that is added is opened here, or the test says what is missing in
`STORED`. Every page is parsed, so that what counts is what a browser would take for markup.
"""

import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from msgspec.structs import replace
from tests.web.console.people import HERE, Person, person
from tests.web.told import tell, went
from tests.web.world import World, event, milestone, order, tracker

from milepost.domain.attempt import Attempt, Destination, Message, Replay
from milepost.domain.instant import Instant
from milepost.domain.queue import NAMES
from milepost.store import Ask, Store, Transaction
from milepost.web.console import HANDLERS

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>"
IN_PATH = EVIL.replace("/", "")
"""The same in ids, which stand in resources between slashes."""
ORDER, NUMBER, CARRIER, PRODUCT = f"o{IN_PATH}", f"n{IN_PATH}", f"c{IN_PATH}", "bp-1"
SUBSCRIBER, URL = f"sub_1{IN_PATH}", "javascript:alert(3)"
NO_PAGES = re.compile(r"^/assets/|/csv$|\.csv$|^/events/live$|^/setup/")
"""Files, a stream, and a page that says nothing that was stored."""
STORED = {
    "order_id": ORDER,
    "delivery_id": f"d{IN_PATH}",
    "carrier_code": CARRIER,
    "tracking_number": NUMBER,
    "subscriber_id": SUBSCRIBER,
    "message_id": f"1-{SUBSCRIBER}",
    "user_id": f"usr_{IN_PATH}",
    "entry_id": "1",
}
"""What stands in the paths of pages, by the parameter's name; `position` and `name` are many."""


class Markup(HTMLParser):
    """What of a page a browser would run, or open, or send to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: (value or "").strip() for name, value in attrs}
        if tag == "script" and not given.get("src", "").startswith("/assets/"):
            self.found.append(f"a script: {given}")
        if tag in ("img", "iframe", "object", "embed", "base"):
            self.found.append(f"{tag}: {given}")
        for name, value in given.items():
            if name.startswith("on") or name in ("style", "srcdoc"):
                self.found.append(f"{tag} {name}={value}")
            if name in ("href", "src", "action", "formaction", "hx-get") and _is_odd(value):
                self.found.append(f"{tag} {name}={value}")


def _is_odd(address: str) -> bool:
    scheme = re.match(r"[\s\x00-\x1f]*([a-zA-Z][\w+.-]*):", address)
    return scheme is not None and scheme[1].lower() not in ("http", "https")


@pytest.fixture
async def world(store: Store) -> World:
    """A world in which every field says `EVIL`."""
    world = World(store, tracking_secrets=(f"{EVIL}-of-at-least-thirty-two-characters",), notifying=True)
    known = _order()
    about = {"carrier_code": CARRIER, "tracking_number": NUMBER}
    await world.answer("order", known, PRODUCT, order_id=ORDER)
    await world.answer("packageTracker", _tracker(), PRODUCT, **about)
    names = ("idempotencyKey", "eventId", "apiVersion", "subscriptionId")
    resource = f"order/{ORDER}/delivery/{STORED['delivery_id']}"
    for number, kind in enumerate(("PACKAGE_DELIVERY_IN_TRANSIT", f"X{EVIL}")):
        fields = {name: f"{EVIL}{name}{number}" for name in names}
        body = event(kind, number, resource, PRODUCT, data={"order": known, EVIL: EVIL})
        await world.event(body | fields | {"more": EVIL})
    broken = f"{{{EVIL}".encode()
    await world.store.write(
        lambda tx: tx.journal.quarantine(broken, "malformed_event", EVIL, world.now, "webhook", (PRODUCT,))
    )
    await world.project()
    await world.capture(STORED["delivery_id"], order_id=ORDER, state="HELD")
    told = await tell(world, order_id=ORDER, delivery_id=STORED["delivery_id"], reason=EVIL)
    await went(world, told, "suppress", rule=6, reason=EVIL)
    await world.store.write(lambda tx: _subscriber(tx, world.now))
    asked = Ask(PRODUCT, f"order/{ORDER}", 0, Instant(world.now), 3, (1,), "gaveUp", EVIL)
    await world.store.write(lambda tx: tx.work.put([asked]))
    await world.project()
    return world


def _tracker() -> dict[str, Any]:
    scan = milestone(EVIL, "2025-01-20T11:00:00Z", EVIL)
    known = milestone("DELIVERY_ATTEMPTED", "2025-01-20T11:30:00Z", EVIL)
    known["address"] |= {"region": EVIL, "country": EVIL, "postalCode": EVIL}
    known["status"]["message"] = [{"locale": EVIL, "value": EVIL}, {"locale": "en-US", "value": EVIL}]
    return tracker(scan, known, carrier=CARRIER, number=NUMBER) | {"trackingUrl": URL}


def _order() -> dict[str, Any]:
    known = order(ORDER, (STORED["delivery_id"], "IN_TRANSIT", _tracker()))
    known["customer"] = {"contact": {"name": EVIL, "email": f"{EVIL}@example.com"}}
    known["aliases"] = [{"aliasId": EVIL, "aliasType": EVIL}]
    price = {"amount": EVIL, "currencyCode": EVIL}
    known["lineItems"] = [{"id": "item-1", "title": EVIL, "product": {"title": EVIL, "price": price}}]
    known["totalPrice"] = {"value": price}
    return known


def _subscriber(tx: Transaction, now: Instant) -> None:
    settings = msgspec.json.encode({"url": f"https://oms.example/{EVIL}"})
    wanted = msgspec.json.encode({"businessProductIds": [PRODUCT], "carriers": [EVIL]})
    to = Destination(SUBSCRIBER, "webhook", settings, name=EVIL, form="milepost", filter=wanted)
    tx.attempts.put_destination(to)
    tx.attempts.put_replay(Replay(f"rpl_{EVIL}", SUBSCRIBER, "replay", "running", 0, 1, Instant(0)))
    message = Message(STORED["message_id"], SUBSCRIBER, 1, "pending", 0, Instant(0))
    tx.attempts.enqueue([message])
    (claimed,) = tx.attempts.claim(Instant(1), Instant(2), 1, share=1, room={}, paced={})
    said: dict[str, Any] = {"status": 500, "error": EVIL, "response": EVIL, "target": EVIL}
    attempt = Attempt(message.id, 1, Instant(1), 1, "failed", **said)
    tx.attempts.record([(attempt, replace(claimed, tries=1, lease_until=None))])


async def _typed(admin: Person) -> None:
    """What people type: a note, a correction, a name, a kept filter, what is done to a row, a mapping."""
    async with admin.client() as client:
        forms: list[tuple[str, dict[str, str]]] = [
            (f"{_at('/orders/{order_id}')}/notes", {"text": EVIL}),
            (
                f"{_at('/orders/{order_id}')}/corrections",
                {"subject": f"delivery/{STORED['delivery_id']}", "state": "DELIVERED", "reason": EVIL}
                | {"occurred": "2025-01-20T11:40:00"},
            ),
            ("/users", {"name": EVIL, "signInName": "grace", "role": "agent"}),
            ("/queues/attempted/filters?carrier=ups", {"name": EVIL, "shared": "on"}),
            ("/mapping", {"code": EVIL, "carrier": EVIL, "meaning": "NONE", "reason": EVIL, "version": "1"}),
        ]
        for path, fields in forms:
            answer = await client.post(path, data=fields | admin.form, headers=HERE)
            assert answer.status_code in (200, 201, 303), (path, answer.status_code, answer.text[:2000])


def _at(route: str) -> str:
    """An example of a route's path; what is stored stands in it encoded."""
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: quote(STORED[found[1]], safe=""), route)


def _pages(positions: list[int]) -> list[str]:
    """Every page of the console, each with the example that has most to say, and with what was asked for in it."""
    found = []
    for route in sorted({path for h in HANDLERS if "GET" in h.http_methods for path in h.paths}):
        if NO_PAGES.search(route):
            continue
        if ":int}" in route and "position" in route:
            found += [_at(re.sub(r"\{position:int\}", str(each), route)) for each in positions]
        elif "{name:str}" in route:
            found += [route.replace("{name:str}", name) for name in NAMES]
        else:
            found.append(_at(route))
    return found


async def test_script_in_any_field_renders_as_text_on_every_page(world: World) -> None:
    admin = await person(world, "admin", name=IN_PATH)
    await _typed(admin)
    await world.project()
    asked = dict.fromkeys(("q", "about", "type", "product", "code", "carrier", "which", "actor"), EVIL)
    seen, positions = 0, [int(each["position"]) for each in (await world.get("/v1/events")).json()["items"]]
    async with admin.client() as client:
        for path in _pages(positions):
            for query in ({}, asked):
                answer = await client.get(path, params=query, headers={"accept": "text/html"})
                assert answer.status_code in (200, 303, 400, 404, 422), (path, query, answer.status_code)
                assert query or answer.status_code in (200, 303, 400), (path, answer.status_code)
                if answer.status_code == 303:
                    continue
                assert Markup(answer.text).found == [], (path, query)
                policy = answer.headers["content-security-policy"]
                assert "script-src 'self'" in policy, path
                assert "unsafe-inline" not in policy, path
                seen += "alert(1)" in answer.text
    assert seen > 30, "most pages show something that was stored"


def test_what_would_run_is_found() -> None:
    for run in ("<script>1</script>", "<p onclick=x>", f"<a href='{URL}'>", "<a href=' JavaScript:x'>"):
        assert Markup(run).found, run
    assert Markup('<a href="/orders/1">&lt;script&gt;</a><script src="/assets/1/a.js"></script>').found == []
