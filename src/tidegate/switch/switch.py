"""The one state machine that moves the primary of all stores; mirrored, it is the rollback.

    arm -> lag gate -> hold, workers quiesced -> fence -> each store: drain -> seal -> COMMIT
        -> open -> endpoints acknowledged -> release of the requests -> mirror running

The commit is the ownership row in the target's lead database. Before it, anything that goes wrong (an error,
the deadline, a word from the operator) reopens the source; after it, only finishing is left. A process that
finds a switch begun by another reads the row, not its own memory, to know on which side of the commit it is.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tidegate.errors import CheckFailed, DeadlinePassed, TidegateError
from tidegate.switch.front import Front
from tidegate.switch.store import Lead, Ownership, Store

__all__ = ["MARGIN", "Parties", "Timings", "abandon", "committed", "conclude", "switch"]

MARGIN = 0.6
"""The part of the hold within which the commit has to happen; the rest is for opening, or for aborting."""
CATCH_UP_SECONDS = 600.0
TELL_EVERY = 5.0


@dataclass(frozen=True, slots=True)
class Parties:
    """Whom the switch concerns. `lag`: by a store's name, the lag, in its unit, at or below which requests are held."""

    stores: Sequence[Store]
    lead: Lead
    front: Front
    lag: Mapping[str, int]

    @property
    def followers(self) -> list[Store]:
        return [store for store in self.stores if store is not self.lead]


@dataclass(slots=True)
class Timings:
    """`marks`: seconds since the hold began, by phase, in order. `last`: the store that each phase waited for."""

    began: float = 0.0
    marks: dict[str, float] = field(default_factory=dict[str, float])
    last: dict[str, str] = field(default_factory=dict[str, str])
    committing: bool = False

    def mark(self, phase: str, store: Store | None = None) -> None:
        self.marks[phase] = round(time.monotonic() - self.began, 4)
        if store is not None:
            self.last[phase] = store.name


async def switch(
    parties: Parties,
    ownership: Ownership,
    *,
    hold: float,
    stopping: Callable[[], bool],
    note: Callable[[str], None],
) -> Timings:
    """Move the writes to `ownership.owner`. Raises CheckFailed or DeadlinePassed after having reopened the source.

    `hold` is in seconds.
    """
    if await committed(parties.lead, ownership):
        return await conclude(parties, ownership)
    await _arm(parties, stopping)
    await _lag_gate(parties, stopping, note)
    note(f"{parties.front.still} while {ownership.owner} takes the writes over")
    timings = Timings(began=time.monotonic())
    try:
        await _to_the_commit(parties, ownership, hold, timings, stopping)
    except (Exception, asyncio.CancelledError) as error:
        # The row may have been written although the answer was lost: only then is there no way back.
        if not timings.committing or not await committed(parties.lead, ownership):
            await abandon(parties)
            if isinstance(error, TimeoutError):
                raise DeadlinePassed("the switch took too long, and was taken back", where="switch") from None
            raise
    return await conclude(parties, ownership, timings)


async def _to_the_commit(
    parties: Parties, ownership: Ownership, hold: float, timings: Timings, stopping: Callable[[], bool]
) -> None:
    deadline = timings.began + hold * MARGIN
    async with asyncio.timeout(hold * MARGIN):
        await parties.front.hold(hold)
        await parties.front.settle(parties.lead.source, deadline)
        timings.mark("quiet")
        await _all(store.fence(deadline) for store in parties.stores)
        timings.mark("fenced")
        await _all(_carry_over(store, deadline, timings) for store in parties.stores)
        if stopping():
            raise CheckFailed("told to stop before the commit: the switch was taken back", where="switch")
        if time.monotonic() > deadline:
            raise DeadlinePassed("the switch took too long, and was taken back", where="switch")
        timings.committing = True
        await parties.lead.commit(ownership)
        timings.mark("committed")


async def _carry_over(store: Store, deadline: float, timings: Timings) -> None:
    """Once all are fenced one doesn't wait for another: it is the commit that waits for all."""
    await store.drain(deadline)
    timings.mark("drained", store)
    await store.seal(deadline)
    timings.mark("sealed", store)


async def conclude(parties: Parties, ownership: Ownership, timings: Timings | None = None) -> Timings:
    """What is left after the commit. Idempotent; raises DeadlinePassed if an instance never acknowledges."""
    timings = timings or Timings(began=time.monotonic())
    await _all(store.open() for store in parties.followers)
    timings.mark("open")
    await parties.front.turn(ownership.owner)
    timings.mark("acknowledged")
    await parties.front.release()
    timings.mark("released")
    await _all(store.release() for store in parties.stores)
    timings.mark("mirrored")
    return timings


async def abandon(parties: Parties) -> None:
    """Before the commit: the source takes writes again, its workers work, what is held goes on. Idempotent."""
    try:
        await _all(store.reopen() for store in parties.stores)
        await parties.front.stay(parties.lead.source)
    finally:
        await parties.front.release()


async def committed(lead: Lead, ownership: Ownership) -> bool:
    found = await lead.ownership()
    return found is not None and found.epoch >= ownership.epoch


async def _arm(parties: Parties, stopping: Callable[[], bool]) -> None:
    """It may take minutes, and can be repeated: whoever wants to stop doesn't wait for it."""
    arming = asyncio.create_task(_all(store.arm() for store in parties.stores))
    try:
        while not (await asyncio.wait({arming}, timeout=0.1))[0]:
            if stopping():
                raise CheckFailed("told to stop before anything was held", where="switch")
    finally:
        arming.cancel()
        await asyncio.gather(arming, return_exceptions=True)
    arming.result()


async def _lag_gate(parties: Parties, stopping: Callable[[], bool], note: Callable[[str], None]) -> None:
    """Nothing is held yet. Raises DeadlinePassed for a store that doesn't catch up."""
    deadline, told = time.monotonic() + CATCH_UP_SECONDS, 0.0
    while behind := [text for store in parties.stores if (text := await _behind(store, parties.lag[store.name]))]:
        if stopping():
            raise CheckFailed("told to stop while the lag was still too great", where="switch")
        if time.monotonic() > deadline:
            raise DeadlinePassed(
                f"it doesn't catch up: {'; '.join(behind)}",
                where="switch",
                mend="nothing was held; see what keeps it back",
            )
        if time.monotonic() - told > TELL_EVERY:
            told = time.monotonic()
            note(f"waits to hold requests until the copies have caught up: {'; '.join(behind)}")
        await asyncio.sleep(0.1)


async def _behind(store: Store, limit: int) -> str:
    lag = await store.lag()
    return f"{store.name} is {lag:,} behind, {limit:,} is the limit" if lag > limit else ""


async def _all(work: Iterable[Coroutine[object, object, None]]) -> None:
    """Side by side; all have ended before the first error is raised."""
    results = await asyncio.gather(*work, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    if errors:
        raise next((error for error in errors if isinstance(error, TidegateError)), errors[0])
