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
from contextlib import suppress
from dataclasses import dataclass

from tidegate.engine.driver import Driver
from tidegate.engine.health import Health, judged
from tidegate.engine.journal import Store
from tidegate.engine.lease import lease
from tidegate.engine.obedience import Obedience, Stopped
from tidegate.engine.performance import perform
from tidegate.engine.retreat import retreat
from tidegate.engine.state import RunState
from tidegate.engine.tasks import cancel, explained
from tidegate.engine.work import Work
from tidegate.errors import (
    DeadlinePassed,
    InvalidMigration,
    LocalFault,
    TidegateError,
    Unreachable,
    WaitingForApproval,
)
from tidegate.runbook.plan import Plan
from tidegate.runbook.runbook import Stage, StepSpec
from tidegate.runbook.step import AnyStep

__all__ = ["Surroundings", "drive", "new_id", "start"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the engine is given: how to make a step, who judges health, what runs beside the steps."""

    make: Callable[[StepSpec], AnyStep]
    health: Callable[[Driver], Health]
    companions: Callable[[Driver], list[Coroutine[object, object, None]]]


def start(store: Store, plan: Plan, run: str = "") -> str:
    """A new run's id, which may have been chosen before by `new_id`. Nothing is done yet."""
    run = run or new_id(plan)
    store.append(run, "created", {"plan": plan.model_dump(mode="json")})
    return run


def new_id(plan: Plan) -> str:
    return f"{plan.migration.name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


async def drive(
    store: Store, run: str, surroundings: Surroundings, *, wait: bool = True, instead: str = ""
) -> RunState:
    """Drive until the run has ended, stopped, or (without `wait`) waits for a human. Its state says which.

    `instead`: what to do when this is interrupted or fails, if the run can't be gone on with then.
    Raises LeaseHeld if another process drives it, TidegateError if the journal can't be written.
    """
    with lease(store, run) as epoch:
        driver = Driver(store, run, epoch)
        if driver.state.ended is not None:
            return driver.state
        driver.add("begun", {"pid": os.getpid(), "host": socket.gethostname(), "epoch": epoch})
        companions = [asyncio.create_task(_beside(driver, each)) for each in surroundings.companions(driver)]
        try:
            await _Drive(driver, surroundings, wait=wait).whole()
        except asyncio.CancelledError:
            mend = instead or f"go on with `tidegate resume {run}`"
            driver.add("stopped", {"reason": "interrupted", "mend": mend, "final": bool(instead)})
            raise
        except Exception as error:
            why = str(error) if isinstance(error, TidegateError) else explained(error)
            with suppress(TidegateError):  # it may be the journal itself that is lost
                mend = instead or f"mend it; then `tidegate resume {run}`"
                driver.add("stopped", {"reason": why, "mend": mend, "final": bool(instead)})
            raise
        finally:
            await cancel(*companions)
        return driver.look()


async def _beside(driver: Driver, companion: Coroutine[object, object, None]) -> None:
    """Its end is no reason to end the run, but somebody should know."""
    try:
        await companion
    except Exception as error:  # noqa: BLE001 - told in the journal
        name = getattr(companion, "__name__", "something")
        driver.add("noted", {"text": f"{name} has ended, which ran beside the steps: {explained(error)}"})


class _Drive:
    def __init__(self, driver: Driver, surroundings: Surroundings, *, wait: bool) -> None:
        self.driver, self.surroundings, self.wait = driver, surroundings, wait
        self.health = surroundings.health(driver)
        self.obedience = Obedience(driver, self.health, wait=wait)

    @property
    def state(self) -> RunState:
        return self.driver.state

    async def whole(self) -> None:
        try:
            if self.state.decision is None:
                await self.forward()
            await self.obedience.stand_down()
            if self.state.decision is not None:
                await retreat(self.obedience, self.surroundings.make)
        except Stopped:
            pass
        finally:
            await self.obedience.stand_down()

    async def forward(self) -> None:
        for stage, state in zip(self.state.plan.runbook.stages, self.state.stages, strict=True):
            while state.status != "done":
                await self.obedience.obey()
                if self.state.decision is not None or not await self.obedience.approved(stage):
                    return
                await self.stage(stage)
        await self.obedience.obey()  # what was said while the last step ended
        if self.state.decision is None:
            self.driver.add("finished", {"outcome": "migrated", "reason": "every stage is done"})

    async def stage(self, stage: Stage) -> None:
        """Run its steps side by side under its guard. Afterwards the journal says what is next."""
        await self.obedience.stand_down()
        self.driver.halting = False
        self.driver.add("stage-began", stage=stage.name)
        steps = [self.surroundings.make(spec) for spec in stage.steps]
        work = Work(
            self.driver,
            {perform(self.driver, stage.name, step): step for step in steps},
            judged(self.health, stage, lambda text: self.note(stage, text)) if stage.guarded else None,
            wait=self.wait,
        )
        await work.run()
        if work.breach is not None:
            await self.obedience.breached(stage, work.breach)
        elif work.failure is not None:
            await self.failed(stage, work.failure)
        elif work.whole:
            self.driver.add("stage-done", stage=stage.name)
        elif work.in_vain and self.state.status == "waiting":
            raise Stopped

    def note(self, stage: Stage, text: str) -> None:
        self.driver.add("noted", {"text": text}, stage=stage.name)

    async def failed(self, stage: Stage, failure: BaseException) -> None:
        """By the stage's policy. No evidence of harm is a server's silence, a deadline, or a fault of this machine."""
        if not isinstance(failure, TidegateError):
            raise failure
        if self.driver.stop_asked is not None:  # it may have failed by being told to stop
            return
        # InvalidMigration: a secret that is not there any more
        no_evidence = Unreachable | DeadlinePassed | WaitingForApproval | LocalFault | InvalidMigration
        if stage.on_failure == "roll back" and not isinstance(failure, no_evidence):
            await self.obedience.decide(f"{stage.name}: {failure.brief}")
            return
        self.driver.add("stage-failed", {"error": str(failure)}, stage=stage.name)
        self.obedience.stop(failure.brief, failure.mend or "mend it")
