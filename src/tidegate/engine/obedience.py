"""How a run obeys: commands, approvals, pauses, and the decision to go back.

A command is answered by the event that says what became of it. None is swallowed: each is obeyed or refused in the
order in which they came, except that an abort doesn't wait behind a question about health.
"""

import asyncio
from functools import partial

from pydantic import JsonValue

from tidegate.engine.driver import POLL, Driver
from tidegate.engine.health import Breach, Health, Losses, judged
from tidegate.engine.journal import Event
from tidegate.engine.state import RunState
from tidegate.engine.tasks import cancel, explained
from tidegate.errors import Refused, TidegateError
from tidegate.runbook.runbook import FORCED, Stage

__all__ = ["Obedience", "Stopped"]


class Stopped(Exception):
    """The run ends here for now; why is in the journal."""


class Obedience:
    """Its methods raise Stopped where the process is to leave the run."""

    def __init__(self, driver: Driver, health: Health, *, wait: bool) -> None:
        self.driver, self.health, self.wait = driver, health, wait
        self._sentry: asyncio.Task[Breach] | None = None

    @property
    def state(self) -> RunState:
        return self.driver.state

    async def obey(self) -> None:
        """Do what was asked for, and stand still while the run is paused. Returns when it goes on, or goes back."""
        self.driver.look()
        while self.state.decision is None:
            if stop := self.driver.stop_asked:
                await self._stop(stop)
            elif pause := self.driver.pause_asked:
                if self.state.paused is None:
                    self.pause("an operator asked for it", pause)
                else:
                    self._refuse(pause, "the run is paused already")
            elif self.state.paused is None:
                return
            elif resume := self.driver.asked("resume", after=self.state.paused.seq):
                self.driver.add("continued", _answers(resume))
            else:
                await self._stand_on_guard()

    async def obey_on_the_way_back(self) -> None:
        """A rollback that has begun can be broken off, or gives up the target; it isn't paused."""
        self.refuse_pauses()
        while stop := self.driver.stop_asked:
            decision = self.state.decision
            forced = decision is not None and decision.figure("forced") is True
            if stop.figure("command") == "rollback" and (forced or stop.figure("force") is not True):
                self._refuse(stop, "the run rolls back already")
            else:
                await self._stop(stop)

    async def approved(self, stage: Stage) -> bool:
        """Wait until a human has approved the stage, where it asks for that. False if the run goes back instead."""
        if stage.approval is None:
            return True
        while not self.state.approvals.get(stage.name):
            if stage.name not in self.state.waits:
                self.driver.add("waiting", {"gate": stage.name, "reason": stage.approval})
            await self._stand_on_guard()
            await self.obey()
            if self.state.decision is not None:
                return False
        if stage.name in self.state.waits:
            self.driver.add("passed", {"gate": stage.name, "by": self.state.approvals[stage.name]})
        return True

    async def breached(self, stage: Stage, breach: Breach) -> None:
        data: dict[str, JsonValue] = {"verdict": breach.verdict, "reason": breach.reason, "segment": breach.segment}
        self.driver.add("breach", {**data, "stage": stage.name})
        if breach.verdict == "roll back":
            await self.decide(breach.reason)
        else:
            self.pause(breach.reason)

    async def stand_down(self) -> None:
        """Somebody else watches from here on, or nobody has to."""
        if self._sentry is not None:
            await cancel(self._sentry)
            self._sentry = None

    async def decide(self, reason: str, command: Event | None = None) -> None:
        """To roll back; or to pause, where nothing takes back what was done, or writes would be lost by it."""
        try:
            losses = await self._losses()
        except TidegateError as error:
            self.pause(f"{reason}; but it can't go back now: {error}", command)
            return
        if losses is None:
            self.driver.add("decided", {"decision": "rollback", "reason": reason} | _answers(command))
            return
        self.pause(f"{reason}; {losses.text}", command, {"writes": losses.writes, "file": losses.file})

    def pause(self, reason: str, command: Event | None = None, extra: dict[str, JsonValue] | None = None) -> None:
        """Until somebody says `resume` or tells the run to stop: `obey` waits for that."""
        self.driver.add("paused", {"reason": reason} | (extra or {}) | _answers(command))

    def stop(self, reason: str, mend: str) -> None:
        self.driver.add("stopped", {"reason": reason, "mend": f"{mend}; then `tidegate resume {self.driver.run}`"})
        raise Stopped

    def refuse_pauses(self, why: str = "a rollback can't be paused; `tidegate abort` stops it after this step") -> None:
        while pause := self.driver.asked("pause"):
            self._refuse(pause, why)

    def _refuse(self, command: Event, why: str) -> None:
        self.driver.add("refused", {"command": command.figure("command"), "reason": why} | _answers(command))

    async def _stand_on_guard(self) -> None:
        """Users who are on Azure already are watched over while people take their time."""
        stage, paused = self._last_guarded(), self.state.paused
        if stage is not None and (paused is None or paused.figure("answers") is not None):
            if self._sentry is None:
                note = partial(self._note, stage)
                self._sentry = asyncio.create_task(judged(self.health, stage, note))
            elif self._sentry.done():
                sentry, self._sentry = self._sentry, None
                await self.breached(stage, sentry.result())
                return
        await self._stand()

    def _last_guarded(self) -> Stage | None:
        """Of the stages that are done; None: nobody is on Azure yet."""
        stages = zip(self.state.plan.runbook.stages, self.state.stages, strict=True)
        done = [stage for stage, state in stages if stage.guarded and state.status == "done"]
        return done[-1] if done else None

    def _note(self, stage: Stage, text: str) -> None:
        self.driver.add("noted", {"text": text}, stage=stage.name)

    async def _stand(self) -> None:
        if not self.wait:
            raise Stopped
        await self.driver.pause()

    async def _stop(self, command: Event) -> None:
        if command.figure("command") == "abort":
            self._abort(command)
        elif command.figure("force") is True:
            await self._force(command)
        else:
            await self.decide(f"asked for by {_by(command)}", command)

    def _abort(self, command: Event) -> None:
        mend = "nothing was undone" if self.state.decision is None else "`tidegate resume` goes on with the rollback"
        self.driver.add("stopped", {"reason": f"aborted by {_by(command)}", "mend": mend} | _answers(command))
        raise Stopped

    async def _force(self, command: Event) -> None:
        """The command stays open until the loss is accepted: a process that dies meanwhile must not forget it."""
        try:
            losses = await self._losses()
        except TidegateError as error:
            reason = f"a forced rollback, asked for by {_by(command)}, can't be had now: {error}"
            if self.state.decision is None:
                self.pause(reason, command)
            else:
                self._refuse(command, reason)
            return
        if losses is None:
            self._refuse(command, "the target answers: an ordinary rollback loses nothing; use `tidegate rollback`")
            return
        detail: dict[str, JsonValue] = {"writes": losses.writes, "file": losses.file}
        self.driver.add("waiting", {"gate": FORCED, "reason": losses.text} | detail)
        while not self.state.approvals.get(FORCED):
            await self._stand()
            self.refuse_pauses("the run stands still already, until somebody accepts the loss or says otherwise")
            if self.driver.asked("abort", "rollback", after=command.seq):
                self._refuse(command, "another command came before its loss was accepted")
                return
        by = self.state.approvals[FORCED]
        self.driver.add("passed", {"gate": FORCED, "by": by})
        reason = f"forced, approved by {by}; {losses.text}"
        self.driver.add(
            "decided", {"decision": "rollback", "forced": True, "reason": reason} | detail | _answers(command)
        )

    async def _losses(self) -> Losses | None:
        """What going back would lose. Raises TidegateError if that can't be told, or there is no way back."""
        if lasting := self.state.lasting:
            raise Refused("nothing takes back what it may have done", where=lasting.name)
        asking = asyncio.ensure_future(self.health.losses())
        try:
            while not asking.done():
                await asyncio.wait([asking], timeout=POLL)
                self.driver.look()
                if abort := self.driver.asked("abort"):
                    self._abort(abort)
        finally:
            await cancel(asking)
        try:
            return asking.result()
        except TidegateError:
            raise
        except Exception as error:
            raise TidegateError(explained(error)) from error


def _by(command: Event) -> str:
    return str(command.figure("by") or "an operator")


def _answers(command: Event | None) -> dict[str, JsonValue]:
    return {"answers": command.seq} if command else {}
