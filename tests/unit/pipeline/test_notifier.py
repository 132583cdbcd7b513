"""The notifier on a real store: what is sent, once; what is known afterwards, whatever happens in between."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs
from tests.unit.domain.history import BP, event, package
from tests.unit.pipeline.notifying import BRAND, EMAIL, HELD, ORDER, SECRET, Shop, Way

from milepost.domain.contact import Choices, read_choices, read_unsubscribe, recipient_id
from milepost.domain.errors import StoreUnavailable
from milepost.domain.instant import DAY, HOUR, MINUTE, SECOND, Instant, format_instant
from milepost.domain.notification import Notification
from milepost.domain.record import order_subject
from milepost.domain.tracking_token import read_token
from milepost.pipeline.channels import Outcome
from milepost.pipeline.outbox import LEASE, OLDEST, SCHEDULES
from milepost.store import Ask, Store, Transaction

T = TypeVar("T")
BOX, OTHER = "box-a", "box-b"
POINTS = ("notifier-before-claim", "notifier-after-claim", "notifier-after-send", "notifier-after-record")


class Killed(BaseException):
    """Ends a turn where nothing catches it, as the end of its process would."""


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    made = await Shop(tmp_path, kinds=("shipped", "delivered", "all_delivered")).open()
    yield made
    await made.close()


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop that tells by webhook, and by email who does not want that."""
    made = await Shop(tmp_path, Way("webhook"), Way("email"), kinds=("shipped",)).open()
    yield made
    await made.close()


async def killed_at(shop: Shop, point: str, count: int = 1) -> None:
    """Send what is due, in a process that ends at that point."""
    left = [count]

    def probe(reached: str) -> None:
        left[0] -= reached == point
        if left[0] == 0 and reached == point:
            raise Killed

    shop.probe = probe
    with pytest.raises((Killed, BaseExceptionGroup)) as ended:
        await shop.notifier.send_due()
    assert _is_kill(ended.value)
    shop.probe = lambda reached: None
    shop.start()


def _is_kill(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_kill, error.exceptions))
    return isinstance(error, Killed)


# What is sent.


async def test_a_shopper_is_told_when_the_hold_is_over_and_not_before(shop: Shop) -> None:
    await shop.ship(BOX)
    (way,) = shop.ways
    await shop.send(9 * MINUTE)
    assert way.given == []
    await shop.send(MINUTE)
    ((_, composed, address, unsubscribe),) = way.given
    assert address == EMAIL
    assert composed.kind == "shipped"
    assert unsubscribe is not None
    row = await shop.only("shipped")
    recipient = recipient_id(SECRET, row.business_product_id, EMAIL)
    assert (row.state, row.channel, row.recipient, row.locale) == ("SENT", "email", recipient, "en")
    assert (row.sent_at, row.tries, row.lease_until) == (shop.now, 1, None)
    assert [(step.state, step.by) for step in row.history] == [
        ("WAITING", "projector"),
        ("SENDING", "notifier"),
        ("SENT", "notifier"),
    ]
    await shop.send(DAY)
    assert len(way.given) == 1
    assert shop.notifier.counts["sent"] == 1


async def test_its_links_are_the_order_s_and_the_recipient_s(shop: Shop) -> None:
    await shop.ship(BOX)
    await shop.send()
    ((row, composed, _, unsubscribe),) = shop.ways[0].given
    base = f"{BRAND.public_url}/unsubscribe/"
    assert unsubscribe is not None
    assert unsubscribe.startswith(base)
    read = read_unsubscribe([SECRET], unsubscribe.removeprefix(base), shop.now)
    assert read == (row.business_product_id, row.recipient)
    tracking = composed.document["links"]["tracking"]
    link = read_token([SECRET], tracking.rpartition("/")[2], shop.now)
    assert (link.business_product_id, link.order_id) == (row.business_product_id, ORDER)
    assert EMAIL not in str(composed.document)


async def test_it_is_committed_as_being_sent_before_it_is_sent(shop: Shop) -> None:
    await shop.ship(BOX)
    seen: list[tuple[str, Instant | None]] = []

    async def look(notification: Notification) -> None:
        row = await shop.notification(notification.id)
        seen.append((row.state, row.lease_until))

    shop.ways[0].before = look
    await shop.send()
    assert seen == [("SENDING", shop.now + LEASE)]


