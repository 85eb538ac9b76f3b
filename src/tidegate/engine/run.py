"""How a run is driven: forward through the stages, or back; from wherever its journal says that it is.

A run is the fold of its journal and nothing else, so that driving it again after a crash is the same code as
driving it the first time. Long waits look at the journal every tenth of a second for commands.
"""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from pydantic import JsonValue

from tidegate.engine.driver import POLL, Driver
from tidegate.engine.health import Breach, Health
from tidegate.engine.journal import Event, Store
from tidegate.engine.lease import lease
from tidegate.engine.performance import perform, revert
from tidegate.engine.state import RunState
from tidegate.errors import TidegateError, Unreachable, WaitingForApproval
from tidegate.runbook.plan import Plan
from tidegate.runbook.runbook import Stage, StepSpec
from tidegate.runbook.step import AnyStep

__all__ = ["FORCED", "Surroundings", "drive", "start"]

FORCED = "forced-rollback"
"""The gate at which a human accepts to lose writes."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the engine is given: how to make a step, who judges health, what runs beside the steps."""

    make: Callable[[StepSpec], AnyStep]
    health: Callable[[Driver], Health]
    companions: Callable[[Driver], list[Coroutine[object, object, None]]]


def start(store: Store, plan: Plan) -> str:
    """A new run's id. Nothing is done yet."""
    run = f"{plan.migration.name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    store.append(run, "created", {"plan": plan.model_dump(mode="json")})
    return run


async def drive(store: Store, run: str, surroundings: Surroundings, *, wait: bool = True) -> RunState:
    """Drive until the run has ended, stopped, or (without `wait`) waits for a human. Its state says which.

    Raises LeaseHeld if another process drives it, TidegateError if the journal can't be written.
    """
    with lease(store, run) as epoch:
        driver = Driver(store, run, epoch)
        if driver.state.ended is not None:
            return driver.state
        driver.add("begun", {"pid": os.getpid(), "host": socket.gethostname(), "epoch": epoch})
        companions = [asyncio.create_task(each) for each in surroundings.companions(driver)]
        try:
            await _Drive(driver, surroundings, wait=wait).whole()
        except asyncio.CancelledError:
            driver.add("stopped", {"reason": "interrupted", "mend": f"go on with `tidegate resume {run}`"})
            raise
        finally:
            for companion in companions:
                companion.cancel()
            await asyncio.gather(*companions, return_exceptions=True)
        return driver.look()


class _Stopped(Exception):
    """The run ends here for now; why is in the journal."""


