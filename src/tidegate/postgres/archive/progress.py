"""How far the work has come."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from tidegate.errors import TidegateError

__all__ = ["Count", "Phase", "Progress", "Report", "watched"]

Phase = Literal["hash", "dump", "send", "check", "fetch", "restore", "compare"]
SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Progress:
    """Tables while it is hashed or compared, else bytes. `total` is None where nobody can know it.

    dump: written here. send, fetch, check: as they are stored. restore: size of the database, which ends near `total`.
    """

    phase: Phase
    done: int
    total: int | None


Report = Callable[[Progress], None]


class Count:
    """Bytes that have passed so far, of all that have to."""

    def __init__(self, phase: Phase, total: int, report: Report) -> None:
        self.phase: Phase = phase
        self.done, self.total = 0, total
        self._report = report

    def add(self, size: int) -> None:
        self.done += size
        self._report(Progress(self.phase, self.done, self.total))


@asynccontextmanager
async def watched(look: Callable[[], Awaitable[Progress]], report: Report) -> AsyncGenerator[None]:
    """While the work inside goes on, what `look` finds is reported now and then. Its errors are of no account."""

    async def watch() -> None:
        while True:
            await asyncio.sleep(SECONDS)
            with suppress(TidegateError, OSError):
                report(await look())

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
