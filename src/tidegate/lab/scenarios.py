"""The stories that can be rehearsed, and who plays the parts of fate and of the operator in them."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import JsonValue

from tidegate.engine.journal import Store
from tidegate.engine.state import RunState, fold
from tidegate.errors import TidegateError
from tidegate.lab.lab import Lab
from tidegate.runbook.runbook import FORCED

__all__ = ["SCENARIOS", "Fault", "Scenario", "play"]

LOOK = 0.1
EVERY = 5.0
"""Seconds between looks at the lab, which would end if nobody wanted it."""
OPERATOR = "the rehearsal"
EARLY = 0.3


@dataclass(frozen=True, slots=True)
class Fault:
    """`verb` of the lab's supervisor, when `stage` has gone on for `part` of a bake."""

    stage: str
    part: float
    verb: str
    arguments: dict[str, Any]
    text: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """`outcome` is what it promises. `forced`: the operator accepts to lose what only Azure had."""

    name: str
    title: str
    outcome: Literal["migrated", "rolled-back"]
    strategy: Literal["incremental", "window"] = "incremental"
    method: Literal["replicate", "restore"] = "replicate"
    fault: Fault | None = None
    forced: bool = False


def _failing(stage: str) -> Fault:
    text = "Azure's copy of the service fails 20 % of its requests"
    return Fault(stage, EARLY, "fault", {"cloud": "azure", "errors": 0.2}, text)


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("incremental", "part after part of the users, the switch among them", "migrated"),
        Scenario("window", "all at once: requests are held, not refused", "migrated", strategy="window"),
        Scenario(
            "restore-window",
            "by backup: users are told of the maintenance while it is made and restored",
            "migrated",
            strategy="window",
            method="restore",
        ),
        Scenario(
            "fault-before-switch", "Azure fails while AWS owns the writes", "rolled-back", fault=_failing("shift 25%")
        ),
        Scenario(
            "fault-after-switch", "Azure fails once it owns the writes", "rolled-back", fault=_failing("shift 100%")
        ),
        Scenario(
            "target-lost-after-switch",
            "Azure's database dies for good once it owns the writes",
            "rolled-back",
            fault=Fault("shift 100%", EARLY, "destroy", {"server": "postgres-azure"}, "Azure's database is destroyed"),
            forced=True,
        ),
    )
}


@dataclass(slots=True)
class _Play:
    lab: Lab
    store: Store
    run: str
    scenario: Scenario
    state: RunState = field(init=False)
    asked: float = 0.0

    def look(self) -> None:
        last = self.state.last
        fold(self.store.events(self.run, after=last.seq if last else 0), self.state)


async def play(lab: Lab, store: Store, run: str, scenario: Scenario) -> None:
    """Beside the run, until it has ended: give the fault its moment, and say what an operator would say.

    All that it remembers is in the journal, so that it can be played on after a crash. Raises TidegateError if the
    lab or its load generator has ended.
    """
    there = _Play(lab, store, run, scenario)
    there.state = fold(store.events(run))
    while there.state.ended is None:
        await _look_after(there)
        await _fate(there)
        _operate(there)
        await asyncio.sleep(LOOK)
        there.look()


async def _look_after(there: _Play) -> None:
    if time.monotonic() - there.asked < EVERY:
        return
    there.asked = time.monotonic()
    load = (await asyncio.to_thread(there.lab.call, "status"))["servers"].get("load")
    if load is None or not load["up"]:
        raise TidegateError("the load generator has ended", where="lab", mend=f"see {there.lab.folder}/load.log")


async def _fate(there: _Play) -> None:
    fault = there.scenario.fault
    if fault is None or there.state.faults:
        return
    stage = next(stage for stage in there.state.stages if stage.name == fault.stage)
    after = fault.part * there.state.plan.migration.objectives.bake
    if stage.began is not None and time.time() - stage.began >= after:
        await asyncio.to_thread(there.lab.call, fault.verb, **fault.arguments)
        there.store.append(there.run, "fault", {"text": fault.text})


def _operate(there: _Play) -> None:
    """Approve the end of the mirror; where Azure is gone, accept the loss that the run names."""
    state = there.state
    gates = ["finish", *([FORCED] if there.scenario.forced else [])]
    if gate := next((gate for gate in gates if gate in state.waits and not state.approvals.get(gate)), None):
        _command(there, "approve", {"gate": gate})
    elif there.scenario.forced and state.status == "paused" and _at_risk(there) and not _asked(there, "rollback"):
        _command(there, "rollback", {"force": True})


def _at_risk(there: _Play) -> bool:
    """The run has paused because going back would lose writes, and has named them."""
    return any(event.kind == "paused" and event.figure("file") for event in there.store.events(there.run))


def _asked(there: _Play, command: str) -> bool:
    return any(each.figure("command") == command for each in there.state.commands)


def _command(there: _Play, command: str, more: dict[str, JsonValue]) -> None:
    there.store.append(there.run, "command", {"command": command, "by": OPERATOR, **more})
