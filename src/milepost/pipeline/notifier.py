"""The notifier: sends shoppers what they are to be told, once.

It takes turns. One write keeps what came of the last turn and claims what is due and may be sent (`outbox`, which
asks the rules); what was claimed is sent outside any transaction. Before each the ledger is looked at again, so that
who opted out a moment ago gets nothing. By email one is claimed at a time: should the process end between sending and
recording, that one is UNCERTAIN and no other.

A channel that is out (no connection, no login) is left alone for a while, and what is for it waits without using up
its tries. How a channel sends is its transport's, what a message says `shopper`'s.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from milepost.domain.breaker import Breaker, Policy, allows, answered, failed, probed
from milepost.domain.errors import LeaseLost, StoreUnavailable
from milepost.domain.instant import MINUTE, SECOND, Instant
from milepost.domain.notification import Channel as ChannelName
from milepost.domain.notification import Notification
from milepost.pipeline.channels import Channel, Outcome
from milepost.pipeline.letters import Letter
from milepost.pipeline.outbox import Claims, End, Outbox, log_without_text
from milepost.pipeline.waiting import Wait
from milepost.shopper.composing import Composed
from milepost.store import Store, Transaction

__all__ = ["NAME", "Channel", "Notifier", "Outcome"]

NAME: Final = "notifier"
"""Of the part and its lease."""
AT_A_TIME: Final[Mapping[ChannelName, int]] = {"email": 1, "webhook": 8}
"""Most that are claimed in one turn."""
RESERVE: Final = 5 * MINUTE
"""Nothing is sent with less than this left of its lease; longer than any channel's deadline."""
LOOK_AGAIN: Final = 2 * SECOND
"""The longest wait for a signal."""
GRACE_S: Final = 10.0
"""When it is to stop, what is under way may take so much longer; real seconds."""
OUT = Policy(failures=2)
"""When a channel is left alone, and for how long."""

Compose = Callable[[Letter], tuple[Composed, str | None]]
"""What a letter says, and the link by which its reader opts out."""

log = structlog.get_logger()


