"""Steps at work: one stage's side by side under its guard, or a single one of the way back."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress

from tidegate.engine.driver import POLL, Driver
from tidegate.engine.health import Breach
from tidegate.engine.tasks import DEFECT, cancel
from tidegate.errors import LeaseHeld, LocalFault, TidegateError
from tidegate.runbook.step import AnyStep

__all__ = ["Work"]

INSIST = 5.0
"""Seconds after which a step that was cancelled and goes on is cancelled again."""
PATIENCE = 30.0
"""Seconds for which traffic is awaited where nobody waits for a person."""


class Work:
    """Each step's own coroutine, and the guard's. `failure` is the first; what it stops may fail by that too.

    `wait`: whether to stay when every step that is left waits for a person; else they are cancelled, and
    `in_vain` is set.
    """

    def __init__(
        self,
        driver: Driver,
        steps: Mapping[Coroutine[object, object, None], AnyStep],
        guard: Coroutine[object, object, Breach] | None = None,
        *,
        wait: bool,
    ) -> None:
        self.driver, self.wait = driver, wait
        self.breach: Breach | None = None
        self.failure: BaseException | None = None
        self.in_vain = False
        self._steps = {asyncio.create_task(each): step for each, step in steps.items()}
        self._guard = asyncio.create_task(guard) if guard else None
        self._cut: dict[asyncio.Task[None], float] = {}

    @property
    def whole(self) -> bool:
        """Every step has come to its own good end."""
        return all(task.done() and not task.cancelled() and task.exception() is None for task in self._steps)

    @property
    def _pending(self) -> set[asyncio.Task[None]]:
        return {task for task in self._steps if not task.done()}

    async def run(self, meanwhile: Callable[[], None] | None = None) -> None:
        """Until every step has ended, or one has failed, or all is cancelled that a command lets be cancelled.

        With `meanwhile`, called at every look, commands cut nothing short. Interrupted, it comes to a safe point first.
        """
        try:
            while self._pending:
                guard = {self._guard} if self._guard and self.breach is None else set[asyncio.Task[Breach]]()
                await asyncio.wait({*self._pending, *guard}, timeout=POLL, return_when=asyncio.FIRST_COMPLETED)
                self.driver.look()
                self._see()
                self._cut_short(heed=meanwhile is None)
                if meanwhile is not None:
                    meanwhile()
        except (Exception, asyncio.CancelledError) as error:
            await self._safe_point(error)
            raise
        finally:
            await cancel(*self._steps, *([self._guard] if self._guard else []))
        self._see()
        if self.failure is not None and not isinstance(self.failure, Exception):
            raise self.failure

    def _see(self) -> None:
        if self._guard and self._guard.done() and not self._guard.cancelled():
            self.breach = self._guard.result()
        for task, step in self._steps.items():
            if self.failure is None and task.done():
                broken_off = task in self._cut  # what that makes it raise is no failure of its own
                if not task.cancelled():
                    error = task.exception()
                    self.failure = None if broken_off and isinstance(error, Exception) else error
                elif not broken_off:
                    why = "it was cancelled, and not by the engine"
                    self.failure = LocalFault(why, where=step.name, mend=DEFECT)

    def _cut_short(self, *, heed: bool) -> None:
        asked = heed and self.driver.stop_asked is not None
        stop = asked or self.failure is not None or self.breach is not None
        pause = heed and self.driver.pause_asked is not None
        self.driver.halting = self.driver.halting or stop
        if not self.wait and not stop and not pause and self._pending:
            self.in_vain = self.in_vain or all(map(self._waits_in_vain, self._pending))
        for task in self._pending:
            step = self._steps[task]
            # At its gate only its check is repeated: nothing is broken off.
            idle = step.name in self.driver.state.waits
            breaks_off = step.interruptible == "always" or (stop and step.interruptible == "to stop")
            if self.in_vain or ((stop or pause) and (idle or breaks_off)):
                self._cancel(task)

    def _waits_in_vain(self, task: asyncio.Task[None]) -> bool:
        waiting = self.driver.state.waits.get(self._steps[task].name)
        return waiting is not None and (not waiting.by_itself or time.time() - waiting.since > PATIENCE)

    def _cancel(self, task: asyncio.Task[None]) -> None:
        """Once: its cleaning up must not be cancelled too."""
        if time.monotonic() - self._cut.get(task, -math.inf) > INSIST:
            self._cut[task] = time.monotonic()
            task.cancel()

    async def _safe_point(self, error: BaseException) -> None:
        """Cancel what may be cancelled; the rest comes to an end of its own, however often this is interrupted."""
        self.driver.halting = True
        if isinstance(error, LeaseHeld):  # another process does the same now
            return
        last = [step.name for task, step in self._steps.items() if not self._ends_now(task)]
        if last and isinstance(error, asyncio.CancelledError):
            with suppress(TidegateError):
                self.driver.add("noted", {"text": f"interrupted; {', '.join(last)} comes to a safe end first"})
        while self._pending:
            for task in filter(self._ends_now, self._pending):
                self._cancel(task)
            with suppress(asyncio.CancelledError):
                await asyncio.wait(self._pending, timeout=POLL)

    def _ends_now(self, task: asyncio.Task[None]) -> bool:
        step = self._steps[task]
        return task.done() or step.interruptible != "never" or step.name in self.driver.state.waits
