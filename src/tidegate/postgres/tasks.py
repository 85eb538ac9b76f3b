"""What a few workers have to do, the most expensive first; what one does may give them more to do."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["Tasks"]

W = TypeVar("W")


@dataclass(order=True, frozen=True, slots=True)
class _Task(Generic[W]):
    """`rank`: the smallest is taken first. Equals are taken as they came."""

    rank: float
    number: int
    run: Callable[[W], Awaitable[None]] = field(compare=False)


class Tasks(Generic[W]):
    """For workers W of one event loop."""

    def __init__(self) -> None:
        self._heap: list[_Task[W]] = []
        self._added = self._running = 0
        self._changed = asyncio.Condition()

    def add(self, cost: float, run: Callable[[W], Awaitable[None]]) -> None:
        """Before the work begins, or by a task that runs."""
        self._added += 1
        heapq.heappush(self._heap, _Task(-cost, self._added, run))

    async def work(self, worker: W) -> None:
        """Until nothing is left, nor runs elsewhere that may add more. An error is the caller's to spread."""
        while (task := await self._take()) is not None:
            await task.run(worker)
            async with self._changed:
                self._running -= 1
                self._changed.notify_all()

    async def _take(self) -> _Task[W] | None:
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._heap) or not self._running)
            if not self._heap:
                return None
            self._running += 1
            return heapq.heappop(self._heap)
