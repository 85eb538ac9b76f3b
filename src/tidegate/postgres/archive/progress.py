"""How far the work has come."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from tidegate.errors import TidegateError

__all__ = ["Count", "Lines", "Phase", "Progress", "Report", "watched"]

Phase = Literal["hash", "dump", "send", "check", "fetch", "restore", "compare"]
DONE: dict[Phase, str] = {
    "hash": "hashed",
    "dump": "dumped",
    "send": "sent",
    "check": "checked",
    "fetch": "fetched",
    "restore": "restored",
    "compare": "compared",
}
SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes. `total` is None where nobody can know it.

    hash, compare: of the tables that are done, with their indexes; they have so many `rows`. dump: written here. send,
    fetch, check: as they are stored. restore: size of the database, which ends near `total`.
    """

    phase: Phase
    done: int
    total: int | None
    rows: int | None = None


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


@dataclass(slots=True)
class _Pace:
    """Of a phase, as it was last told. `rate`: bytes a second, the newest counting for half."""

    at: float
    done: int
    rate: float | None = None


class Lines:
    """A Report: a line about each phase that is under way, at most every `seconds`, with its rate and the time left."""

    def __init__(
        self, note: Callable[[str], None], *, seconds: float = 2.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._note, self._seconds, self._clock = note, seconds, clock
        self._paces: dict[Phase, _Pace] = {}

    def __call__(self, progress: Progress) -> None:
        now = self._clock()
        pace = self._paces.setdefault(progress.phase, _Pace(now, progress.done))
        if now - pace.at < self._seconds:
            return
        rate = (progress.done - pace.done) / (now - pace.at)
        rate = rate if pace.rate is None else (rate + pace.rate) / 2
        self._paces[progress.phase] = _Pace(now, progress.done, rate)
        self._note(_line(progress, rate))


def _line(progress: Progress, rate: float) -> str:
    total = progress.total
    of = f" of {_mib(max(total, progress.done))}" if total is not None else ""
    rows = f", {progress.rows:,} rows" if progress.rows is not None else ""
    left = (
        f", about {(total - progress.done) / rate:,.0f} s left"
        if total is not None and total > progress.done and rate > 0
        else ""
    )
    return f"{DONE[progress.phase]} {_mib(progress.done)}{of}{rows}, {_mib(rate)}/s{left}"


def _mib(size: float) -> str:
    return f"{size / 2**20:,.1f} MiB"


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
