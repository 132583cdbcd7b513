"""What one endpoint does, or answers, costs the others nothing."""

import asyncio
from collections.abc import Sequence

from tests.unit.pipeline.publishing import Rig

from milepost.domain.attempt import Destination
from milepost.domain.instant import SECOND
from milepost.pipeline.publisher import CLAIM, Outcome, Parcel


async def test_a_pile_for_one_endpoint_of_many_destinations_hides_no_other(rig: Rig) -> None:
    """As with a subscription an event type at one address: all that a whole turn would read first is its own."""
    hanging, other = asyncio.Event(), asyncio.Event()

    class Two:
        batch = 1

        async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
            if destination.endpoint == "hangs":
                await hanging.wait()
            else:
                other.set()
            return [Outcome(200)] * len(parcels)

    rig.other = Two()
    await rig.restart()
    for n in range(2 * CLAIM // rig.concurrency):
        await rig.add(Destination(f"h{n}", "other", b"{}", ("PACKAGE_DELIVERED",), endpoint="hangs"))
    await rig.add(Destination("other", "other", b"{}", ("PACKAGE_IN_TRANSIT",), endpoint="works"))
    await rig.events(*range(2 * rig.concurrency))
    await rig.consumer.catch_up()
    rig.clock.advance(SECOND)
    await rig.events(1_000, type="PACKAGE_IN_TRANSIT")
    await rig.consumer.catch_up()
    stop = asyncio.Event()
    running = asyncio.create_task(rig.publisher.run(stop))
    # The clock stands: it is claimed in the first turn, or never.
    async with asyncio.timeout(60):
        await other.wait()
    hanging.set()
    stop.set()
    await running


async def test_words_that_no_store_takes_are_kept_as_far_as_they_go(rig: Rig) -> None:
    """An answer's JSON may hold half a character, which is no UTF-8: it must not keep others' results from being
    stored, nor be asked for again and again."""
    half = "\ud83d"

    class Odd:
        batch = 1

        async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
            odd = f"Refused{half}: \0 {'x' * 10_000}"
            return [
                Outcome(200) if destination.id == "fine" else Outcome(400, odd, target=half, response=odd)
            ]

    rig.other = Odd()
    await rig.restart()
    await rig.add(Destination("fine", "other", b"{}"))
    await rig.add(Destination("odd", "other", b"{}"))
    await rig.events(1)
    assert await rig.publish() == 2
    assert await rig.counts() == {"delivered": 1, "pending": 1}
    attempts = await rig.attempts("1-odd")
    assert attempts[0].error.startswith("Refused?: ")
    assert "\0" not in attempts[0].error + attempts[0].response
    assert max(len(attempts[0].error), len(attempts[0].response)) <= 1_024
