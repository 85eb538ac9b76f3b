"""A run's journal as one self-contained page: for whom it may concern in ten seconds, and for engineers in detail.

Pure: no input or output, no script, nothing fetched. The page's own policy forbids whatever it doesn't need.
"""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from tidegate.engine.journal import Event
from tidegate.engine.state import RunState
from tidegate.report.breakdown import breakdown
from tidegate.report.chart import chart, shown_markers
from tidegate.report.details import decisions, evidence, log, plan, stages
from tidegate.report.html import Html, document, element, fragment, style
from tidegate.report.look import SHEET
from tidegate.report.risks import risks
from tidegate.report.story import Story
from tidegate.report.summary import header, tiles, verdicts
from tidegate.report.words import clipped, elapsed
from tidegate.runbook.migration import Database

__all__ = ["render"]

POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render(state: RunState, events: Sequence[Event], rehearsal: Mapping[str, JsonValue] | None = None) -> str:
    """The whole page. `state` is the fold of `events`, all of the run's.

    `rehearsal` is what `rehearse --json` writes, and may have two keys more: `promises`, a list of objects with
    "promise", "kept" and "observed"; `load`, one object per second with "at" (Unix seconds, its beginning),
    "requests", "failed" and "slow" (the slowest answer in milliseconds).
    """
    story = Story.of(events, (rehearsal or {}).get("load"))
    parts = [
        fragment(header(state, story, rehearsal), tiles(state, story, rehearsal)),
        verdicts(state, rehearsal),
        _timeline(state, story),
        fragment(element("h2", "The switch"), *map(breakdown, story.turns)) if story.turns else None,
        stages(state, story),
        plan(state),
        decisions(events),
        evidence(state, rehearsal),
        risks(state, events, rehearsal),
        log(events),
    ]
    title = f"{state.plan.migration.name}: {state.status} ({state.run})"
    head = fragment(
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        style(SHEET),
    )
    main = element("main", *(element("section", part) for part in parts if part is not None))
    return document(head, main)


def _timeline(state: RunState, story: Story) -> Html:
    heading = element("h2", "Timeline")
    if story.ended <= story.began and not story.samples:
        return fragment(heading, element("p", "Nothing has happened yet.", class_="soft"))
    order = [stage.name for stage in state.stages]
    sized = [name for name, store in state.plan.migration.stores.items() if isinstance(store, Database)]
    shown = shown_markers(story.markers)
    key = [
        element(
            "li",
            element("span", str(number), class_=f"disc {marker.kind}"),
            element("time", elapsed(marker.at - story.began)),
            element("span", clipped(marker.text, 240)),
        )
        for number, marker in enumerate(shown, 1)
    ]
    hidden = len(story.markers) - len(shown)
    more = f"{hidden} more are among the decisions and commands below." if hidden else None
    none = None if story.samples else "No traffic was counted."
    legend = element(
        "p",
        element("span", class_="swatch aws"),
        "AWS",
        element("span", class_="swatch azure"),
        "Azure",
        element("span", class_="swatch error"),
        "errors",
        element("span", class_="swatch held"),
        "requests held",
        class_="legend",
    )
    return fragment(
        heading,
        legend,
        element("div", chart(story, order, sized), class_="scroll"),
        element("ol", *key, class_="key") if key else None,
        element("p", more, class_="soft") if more else None,
        element("p", none, class_="soft") if none else None,
    )
