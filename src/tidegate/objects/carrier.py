"""Errands side by side: as many as the network bears, in bounded memory, each recorded once the target has answered."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection
from typing import NamedTuple

from tidegate.errors import TidegateError, Unreachable
from tidegate.objects.blob import BlobSide
from tidegate.objects.lane import Lane
from tidegate.objects.manifest import Manifest, Row
from tidegate.objects.s3 import S3Side
from tidegate.objects.sending import Sending
from tidegate.objects.side import LARGE, Listed
from tidegate.objects.transfer import Errand, Order, Outcome, Way

__all__ = ["Candidate", "Carrier", "Deletions"]

IN_MEMORY = 96 * 2**20
"""Bytes of all objects that are on their way."""
COPIES = 2
"""Of what passes whole: one of ours, one in the buffers of sockets and of TLS."""
OF_A_LARGE_ONE = 6 * LARGE
"""Three parts on their way here, three from here."""
TOGETHER = 200
"""Outcomes that are recorded in one go: what a killed process asks about again."""
OFTEN = 0.25
"""Seconds after which they are recorded at the latest, while more come."""
TOO_MANY = 20
"""Objects that one server refuses: then it isn't the objects."""
MINUTE = 60.0
FEW = 1000
"""Deletions that are no mass, however few objects there are."""


class Candidate(NamedTuple):
    """A key to be looked at. `listed`: as the source had it a moment ago. `half_done`: marks of earlier tries."""

    key: str
    listed: Listed | None = None
    row: Row | None = None
    half_done: Collection[str] = ()


class Deletions:
    """How many objects may be deleted in a minute, or by one listing. None: all that are told; by a listing, half.

    `withheld`: how many weren't.
    """

    def __init__(self) -> None:
        self.most: int | None = None
        self.withheld = 0
        self._done: deque[float] = deque()

    def too_many(self, gone: int, recorded: Callable[[], int]) -> bool:
        """For one listing, which may be wrong, or of a bucket that somebody has emptied."""
        if self.most is not None:
            return gone > self.most
        return gone > FEW and 2 * gone > recorded()

    def allowed(self) -> bool:
        if self.most is None:
            return True
        now = time.monotonic()
        while self._done and self._done[0] < now - MINUTE:
            self._done.popleft()
        if len(self._done) >= self.most:
            self.withheld += 1
            return False
        self._done.append(now)
        return True


class Carrier:
    """`dry`: everything is looked at, nothing written or recorded."""

    def __init__(
        self, manifest: Manifest, sending: Sending, way: Way, deletions: Deletions, at_once: int, *, dry: bool = False
    ) -> None:
        self.manifest, self.order = manifest, Order(sending, way, self._intend, deletions.allowed, dry)
        self.dry = dry
        self.lane: Lane | None = None
        source, target = sending.source, sending.target
        if isinstance(source, S3Side) and isinstance(target, BlobSide) and not dry:
            self.lane = Lane(source, target)
        self._at_once = at_once
        self._free = _Space(IN_MEMORY)
        self._errors: list[TidegateError] = []
        self._outcomes: list[Outcome] = []
        self._recorded = time.monotonic()

    def _intend(self, key: str, mark: str) -> None:
        self.manifest.intend(key, mark, self.order.sending.target.cloud)

    async def carry(self, batches: AsyncGenerator[list[Candidate]], told: Callable[[list[Outcome]], None]) -> None:
        """All of them; `told` of what came of it. What failed stays pending; the first error is raised in the end."""
        feed = _Feed(batches)

        async def work() -> None:
            while not self._hopeless and (candidate := await feed.next()) is not None:
                await self._one(candidate)
                if len(self._outcomes) >= TOGETHER or time.monotonic() - self._recorded > OFTEN:
                    self._record(told)

        workers = [asyncio.create_task(work()) for _ in range(self._at_once)]
        try:
            await asyncio.gather(*workers)
        finally:  # also when cancelled
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await feed.close()
            self._record(told)
        if self._errors:
            raise next((error for error in self._errors if isinstance(error, Unreachable)), self._errors[0])

    @property
    def _hopeless(self) -> bool:
        """The rest would only wait for the same answer."""
        return len(self._errors) > TOO_MANY or any(isinstance(error, Unreachable) for error in self._errors)

    async def _one(self, candidate: Candidate) -> None:
        size = candidate.listed.size if candidate.listed else LARGE
        size = OF_A_LARGE_ONE if size > LARGE else COPIES * size
        if not self._free.take(size):
            await self._free.wait(size)
        try:
            outcome = await self._carried(candidate)
        except TidegateError as error:
            self._errors.append(error)
        else:
            self._outcomes.append(outcome)
        finally:
            self._free.give(size)

    async def _carried(self, candidate: Candidate) -> Outcome:
        key, listed, row, half_done = candidate
        if self.lane is not None and listed is not None and row is None and not half_done and self._short(listed):
            done, sent = await self.lane.copy(listed)
            if done is not None:
                return Outcome(key, done, "", listed.size)
            half_done = (listed.md5 or "",) if sent else ()
        return await Errand(self.order, key, listed, row, half_done).run()

    def _short(self, listed: Listed) -> bool:
        server = self.order.sending.server
        return (server is None or not server.wants(listed.size)) and self.lane is not None and self.lane.takes(listed)

    def _record(self, told: Callable[[list[Outcome]], None]) -> None:
        outcomes, self._outcomes = self._outcomes, []
        self._recorded = time.monotonic()
        if not outcomes:
            return
        if not self.dry:
            self.manifest.record(
                [outcome.row for outcome in outcomes if outcome.row],
                [outcome.key for outcome in outcomes if not outcome.row],
                [outcome.key for outcome in outcomes],
                {outcome.key: outcome.conflict for outcome in outcomes if outcome.conflict},
            )
        told(outcomes)


class _Feed:
    """Batches, one by one, for many takers."""

    def __init__(self, batches: AsyncGenerator[list[Candidate]]) -> None:
        self._batches = batches
        self._ready: deque[Candidate] = deque()
        self._filling = asyncio.Lock()
        self._over = False

    async def next(self) -> Candidate | None:
        while not self._ready:
            if self._over:
                return None
            async with self._filling:
                if not self._ready and not self._over:
                    batch = await anext(self._batches, None)
                    self._over = batch is None
                    self._ready.extend(batch or ())
        return self._ready.popleft()

    async def close(self) -> None:
        await self._batches.aclose()


class _Space:
    """Bytes that may be taken at once; first come, first served."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take(self, size: int) -> bool:
        """At once, if nobody waits and it is free."""
        if self._waiting or self._free < size:
            return False
        self._free -= size
        return True

    async def wait(self, size: int) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.give(size)
            raise

    def give(self, size: int) -> None:
        self._free += size
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= self._free):
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= wanted
                turn.set_result(None)