async def test_deliveries_that_go_together_are_told_together(shop: Shop) -> None:
    """Rule 11: and what was told along is suppressed by it, also when the message is refused in the end."""
    await shop.ship(BOX, OTHER)
    shop.ways[0].answers = [Outcome("again", "not now"), Outcome("refused", "no")]
    await shop.send()
    await shop.send(MINUTE)
    (first, text, *_), (second, *_) = shop.ways[0].given
    assert first.id == second.id
    assert len(text.document["data"]["deliveries"]) == 2
    teller = await shop.notification(first.id)
    assert (teller.state, len(teller.covers)) == ("FAILED", 1)
    along = await shop.notification(teller.covers[0])
    assert (along.state, along.rule, along.reason) == ("SUPPRESSED", 11, f"told along with {teller.id}")
    await shop.send(DAY)
    assert len(shop.ways[0].given) == 2


@pytest.mark.parametrize("by_hand", [False, True])
async def test_what_is_no_news_by_the_next_try_is_told_along_no_more(shop: Shop, by_hand: bool) -> None:
    """Unless an agent asks for the same once more."""
    await shop.ship(BOX, OTHER)
    shop.ways[0].answers = [Outcome("refused" if by_hand else "again", "not now")]
    await shop.send()
    (teller,) = [n for n in await shop.notifications() if n.covers]
    (along,) = await asyncio.gather(*map(shop.notification, teller.covers))
    states = {BOX: "IN_TRANSIT", OTHER: "IN_TRANSIT", along.delivery_id: "DELIVERED"}
    await shop.order(*(package(box, state) for box, state in states.items()))
    if by_hand:
        await shop.resend(teller.id)
    await shop.send(MINUTE)
    (_, first, *_), (_, second, *_) = shop.ways[0].given
    assert [len(each.document["data"]["deliveries"]) for each in (first, second)] == [2, 2 if by_hand else 1]
    told = await shop.notification(teller.id)
    assert (told.state, told.covers) == ("SENT", teller.covers if by_hand else ())


# What is known when it goes wrong.


async def test_what_was_certainly_not_taken_is_tried_again_by_the_schedule(shop: Shop) -> None:
    await shop.ship(BOX)
    (way,) = shop.ways
    way.answers = [Outcome("again", "the mail server refused the mail: 451")] * 2
    await shop.send()
    row = await shop.only("shipped")
    assert (row.state, row.due_at) == ("WAITING", shop.now + MINUTE)
    assert row.reason == "the mail server refused the mail: 451"
    await shop.send(MINUTE - 1)
    assert len(way.given) == 1
    await shop.send(1)
    assert len(way.given) == 2
    await shop.send(5 * MINUTE)
    assert (await shop.only("shipped")).state == "SENT"
    assert len(set(way.ids)) == 1, "always the same one"


async def test_it_is_given_up_when_the_schedule_ends(shop: Shop) -> None:
    await shop.ship(BOX)
    tries = len(SCHEDULES["email"].delays)
    shop.ways[0].answers = [Outcome("again", "not now")] * tries
    for _ in range(tries + 3):
        await shop.send(13 * HOUR if shop.ways[0].given else HELD)
        shop.step(HOUR)
    row = await shop.only("shipped")
    # A mail about shipping is stale before the schedule is over: whichever is first ends it.
    assert row.state in ("FAILED", "SUPPRESSED")
    assert len(shop.ways[0].given) <= tries


async def test_one_that_fails_at_every_try_is_failed(shop: Shop) -> None:
    await shop.ship(BOX)
    shop.ways[0].answers = [Outcome("again", "not now")] * 20
    await shop.send()
    for delay in SCHEDULES["email"].delays[1:]:
        await shop.send(delay)
    row = await shop.only("shipped")
    assert (row.state, row.tries) == ("FAILED", len(SCHEDULES["email"].delays))
    assert row.reason == "given up after 7 tries; at last: not now"


async def test_what_is_refused_is_failed_and_stays_so(shop: Shop) -> None:
    await shop.ship(BOX)
    shop.ways[0].answers = [Outcome("refused", "the mail server refused the recipient: 550 5.7.1")]
    await shop.send()
    await shop.send(DAY)
    row = await shop.only("shipped")
    assert (row.state, row.reason) == ("FAILED", "the mail server refused the recipient: 550 5.7.1")
    assert len(shop.ways[0].given) == 1


