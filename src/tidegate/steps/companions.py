"""What runs beside the steps for as long as a run is driven: streams of objects, heartbeats, the traffic series."""

import asyncio
import time
from collections.abc import Callable

from pydantic import JsonValue

from tidegate.errors import TidegateError
from tidegate.health.metrics import Rates, rates
from tidegate.objects.bucket import BucketMove
from tidegate.steps.workload import Workload

__all__ = ["beat", "follow", "traffic"]

SECOND = 1.0
BEAT = 0.2


async def traffic(workload: Workload, add: Callable[[dict[str, JsonValue]], object]) -> None:
    """Once a second: requests and errors per second, their split, and each store's lag."""
    before, looked = None, time.monotonic()
    while True:
        began = time.monotonic()
        try:
            after = await workload.edge.count()
            lag = {name: await move.lag() for name, move in [*workload.databases.items(), *workload.buckets.items()]}
        except TidegateError:
            after, lag = None, {}
        if before is not None and after is not None:
            add(_sample(rates(before, after, began - looked), lag))
        before, looked = after, began
        await asyncio.sleep(max(0.05, SECOND - (time.monotonic() - began)))


def _sample(rate: Rates, lag: dict[str, int]) -> dict[str, JsonValue]:
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
