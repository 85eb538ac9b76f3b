"""The first screen: what was migrated, how it ended, what was promised, the figures that matter."""

from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from tidegate.engine.state import RunState, RunStatus
from tidegate.report.html import Html, element, fragment
from tidegate.report.story import Story
from tidegate.report.tables import finding, pill, table, verdict
from tidegate.report.words import clipped, count, day, duration, finite

__all__ = ["compared", "figure", "header", "tiles", "verdicts"]

TONES: dict[RunStatus, str] = {
    "migrated": "good",
    "rolled-back": "back",
    "stopped": "bad",
    "rolling back": "back",
}
ENVIRONMENTS = {
    "lab": "A lab: servers on one machine stand for both clouds. Its times and loads say nothing about production.",
    "rehearsal": "A rehearsal, on real servers that are not production. Its times are not production's.",
    "production": "Production.",
}


def header(state: RunState, story: Story, rehearsal: Mapping[str, JsonValue] | None) -> Html:
    migration = state.plan.migration
    scenario = (rehearsal or {}).get("scenario")
    facts = {
        "Run": state.run,
        **({"Scenario": scenario} if isinstance(scenario, str) else {}),
        "Environment": migration.environment,
        "Strategy": migration.strategy,
        "Began": day(story.began),
        "Lasted" if state.ended else "So far": duration(story.ended - story.began),
        "Plan": state.plan.digest[:12],
    }
    promises = _promises(rehearsal)
    broken = _broken(promises)
    return element(
        "header",
        element("p", "Migration report", class_="over"),
        element("h1", migration.name, element("span", " from AWS to Azure")),
        element(
            "p",
            pill(state.status, TONES.get(state.status, "open")),
            " ",
            _outcome(state, story),
            fragment(" ", pill(f"{broken} of {len(promises)} promises broken", "bad")) if broken else None,
            class_="outcome",
        ),
        element("p", clipped(_why(state)), class_="why") if _why(state) else None,
        element("p", ENVIRONMENTS[migration.environment], class_=f"place {migration.environment}"),
        element("dl", *(element("div", element("dt", name), element("dd", text)) for name, text in facts.items())),
    )


def _outcome(state: RunState, story: Story) -> str:
    took = duration(story.ended - story.began)
    name = state.plan.migration.name
    current = state.current.name if state.current else ""
    match state.status:
        case "migrated":
            return f"{name} runs on Azure, after {took}."
        case "rolled-back":
            return f"{name} is back on AWS, after {took}."
        case "rolling back":
            return f"{name} is on its way back to AWS."
        case "waiting":
            gate = state.waiting.gate if state.waiting else ""
            return f"{name} waits for an approval of {gate}."
        case "paused":
            return f"{name} is paused until somebody resumes it, or takes it back."
        case "stopped":
            return f"{name} has stopped at {current}." if current else f"{name} has stopped."
        case "running":
            return f"{name} is under way, at {current}." if current else f"{name} is under way."
        case "planned":
            return f"{name} has not begun."


def _why(state: RunState) -> str:
    reason = state.waiting.reason if state.waiting else state.reason
    text = f"{reason[:1].upper()}{reason[1:]}"
    mend = f" Next: {state.mend}." if state.mend and not state.ended else ""
    return f"{text}{'' if text.endswith('.') else '.'}{mend}" if text else mend.strip()


def figure(rehearsal: Mapping[str, JsonValue] | None, group: str, name: str) -> float | None:
    """None too where the rehearsal says that it has no meaning."""
    document = (rehearsal or {}).get(group)
    return finite(document.get(name)) if isinstance(document, dict) else None


def compared(state: RunState) -> Iterator[tuple[str, str, dict[str, JsonValue]]]:
    """(stage, store, report) of every comparison that a step has kept."""
    for stage in state.plan.runbook.stages:
        for spec in stage.steps:
            step = state.find(stage.name, spec.name)
            report = step.kept.get("report") if step else None
            if isinstance(report, dict):
                yield stage.name, str(spec.fields.get("store") or spec.name), report


