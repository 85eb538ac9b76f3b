"""The engineer's part: stages, the plan with its approvals, decisions, evidence, what is left, the log."""

import json
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from tidegate.engine.journal import Event
from tidegate.engine.state import RunState, StageState
from tidegate.report.html import Child, Html, element, fragment
from tidegate.report.story import Story
from tidegate.report.summary import compared, figure
from tidegate.report.tables import finding, pill, table, verdict
from tidegate.report.words import clipped, clock, count, day, duration, finite
from tidegate.runbook.runbook import Stage

__all__ = ["decisions", "evidence", "log", "plan", "stages"]

TONES = {"done": "good", "failed": "bad", "undone": "back", "left": "bad"}
LISTED = 2_000
"""Events in the log; of a longer journal the beginning and the end."""
LONGEST = 2_000


def stages(state: RunState, story: Story) -> Html:
    rows = [
        (
            str(number),
            fragment(element("b", stage.name), element("small", f"{stage.phase} cutover")),
            pill(stage.status, TONES.get(stage.status, "open")),
            _lasted(story.seconds_of(stage.name)),
            fragment(*_found(stage)),
        )
        for number, stage in enumerate(state.stages, 1)
    ]
    return fragment(element("h2", "Stages"), table(("", "Stage", "Status", "Lasted", "Found"), rows, numeric=(0, 3)))


