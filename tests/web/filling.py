"""Something of everything, of one business product: what tests of access ask for."""

from msgspec.structs import replace
from tests.contract import accounting_contract
from tests.web.told import tell
from tests.web.world import World, one_delivery

from milepost.domain.accounting import Period
from milepost.domain.attempt import Attempt, Destination, Message, Replay
from milepost.domain.contact import Choices, write_choices
from milepost.domain.erasure import Erasure
from milepost.domain.instant import Instant
from milepost.domain.user import User
from milepost.store import Ask, SavedFilter, Transaction
from milepost.web.corrections import CorrectionRequest, correct

CORRECTION = 17
"""The position of the correction of order-1."""


async def fill(world: World) -> None:
    """Into a world: a history of bp-1, with something in quarantine and something asked."""
    await one_delivery(world)
    wrong = CorrectionRequest(
        "2025-01-21T09:00:00Z", "the shopper has it", delivery_id="delivery-1", state="DELIVERED"
    )
    assert (await correct(world.context, None, "order-1", wrong, "Ada")).position == CORRECTION
    await world.project()
    await world.capture()
    await world.capture("delivery-2", state="HELD")
    await tell(world)
    hers = {("bp-1", "rcp_1"): write_choices(Choices(off=("all",)))}
    await world.store.write(lambda tx: tx.notifications.choose(hers))
    await world.store.write(
        lambda tx: tx.journal.quarantine(b"{", "malformed_event", "broken", world.now, "webhook", ("bp-1",))
    )
    ask = Ask("bp-1", "order/order-1", 0, Instant(world.now), 3, (1,), "gaveUp", "no answer")
    await world.store.write(lambda tx: tx.work.put([ask]))
    await world.store.write(_subscriber)
    await world.store.write(lambda tx: _booked(tx, world.now))
    asked = Erasure("ers_1", "bp-1", "WAITING", Instant(world.now), "key_0001", ("order-1",), task_id="t-1")
    await world.store.write(lambda tx: tx.erasures.put(asked))
    user = User("usr_1", "Ada", "ada", "agent", world.now, ("bp-1",), "hash")
    await world.store.write(lambda tx: tx.users.put(user))
    kept = SavedFilter("flt_1", "usr_1", True, "late", "ours", "carrier=UPS", ("bp-1",), world.now)
    await world.store.write(lambda tx: tx.queues.put_filter(kept))


def _booked(tx: Transaction, now: Instant) -> None:
    """A row of bp-1, and a month that is closed."""
    tx.books.post([accounting_contract.entry()])
    tx.books.close(Period("bp-1", "2024-11", now, "key_0001"))


def _subscriber(tx: Transaction) -> None:
    """One of bp-1, with a message, an attempt and a replay."""
    settings = b'{"url":"https://oms.example/hook"}'
    wanted = b'{"businessProductIds":["bp-1"]}'
    tx.attempts.put_destination(Destination("sub_1", "webhook", settings, form="milepost", filter=wanted))
    tx.attempts.put_replay(Replay("rpl_1", "sub_1", "replay", "running", 0, 1, Instant(0)))
    tx.attempts.enqueue([Message("1-sub_1", "sub_1", 1, "pending", 0, Instant(0))])
    (claimed,) = tx.attempts.claim(Instant(1), Instant(2), 1, share=1, room={}, paced={})
    attempt = Attempt("1-sub_1", 1, Instant(1), 1, "failed")
    tx.attempts.record([(attempt, replace(claimed, tries=1, lease_until=None))])