class _Drive:
    def __init__(self, driver: Driver, surroundings: Surroundings, *, wait: bool) -> None:
        self.driver, self.surroundings, self.wait = driver, surroundings, wait
        self.health = surroundings.health(driver)

    @property
    def state(self) -> RunState:
        return self.driver.state

    async def whole(self) -> None:
        try:
            if self.state.decision is None:
                await self.forward()
            if self.state.decision is not None:
                await self.back()
        except _Stopped:
            pass

    async def forward(self) -> None:
        for stage in self.state.plan.runbook.stages:
            while self.stage_status(stage) != "done":
                await self.between_stages()
                if self.state.decision is None:
                    await self.gate(stage)
                if self.state.decision is not None:
                    return
                await self.stage(stage)
        self.driver.add("finished", {"outcome": "migrated", "reason": "every stage is done"})

    def stage_status(self, stage: Stage) -> str:
        return next(each.status for each in self.state.stages if each.name == stage.name)

    async def between_stages(self) -> None:
        """Obey what was asked for, while no step runs."""
        if self.driver.look() and self.driver.pause_asked:
            await self.paused("an operator asked for it", self.last_command())
        elif self.driver.stop_asked:
            await self.obey_stop(self.driver.stop_asked)

    def last_command(self) -> Event | None:
        commands = self.driver.unanswered()
        return commands[-1] if commands else None

    async def gate(self, stage: Stage) -> None:
        """Wait until a human has approved the stage, where it asks for that."""
        if stage.approval is None or self.state.approvals.get(stage.name):
            return
        await self.approval(stage.name, stage.approval)

    async def approval(self, gate: str, reason: str) -> bool:
        """False if the run was told to stop instead."""
        self.driver.add("waiting", {"gate": gate, "reason": reason})
        if not self.wait:
            raise _Stopped
        while not self.state.approvals.get(gate):
            await self.driver.pause()
            if (stop := self.driver.stop_asked) and gate != FORCED:
                await self.obey_stop(stop)
                return False
        self.driver.add("passed", {"gate": gate, "by": self.state.approvals[gate]})
        return True

    async def stage(self, stage: Stage) -> None:
        """Run its steps side by side under its guard. Afterwards the journal says what is next."""
        self.driver.halting = False
        self.driver.add("stage-began", stage=stage.name)
        steps = [self.surroundings.make(spec) for spec in stage.steps]
        work = {asyncio.create_task(perform(self.driver, stage.name, step)): step for step in steps}
        guard: asyncio.Task[Breach] | None = None
        if stage.guarded:
            guard = asyncio.create_task(self.health.breach(stage, lambda text: self.note(stage, text)))
        try:
            breach = await self.until_over(work, guard)
        except asyncio.CancelledError:
            await self.safe_point(work)
            raise
        finally:
            await _cancel(*work, *([guard] if guard else []))
        failure = next((task.exception() for task in work if not task.cancelled() and task.exception()), None)
        if breach is not None:
            await self.breached(stage, breach)
        elif failure is not None and self.driver.stop_asked is None:
            await self.failed(stage, failure)
        elif failure is None and not any(task.cancelled() for task in work):
            self.driver.add("stage-done", stage=stage.name)

    async def safe_point(self, work: dict[asyncio.Task[None], AnyStep]) -> None:
        """Cancel what may be cancelled, and let the rest come to an end of its own."""
        self.driver.halting = True
        await _cancel(*(task for task, step in work.items() if step.interruptible != "never"))
        if rest := [task for task, step in work.items() if step.interruptible == "never" and not task.done()]:
            await asyncio.wait(rest)

    async def until_over(
        self, work: dict[asyncio.Task[None], AnyStep], guard: asyncio.Task[Breach] | None
    ) -> Breach | None:
        """Until every step has ended, or one has failed, or it is told to stop and all that can be is cancelled."""
        breach: Breach | None = None
        while pending := {task for task in work if not task.done()}:
            watched = pending | ({guard} if guard and breach is None else set[asyncio.Task[Breach]]())
            await asyncio.wait(watched, timeout=POLL, return_when=asyncio.FIRST_COMPLETED)
            self.driver.look()
            if guard and guard.done() and breach is None:
                breach = guard.result()
            failed = any(task.done() and not task.cancelled() and task.exception() for task in work)
            stop = failed or breach is not None or self.driver.stop_asked is not None
            self.driver.halting = self.driver.halting or stop
            if not stop and self.waits_in_vain():
                stop = True
            for task in pending:
                step = work[task]
                if (stop and step.interruptible != "never") or (
                    self.driver.pause_asked and step.interruptible == "always"
                ):
                    task.cancel()
        return breach

    def waits_in_vain(self) -> bool:
        return not self.wait and self.state.status == "waiting"

    def note(self, stage: Stage, text: str) -> None:
        self.driver.add("noted", {"text": text}, stage=stage.name)

    async def failed(self, stage: Stage, failure: BaseException) -> None:
        """By the stage's policy; what a server that doesn't answer hides is never taken for evidence."""
        if not isinstance(failure, TidegateError):
            raise failure
        if stage.on_failure == "roll back" and not isinstance(failure, Unreachable | WaitingForApproval):
            await self.decide(f"{stage.name}: {failure}")
            return
        self.driver.add("stage-failed", {"error": str(failure)}, stage=stage.name)
        self.stop(str(failure), failure.mend or "mend it, then")

    async def breached(self, stage: Stage, breach: Breach) -> None:
        data: dict[str, JsonValue] = {"verdict": breach.verdict, "reason": breach.reason, "segment": breach.segment}
        self.driver.add("breach", {**data, "stage": stage.name})
        if breach.verdict == "roll back":
            await self.decide(breach.reason)
        else:
            await self.paused(breach.reason)

    async def decide(self, reason: str, answers: Event | None = None) -> None:
        """To roll back; unless that would lose writes, which only a human may accept."""
        losses = await self.health.losses()
        if losses is None:
            self.driver.add("decided", {"decision": "rollback", "reason": reason} | _answers(answers))
            return
        await self.paused(f"{reason}; {losses.text}", answers, {"writes": losses.writes, "file": losses.file})

    async def paused(
        self, reason: str, answers: Event | None = None, extra: dict[str, JsonValue] | None = None
    ) -> None:
        """Until somebody says `resume`, or tells the run to stop."""
        self.driver.add("paused", {"reason": reason} | (extra or {}) | _answers(answers))
        if not self.wait:
            raise _Stopped
        while self.state.status == "paused":
            await self.driver.pause()
            if stop := self.driver.stop_asked:
                await self.obey_stop(stop)
                return
            if any(command.figure("command") == "resume" for command in self.driver.unanswered()):
                self.driver.add("continued", _answers(self.last_command()))

    async def obey_stop(self, command: Event) -> None:
        by = str(command.figure("by") or "an operator")
        if command.figure("command") == "abort":
            data: dict[str, JsonValue] = {"reason": f"aborted by {by}", "mend": "nothing was undone"}
            self.driver.add("stopped", data | _answers(command))
            raise _Stopped
        if command.figure("force") is not True:
            await self.decide(f"asked for by {by}", command)
            return
        losses = await self.health.losses()
        if losses is None:
            why = "the target answers: an ordinary rollback loses nothing; use `tidegate rollback`"
            self.driver.add("refused", {"command": "rollback", "reason": why} | _answers(command))
            return
        detail: dict[str, JsonValue] = {"gate": FORCED, "writes": losses.writes, "file": losses.file}
        self.driver.add("waiting", detail | {"reason": losses.text} | _answers(command))
        if await self.approval(FORCED, losses.text):
            reason = f"forced, approved by {self.state.approvals[FORCED]}; {losses.text}"
            forced: dict[str, JsonValue] = {"decision": "rollback", "forced": True, "reason": reason}
            self.driver.add("decided", forced | {"writes": losses.writes, "file": losses.file})

    async def back(self) -> None:
        """Traffic home first, then every touched step undone, the last one first."""
        try:
            for spec in self.state.plan.runbook.retreat:
                await perform(self.driver, "retreat", self.surroundings.make(spec))
            for stage in reversed(self.state.plan.runbook.stages):
                for spec in reversed(stage.steps):
                    await revert(self.driver, stage.name, self.surroundings.make(spec))
                if self.stage_status(stage) != "pending":
                    self.driver.add("stage-undone", stage=stage.name)
        except TidegateError as error:
            self.stop(f"the rollback is incomplete: {error}", error.mend or "mend it, then")
        decision = self.state.decision
        reason = str(decision.figure("reason")) if decision else ""
        self.driver.add("finished", {"outcome": "rolled-back", "reason": reason})

    def stop(self, reason: str, mend: str) -> None:
        self.driver.add("stopped", {"reason": reason, "mend": f"{mend} `tidegate resume {self.driver.run}`"})
        raise _Stopped


def _answers(command: Event | None) -> dict[str, JsonValue]:
    return {"answers": command.seq} if command else {}


async def _cancel(*tasks: asyncio.Task[None] | asyncio.Task[Breach]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