async def test_what_nobody_knows_of_is_uncertain_and_never_sent_again_by_itself(shop: Shop) -> None:
    await shop.ship(BOX)
    shop.ways[0].answers = [Outcome("unknown", "no answer in time")]
    await shop.send()
    await shop.send(DAY)
    row = await shop.only("shipped")
    assert (row.state, row.reason) == ("UNCERTAIN", "no answer in time")
    assert len(shop.ways[0].given) == 1
    await shop.resend(row.id)
    await shop.send(0)
    assert shop.ways[0].ids == [row.id] * 2, "an agent may ask: it is the same one"
    row = await shop.only("shipped")
    assert (row.state, row.by_hand) == ("SENT", False)


async def test_a_channel_that_raises_leaves_it_uncertain(shop: Shop) -> None:
    async def fail(notification: Notification) -> None:
        raise ValueError(f"{EMAIL} is odd")

    await shop.ship(BOX)
    shop.ways[0].before = fail
    with capture_logs() as lines:
        await shop.send()
    row = await shop.only("shipped")
    assert (row.state, row.reason) == ("UNCERTAIN", "the channel failed: ValueError")
    assert [line["event"] for line in lines] == ["notifier.channel_failed"]
    assert EMAIL not in str(lines)


async def test_nobody_there_goes_on_the_suppression_list(shop: Shop) -> None:
    await shop.ship(BOX)
    shop.ways[0].answers = [Outcome("refused", "no such mailbox", is_nobody=True)]
    await shop.choose(Choices(("delayed",), "es"))
    await shop.send()
    row = await shop.only("shipped")
    key = (row.business_product_id, row.recipient)
    choices = read_choices((await shop.store.read(lambda tx: tx.notifications.choices([key]))).values())
    assert choices == Choices(("delayed",), "es", "no such mailbox", shop.now, shop.now)
    await shop.order(package(BOX, "DELIVERED"))
    await shop.send()
    row = await shop.only("delivered")
    assert (row.state, row.rule, len(shop.ways[0].given)) == ("SUPPRESSED", 13, 1)


async def test_what_was_chosen_while_it_was_on_its_way_outlives_the_block(shop: Shop) -> None:
    async def meanwhile(notification: Notification) -> None:
        await shop.choose(Choices(("all",), "es"))

    await shop.ship(BOX)
    shop.ways[0].before = meanwhile
    shop.ways[0].answers = [Outcome("refused", "no such mailbox", is_nobody=True)]
    await shop.send()
    row = await shop.only("shipped")
    key = (row.business_product_id, row.recipient)
    choices = read_choices((await shop.store.read(lambda tx: tx.notifications.choices([key]))).values())
    assert choices == Choices(("all",), "es", "no such mailbox", shop.now, shop.now)


# Crashes.


@pytest.mark.parametrize("point", POINTS)
async def test_killed_anywhere_a_mail_goes_out_once_at_most(shop: Shop, point: str) -> None:
    await shop.ship(BOX)
    shop.step()
    await killed_at(shop, point)
    await shop.send(LEASE)
    await shop.send(DAY)
    row = await shop.only("shipped")
    sent = {"notifier-after-claim": 0, "notifier-before-claim": 1}.get(point, 1)
    assert len(shop.ways[0].given) == sent
    assert row.state == ("UNCERTAIN" if point in POINTS[1:3] else "SENT")
    assert shop.notifier.counts["lost"] == (row.state == "UNCERTAIN")


@pytest.mark.parametrize("point", POINTS)
async def test_killed_anywhere_a_webhook_gets_it_once_at_least_under_one_id(both: Shop, point: str) -> None:
    await both.ship(BOX)
    both.step()
    await killed_at(both, point)
    await both.send(LEASE)
    await both.send(DAY)
    row = await both.only("shipped")
    assert row.state == "SENT"
    assert both.ways[0].ids == [row.id] * (2 if point == "notifier-after-send" else 1)


async def test_only_what_was_on_its_way_is_uncertain(shop: Shop) -> None:
    orders = [f"322-order-{n}" for n in range(5)]
    for order in orders:
        await shop.ship(f"box-of-{order}", order=order)
    shop.step()
    await killed_at(shop, "notifier-after-send", 3)
    await shop.send(0)
    await shop.send(LEASE)
    assert await shop.states() == {"SENT": 4, "UNCERTAIN": 1}
    assert len(shop.ways[0].given) == 5


