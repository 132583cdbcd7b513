"""A publishing process that the proof kills: a store, its consumer, its publisher, and events without end.

    python -m tests.simulation.publishing_process DATABASE EVENTS URL…

Journals events `event-1`, `event-2`, … up to EVENTS, going on where it was, and publishes each to every URL. It
says `runs` once it does, and ends by itself when every message is delivered.
"""

import asyncio
import random
import sys

import msgspec
import structlog
import uvloop
from tests.benchmarks.publishing import body

from milepost.domain.attempt import Destination
from milepost.domain.breaker import Policy
from milepost.domain.envelope import parse_event
from milepost.domain.retry import Schedule
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.publisher import Publisher
from milepost.sandbox.clock import WorldClock, real_now
from milepost.sql import open_store
from milepost.store import Arrival, Store
from milepost.transports.egress import LOOPBACK
from milepost.transports.webhook_sender import (
    StandardSignature,
    StandardWebhooks,
    WebhookSender,
    WebhookSettings,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LEASE = 2_000
DEADLINE_S = 0.8
SCHEDULE = Schedule((0, *[100] * 200))
POLICY = Policy(5, (50, 100, 200))


async def main(database: str, events: int, urls: list[str]) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    store = await open_store(f"sqlite:///{database}", owner="publishing process")
    async with WebhookSender(real_now, allow=LOOPBACK, deadline_s=DEADLINE_S) as sender:
        for n, url in enumerate(urls):
            settings = WebhookSettings(url, signature=StandardSignature(StandardWebhooks((SECRET,))))
            made = Destination(f"d{n}", "webhook", msgspec.json.encode(settings), endpoint=url)
            await store.write(lambda tx, d=made: tx.attempts.put_destination(d))  # type: ignore[misc]
        publisher = Publisher(
            store,
            {"webhook": sender},
            real_now,
            wait=WorldClock().wait,
            random=random.Random(1).random,
            schedule=SCHEDULE,
            policy=POLICY,
            lease=LEASE,
            look_again=200,
        )
        stop = asyncio.Event()
        consumer = Consumer(store, "publisher", publisher.prepare, real_now)
        tasks = [asyncio.create_task(part.run(stop)) for part in (consumer, publisher)]
        print("runs", flush=True)
        await journal(store, events)
        while (await store.read(lambda tx: tx.attempts.count())) != {"delivered": events * len(urls)}:
            await asyncio.sleep(0.05)
        stop.set()
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await store.close()


async def journal(store: Store, events: int) -> None:
    """A few at a time, so that a kill finds every step under way."""
    done = await store.read(lambda tx: tx.journal.last_position())
    for start in range(done + 1, events + 1, 5):
        bodies = [body(n) for n in range(start, min(start + 5, events + 1))]
        await store.append([Arrival(parse_event(b), b, real_now(), "proof") for b in bodies])
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
