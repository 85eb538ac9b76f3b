"""One bucket under the switch, in one direction. Implements switch.store.Store.

No bucket has a fence: when `fence` is called, requests are held at the edge and workers are idle, and that is all
that keeps its writers off. So most of the drain is done while databases are fenced. What S3's events didn't tell
until the drain had ended is brought by `settle`, which writes only where Azure has nothing newer.
"""

import asyncio
import time
from typing import TYPE_CHECKING

from tidegate.errors import DeadlinePassed
from tidegate.runbook.migration import Cloud, other

if TYPE_CHECKING:
    from tidegate.objects.bucket import BucketMove

__all__ = ["BucketStore"]


class BucketStore:
    """All its state is the move's: nothing is lost with this object."""

    def __init__(self, move: "BucketMove", source: Cloud) -> None:
        self.move, self.name = move, move.name
        self.source: Cloud = source
        self.target: Cloud = other(source)

    async def arm(self) -> None:
        """The one listing that finds what events have lost; from here on only messages are followed."""
        await self.move.arm(self.source)

    async def lag(self) -> int:
        return await self.move.lag()

    async def fence(self, deadline: float) -> None:
        if self.move.tells(self.source):
            await self._within(deadline, "drain")

    async def drain(self, deadline: float) -> None:
        """Again: an object may belong to the last row that was written."""
        await self._within(deadline, "drain")

    async def seal(self, deadline: float) -> None:
        """From here on no change is followed, by no process, until `release` or `reopen`."""
        await self._within(deadline, "seal")

    async def open(self) -> None:
        """Nothing: a bucket takes writes all the time."""

    async def release(self) -> None:
        await self.move.flow_from(self.target)

    async def reopen(self) -> None:
        await self.move.flow_from(self.source)

    async def close(self) -> None:
        self.move.stand_easy()

    async def _within(self, deadline: float, what: str) -> None:
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await (self.move.drain(self.source) if what == "drain" else self.move.seal(self.source))
        except TimeoutError:
            raise DeadlinePassed(f"the {what} took too long", where=self.move.where(self.target)) from None