async def test_what_comes_back_after_it_was_taken_over_is_not_recorded(shop: Shop) -> None:
    await shop.ship(BOX)

    async def hang(notification: Notification) -> None:
        """Meanwhile another hub sees that the lease has run out."""
        shop.ways[0].before = None
        shop.step(LEASE)
        slow = shop.notifier
        shop.start()
        await shop.notifier.send_due()
        shop.notifier = slow

    shop.ways[0].before = hang
    await shop.send()
    assert (await shop.only("shipped")).state == "UNCERTAIN"
    assert shop.notifier.counts["fenced"] == 1
    assert len(shop.ways[0].given) == 1


# The last moment.


async def test_who_opts_out_before_it_is_due_gets_nothing(shop: Shop) -> None:
    await shop.ship(BOX)
    shop.step(9 * MINUTE)
    await shop.choose(Choices(("all",)))
    await shop.send()
    row = await shop.only("shipped")
    assert (row.state, row.rule, shop.ways[0].given) == ("SUPPRESSED", 13, [])
    assert shop.notifier.counts["suppressed_by_13"] == 1


@pytest.mark.parametrize(
    ("choices", "state", "by"),
    [
        (Choices(("all",)), "SUPPRESSED", []),
        (Choices(blocked="complained"), "SUPPRESSED", []),
        (Choices(("shipped/webhook",)), "SENT", ["email"]),
        (Choices(("delivered",)), "SENT", ["webhook"]),
    ],
)
async def test_who_opts_out_after_it_was_claimed_gets_nothing(
    both: Shop, choices: Choices, state: str, by: list[str]
) -> None:
    """Scenario 30, at the last moment: while the one before is on its way."""
    await both.ship(BOX, order="322-order-a")
    await both.ship(OTHER, order="322-order-b", email="bea@shopper.example")

    async def meanwhile(notification: Notification) -> None:
        await both.choose(choices, "bea@shopper.example")

    both.ways[0].before = meanwhile
    await both.send()
    first, second = await both.notifications()
    assert (first.state, second.state) == ("SENT", state)
    told = [way.name for way in both.ways for n, *_ in way.given if n.id == second.id]
    assert told == by
    assert second.tries == len(by), "what was not sent is no try"


async def test_a_changed_address_gets_it_and_the_old_one_does_not(both: Shop) -> None:
    await both.ship(BOX, order="322-order-a")
    await both.ship(OTHER, order="322-order-b", email="old@shopper.example")

    async def meanwhile(notification: Notification) -> None:
        both.ways[0].before = None
        await both.order(package(OTHER, "IN_TRANSIT"), order="322-order-b", email="new@shopper.example")

    both.ways[0].before = meanwhile
    both.step()
    await both.notifier.send_due()
    assert [address for _, _, address, _ in both.ways[0].given] == [EMAIL, "new@shopper.example"]
    second = (await both.notifications())[1]
    assert second.recipient == recipient_id(SECRET, second.business_product_id, "new@shopper.example")


async def test_an_order_without_an_address_is_told_by_webhook_only(both: Shop, tmp_path: Path) -> None:
    await both.ship(BOX, email=None)
    await both.send()
    ((row, _, address, unsubscribe),) = both.ways[0].given
    assert (address, unsubscribe, row.recipient) == ("", None, "")
    (tmp_path / "mail").mkdir()
    mailing = await Shop(tmp_path / "mail", kinds=("shipped",)).open()
    await mailing.ship(BOX, email=None)
    await mailing.send()
    await mailing.close()
    assert mailing.ways[0].given == []


async def test_nobody_is_told_of_an_order_that_was_erased(both: Shop) -> None:
    await both.order(package(BOX, "IN_TRANSIT"), email=None)
    await both.ship(BOX, email=None)
    await both.store.write(lambda tx: tx.erasures.mark({(BP, order_subject(ORDER)): both.now}))
    await both.send()
    (row,) = await both.notifications()
    assert (row.state, row.rule) == ("SUPPRESSED", 16)
    assert both.ways[0].told == []


