"""Brings what changed at the source to the target: by keys, by a queue's messages, or by listing everything."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import dataclass, field

from tidegate.errors import TidegateError
from tidegate.objects.carrier import Candidate, Carrier, Deletions
from tidegate.objects.difference import OutOfOrder, Pair, join, sorted_pages
from tidegate.objects.events import HIDDEN_SECONDS, PER_ANSWER, Depth, Events, Message
from tidegate.objects.from_url import FromUrl
from tidegate.objects.manifest import Manifest, Row
from tidegate.objects.sending import Sending
from tidegate.objects.side import Listed, Side
from tidegate.objects.transfer import Outcome, Way
from tidegate.runbook.migration import Cloud, other

__all__ = ["AT_ONCE", "Swept", "Sync"]

AT_ONCE = 24
"""Objects, beside a workload that is being served."""
RECEIVERS = 4
EMPTY = 2
"""Answers without a message from a queue that has some: they don't come."""
LONG = 1
"""Seconds for which a queue is asked: only then are all its servers asked, and an empty answer means something."""
SAY_EVERY = 2.0
KEPT = 20
"""Conflicts that are kept in memory; all are in the manifest."""

Note = Callable[[str], None]


@dataclass(slots=True)
class Swept:
    """What a listing brought over, and what was left as it was: how many, and the first few."""

    seen: int = 0
    gone: int = 0
    """Recorded, and not at the source any more."""
    copied: int = 0
    bytes: int = 0
    deleted: int = 0
    conflicts: int = 0
    first: list[Outcome] = field(default_factory=list[Outcome])

    def follow(self, later: "Swept") -> None:
        """A listing that came after this one, of the same keys: what it left is what is left."""
        self.seen, self.gone = later.seen, later.gone
        self.conflicts, self.first = later.conflicts, later.first
        self.copied, self.bytes = self.copied + later.copied, self.bytes + later.bytes
        self.deleted += later.deleted

    def add(self, outcomes: Collection[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.copied is not None:
                self.copied, self.bytes = self.copied + 1, self.bytes + outcome.copied
            self.deleted += outcome.deleted
            if outcome.conflict:
                self.conflicts += 1
                if len(self.first) < KEPT:
                    self.first.append(outcome)


class Sync:
    """Knows no direction of its own and takes no turns: whoever calls it does. Raises Unreachable, Refused."""

    def __init__(self, manifest: Manifest, sides: dict[Cloud, Side], events: Events | None) -> None:
        self.manifest, self.sides, self.events = manifest, sides, events
        self.deletions = Deletions()
        self.at_once = AT_ONCE
        self.server: FromUrl | None = None
        """Set while many objects are copied."""
        self.note: Note = lambda _: None
        self.waiting = 0
        """Messages in the queue when it was last looked at."""
        self.oldest: float | None = None
        """When the oldest change was made that is known and isn't applied; Unix seconds."""
        self._receivers = 1
        self._made_up = 0
        self._made_up_until = self._taken_until = 0.0
        self._told: set[str] = set()

    async def look(self, keys: Collection[str], source: Cloud, way: Way = "follow") -> list[Outcome]:
        """Look at these keys again and do what is to be done. What failed stays pending; the first error is raised."""
        outcomes: list[Outcome] = []
        if keys:

            async def batch() -> AsyncGenerator[list[Candidate]]:
                half_done = self.manifest.sent(other(source))
                self.manifest.pend(dict.fromkeys(keys, ""), other(source))
                yield [Candidate(key, None, self.manifest.row(key), half_done.get(key, ())) for key in keys]

            await self._carrier(source, way, min(self.at_once, len(keys))).carry(batch(), self._telling(outcomes))
        return outcomes

    def _carrier(self, source: Cloud, way: Way, at_once: int, *, dry: bool = False) -> Carrier:
        server = self.server if source == "aws" else None
        sending = Sending(self.sides[source], self.sides[other(source)], server)
        return Carrier(self.manifest, sending, way, self.deletions, at_once, dry=dry)

    def _telling(self, outcomes: list[Outcome]) -> Callable[[list[Outcome]], None]:
        def told(new: list[Outcome]) -> None:
            outcomes.extend(new)
            self._tell(new)

        return told

    def _tell(self, outcomes: Collection[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.conflict and outcome.key not in self._told and len(self._told) < KEPT:
                self._told.add(outcome.key)
                self.note(f"{outcome.key!r} was left as it is: {outcome.conflict}")

    async def sweep(
        self,
        source: Cloud,
        way: Way = "follow",
        *,
        after: str = "",
        until: str = "",
        dry: bool = False,
        deletes: bool = True,
    ) -> Swept:
        """List the source, or its keys > `after`, <= `until`; look at those that aren't as the manifest knows them.

        `deletes`: what is gone at the source goes at the target too.
        """
        swept, began = Swept(), time.monotonic()
        said = began

        def told(outcomes: list[Outcome]) -> None:
            nonlocal said
            swept.add(outcomes)
            self._tell(outcomes)
            if time.monotonic() - said > SAY_EVERY:
                said = time.monotonic()
                rate = swept.copied / (said - began)
                self.note(f"{swept.copied:,} objects, {swept.bytes / 2**20:,.1f} MiB copied; {rate:,.0f} objects/s")

        batches = self._batches(source, way, after, until, swept, dry=dry, deletes=deletes)
        await self._carrier(source, way, self.at_once, dry=dry).carry(batches, told)
        return swept

    async def _batches(
        self, source: Cloud, way: Way, after: str, until: str, swept: Swept, *, dry: bool, deletes: bool
    ) -> AsyncGenerator[list[Candidate]]:
        """What is to be looked at. Deletions come last: only then is it known how many they are."""
        gone: list[Candidate] = []
        unrecorded = {key for key in self.manifest.pending if key > after and (not until or key <= until)}
        for again in (False, True):
            swept.seen, gone = 0, []
            listed = self.sides[source].pages(after)
            try:
                async for pairs in join(sorted_pages(listed) if again else listed, self.manifest.pages(after)):
                    ends = bool(until) and pairs[-1][0] > until
                    within = [pair for pair in pairs if pair[0] <= until] if ends else pairs
                    swept.seen += sum(pair[1] is not None for pair in within)
                    unrecorded.difference_update([key for key, _, _ in within])
                    batch = self._changed(within, source, way, gone)
                    if batch:
                        self._pend(batch, source, dry=dry)
                        yield batch
                    if ends:
                        break
                break
            except OutOfOrder:  # once more, in memory; what is done by now is known
                continue
        swept.gone = len(gone)
        if not deletes:
            return
        if way != "late":  # deleted before they were ever recorded
            sent = self.manifest.sent(other(source))
            gone += [Candidate(key, None, None, sent[key]) for key in sorted(unrecorded) if key in sent]
        self.deletions.withheld = 0
        if self.deletions.too_many(len(gone), self.manifest.count):
            self.deletions.withheld = len(gone)
            self.note(f"{len(gone):,} objects are gone, more than are deleted at once: none of them is")
        elif gone:
            self._pend(gone, source, dry=dry)
            yield gone

    def _changed(
        self, pairs: list[Pair[Listed, Row]], source: Cloud, way: Way, gone: list[Candidate]
    ) -> list[Candidate]:
        """Those that aren't as the manifest knows them; what is to be deleted is added to `gone`."""
        pending = self.manifest.sent(other(source))
        changed: list[Candidate] = []
        for key, listed, row in pairs:
            half_done = pending.get(key)
            if half_done is None and listed is not None and row is not None and listed.etag == row.etag(source):
                continue
            if way == "late" and half_done is not None:
                continue  # half done in the other direction, which will end it
            into = gone if listed is None and way == "follow" else changed
            into.append(Candidate(key, listed, row, half_done or ()))
        return changed

    def _pend(self, batch: list[Candidate], source: Cloud, *, dry: bool) -> None:
        if not dry:
            marks = {each.key: (each.listed and each.listed.md5) or "" for each in batch}
            self.manifest.pend(marks, other(source))

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
        self.oldest = min((at for _, at in told if at < math.inf), default=None)
        keys = {key for key, at in told if not self._seen(key, at)} | self.manifest.pending
        try:
            await self.look(keys, "aws")
            if any(message.changes is None for message in messages):
                await self.sweep("aws")
        except TidegateError:
            await events.delete([message for message in messages if self._applied(message)])
            raise
        await events.delete(messages)
        self.oldest = None
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