class Notifier:
    """`store` is fenced by the lease. `channels` in any order: which of them is taken the rules say."""

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        channels: Sequence[Channel],
        compose: Compose,
        clock: Callable[[], Instant],
        *,
        wait: Wait,
        grace_s: float = GRACE_S,
        probe: Callable[[str], None] = lambda point: None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """What became of notifications since this process started."""
        self._store = store
        self._outbox = outbox
        self._channels: dict[ChannelName, Channel] = {channel.name: channel for channel in channels}
        self._compose = compose
        self._clock = clock
        self._wait = wait
        self._grace_s = grace_s
        self._probe = probe
        self._breakers: dict[ChannelName, Breaker] = {name: Breaker(name) for name in self._channels}
        self._why: dict[ChannelName, str] = {}
        self._ends: list[End] = []
        """What is not recorded yet."""
        self._wake = asyncio.Event()

    @property
    def failing(self) -> dict[str, str]:
        """Channels that are left alone since they do nothing but fail, and what they last said."""
        open_ = (name for name, breaker in self._breakers.items() if breaker.state != "closed")
        return {name: self._why.get(name, "") for name in open_}

    def notify(self) -> None:
        """Look now: somebody asked for one to be sent again."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Send what is due until `stop` is set; then end what is under way, or leave it as it is."""
        stopping = asyncio.create_task(stop.wait())
        stopping.add_done_callback(lambda _: self._wake.set())
        self._ends = []  # of an earlier lease: others have seen to it
        try:
            while not stop.is_set():
                self._wake.clear()
                try:
                    if not await self._turn(stopping) and not stop.is_set():
                        await self._wait(await self._look_at(), self._wake)
                except StoreUnavailable as e:
                    log.warning("notifier.store_unavailable", error=e.detail)
                    await self._wait(Instant(self._clock() + SECOND), self._wake)
        finally:
            stopping.cancel()
            await self._last_record()

    async def send_due(self) -> None:
        """Send everything that is due now. For those who don't run it."""
        never = asyncio.create_task(asyncio.Event().wait())
        try:
            while await self._turn(never):
                pass
        finally:
            never.cancel()

    # ── Turns ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _turn(self, stopping: "asyncio.Task[bool]") -> bool:
        """Record, claim, send; whether there was anything to do."""
        now, ends = self._clock(), [*self._ends]
        if not ends and not await self._is_due(now):
            return False
        free, resting = self._room(now)
        self._probe("notifier-before-claim")

        def turn(tx: Transaction) -> tuple[Counter[str], Claims]:
            return self._outbox.record(tx, ends, now), self._outbox.claim(tx, now, free, resting)

        recorded, claims = await self._store.write(turn)
        del self._ends[: len(ends)]
        self.counts += recorded + claims.counts
        if ends:
            self._probe("notifier-after-record")
        if claims.claimed:
            self._probe("notifier-after-claim")
            await self._within_grace(claims.claimed, stopping)
        return bool(ends or claims.judged)

    def _room(self, now: Instant) -> tuple[dict[ChannelName, int], dict[ChannelName, Instant]]:
        """How many may be claimed a channel, and until when the others rest."""
        free: dict[ChannelName, int] = {}
        resting: dict[ChannelName, Instant] = {}
        for name, breaker in self._breakers.items():
            if allows(breaker, now) == "none":
                resting[name] = breaker.until
            else:
                # One is enough to see whether it is back.
                free[name] = 1 if breaker.state != "closed" else AT_A_TIME[name]
        return free, resting

    async def _within_grace(self, claimed: Sequence[Notification], stopping: "asyncio.Task[bool]") -> None:
        sending = asyncio.create_task(self._send(claimed))
        try:
            await asyncio.wait((sending, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                await asyncio.wait((sending,), timeout=self._grace_s)
        finally:
            if not sending.done():
                # What was handed over stays SENDING, and is UNCERTAIN when its lease has run out.
                sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        if not sending.cancelled():
            sending.result()

    async def _is_due(self, now: Instant) -> bool:
        """Whether a write is worth its while; most of the time nothing is due."""
        due = await self._store.read(lambda tx: tx.notifications.next_due())
        return due is not None and due <= now

    async def _look_at(self) -> Instant:
        """When to look again."""
        now = self._clock()
        due = await self._store.read(lambda tx: tx.notifications.next_due())
        latest = Instant(now + LOOK_AGAIN)
        return latest if due is None or due <= now else min(due, latest)

    async def _last_record(self) -> None:
        """Keep what is known when it ends. What cannot be kept is UNCERTAIN once the leases have run out."""
        ends = self._ends
        if not ends:
            return
        now = self._clock()
        try:
            self.counts += await self._store.write(lambda tx: self._outbox.record(tx, ends, now))
        except (LeaseLost, StoreUnavailable) as e:
            log.warning("notifier.outcomes_not_recorded", notifications=len(ends), error=e.detail)
        self._ends = []

    # ── Sending ────────────────────────────────────────────────────────────────────────────────────────────

    async def _send(self, claimed: Sequence[Notification]) -> None:
        """Each channel for itself, one after the other."""
        async with asyncio.TaskGroup() as group:
            for name in self._channels:
                mine = [notification for notification in claimed if notification.channel == name]
                if mine:
                    group.create_task(self._send_by(name, mine))

    async def _send_by(self, name: ChannelName, claimed: Sequence[Notification]) -> None:
        for notification in claimed:
            now = self._clock()
            if allows(self._breakers[name], now) == "none":
                self._ends.append(End(notification, until=self._breakers[name].until))
            elif now > (notification.lease_until or 0) - RESERVE:
                self._ends.append(End(notification))
            else:
                self._ends.append(await self._attempt(self._channels[name], notification))

    async def _attempt(self, channel: Channel, notification: Notification) -> End:
        now = self._clock()
        try:
            letter = await self._store.read(lambda tx: self._outbox.letter(tx, notification, now))
        except StoreUnavailable:
            return End(notification)
        if isinstance(letter, End):
            return letter
        try:
            composed, unsubscribe = self._compose(letter)
        except Exception as e:  # noqa: BLE001 - a text that cannot be made stops no other; it is logged
            log_without_text("notifier.not_composed", notification, e)
            return End(notification, Outcome("again", f"no text could be made: {type(e).__name__}"), letter)
        try:
            outcome = await channel.send(notification, composed, letter.address, unsubscribe)
        except Exception as e:  # noqa: BLE001 - it never raises; if it does all the same, nobody knows
            log_without_text("notifier.channel_failed", notification, e)
            outcome = Outcome("unknown", f"the channel failed: {type(e).__name__}")
        self._probe("notifier-after-send")
        self._learn(channel.name, outcome)
        return End(notification, outcome, letter)

    def _learn(self, name: ChannelName, outcome: Outcome) -> None:
        """Whether the channel works."""
        before, now = self._breakers[name], self._clock()
        if not outcome.is_out:
            after = answered(before)
        else:
            trying = probed(before, now) if before.state == "open" else before
            asked = None if outcome.retry_after is None else max(0, outcome.retry_after - now)
            after = failed(trying, OUT, now, asked)
            self._why[name] = outcome.detail
        if before.state == "closed" and after.state == "open":
            log.warning("notifier.channel_out", channel=name, why=outcome.detail)
        elif before.state != "closed" and after.state == "closed":
            log.info("notifier.channel_back", channel=name)
        self._breakers[name] = after
