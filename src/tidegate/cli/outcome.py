"""How a run stands: as an exit code, as words, as data."""

from typing import cast

from pydantic import JsonValue

from tidegate.cli.guidance import guidance
from tidegate.cli.watching import Watch
from tidegate.cli.wording import duration, typed
from tidegate.engine.state import RunState, StageState, StepState
from tidegate.errors import (
    RollbackIncomplete,
    RolledBack,
    TidegateError,
    WaitingForApproval,
)

__all__ = ["document", "exit_code", "summary"]


def exit_code(state: RunState) -> int:
    """By the tree in tidegate.errors; for a run that ended, or that its process has left."""
    match state.status:
        case "migrated":
            return 0
        case "rolled-back":
            return RolledBack.exit_code
        case "waiting" | "paused":
            return WaitingForApproval.exit_code
        case _:
            return RollbackIncomplete.exit_code if state.decision is not None else _failure(state)


def _failure(state: RunState) -> int:
    """Of the step that failed first; the others may only have been told to stop."""
    steps = state.current.steps if state.current else []
    failed = [step for step in steps if step.status == "failed" and step.exit_code is not None]
    first = min(failed, key=lambda step: step.ended or 0, default=None)
    return (first.exit_code if first else None) or TidegateError.exit_code


def summary(watch: Watch) -> str:
    """A few lines for when a run's process ends."""
    state, folder = watch.state, watch.store.folder
    if state.ended is not None:
        word = "migrated" if state.status == "migrated" else "rolled back"
        lines = [f"{watch.run}: {word} in {duration(state.ended - state.began)}"]
        if state.status != "migrated":
            lines.append(f"  because {state.reason}")
        lines.append(f"  {typed(folder, 'report', watch.run, '-o', 'report.html')}  writes the report")
        return "\n".join(lines)
    if state.decision is not None and state.status == "stopped":
        lines = [f"{watch.run}: {state.reason}"]
        return "\n".join([*lines, f"  {typed(folder, 'resume', watch.run)}  tries again"])
    lines: list[str] = []
    for need in guidance(watch, driven=True):
        lines.append(f"{watch.run}: {need.label}: {need.reason}")
        lines += [f"  {command}  {effect}" for command, effect in need.commands]
    return "\n".join(lines or [f"{watch.run}: {state.status}"])


def document(watch: Watch, driver: int | None) -> dict[str, JsonValue]:
    """What `status --json` prints. Times are Unix seconds."""
    state = watch.state
    traffic = state.traffic[-1] if state.traffic else None
    shown: dict[str, object] = {
        "run": watch.run,
        "migration": state.plan.migration.name,
        "environment": state.plan.migration.environment,
        "status": state.status,
        "exit_code": exit_code(state),
        "reason": state.reason or None,
        "mend": state.mend or None,
        "driver": driver,
        "began": state.began,
        "ended": state.ended,
        "waiting": [
            {"gate": gate, "reason": waiting.reason, "by_itself": waiting.by_itself}
            for gate, waiting in state.waits.items()
        ],
        "approvals": state.approvals,
        "decision": state.decision.data if state.decision else None,
        "breaches": [breach.data for breach in state.breaches],
        "traffic": {"at": traffic.at, **cast("dict[str, JsonValue]", traffic.data)} if traffic else None,
        "stages": [_stage(stage) for stage in state.stages],
        "retreat": [_step(step) for step in state.retreat],
    }
    return cast("dict[str, JsonValue]", shown)


def _stage(stage: StageState) -> dict[str, object]:
    return {
        "name": stage.name,
        "phase": stage.phase,
        "status": stage.status,
        "began": stage.began,
        "seconds": stage.seconds,
        "steps": [_step(step) for step in stage.steps],
    }


def _step(step: StepState) -> dict[str, object]:
    return {
        "name": step.name,
        "uses": step.uses,
        "status": step.status,
        "began": step.began,
        "ended": step.ended,
        "note": step.note or None,
        "figures": step.figures,
        "findings": [finding.model_dump(mode="json") for finding in step.findings],
        "error": step.error or None,
    }
