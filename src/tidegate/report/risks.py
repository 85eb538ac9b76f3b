"""What the run left behind, or what is at risk now, as far as its journal knows."""

from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from tidegate.engine.journal import Event
from tidegate.engine.state import RunState
from tidegate.report.html import Html, element, fragment
from tidegate.report.summary import figure
from tidegate.report.words import clipped, count

__all__ = ["risks"]


def risks(state: RunState, events: Sequence[Event], rehearsal: Mapping[str, JsonValue] | None) -> Html:
    told = [*_lost(events, rehearsal), *_left(state), *_open(state)]
    known = list(dict.fromkeys(told))
    body = (
        element("ul", *(element("li", clipped(each)) for each in known))
        if known
        else element("p", "Nothing that the journal knows of.", class_="soft")
    )
    return fragment(element("h2", "Left behind, or at risk"), body)


def _lost(events: Sequence[Event], rehearsal: Mapping[str, JsonValue] | None) -> Iterator[str]:
    for event in events:
        if event.kind == "decided" and event.figure("forced") is True:
            writes, file = event.figure("writes"), event.figure("file")
            how_many = f"{writes} acknowledged writes are" if writes is not None else "acknowledged writes may be"
            listed = f", listed in {file}" if file else ""
            yield f"The rollback was forced: {how_many} lost{listed}. Azure's store was left as it was."
    lost = figure(rehearsal, "writes", "lost")
    if lost:
        yield f"{count(lost)} acknowledged writes were not found in the database that owns the writes."


def _left(state: RunState) -> Iterator[str]:
    steps = [step for stage in state.stages for step in stage.steps]
    for step in steps:
        if step.status == "left":
            yield f"{step.name} could not be undone: {step.error}"
        elif state.status == "rolled-back" and step.touched:
            yield f"{step.name} was begun and its undoing is not on record."
        for found in step.findings:
            if step.touched and found.verdict != "pass":
                yield f"{step.name}: {found.message}"
    no_return = state.plan.point_of_no_return()
    if no_return is not None:
        stage = next(each for each in state.stages if each.name == no_return.name)
        if any(step.touched for step in stage.steps):
            yield f"The point of no return ({stage.name}) has been passed: going back to AWS would lose later writes."


def _open(state: RunState) -> Iterator[str]:
    """Of a run that has not ended: what stands in the world now."""
    if state.ended is not None:
        return
    there = [step.name for stage in state.stages for step in stage.steps if step.touched]
    if there:
        yield f"The run has not ended. These steps have had effects, which still stand: {', '.join(there)}."
    if state.waiting is not None:
        yield f"Nothing goes on until somebody approves {state.waiting.gate}: {state.waiting.reason}"
