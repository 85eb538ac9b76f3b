"""The fold of a run's journal: what status, the board, the report and the engine itself know of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, cast

from pydantic import JsonValue

from tidegate.engine.journal import Event
from tidegate.runbook.plan import Plan
from tidegate.runbook.runbook import FORCED, Phase
from tidegate.runbook.step import Finding

__all__ = ["STOPS", "RunState", "StageState", "StepState", "Waiting", "fold"]

STOPS = ("abort", "rollback")
SAMPLES = 60
"""Figures of the traffic that are kept: a day's watch has a hundred thousand, and the journal has them all."""

StepStatus = Literal["pending", "reading", "running", "done", "failed", "undoing", "undone", "left"]
StageStatus = Literal["pending", "running", "done", "failed", "undone"]
RunStatus = Literal["planned", "running", "waiting", "paused", "stopped", "rolling back", "migrated", "rolled-back"]


@dataclass(slots=True)
class StepState:
    name: str
    uses: str
    status: StepStatus = "pending"
    began: float | None = None
    ended: float | None = None
    facts: JsonValue = None
    note: str = ""
    figures: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    kept: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    findings: list[Finding] = field(default_factory=list[Finding])
    error: str = ""
    exit_code: int | None = None
    """Of the error with which it failed, by the tree in tidegate.errors."""

    @property
    def touched(self) -> bool:
        """It may have had an effect, which is still there."""
        return self.began is not None and self.status != "undone"


@dataclass(slots=True)
class StageState:
    name: str
    phase: Phase
    steps: list[StepState]
    status: StageStatus = "pending"
    began: float | None = None
    ended: float | None = None

    @property
    def seconds(self) -> float | None:
        return None if self.began is None or self.ended is None else self.ended - self.began


@dataclass(frozen=True, slots=True)
class Waiting:
    """The run goes on when somebody approves `gate`; `by_itself`: or as soon as enough has been measured."""

    gate: str
    reason: str
    since: float
    by_itself: bool = False


@dataclass(slots=True)
class RunState:
    run: str
    plan: Plan
    status: RunStatus
    stages: list[StageState]
    retreat: list[StepState]
    began: float
    ended: float | None = None
    reason: str = ""
    """Why it is paused, stopped, rolling back, or has ended as it did."""
    mend: str = ""
    final: bool = False
    """It is stopped for good, since what it worked on has ended with its process: a rehearsal without its lab."""
    waits: dict[str, Waiting] = field(default_factory=dict[str, Waiting])
    """gate: what it waits for there, the newest last. Kept while the run is paused or stopped."""
    paused: Event | None = None
    loss: str = ""
    """What was last to be accepted at the gate of a forced rollback: an approval counts for these words alone."""
    approvals: dict[str, str] = field(default_factory=dict[str, str])
    """gate: who approved it."""
    decision: Event | None = None
    breaches: list[Event] = field(default_factory=list[Event])
    commands: list[Event] = field(default_factory=list[Event])
    unanswered: list[Event] = field(default_factory=list[Event])
    """The commands to pause, resume, abort or roll back that the engine has not answered yet."""
    traffic: list[Event] = field(default_factory=list[Event])
    """The last minute's."""
    faults: list[Event] = field(default_factory=list[Event])
    """What a rehearsal has broken on purpose."""
    last: Event | None = None

    @property
    def waiting(self) -> Waiting | None:
        """The newest open wait, if the run stands still for it."""
        return next(reversed(self.waits.values()), None) if self.status == "waiting" else None

    @property
    def lasting(self) -> StepState | None:
        """The first step that may have done what nothing takes back: from then on there is no rollback."""
        steps = [step for stage in self.stages for step in stage.steps if step.touched]
        return next((s for s in steps if any(a.undo is None for a in self.plan.actions.get(s.name, ()))), None)

    def step(self, name: str) -> StepState:
        return next(step for stage in self.stages for step in stage.steps if step.name == name)

    def find(self, stage: str, step: str) -> StepState | None:
        steps = self.retreat if stage == "retreat" else [s for each in self.stages for s in each.steps]
        return next((each for each in steps if each.name == step), None)

    @property
    def current(self) -> StageState | None:
        running = [stage for stage in self.stages if stage.status in ("running", "failed")]
        return running[-1] if running else None


def fold(events: Iterable[Event], state: RunState | None = None) -> RunState:
    """The state after these events; with `state`, which is changed in place, after these further ones."""
    for event in events:
        if event.kind == "created":
            state = _created(event)
        assert state is not None, "a run's first event is `created`"
        _apply(state, event)
        state.last = event
    assert state is not None, "a run has events"
    return state


def _created(event: Event) -> RunState:
    plan = Plan.model_validate(event.figure("plan"))
    stages = [
        StageState(stage.name, stage.phase, [StepState(step.name, step.uses) for step in stage.steps])
        for stage in plan.runbook.stages
    ]
    retreat = [StepState(step.name, step.uses) for step in plan.runbook.retreat]
    return RunState(event.run, plan, "planned", stages, retreat, began=event.at)


