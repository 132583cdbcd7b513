"""What the page's forms do: move parcels, start orders, turn faults on, let time pass, send again.

Each does to the sandbox's parts what the routes for programs do to them, then leads back to where the form was.
Who may post is `http`'s; what may happen is the world's. Raises what those raise: `routes` shows it.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from msgspec.structs import fields

from milepost.domain.errors import Invalid, NotFound
from milepost.pipeline.publisher import Publisher
from milepost.sandbox.catalog import HUBS
from milepost.sandbox.clock import WorldClock
from milepost.sandbox.driving import FASTEST, MOST_ORDERS
from milepost.sandbox.durations import parse_duration
from milepost.sandbox.faults import ActiveFaults, Faults, changed
from milepost.sandbox.http import Request, Response, Routes
from milepost.sandbox.keeper import Keeper
from milepost.sandbox.page.wording import dig, mappings, text
from milepost.sandbox.reading import home_of, parcels
from milepost.sandbox.world import Step, WorldOrder

MOST_FIELDS = 100
STANDING = "none"
"""In place of a scenario: the order stands still until somebody moves it."""

Form = Mapping[str, str]


class Forms:
    """The routes that the page's forms are posted to."""

    def __init__(self, keeper: Keeper, clock: WorldClock, faults: ActiveFaults, publisher: Publisher) -> None:
        self._keeper = keeper
        self._clock = clock
        self._faults = faults
        self._publisher = publisher

    def routes(self) -> Routes:
        forms: dict[str, Callable[[Form], Awaitable[str]]] = {
            "move": self._move,
            "scenario": self._scenario,
            "faults": self._set_faults,
            "clock": self._pass_time,
            "resend": self._resend,
            "enable": self._enable,
        }
        return {("POST", f"/sandbox/page/{name}"): _posted(form) for name, form in forms.items()}

    # ── Orders ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _move(self, form: Form) -> str:
        order, product = _given(form, "order"), form.get("product") or None
        do, parcel = form.get("do", ""), form.get("parcel", "")
        if do == "cancel":
            events = await self._keeper.cancel(order, business_product_id=product)
        elif do == "fulfilment":
            events = await self._keeper.start_fulfilment(order, product)
        elif do == "refunded":
            events = await self._keeper.complete_refund(order, parcel, product)
        else:
            world = await self._keeper.order(order, product)
            if world is None:
                raise NotFound(f"the world has no order {order}", orderId=order)
            step = self._step(world, do, parcel, form)
            events = await self._keeper.act(order, step, product)
        return f"{order_path(order, product, moved=len(events), parcel=parcel)}#moved"

    def _step(self, world: WorldOrder, do: str, parcel: str, form: Form) -> Step:
        at, value = self._clock.now(), _given(form, "value")
        if do == "state":
            return Step(at, parcel, state=value, reason=form.get("reason", ""))
        if do == "returned":
            return Step(at, parcel, returned=value)
        if do == "window":
            return Step(at, parcel, moved_by=parse_duration(value))
        if do == "milestone":
            place = (form.get("locality", "").strip(), form.get("region", "").strip())
            locality, region = place if place[0] else place_of(world, parcel, value)
            return Step(at, parcel, milestone=value, locality=locality, region=region)
        raise Invalid(f"{do!r} is nothing that can be done to a parcel", field="do")

    async def _scenario(self, form: Form) -> str:
        count = _whole(form, "orders", 1, 1, MOST_ORDERS)
        name = _given(form, "scenario")
        made = await self._keeper.start(count, None if name == STANDING else name)
        await self._keeper.play_due()
        placed = await self._keeper.order(made[0], self._keeper.business_product_id)
        if placed is None:
            return f"/?planned={len(made)}"
        return order_path(placed.id, placed.business_product_id) if len(made) == 1 else "/"

    # ── Faults and time ────────────────────────────────────────────────────────────────────────────────────

    async def _set_faults(self, form: Form) -> str:
        if form.get("off"):
            self._faults.now = Faults()
            return "/sandbox/world#faults"
        document = {f.encode_name: _fault(form, f.encode_name, f.default) for f in fields(Faults)}
        self._faults.now = changed(Faults(), document)
        return "/sandbox/world#faults"

    async def _pass_time(self, form: Form) -> str:
        back = form.get("back", "/")
        if "speed" in form:
            self._clock.set_speed(_speed(form["speed"]))
        advance = form.get("advance", "")
        due = await self._keeper.next_due() if advance == "next" else None
        if due is not None:
            now = self._clock.go_to(due)
        else:
            length = parse_duration(advance) if advance not in ("", "next") else 0
            if length < 0:
                raise Invalid("the world's time goes forward only", field="advance")
            now = self._clock.advance(length)
        await self._keeper.play_due()
        await self._keeper.remember(now)
        return back if _is_page(back) else "/"

    # ── Publishing ─────────────────────────────────────────────────────────────────────────────────────────

    async def _resend(self, form: Form) -> str:
        message = await self._publisher.resend(_given(form, "message"))
        if message is None:
            raise NotFound(f"there is no message {form['message']!r}")
        return f"/sandbox/published/event?position={message.position}"

    async def _enable(self, form: Form) -> str:
        if not await self._publisher.enable(_given(form, "subscription")):
            raise NotFound(f"there is no subscription {form['subscription']!r}")
        return "/sandbox/published/subscriptions"