def tiles(state: RunState, story: Story, rehearsal: Mapping[str, JsonValue] | None) -> Html | None:
    """The figures of a rehearsal; of a run without one, what its journal knows."""
    figures = [
        ("writes lost", figure(rehearsal, "writes", "lost"), count, True),
        ("writes duplicated", figure(rehearsal, "writes", "duplicated"), count, True),
        ("writes acknowledged", figure(rehearsal, "writes", "acknowledged"), count, False),
        ("requests failed", figure(rehearsal, "requests", "failed"), count, True),
        ("requests held", figure(rehearsal, "requests", "held"), count, False),
        ("told of the maintenance", figure(rehearsal, "requests", "away"), count, False),
        ("requests in all", figure(rehearsal, "requests", "total"), count, False),
        ("writes stopped", figure(rehearsal, "seconds", "writes_stopped"), duration, False),
        ("fault to decision", figure(rehearsal, "seconds", "detect"), duration, False),
        ("decision to the last request on Azure", figure(rehearsal, "seconds", "rollback"), duration, False),
    ]
    if rehearsal is None:
        held = [turn.held for turn in story.turns]
        rows = [_total(state, "rows"), _total(state, "objects")]
        worst = max((sample.errors for sample in story.samples), default=None)
        done = sum(stage.status == "done" for stage in state.stages) if state.decision is None else None
        figures = [
            (f"of {len(state.stages)} stages done", done, count, False),
            ("requests held at the switch", held[0] if held else None, duration, False),
            ("errors per second at the worst", worst, count, True),
            ("rows compared", rows[0], count, False),
            ("objects compared", rows[1], count, False),
        ]
    shown = [
        element(
            "div",
            element("b", read(value), class_="wrong" if harm and value else None),
            element("span", name),
        )
        for name, value, read, harm in figures
        if value is not None
    ]
    return element("div", *shown, class_="tiles") if shown else None


def _total(state: RunState, key: str) -> float | None:
    """Of the last comparison of each store."""
    last = {store: finite(report.get(key)) for _, store, report in compared(state)}
    known = [value for value in last.values() if value is not None]
    return sum(known) if known else None


def verdicts(state: RunState, rehearsal: Mapping[str, JsonValue] | None) -> Html:
    if promises := _promises(rehearsal):
        rows = [
            (
                verdict("pass" if each.get("kept") is True else "fail"),
                clipped(str(each.get("promise") or "")),
                clipped(_observed(each.get("observed"))),
            )
            for each in promises
        ]
        broken = _broken(promises)
        told = f"{broken} of {len(promises)} promises broken" if broken else f"all {len(promises)} promises kept"
        told = element("span", told, class_="count wrong" if broken else "count")
        return fragment(element("h2", "Verdict", told), table(("", "Promise", "Observed"), rows, kind="compact"))
    return fragment(element("h2", "Findings"), _findings(state))


def _promises(rehearsal: Mapping[str, JsonValue] | None) -> list[dict[str, JsonValue]]:
    promises = (rehearsal or {}).get("promises")
    return [each for each in promises if isinstance(each, dict)] if isinstance(promises, list) else []


def _broken(promises: Sequence[Mapping[str, JsonValue]]) -> int:
    return sum(each.get("kept") is not True for each in promises)


def _observed(value: JsonValue) -> str:
    number = finite(value)
    return count(number) if number is not None else "" if value is None else str(value)


def _findings(state: RunState) -> Html:
    """What failed or couldn't be measured, one by one; what passed, by stage."""
    rows: list[tuple[Html, str, Html | str]] = [
        (verdict("fail"), str(breach.figure("stage") or ""), clipped(str(breach.figure("reason") or "")))
        for breach in state.breaches
    ]
    passed: list[tuple[Html, str, Html | str]] = []
    for stage in state.stages:
        found = [each for step in stage.steps for each in step.findings]
        rows += [(verdict(each.verdict), stage.name, finding(each)) for each in found if each.verdict != "pass"]
        good = [each for each in found if each.verdict == "pass"]
        if len(good) == 1:
            passed.append((verdict("pass"), stage.name, clipped(good[0].message)))
        elif good:
            passed.append((verdict("pass"), stage.name, f"{len(good)} checks passed"))
    if not rows and not passed:
        return element("p", "Nothing has been checked yet.", class_="soft")
    return table(("", "Stage", "Found"), [*rows, *passed], kind="compact")