async def test_one_whose_shopper_is_not_known_yet_waits_for_the_answer(shop: Shop) -> None:
    at = format_instant(shop.now)
    await shop.come(event("PACKAGE_DELIVERY_IN_TRANSIT", at, BOX, order=ORDER))
    await shop.send()
    row = await shop.only("shipped")
    assert (row.state, row.rule, row.due_at) == ("WAITING", 16, shop.now + 5 * MINUTE)
    await shop.order(package(BOX, "IN_TRANSIT"))
    await shop.send(5 * MINUTE)
    assert len(shop.ways[0].given) == 1
    await shop.come(event("PACKAGE_DELIVERY_IN_TRANSIT", at, OTHER, order="322-order-b"))
    await shop.send(DAY)
    rows = {n.order_id: (n.state, n.rule) for n in await shop.notifications()}
    assert rows == {ORDER: ("SENT", 0), "322-order-b": ("SUPPRESSED", 16)}


async def test_while_the_api_is_asked_who_ordered_it_no_channel_tells_it(both: Shop) -> None:
    """A webhook needs no address, but who opted out is known by it alone; when the API gave up it goes out."""
    key = (BP, order_subject(ORDER))
    ask = Ask(*key, 1, both.now, 3, (1,), error="it is out")
    await both.store.write(lambda tx: tx.work.put([ask]))
    await both.choose(Choices(("all",)))
    await both.come(event("PACKAGE_DELIVERY_IN_TRANSIT", format_instant(both.now), BOX, order=ORDER))
    await both.send()
    row = await both.only("shipped")
    assert (row.state, row.rule, row.due_at) == ("WAITING", 16, both.now + 5 * MINUTE)
    await both.order(package(BOX, "IN_TRANSIT"))
    await both.send(5 * MINUTE)
    row = await both.only("shipped")
    assert (row.state, row.rule, [way.given for way in both.ways]) == ("SUPPRESSED", 13, [[], []])

    other = (BP, order_subject("322-order-b"))
    open_ = Ask(*other, 1, both.now, 3, (1,))
    await both.store.write(lambda tx: tx.work.put([open_]))
    await both.come(
        event("PACKAGE_DELIVERY_IN_TRANSIT", format_instant(both.now), OTHER, order="322-order-b")
    )
    await both.send()
    assert both.ways[0].given == []
    await both.store.write(lambda tx: tx.work.put([replace(open_, state="gaveUp")]))
    await both.send(5 * MINUTE)
    assert both.ways[0].told == [f"shipped {OTHER}"]


async def test_what_waited_for_days_is_no_news(shop: Shop) -> None:
    await shop.ship(BOX)
    await shop.send(OLDEST + MINUTE)
    row = await shop.only("shipped")
    assert (row.state, row.rule) == ("SUPPRESSED", 7)
    await shop.resend(row.id)
    await shop.send(0)
    assert shop.ways[0].ids == [row.id], "but for who asks for it"


# What goes wrong with one stops no other.


async def test_a_text_that_cannot_be_made_stops_no_other(shop: Shop) -> None:
    for order in ("322-order-a", "322-order-b"):
        await shop.ship(f"box-of-{order}", order=order)
    write = shop.notifier._compose

    def fail(letter: Any) -> Any:
        if letter.notification.order_id == "322-order-a":
            raise KeyError(letter.address)
        return write(letter)

    shop.notifier._compose = fail
    with capture_logs() as lines:
        await shop.send()
    assert [n.order_id for n, *_ in shop.ways[0].given] == ["322-order-b"]
    first = (await shop.notifications())[0]
    assert (first.state, first.reason) == ("WAITING", "no text could be made: KeyError")
    assert EMAIL not in str(lines)


