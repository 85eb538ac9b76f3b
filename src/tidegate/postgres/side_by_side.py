"""Several pieces of work at once, of which the first error is the one that counts."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

__all__ = ["side_by_side"]

T = TypeVar("T")


async def side_by_side(*work: Coroutine[object, object, T]) -> list[T]:
    """What each returns, in order. The first error ends them all: what the others then raise follows from it."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
