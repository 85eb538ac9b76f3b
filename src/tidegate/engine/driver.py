"""One process's hold on a run: it appends, and sees what others append."""

import asyncio
from typing import cast

from pydantic import JsonValue

from tidegate.engine.journal import Event, Store
from tidegate.engine.state import STOPS, RunState, StepState, fold
from tidegate.errors import TidegateError
from tidegate.runbook.migration import Migration

__all__ = ["POLL", "Driver", "StepContext"]

POLL = 0.1
"""Seconds between looks at the journal: how soon a command is seen."""


class Driver:
    """`state` is the fold of everything in the journal, others' commands included.

    An append that failed, whoever made it, is raised at every look from then on: what isn't journalled must not go on.
    """

    def __init__(self, store: Store, run: str, epoch: int) -> None:
        self.store, self.run, self.epoch = store, run, epoch
        self.state = fold(store.events(run))
        self.halting = False
        self._lost: TidegateError | None = None

    def add(self, kind: str, data: JsonValue = None, *, stage: str = "", step: str = "") -> Event:
        if self._lost is not None:
            raise self._lost
        try:
            event = self.store.append(self.run, kind, data, stage=stage, step=step, epoch=self.epoch)
        except TidegateError as error:
            self._lost = error
            raise
        self.look()
        return event

    def look(self) -> RunState:
        if self._lost is not None:
            raise self._lost
        last = self.state.last
        return fold(self.store.events(self.run, after=last.seq if last else 0), self.state)

    async def pause(self) -> RunState:
        """Wait a moment, then look."""
        await asyncio.sleep(POLL)
        return self.look()

    @property
    def stop_asked(self) -> Event | None:
        """The first command to abort or roll back that has not been answered yet."""
        return self.asked(*STOPS)

    @property
    def pause_asked(self) -> Event | None:
        """The last word about pausing, if that is to pause."""
        words = [c for c in self.state.unanswered if c.figure("command") in ("pause", "resume")]
        return words[-1] if words and words[-1].figure("command") == "pause" else None

    def asked(self, *commands: str, after: int = 0) -> Event | None:
        """The first of these that has not been answered yet, and was given after that event."""
        return next((c for c in self.state.unanswered if c.figure("command") in commands and c.seq > after), None)


class StepContext:
    """What one step may touch. Implements runbook.step.Context."""

    def __init__(self, driver: Driver, stage: str, step: str) -> None:
        self._driver, self._stage, self._step = driver, stage, step

    @property
    def run(self) -> str:
        return self._driver.run

    @property
    def migration(self) -> Migration:
        return self._driver.state.plan.migration

    @property
    def forced(self) -> bool:
        decision = self._driver.state.decision
        return decision is not None and decision.figure("forced") is True

    @property
    def _state(self) -> StepState:
        state = self._driver.state.find(self._stage, self._step)
        assert state is not None, "a step's context is made for a step of the plan"
        return state

    def note(self, text: str, **figures: float | str) -> None:
        data = {"text": text, "figures": cast("dict[str, JsonValue]", figures)}
        self._driver.add("step-note", cast("JsonValue", data), stage=self._stage, step=self._step)

    def remember(self, key: str, value: JsonValue) -> None:
        self._driver.add("step-kept", {"key": key, "value": value}, stage=self._stage, step=self._step)

    def recall(self, key: str) -> JsonValue:
        return self._state.kept.get(key)

    def stopping(self) -> bool:
        driver = self._driver
        return driver.halting or driver.state.decision is not None or driver.stop_asked is not None

    def approved(self, gate: str) -> str | None:
        return self._driver.state.approvals.get(gate)
