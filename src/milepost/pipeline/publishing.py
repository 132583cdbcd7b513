"""Everything that publishes, as one thing: the consumer that fans records out, the publisher that sends, and what
works off history. The hub builds it with what its subscribers want; it runs under one lease."""

from collections.abc import Callable, Mapping

from milepost.domain.instant import DAY, Instant
from milepost.domain.sequence import sequence_of
from milepost.pipeline.background import Part
from milepost.pipeline.fanout import Following, wants
from milepost.pipeline.history import CONSUMER
from milepost.pipeline.publisher import Publisher
from milepost.pipeline.replaying import Replaying
from milepost.pipeline.sending import Ledgering, Render, Sender, Wants, as_journalled
from milepost.pipeline.waiting import Wait, waiting_by
from milepost.store import Store

NAME = CONSUMER
"""Of the consumer, its checkpoint, and the lease."""


class Publishing:
    """`store` is fenced by the lease; `patience_days` of nothing but failures disable a destination (0: never)."""

    def __init__(
        self,
        store: Store,
        senders: Mapping[str, Sender],
        clock: Callable[[], Instant],
        *,
        random: Callable[[], float],
        wants: Wants = wants,
        render: Render = as_journalled,
        ledger: Ledgering | None = None,
        patience_days: float,
        wait: Wait | None = None,
        probe: Callable[[str], None] = lambda point: None,
    ) -> None:
        wait = wait or waiting_by(clock)
        self.publisher = Publisher(
            store,
            senders,
            clock,
            wait=wait,
            random=random,
            patience=round(patience_days * DAY),
            wants=wants,
            sequence_of=sequence_of,
            render=render,
            ledger=ledger,
            probe=probe,
        )
        self.consumer = Following(store, NAME, self.publisher.fanout, clock, probe=probe)
        self.replaying = Replaying(
            store, clock, wants=wants, sequence_of=sequence_of, wait=wait, added=self.publisher.notify
        )

    def parts(self) -> tuple[Part, ...]:
        """What runs, under the lease of this name."""
        return (
            Part(NAME, self.consumer.run, NAME),
            Part("sending", self.publisher.run, NAME),
            Part("replaying", self.replaying.run, NAME),
        )

    def notify(self) -> None:
        """Look now: somebody changed a destination, asked for a message by hand, or began or ended a replay. On a
        hub without the lease nobody looks; the one that has it does so by itself within seconds."""
        self.consumer.notify()
        self.publisher.notify()
        self.replaying.notify()

    async def publish(self) -> int:
        """Fan out everything journalled so far, let replays go on, and send what is due; how many attempts were
        made. For those who don't run the parts."""
        await self.consumer.catch_up()
        sent = await self.publisher.send_due()
        while await self.replaying.step():
            sent += await self.publisher.send_due()
        return sent
