"""A run as lines of text, one per event that matters: for logs, pipes and terminals without room."""

from collections.abc import Callable
from typing import cast

from tidegate.cli.board import lag_texts
from tidegate.cli.wording import clock, duration
from tidegate.engine.journal import Event
from tidegate.engine.state import RunState

__all__ = ["Lines"]

FIGURES_EVERY = 10.0
"""Seconds between two lines about the traffic."""


class Lines:
    """Remembers what it has said, so that nothing is said twice."""

    def __init__(self) -> None:
        self._figures_at = 0.0
        self._notes: dict[str, str] = {}

    def line(self, event: Event, state: RunState) -> str | None:
        """None for what nobody needs to read. `state` is the run's after the event, or later."""
        text = self._text(event, state)
        return f"{clock(event.at)}  {text}" if text else None

    def _text(self, event: Event, state: RunState) -> str | None:
        if event.kind == "traffic":
            return self._traffic(event, state)
        if event.kind in ("step-note", "noted"):
            key, note = event.step, str(event.figure("text"))
            if self._notes.get(key) == note:
                return None
            self._notes[key] = note
            return f"{event.step}: {note}" if event.step else note
        say = SAYINGS.get(event.kind)
        return say(event, state) if say else None

    def _traffic(self, event: Event, state: RunState) -> str | None:
        if event.at - self._figures_at < FIGURES_EVERY:
            return None
        self._figures_at = event.at
        aws, azure, requests, errors = (
            float(cast("float", event.figure(key) or 0)) for key in ("aws", "azure", "requests", "errors")
        )
        lags = ", ".join(f"{name} {lag}" for name, lag in lag_texts(state, event.figure("lag")).items())
        split = f"AWS {aws:.0%}, Azure {azure:.0%}"
        return f"{requests:,.0f} requests/s, {errors:,.1f} errors/s; {split}" + (f"; lag: {lags}" if lags else "")


def _stage_done(event: Event, state: RunState) -> str:
    seconds = next(stage.seconds for stage in state.stages if stage.name == event.stage)
    return f"{event.stage} is done" + (f" ({duration(seconds)})" if seconds is not None else "")


def _step_done(event: Event, state: RunState) -> str | None:
    del state
    findings = cast("list[dict[str, str]]", event.figure("findings") or [])
    messages = "; ".join(finding["message"] for finding in findings[:3])
    more = f"; and {len(findings) - 3} more" if len(findings) > 3 else ""
    return f"{event.step}: {messages}{more}" if messages else None


def _command(event: Event, state: RunState) -> str:
    del state
    gate = f" {event.figure('gate')}" if event.figure("gate") else ""
    force = " --force" if event.figure("force") else ""
    return f"{event.figure('by')}: {event.figure('command')}{gate}{force}"


def _waiting(event: Event, state: RunState) -> str:
    del state
    what = "gathers evidence for" if event.figure("by_itself") else "waits for approval of"
    return f"{what} {event.figure('gate')}: {event.figure('reason')}"


def _passed(event: Event, state: RunState) -> str:
    del state
    by = event.figure("by")
    return f"{event.figure('gate')} is approved by {by}" if by else f"{event.figure('gate')}: the evidence suffices"


def _of_run(text: str) -> Callable[[Event, RunState], str]:
    return lambda event, _: text.format(
        **{key: event.figure(key) for key in ("gate", "reason", "by", "outcome", "mend", "error", "pid")},
        run=event.run,
        stage=event.stage,
        step=event.step,
    )


SAYINGS: dict[str, Callable[[Event, RunState], str | None]] = {
    "begun": _of_run("process {pid} drives {run}"),
    "stage-began": _of_run("{stage} begins"),
    "stage-done": _stage_done,
    "stage-failed": _of_run("{stage} failed"),
    "stage-undone": _of_run("{stage} is undone"),
    "step-done": _step_done,
    "step-failed": _of_run("{step} failed: {error}"),
    "step-undoing": _of_run("{step}: undoing"),
    "step-left": _of_run("{step} could not be undone: {error}"),
    "waiting": _waiting,
    "passed": _passed,
    "paused": _of_run("paused: {reason}"),
    "continued": _of_run("goes on"),
    "breach": _of_run("harm: {reason}"),
    "decided": _of_run("rolls back: {reason}"),
    "refused": _of_run("refused: {reason}"),
    "stopped": _of_run("stopped: {reason}; {mend}"),
    "finished": _of_run("{outcome}: {reason}"),
    "command": _command,
}