def order_path(order: str, product: str | None, **more: object) -> str:
    """The address of an order's page."""
    return f"/sandbox/order?{urlencode({'id': order, 'product': product or '', **more})}"


def place_of(world: WorldOrder, parcel_id: str, code: str) -> tuple[str, str]:
    """Where a carrier would scan a parcel so: at its origin, at one hub after another, or at its home."""
    parcel: dict[str, Any] = next((p for known, p in parcels(world.order) if known == parcel_id), {})
    scans = len(mappings(dig(parcel, "packageTracker", "milestones")))
    origin = dig(parcel, "deliverFromAddress")
    if scans < 2 and code in ("INFO_RECEIVED", "IN_TRANSIT", "PENDING") and text(dig(origin, "locality")):
        return text(dig(origin, "locality")), text(dig(origin, "region"))
    place = HUBS[scans % len(HUBS)] if code == "IN_TRANSIT" else home_of(world.order)
    return place.locality, place.region


def _posted(form: Callable[[Form], Awaitable[str]]) -> Callable[[Request], Awaitable[Response]]:
    """A handler that reads the form, does what it asks and answers 303."""

    async def handler(request: Request) -> Response:
        location = await form(_read(request.body))
        return Response(303, ((b"location", location.encode("ascii")),))

    return handler


def _read(body: bytes) -> Form:
    try:
        return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError as e:
        raise Invalid("the form cannot be read", field="body") from e


def _given(form: Form, name: str) -> str:
    if not form.get(name):
        raise Invalid(f"the form has no {name}", field=name)
    return form[name]


def _whole(form: Form, name: str, default: int, least: int, most: int) -> int:
    try:
        number = int(form.get(name) or default)
    except ValueError as e:
        raise Invalid(f"{name} must be a whole number", field=name) from e
    if not least <= number <= most:
        raise Invalid(f"{name} must be {least} to {most}", field=name)
    return number


def _speed(value: str) -> float:
    try:
        speed = float(value)
    except ValueError as e:
        raise Invalid("speed must be a number", field="speed") from e
    if not 0 <= speed <= FASTEST:
        raise Invalid(f"speed must be 0 to {FASTEST}", field="speed")
    return speed


def _fault(form: Form, name: str, default: object) -> object:
    """The value of a fault's field; one that is left empty is off."""
    given = form.get(name, "").strip()
    if isinstance(default, bool):
        return bool(given)
    if isinstance(default, tuple):
        return [each for each in given.replace(",", " ").split() if each]
    if not given:
        return default
    try:
        number = int(given) if isinstance(default, int) else float(given)
    except ValueError as e:
        raise Invalid(f"{name} must be a number", field=name) from e
    if not math.isfinite(number):
        raise Invalid(f"{name} must be a number", field=name)
    return number


def _is_page(path: str) -> bool:
    """Whether a form may lead back there: an address of this page, never of another site."""
    plain = path.isascii() and path.isprintable() and " " not in path and "\\" not in path
    return plain and (path == "/" or path.startswith(("/?", "/sandbox/")))
