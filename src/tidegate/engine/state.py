"""The fold of a run's journal: what status, the board, the report and the engine itself know of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, cast

from pydantic import JsonValue

from tidegate.engine.journal import Event
from tidegate.runbook.plan import Plan
from tidegate.runbook.runbook import Phase
from tidegate.runbook.step import Finding

__all__ = ["RunState", "StageState", "StepState", "Waiting", "fold"]

StepStatus = Literal["pending", "reading", "running", "done", "failed", "undoing", "undone", "left"]
StageStatus = Literal["pending", "running", "done", "failed", "undone"]
RunStatus = Literal[
    "planned", "running", "waiting", "paused", "stopped", "rolling back", "migrated", "rolled-back", "incomplete"
]


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
    """The run goes on when somebody approves `gate`."""

    gate: str
    reason: str
    since: float


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
    waiting: Waiting | None = None
    approvals: dict[str, str] = field(default_factory=dict[str, str])
    """gate: who approved it."""
    decision: Event | None = None
    breaches: list[Event] = field(default_factory=list[Event])
    commands: list[Event] = field(default_factory=list[Event])
    traffic: list[Event] = field(default_factory=list[Event])
    faults: list[Event] = field(default_factory=list[Event])
    """What a rehearsal has broken on purpose."""
    answered: int = 0
    """The number of the last command that the engine has answered."""
    last: Event | None = None

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
        return
    if event.stage:
        stage = next(each for each in state.stages if each.name == event.stage)
        if event.kind == "stage-began":
            stage.status, stage.began = "running", stage.began or event.at
        elif event.kind == "stage-done":
            stage.status, stage.ended = "done", event.at
        elif event.kind == "stage-failed":
            stage.status = "failed"
        elif event.kind == "stage-undone":
            stage.status = "undone"
        return
    _apply_to_run(state, event)


def _apply_to_run(state: RunState, event: Event) -> None:
    reason = str(event.figure("reason") or "")
    state.answered = max(state.answered, cast("int", event.figure("answers") or 0))
    match event.kind:
        case "begun":
            state.status, state.reason, state.mend = "rolling back" if state.decision else "running", "", ""
            state.waiting = None
        case "waiting":
            state.status = "waiting"
            state.waiting = Waiting(str(event.figure("gate")), reason, event.at)
        case "passed":
            state.status, state.waiting = "running", None
        case "paused":
            state.status, state.reason = "paused", reason
        case "continued":
            state.status, state.reason = "running", ""
        case "decided":
            state.status, state.reason, state.decision, state.waiting = "rolling back", reason, event, None
        case "stopped":
            state.status, state.reason, state.mend = "stopped", reason, str(event.figure("mend") or "")
        case "finished":
            state.status = cast("RunStatus", event.figure("outcome"))
            state.reason, state.ended, state.waiting = reason, event.at, None
        case "breach":
            state.breaches.append(event)
        case "traffic":
            state.traffic.append(event)
        case "fault":
            state.faults.append(event)
        case "command":
            state.commands.append(event)
            if event.figure("command") == "approve":
                state.approvals[str(event.figure("gate"))] = str(event.figure("by"))
        case _:
            pass


def _apply_to_step(step: StepState, event: Event) -> None:
    match event.kind:
        case "step-reading":
            step.status = "reading"
        case "step-read":
            step.facts = event.data
        case "step-began":
            step.status, step.began, step.error = "running", step.began or event.at, ""
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
        case "step-undoing":
            step.status = "undoing"
        case "step-undone":
            step.status = "undone"
        case "step-left":
            step.status, step.error = "left", str(event.figure("error") or "")
        case _:
            pass
