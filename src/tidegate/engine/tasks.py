"""Tasks of asyncio that are ended on purpose, and exceptions that nobody foresaw."""

import asyncio
from typing import Any

from tidegate.errors import LocalFault

__all__ = ["DEFECT", "cancel", "explained", "unforeseen"]

DEFECT = "report this defect of tidegate"


async def cancel(*tasks: asyncio.Future[Any]) -> None:
    """Returns when they have ended, however they do."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def explained(error: BaseException) -> str:
    """An exception that nobody foresaw, in one line."""
    return f"{type(error).__name__}: {error}"


def unforeseen(error: Exception, where: str) -> LocalFault:
    """No plane has explained it: what a server says or hides, they all do."""
    mend = "see to this machine's disk, memory and limits" if isinstance(error, OSError) else DEFECT
    return LocalFault(explained(error), where=where, mend=mend)