def _lasted(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _found(stage: StageState) -> Iterator[Html]:
    for step in stage.steps:
        if len(stage.steps) > 1 and (step.findings or step.error):
            yield element("small", step.name)
        yield from map(finding, step.findings)
        told = any(step.error in found.message for found in step.findings)
        if step.error and not told:
            yield element("div", verdict("fail"), element("span", clipped(step.error)), class_="finding")
        if step.status == "running" and step.note:
            yield element("div", clipped(step.note), class_="soft")


def plan(state: RunState) -> Html:
    """Per stage the actions, what takes them back, and who let the stage begin."""
    saved = state.plan
    no_return = saved.point_of_no_return()
    rows: list[Sequence[Child] | Html] = []
    for stage in saved.runbook.stages:
        actions = [action for step in stage.steps for action in saved.actions.get(step.name, ())]
        if not actions and not stage.approval:
            continue
        if no_return is stage:
            rows.append(element("p", "Point of no return: nothing takes back what follows.", class_="no-return"))
        gate = _gate(stage, state)
        for n, action in enumerate(actions or [None]):
            name = fragment(element("b", stage.name), gate) if n == 0 else None
            if action is None:
                rows.append((name, "", "", ""))
                continue
            undo = clipped(action.undo) if action.undo else element("b", "cannot be undone", class_="wrong")
            rows.append((name, f"{action.verb} {clipped(action.target, 120)}", clipped(action.detail), undo))
    note = f"Made {day(saved.made_at)}; its digest is {saved.digest}."
    body = table(("Stage", "Action", "What it does", "Taken back by"), rows, kind="cards plan")
    return fragment(element("h2", "The plan"), element("p", note, class_="soft"), body)


def _gate(stage: Stage, state: RunState) -> Html | None:
    watched = element("small", "health is watched") if stage.guarded else None
    if stage.approval is None:
        return watched
    by = next((c for c in reversed(state.commands) if c.figure("gate") == stage.name), None)
    text = f"approved by {by.figure('by')} at {clock(by.at)}" if by else "asks for an approval; nobody has given it"
    return fragment(watched, element("small", f"{stage.approval}: {text}"))


def decisions(events: Sequence[Event]) -> Html:
    rows = [(clock(event.at), *told) for event in events if (told := _decision(event))]
    if not rows:
        return fragment(element("h2", "Decisions and commands"), element("p", "None.", class_="soft"))
    return fragment(element("h2", "Decisions and commands"), table(("UTC", "Who", "What", "Why"), rows, numeric=(0,)))


def _decision(event: Event) -> tuple[str, str, str] | None:
    def figure(key: str) -> str:
        value = event.figure(key)
        return "" if value is None else str(value)

    reason = clipped(figure("reason"))
    match event.kind:
        case "command":
            forced = " by force" if event.figure("force") is True else ""
            gate = f" {figure('gate')}" if figure("gate") else ""
            return figure("by") or "an operator", f"{figure('command')}{gate}{forced}", reason
        case "begun":
            return "tidegate", "drives the run", f"process {figure('pid')} on {figure('host')}"
        case "waiting":
            return "tidegate", f"waits for {figure('gate')}", reason
        case "passed":
            return figure("by") or "tidegate", f"lets {figure('gate')} pass", reason
        case "fault":
            return "the lab", "fault", clipped(figure("text"))
        case "breach":
            segment = f" in {figure('segment')}" if figure("segment") else ""
            return "the guard", f"alarm{segment}: {figure('verdict')}", reason
        case "decided":
            forced = "by force " if event.figure("forced") is True else ""
            return "tidegate", f"decides to roll back {forced}".strip(), reason
        case "paused":
            return "tidegate", "pauses", reason
        case "continued":
            return "tidegate", "goes on", reason
        case "stopped":
            return "tidegate", "stops", clipped(f"{reason}; next: {figure('mend')}" if figure("mend") else reason)
        case "refused":
            return "tidegate", f"refuses {figure('command')}", reason
        case "finished":
            return "tidegate", f"ends: {figure('outcome')}", reason
        case _:
            return None


def evidence(state: RunState, rehearsal: Mapping[str, JsonValue] | None) -> Html:
    rows = [
        (
            verdict("fail" if report.get("wrong") else "pass"),
            store,
            stage,
            _counted(report),
            clipped(str(report.get("wrong") or "none")),
        )
        for stage, store, report in compared(state)
    ]
    for kind in ("rows", "objects"):
        verified, wrong = figure(rehearsal, kind, "verified"), figure(rehearsal, kind, "mismatched")
        if verified is not None:
            sign = verdict("fail" if wrong else "pass")
            rows.append((sign, "all stores", "after the run", f"{count(verified)} {kind}", count(wrong or 0)))
    acknowledged, lost = figure(rehearsal, "writes", "acknowledged"), figure(rehearsal, "writes", "lost")
    if acknowledged is not None:
        twice = figure(rehearsal, "writes", "duplicated") or 0
        sign = verdict("fail" if lost or twice else "pass")
        wrong = f"{count(lost or 0)} lost, {count(twice)} duplicated"
        rows.append((sign, "the ledger", "after the run", f"{count(acknowledged)} acknowledged writes", wrong))
    if not rows:
        return fragment(element("h2", "Evidence"), element("p", "Nothing has been compared yet.", class_="soft"))
    heads = ("", "Store", "Compared in", "Compared", "Differences")
    return fragment(element("h2", "Evidence"), table(heads, rows))


def _counted(report: Mapping[str, JsonValue]) -> str:
    counts = [(key, finite(value)) for key, value in report.items()]
    return ", ".join(f"{count(value)} {key}" for key, value in counts if value is not None)


def log(events: Sequence[Event]) -> Html:
    """Traffic samples are drawn in the chart, so that a row stands for each run of them."""
    entries = list(_entries(events))
    half = LISTED // 2
    if len(entries) > LISTED:
        between = element("p", f"{len(entries) - LISTED:,} rows are left out here", class_="soft")
        entries = [*entries[:half], between, *entries[-half:]]
    last = events[-1]
    chain = (
        f"{len(events):,} events. Each one's digest covers its content and the digest before it, so that the last "
        "one vouches for all. The last one has to be the same as in the journal itself:"
    )
    return fragment(
        element("h2", "The journal"),
        element("p", chain),
        element("p", element("code", last.digest), class_="digest"),
        element(
            "details",
            element("summary", "Every event"),
            table(("No.", "UTC", "Event", "Of", "Data", "Digest"), entries, numeric=(0,)),
            class_="log",
        ),
    )


def _entries(events: Sequence[Event]) -> Iterator[Sequence[Child] | Html]:
    quiet: list[Event] = []
    for event in [*events, None]:
        if event is not None and event.kind == "traffic":
            quiet.append(event)
            continue
        if quiet:
            first, last = quiet[0], quiet[-1]
            text = f"{len(quiet):,} samples, in the chart above" if len(quiet) > 1 else _data(first)
            yield (str(first.seq), clock(first.at), "traffic", "", text, element("code", last.digest[:12]))
            quiet = []
        if event is not None:
            of = " / ".join(part for part in (event.stage, event.step) if part)
            digest = element("code", event.digest[:12])
            yield (str(event.seq), clock(event.at), event.kind, of, element("code", _data(event)), digest)


def _data(event: Event) -> str:
    """The plan within the first event isn't repeated: it is above, and its addresses are nobody else's business."""
    if event.kind == "created":
        return "the plan"
    return "" if event.data is None else clipped(json.dumps(event.data, ensure_ascii=False, sort_keys=True), LONGEST)
