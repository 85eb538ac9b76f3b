"""Tasks of asyncio that are ended on purpose."""

import asyncio
from typing import Any

__all__ = ["DEFECT", "cancel", "explained"]

DEFECT = "report this defect of tidegate"
"""What to do about an exception that nobody foresaw."""


async def cancel(*tasks: asyncio.Future[Any]) -> None:
    """Returns when they have ended, however they do."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def explained(error: BaseException) -> str:
    """An exception that nobody foresaw, in one line."""
    return f"{type(error).__name__}: {error}"
