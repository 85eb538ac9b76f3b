"""What runs beside the steps for as long as a run is driven: streams of objects, heartbeats, the traffic series."""

import asyncio
import time
from collections.abc import Callable

from pydantic import JsonValue

from tidegate.errors import TidegateError
from tidegate.health.metrics import Rates, rates
from tidegate.objects.bucket import BucketMove
from tidegate.postgres.database import DatabaseMove
from tidegate.steps.workload import Workload

__all__ = ["beat", "follow", "traffic"]

SECOND = 1.0
BEAT = 0.2
PATIENCE = 0.5
"""Seconds: a store that doesn't answer must not hold up what the edge has counted."""


async def traffic(workload: Workload, add: Callable[[dict[str, JsonValue]], object]) -> None:
    """Once a second: requests and errors per second, their split, and each store's lag; None of one that is silent."""
    moves: dict[str, DatabaseMove | BucketMove] = {**workload.databases, **workload.buckets}
    asked: dict[str, asyncio.Task[int | None]] = {}
    before, looked = None, time.monotonic()
    try:
        while True:
            began = time.monotonic()
            try:
                after = await workload.edge.count()
            except TidegateError:
                after = None
            asked |= {name: asyncio.create_task(_lag(move)) for name, move in moves.items() if name not in asked}
            await asyncio.wait(asked.values(), timeout=PATIENCE)
            lag = {name: asked.pop(name).result() if asked[name].done() else None for name in moves}
            if before is not None and after is not None:
                add(_sample(rates(before, after, began - looked), lag))
            before, looked = after, began
            await asyncio.sleep(max(0.05, SECOND - (time.monotonic() - began)))
    finally:
        for task in asked.values():
            task.cancel()
        await asyncio.gather(*asked.values(), return_exceptions=True)


async def _lag(move: DatabaseMove | BucketMove) -> int | None:
    try:
        return await move.lag()
    except TidegateError:
        return None


def _sample(rate: Rates, lag: dict[str, int | None]) -> dict[str, JsonValue]:
    return {
        "requests": rate.requests,
        "errors": rate.errors,
        "aws": rate.aws,
        "azure": rate.azure,
        "lag": dict[str, JsonValue](lag),
    }


async def follow(bucket: BucketMove, wanted: Callable[[], bool], note: Callable[[str], None]) -> None:
    """Keep a bucket's copy up to date while that is wanted. Errors are told, and tried again."""
    told = ""
    while True:
        if not wanted():
            await asyncio.sleep(0.2)
            continue
        try:
            await bucket.follow(note)
        except TidegateError as error:
            if str(error) != told:
                note(told := str(error))
            await asyncio.sleep(SECOND)


async def beat(workload: Workload, wanted: Callable[[], bool]) -> None:
    """Heartbeats on Azure while it owns the writes: the last that AWS has seen bounds what a loss could be."""
    while True:
        await asyncio.sleep(BEAT)
        if wanted():
            try:
                for database in workload.databases.values():
                    await database.heartbeat("azure")
            except TidegateError:
                await asyncio.sleep(SECOND)
