"""One copy on many machines: the coordinator, which lists, waits and records, and copies nothing itself."""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from pydantic import JsonValue

from tidegate.cli.wording import size
from tidegate.engine.queue.job import Job, coordinated
from tidegate.engine.queue.server import QueueServer
from tidegate.engine.tasks import cancel
from tidegate.objects.bucket import BucketMove
from tidegate.objects.from_url import How
from tidegate.objects.shards import OBJECTS, Segment, Shard, merge, run_shard, shards
from tidegate.runbook.migration import Bucket

__all__ = ["TASK", "Spread", "copy_shard", "spread"]

TASK = "copy-shard"
LOOK = 0.3
SAY_EVERY = 5.0
HAND_ON = 1.0

Note = Callable[[str], None]


@dataclass(slots=True)
class Spread:
    """What the workers have done. `objects`: the same on both sides now; `copied`: those that weren't there already.

    What was left is in the manifest, with the reason.
    """

    shards: int = 0
    objects: int = 0
    copied: int = 0
    bytes: int = 0

    def add(self, segment: Segment) -> None:
        self.shards += 1
        self.objects += len(segment.rows)
        self.copied += segment.copied
        self.bytes += segment.bytes


def job_of(spec: Bucket) -> str:
    """By what is copied where; however either side is reached or paid for."""
    aws, azure = spec.aws, spec.azure
    copied = [aws.endpoint, aws.bucket, aws.prefix, azure.endpoint, azure.account, azure.container, azure.prefix]
    return f"{TASK}-{hashlib.sha256(json.dumps(copied).encode()).hexdigest()[:20]}"


async def spread(
    move: BucketMove, server: QueueServer, note: Note, how: How = "auto", objects: int = OBJECTS
) -> Spread:
    """Have workers copy every object; all that they did is in the move's manifest then.

    Interrupted, the workers go on with what is listed; called again, here or elsewhere, so does this. Raises
    LeaseHeld, Unreachable, Refused, and the error of a shard that failed; what is done stays done.
    """
    async with coordinated(server, job_of(move.spec), TASK) as job:
        left = await job.resume()
        if left is not None:
            note(f"goes on with {job.waiting:,} shards that were listed before")
        await move.begin()
        spread = await _gathered(move, job, left, note, how, objects)
        await job.forget()
    return spread


async def _gathered(move: BucketMove, job: Job, left: JsonValue, note: Note, how: How, objects: int) -> Spread:
    total = Spread()
    listing = asyncio.create_task(_list(move, job, left, how, objects))
    progress = Progress(job, total, note)
    try:
        while True:
            results = await job.ended()
            for result in results:
                segment = Segment.from_json(result)
                merge(move.manifest, segment)
                total.add(segment)
            if listing.done():
                listing.result()
                if not job.waiting:
                    return total
            await progress.look()
            if not results:
                await asyncio.sleep(LOOK)
    finally:
        await cancel(listing)


async def _list(move: BucketMove, job: Job, left: JsonValue, how: How, objects: int) -> None:
    """From where the last listing ended."""
    after = ""
    if left is not None:
        after = Shard.from_json(cast("dict[str, JsonValue]", left)["shard"]).until
        if not after:
            return
    spec = cast("dict[str, JsonValue]", move.spec.model_dump(mode="json", exclude_defaults=True))
    async for shard in shards(move.aws, objects, after=after):
        await job.add({"name": move.name, "spec": spec, "how": how, "shard": shard.as_json()})


class Progress:
    """Now and then hands on what dead workers had begun, and tells how far the copy is."""

    def __init__(self, job: Job, total: Spread, note: Note) -> None:
        self.job, self.total, self.note = job, total, note
        self._workers = 0
        self._looked = self._told = time.monotonic()

    async def look(self) -> None:
        if time.monotonic() - self._looked > HAND_ON:
            self._workers, orphans = await self.job.hand_on()
            self._looked = time.monotonic()
            if orphans:
                self.note(f"a worker is gone: its {orphans} shards are handed on")
        if time.monotonic() - self._told > SAY_EVERY:
            self._told = time.monotonic()
            self.note(self._text())

    def _text(self) -> str:
        done = self.total.shards
        text = f"{done:,} of {done + self.job.waiting:,} shards, {self.total.objects:,} objects, "
        text += f"{size(self.total.bytes)} copied; "
        return text + (f"{self._workers} workers" if self._workers else "no worker: start `tidegate worker`")


async def copy_shard(payload: JsonValue, note: Note) -> JsonValue:
    """The task, as a worker runs it."""
    given = cast("dict[str, JsonValue]", payload)
    spec = Bucket.model_validate(given["spec"])
    how, shard = cast("How", given["how"]), Shard.from_json(given["shard"])
    return (await run_shard(str(given["name"]), spec, how, shard, note)).as_json()
