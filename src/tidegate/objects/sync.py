"""Brings what changed at the source to the target: by keys, by a queue's messages, or by listing everything."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from dataclasses import dataclass

from tidegate.errors import TidegateError, Unreachable
from tidegate.objects.difference import OutOfOrder, Pair, join, sorted_listing
from tidegate.objects.events import HIDDEN_SECONDS, PER_ANSWER, Depth, Events, Message
from tidegate.objects.manifest import Manifest, Row
from tidegate.objects.side import Listed, Side
from tidegate.objects.transfer import Errand, Outcome, Way
from tidegate.runbook.migration import Cloud, other

__all__ = ["Swept", "Sync"]

AT_ONCE = 24
CHUNK = 400
"""Keys between two commits of the manifest: what a killed process does again."""
TOO_MANY = 20
"""Objects that one server refuses: then it isn't the objects."""
RECEIVERS = 4
EMPTY = 2
"""Answers without a message from a queue that has some: they don't come."""
LONG = 1
"""Seconds for which a queue is asked: only then are all its servers asked, and an empty answer means something."""
SAY_EVERY = 2.0

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Swept:
    """How many objects a listing brought over, and what was left as it was."""

    copied: int
    conflicts: list[Outcome]


class Sync:
    """Knows no direction of its own and takes no turns: whoever calls it does. Raises Unreachable, Refused."""

    def __init__(self, manifest: Manifest, sides: dict[Cloud, Side], events: Events | None) -> None:
        self.manifest, self.sides, self.events = manifest, sides, events
        self.note: Note = lambda _: None
        self.waiting = 0
        """Messages in the queue when it was last looked at."""
        self._receivers = 1
        self._made_up = 0
        self._made_up_until = self._taken_until = 0.0
        self._told: set[str] = set()

    async def look(self, keys: Collection[str], source: Cloud, way: Way = "follow") -> list[Outcome]:
        """Look at these keys again and do what is to be done. What failed stays pending; the first error is raised."""
        if not keys:
            return []
        half_done = self.manifest.pending
        self.manifest.pend(keys)
        outcomes: list[Outcome] = []
        errors: list[TidegateError] = []
        places = asyncio.Semaphore(AT_ONCE)

        async def one(key: str) -> None:
            async with places:
                if len(errors) > TOO_MANY or any(isinstance(error, Unreachable) for error in errors):
                    return  # the rest would only wait for the same answer
                try:
                    row = self.manifest.row(key)
                    here, there = self.sides[source], self.sides[other(source)]
                    errand = Errand(key, here, there, row, way, half_done.get(key, ()), self.manifest.intend)
                    outcomes.append(await errand.run())
                except TidegateError as error:
                    errors.append(error)

        try:
            await asyncio.gather(*(one(key) for key in keys))
        finally:  # also when cancelled
            self._record(outcomes)
        if errors:
            raise next((error for error in errors if isinstance(error, Unreachable)), errors[0])
        return outcomes

    def _record(self, outcomes: Iterable[Outcome]) -> None:
        outcomes = list(outcomes)
        rows = [outcome.row for outcome in outcomes if outcome.row]
        gone = [outcome.key for outcome in outcomes if not outcome.row]
        self.manifest.record(rows, gone, [outcome.key for outcome in outcomes])
        for outcome in outcomes:
            if outcome.conflict and outcome.key not in self._told:
                self._told.add(outcome.key)
                self.note(f"{outcome.key} was left as it is: {outcome.conflict}")

    async def sweep(self, source: Cloud, way: Way = "follow") -> Swept:
        """List the source and look at every key that isn't as the manifest knows it."""
        conflicts: list[Outcome] = []
        chunk: list[str] = []
        copied, size, said = 0, 0, time.monotonic()
        pending = self.manifest.pending

        async def flush() -> None:
            nonlocal copied, size, said
            for outcome in await self.look(chunk, source, way):
                if outcome.conflict:
                    conflicts.append(outcome)
                if outcome.copied is not None:
                    copied, size = copied + 1, size + outcome.copied
            chunk.clear()
            if time.monotonic() - said > SAY_EVERY:
                said = time.monotonic()
                self.note(f"{copied:,} objects, {size / 2**20:,.1f} MiB copied")

        async for key, listed, row in self._pairs(self.sides[source]):
            same = listed is not None and row is not None and listed.etag == row.etag(source)
            if way == "late" and key in pending:
                continue  # half done in the other direction, which will end it
            if not same or key in pending:
                chunk.append(key)
            if len(chunk) >= CHUNK:
                await flush()
        # deleted before they were ever recorded
        chunk += [key for key in pending if way != "late" and self.manifest.row(key) is None and key not in chunk]
        await flush()
        return Swept(copied, conflicts)

    async def _pairs(self, side: Side) -> AsyncIterator[Pair[Listed, Row]]:
        try:
            async for pair in join(side.list(), self.manifest.rows()):
                yield pair
        except OutOfOrder:
            async for pair in join(sorted_listing(side.list), self.manifest.rows()):
                yield pair

    async def take(self, events: Events, seconds: int) -> bool:
        """One round of the queue's messages and of what is pending; False if there was nothing to do."""
        busy, received = await self._turn(events, self._receivers, seconds)
        full = received >= self._receivers * PER_ANSWER
        self._receivers = min(self._receivers + 1, RECEIVERS) if full else 1
        self.waiting = (await events.depth()).waiting if full else 0
        return busy

    async def _turn(self, events: Events, calls: int, seconds: int) -> tuple[bool, int]:
        """Whether anything was done, and how many messages came. What came and isn't done stays hidden for a while."""
        try:
            messages = await events.receive(calls, seconds)
            return await self._apply(events, messages), len(messages)
        except BaseException:
            # an answer that nobody waits for any more may still take messages
            self._made_up, self._taken_until = 0, time.monotonic() + seconds
            raise

    async def _apply(self, events: Events, messages: list[Message]) -> bool:
        """A message is deleted when what it says was done."""
        told = {change for message in messages for change in message.changes or ()}
        keys = {key for key, at in told if not self._seen(key, at)} | self.manifest.pending.keys()
        try:
            await self.look(keys, "aws")
            if any(message.changes is None for message in messages):
                await self.sweep("aws")
        except TidegateError:
            await events.delete([message for message in messages if self._applied(message)])
            raise
        await events.delete(messages)
        return bool(messages or keys)

    def _applied(self, message: Message) -> bool:
        if message.changes is None:
            return False
        return not any(key in self.manifest.pending for key, _ in message.changes)

    def _seen(self, key: str, at: float) -> bool:
        """It was read after this change: the copy, or a listing, was faster than the message."""
        row = self.manifest.row(key)
        return row is not None and at < row.seen and key not in self.manifest.pending

    async def make_up(self, source: Cloud) -> None:
        """List everything, also for the messages that this process, or one before, took from the queue and left."""
        hidden = 0
        if source == "aws" and self.events is not None:
            await asyncio.sleep(self._taken_until - time.monotonic())
            hidden = (await self.events.depth()).hidden
        until = time.monotonic() + HIDDEN_SECONDS
        await self.sweep(source)
        self._made_up, self._made_up_until = hidden, until

    def _drained(self, depth: Depth) -> bool:
        made_up = self._made_up if time.monotonic() < self._made_up_until else 0
        return depth.waiting == 0 and depth.hidden <= made_up

    async def drain(self, source: Cloud) -> None:
        """All that was written at the source before this was called, and that it tells, is at the target."""
        events = self.events
        if source == "azure" or events is None:
            await self.sweep(source)
            return
        empty = 0
        while empty < EMPTY:
            calls, seconds = (1, LONG if self.waiting else 0) if empty else (RECEIVERS if self.waiting else 1, 0)
            (busy, _), depth = await asyncio.gather(self._turn(events, calls, seconds), events.depth())
            self.waiting = depth.waiting
            if busy:
                empty = 0
            elif self._drained(depth):
                return
            else:
                empty += 1
        # a process that died has taken messages with it; only the listing knows them
        self.note("some messages don't come: everything is listed instead")
        await self.sweep(source)