async def test_one_that_cannot_be_judged_stops_no_other(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for order in ("322-order-a", "322-order-b"):
        await shop.ship(f"box-of-{order}", order=order)
    outbox = shop.notifier._outbox
    decide = outbox._decide

    def fail(standing: Any, now: Instant) -> Any:
        if standing.mine.order_id == "322-order-a":
            raise KeyError(standing.contact.email)
        return decide(standing, now)

    monkeypatch.setattr(outbox, "_decide", fail)
    with capture_logs() as lines:
        await shop.send()
    assert [n.order_id for n, *_ in shop.ways[0].given] == ["322-order-b"]
    first = (await shop.notifications())[0]
    assert (first.state, first.due_at) == ("WAITING", shop.now + HOUR)
    assert EMAIL not in str(lines)
    monkeypatch.undo()
    await shop.send(HOUR)
    assert len(shop.ways[0].given) == 2


async def test_a_channel_that_is_out_is_left_alone_and_uses_up_no_tries(shop: Shop) -> None:
    orders = [f"322-order-{n}" for n in range(6)]
    for order in orders:
        await shop.ship(f"box-of-{order}", order=order)
    (way,) = shop.ways
    way.answers = [Outcome("again", "connection refused", is_out=True)] * 4
    with capture_logs() as lines:
        await shop.send()
        assert len(way.given) == 2, "twice, then it rests"
        assert shop.notifier.failing == {"email": "connection refused"}
        await shop.send(29 * SECOND)
        assert len(way.given) == 2
        await shop.send(SECOND)
        assert len(way.given) == 3, "one sees whether it is back"
        await shop.send(MINUTE)
        assert len(way.given) == 4
        assert sum(n.tries for n in await shop.notifications()) == 4, "who waited did not try"
        await shop.send(2 * MINUTE)
        await shop.send(5 * MINUTE)
    assert shop.notifier.failing == {}
    assert await shop.states() == {"SENT": 6}
    events = [line["event"] for line in lines]
    assert events == ["notifier.channel_out", "notifier.channel_back"]


async def test_a_channel_that_is_not_there_any_more_stops_nothing(shop: Shop) -> None:
    await shop.ship(BOX)
    shop.ways = (Way("webhook"),)
    shop.start()
    async with asyncio.timeout(60):
        await shop.send()
    assert (await shop.only("shipped")).state == "WAITING"


# Running.


class Failing:
    """A store that fails to write when it is told to."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.fails = 0

    async def write(self, function: Callable[[Transaction], T]) -> T:
        if self.fails:
            self.fails -= 1
            raise StoreUnavailable("the disk is full")
        return await self._store.write(function)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_what_could_not_be_recorded_is_recorded_later(shop: Shop) -> None:
    await shop.ship(BOX)
    failing = Failing(shop.store)
    shop.start(failing)  # type: ignore[arg-type]

    async def break_it(notification: Notification) -> None:
        failing.fails = 3

    shop.ways[0].before = break_it
    shop.step()
    stop, sent = asyncio.Event(), asyncio.Event()
    waits = 0

    async def wait(until: Instant, signal: asyncio.Event) -> None:
        nonlocal waits
        waits += 1
        if not failing.fails and (await shop.only("shipped")).state == "SENT":
            sent.set()
            await signal.wait()
        await asyncio.sleep(0)

    shop.notifier._wait = wait
    running = asyncio.create_task(shop.notifier.run(stop))
    async with asyncio.timeout(60):
        await sent.wait()
        stop.set()
        await running
    assert waits == 4
    assert len(shop.ways[0].given) == 1


async def test_it_ends_when_it_is_told_to_and_keeps_what_came_of_what_was_under_way(shop: Shop) -> None:
    await shop.ship(BOX)
    shop.step()
    began, may_end, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(notification: Notification) -> None:
        began.set()
        await may_end.wait()

    shop.ways[0].before = slow
    running = asyncio.create_task(shop.notifier.run(stop))
    async with asyncio.timeout(60):
        await began.wait()
        stop.set()
        await asyncio.sleep(0)
        may_end.set()
        await running
    assert (await shop.only("shipped")).state == "SENT"


async def test_what_hangs_when_it_ends_is_left_and_uncertain_in_the_end(shop: Shop) -> None:
    await shop.ship(BOX)
    shop.step()
    began, stop = asyncio.Event(), asyncio.Event()

    async def hang(notification: Notification) -> None:
        began.set()
        await asyncio.Event().wait()

    shop.ways[0].before = hang
    shop.start(grace_s=0.01)
    running = asyncio.create_task(shop.notifier.run(stop))
    async with asyncio.timeout(60):
        await began.wait()
        stop.set()
        await running
    assert (await shop.only("shipped")).state == "SENDING"
    shop.ways[0].before = None
    shop.start()
    await shop.send(LEASE)
    assert (await shop.only("shipped")).state == "UNCERTAIN"
    assert len(shop.ways[0].given) == 1


async def test_it_looks_when_it_is_told_to(shop: Shop) -> None:
    stop = asyncio.Event()
    sent = asyncio.Event()

    async def note(notification: Notification) -> None:
        sent.set()

    shop.ways[0].before = note
    running = asyncio.create_task(shop.notifier.run(stop))
    await shop.ship(BOX)
    shop.step()
    async with asyncio.timeout(60):
        shop.notifier.notify()
        await sent.wait()
        stop.set()
        await running
