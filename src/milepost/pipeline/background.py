"""What runs behind a hub's endpoints: parts, each kept running, and those that only one hub may do under a lease.

A part that fails unexpectedly is logged, named as failing and started again; the others go on. Parts of one lease
are on one hub together. What each part does is its own module's, which hub does it `lease`'s.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Literal

import structlog
from msgspec import Struct

from milepost.domain.errors import LeaseLost
from milepost.pipeline.lease import LeaseHolder, Work

RESTART_S = 1.0
RECOVERED_S = 5.0
"""How long a part that failed must run again before it is trusted again, in seconds."""

log = structlog.get_logger()


class Part(Struct, frozen=True):
    """Something that runs until it is told to stop."""

    name: str
    run: Work
    lease: str | None = None
    """The lease it runs under; None: it runs on every hub."""


class Standing(Struct, frozen=True):
    """How one part stands in this process."""

    part: str
    state: Literal["leading", "standby"]
    leader: str | None
    """Whose lease it is, as far as this process knows."""


class Background:
    """The parts of one hub, and the holders of their leases by name."""

    def __init__(self, parts: Sequence[Part], holders: Mapping[str, LeaseHolder]) -> None:
        self.failing: dict[str, str] = {}
        """Parts that failed of late, and why."""
        self._parts = parts
        self._holders = holders
        self._standing_by = False

    def start(self, halt: asyncio.Event, *, leased: bool = True) -> list[asyncio.Task[None]]:
        """Run the parts until `halt` is set, and let go of their leases then; without `leased` only those that
        run on every hub."""
        self._standing_by = leased
        tasks = [self._start(part.name, part.run, halt) for part in self._parts if part.lease is None]
        for name, holder in self._holders.items() if leased else ():
            together = partial(self._together, [part for part in self._parts if part.lease == name])
            tasks.append(self._start(f"lease of the {name}", partial(holder.run, together), halt))
        return tasks

    def standings(self) -> list[Standing]:
        """Of the parts with a lease, when this process may do them."""
        found: list[Standing] = []
        for part in self._parts if self._standing_by else ():
            if part.lease is not None:
                holder = self._holders[part.lease]
                state: Literal["leading", "standby"] = "standby" if holder.fence is None else "leading"
                found.append(Standing(part.name, state, holder.leader))
        return found

    def held(self) -> dict[str, bool]:
        """Whether this process has each of the leases."""
        return {name: holder.fence is not None for name, holder in self._holders.items()}

    def _start(self, name: str, run: Work, halt: asyncio.Event) -> asyncio.Task[None]:
        return asyncio.create_task(self._keep(name, run, halt))

    async def _together(self, parts: Sequence[Part], halt: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(self._keep(part.name, part.run, halt))

    async def _keep(self, name: str, run: Work, halt: asyncio.Event) -> None:
        """Run until halted, and again after a failure. Once it has run for a while that is no longer shown, and
        when somebody else does it now, it is no longer ours to show."""
        loop = asyncio.get_running_loop()
        try:
            while not halt.is_set():
                recovered = loop.call_later(RECOVERED_S, self.failing.pop, name, None)
                try:
                    try:
                        await run(halt)
                    finally:
                        recovered.cancel()
                except LeaseLost:
                    return
                except Exception as e:
                    self.failing[name] = f"{type(e).__name__}: {e}"
                    log.exception("hub.background_failed", name=name)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(halt.wait(), RESTART_S)
        finally:
            self.failing.pop(name, None)
