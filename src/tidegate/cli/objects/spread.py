"""One copy on many machines: the coordinator, which lists, waits and records, and copies nothing itself."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import cast

from pydantic import JsonValue

from tidegate.cli.wording import size
from tidegate.engine.queue.job import Job, coordinated
from tidegate.engine.queue.server import QueueServer
from tidegate.engine.tasks import cancel
from tidegate.objects.bucket import BucketMove
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
    """What the workers have done. `objects`: the same on both sides now; `copied`: those that weren't there already."""

    shards: int = 0
    objects: int = 0
    copied: int = 0
    bytes: int = 0
    conflicts: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def add(self, segment: Segment) -> None:
        self.shards += 1
        self.objects += len(segment.rows)
        self.copied += segment.copied
        self.bytes += segment.bytes
        self.conflicts += segment.conflicts


def job_of(spec: Bucket) -> str:
    """By what is copied where; however either side is reached or paid for."""
    aws, azure = spec.aws, spec.azure
    copied = [aws.endpoint, aws.bucket, aws.prefix, azure.endpoint, azure.account, azure.container, azure.prefix]
    return f"{TASK}-{hashlib.sha256(json.dumps(copied).encode()).hexdigest()[:20]}"


async def spread(move: BucketMove, server: QueueServer, note: Note, objects: int = OBJECTS) -> Spread:
    """Have workers copy every object; all that they did is in the move's manifest then.

    Interrupted, the workers go on with what is listed; called again, here or elsewhere, so does this. Raises
    LeaseHeld, Unreachable, Refused, and the error of a shard that failed; what is done stays done.
    """
    async with coordinated(server, job_of(move.spec), TASK) as job:
        left = await job.resume()
        if left is not None:
            note(f"goes on with {job.waiting:,} shards that were listed before")
        await move.begin(ours=left is not None)
        spread = await _gathered(move, job, left, note, objects)
        await job.forget()
    return spread


async def _gathered(move: BucketMove, job: Job, left: JsonValue, note: Note, objects: int) -> Spread:
    total = Spread()
    listing = asyncio.create_task(_list(move, job, left, objects))
    telling = _telling(job, total, note)
    try:
        async with aclosing(telling):
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
                await anext(telling)
                if not results:
                    await asyncio.sleep(LOOK)
    finally:
        await cancel(listing)


async def _list(move: BucketMove, job: Job, left: JsonValue, objects: int) -> None:
    """From where the last listing ended."""
    after = ""
    if left is not None:
        after = Shard.from_json(cast("dict[str, JsonValue]", left)["shard"]).until
        if not after:
            return
    spec = cast("dict[str, JsonValue]", move.spec.model_dump(mode="json", exclude_defaults=True))
    async for shard in shards(move.aws, objects, after=after):
        await job.add({"name": move.name, "spec": spec, "shard": shard.as_json()})


async def _telling(job: Job, total: Spread, note: Note) -> AsyncGenerator[None]:
    """One step each time that it is asked: dead workers' tasks are handed on, and progress is told."""
    said = handed = time.monotonic()
    workers = 0
    while True:
        now = time.monotonic()
        if now - handed > HAND_ON:
            handed = now
            workers, orphans = await job.hand_on()
            if orphans:
                note(f"a worker is gone: its {orphans} shards are handed on")
        if now - said > SAY_EVERY:
            said = now
            note(
                f"{total.shards:,} of {total.shards + job.waiting:,} shards, {total.objects:,} objects,"
                f" {size(total.bytes)} copied by {workers} workers"
                + ("" if workers else "; start `tidegate worker --store ...`")
            )
        yield


async def copy_shard(payload: JsonValue, note: Note) -> JsonValue:
    """The task, as a worker runs it."""
    given = cast("dict[str, JsonValue]", payload)
    spec = Bucket.model_validate(given["spec"])
    return (await run_shard(str(given["name"]), spec, Shard.from_json(given["shard"]), note)).as_json()