def _apply(state: RunState, event: Event) -> None:
    if event.step:
        step = state.find(event.stage, event.step)
        if step is not None:
            _apply_to_step(step, event)
        if event.kind == "step-began":  # what was accepted before is done anew
            state.approvals.pop(event.step, None)
        if event.kind in ("step-began", "step-done", "step-failed") and state.waits.pop(event.step, None):
            state.status = _going(state)
    elif event.stage:
        stage = next(each for each in state.stages if each.name == event.stage)
        _apply_to_stage(stage, event)
        if event.kind == "stage-began":  # what was broken off waits no more
            for step in stage.steps:
                state.waits.pop(step.name, None)
            state.status = _going(state)
    else:
        _apply_to_run(state, event)


def _apply_to_stage(stage: StageState, event: Event) -> None:
    match event.kind:
        case "stage-began":
            stage.status, stage.began, stage.ended = "running", stage.began or event.at, None
        case "stage-done":
            stage.status, stage.ended = "done", event.at
        case "stage-failed":
            stage.status, stage.ended = "failed", event.at
        case "stage-undone":
            stage.status, stage.ended = "undone", stage.ended or event.at
        case _:
            pass


def _apply_to_run(state: RunState, event: Event) -> None:
    reason = str(event.figure("reason") or "")
    _answer(state, event)
    match event.kind:
        case "begun":
            state.reason = str(state.decision.figure("reason") or "") if state.decision else ""
            state.mend, state.final, state.paused = "", False, None
            state.waits.clear()
        case "waiting":
            _wait(state, event, reason)
        case "passed":
            state.waits.pop(str(event.figure("gate")), None)
        case "paused":
            state.reason, state.paused = reason, event
        case "continued":
            state.reason, state.paused = "", None
            state.waits.clear()
        case "refused":
            if event.figure("command") == "rollback":
                state.waits.pop(FORCED, None)
        case "decided":
            state.reason, state.decision, state.paused = reason, event, None
            state.waits.clear()
            for stage in state.stages:
                stage.ended = stage.ended or (event.at if stage.status == "running" else None)
        case "stopped":
            state.status, state.reason, state.mend = "stopped", reason, str(event.figure("mend") or "")
            state.final = event.figure("final") is True
            return
        case "finished":
            state.status = cast("RunStatus", event.figure("outcome"))
            state.reason, state.ended = reason, event.at
            state.waits.clear()
            return
        case _:
            _keep(state, event)
            return
    state.status = _going(state)


def _going(state: RunState) -> RunStatus:
    """How a run stands that has neither stopped nor ended."""
    if FORCED in state.waits:
        return "waiting"
    if state.paused is not None:
        return "paused"
    if state.waits:
        return "waiting"
    return "rolling back" if state.decision else "running"


def _wait(state: RunState, event: Event, reason: str) -> None:
    gate = str(event.figure("gate"))
    if gate == FORCED and reason != state.loss:
        state.loss = reason
        state.approvals.pop(FORCED, None)
    before = state.waits.get(gate)
    by_itself = event.figure("by_itself") is True
    state.waits[gate] = Waiting(gate, reason, before.since if before else event.at, by_itself)


def _keep(state: RunState, event: Event) -> None:
    match event.kind:
        case "breach":
            state.breaches.append(event)
        case "traffic":
            state.traffic.append(event)
            del state.traffic[:-SAMPLES]
        case "fault":
            state.faults.append(event)
        case "command":
            state.commands.append(event)
            if event.figure("command") == "approve":
                state.approvals[str(event.figure("gate"))] = str(event.figure("by"))
            else:
                state.unanswered.append(event)
        case _:
            pass


def _answer(state: RunState, event: Event) -> None:
    """Close the command that this event answers; and with it what was said of pausing before it."""
    number = event.figure("answers")
    if isinstance(number, int):
        state.unanswered = [
            command
            for command in state.unanswered
            if command.seq > number
            or (command.seq < number and (command.figure("command") in STOPS or event.kind == "refused"))
        ]


def _apply_to_step(step: StepState, event: Event) -> None:
    match event.kind:
        case "step-reading":
            step.status = "reading"
        case "step-read":
            step.facts = event.data
        case "step-began":
            step.status, step.began, step.error = "running", step.began or event.at, ""
            step.exit_code = None
        case "step-note":
            step.note = str(event.figure("text"))
            step.figures |= cast("dict[str, JsonValue]", event.figure("figures") or {})
        case "step-kept":
            step.kept[str(event.figure("key"))] = event.figure("value")
        case "step-found" | "step-done" | "step-failed":
            findings = cast("list[JsonValue]", event.figure("findings") or [])
            step.findings = [Finding.model_validate(finding) for finding in findings]
            if event.kind != "step-found":
                step.status, step.ended = "done" if event.kind == "step-done" else "failed", event.at
                step.error = str(event.figure("error") or "")
                step.exit_code = cast("int | None", event.figure("exit_code"))
        case "step-undoing":
            step.status = "undoing"
        case "step-undone":
            step.status = "undone"
        case "step-left":
            step.status, step.error = "left", str(event.figure("error") or "")
            step.exit_code = cast("int | None", event.figure("exit_code"))
        case _:
            pass
