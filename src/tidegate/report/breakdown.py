"""Where the milliseconds of a switch went: a bar to scale, in the colour of the cloud that owned the writes then."""

from collections.abc import Iterator
from itertools import pairwise

from tidegate.report.html import Html, element
from tidegate.report.story import Turn
from tidegate.report.tables import table
from tidegate.report.words import duration

__all__ = ["breakdown"]

WIDTH, HEIGHT = 960.0, 74.0
TOP, THICK = 22.0, 26.0

WHAT = {
    "quiet": "requests held, those in flight answered, workers idle",
    "fenced": "the old primary refuses writes",
    "drained": "its last change has arrived",
    "sealed": "sequences carried over, both sides compared",
    "committed": "ownership written",
    "open": "the new primary accepts writes",
    "acknowledged": "every instance has its new endpoints",
    "released": "requests held are let go",
    "mirrored": "changes flow back, so that this can be undone",
}


def breakdown(turn: Turn) -> Html:
    old, new = ("aws", "azure") if turn.owner == "azure" else ("azure", "aws")
    name = {"aws": "AWS", "azure": "Azure"}
    committed = next((ms for phase, ms in turn.marks if phase == "committed"), None)
    spans = list(pairwise([("", 0.0), *turn.marks]))
    rows = [
        (
            phase,
            WHAT[phase],
            turn.last.get(phase, ""),
            duration((ms - before) / 1000),
            duration(ms / 1000),
        )
        for (_, before), (phase, ms) in spans
    ]
    told = (
        f"Finished after its commit by a process that took over; {duration(turn.held)} from then to the release."
        if committed is None
        else f"Requests were held for {duration(turn.held)}; the ownership was committed after "
        f"{duration(committed / 1000)}. Before the commit {name[old]} owned the writes, after it {name[new]}."
    )
    return element(
        "div",
        element("h3", f"The switch to {name[turn.owner]}"),
        element("p", told),
        element("div", _bar(turn, old, new, committed), class_="scroll"),
        table(("Phase", "Ends when", "Last", "Took", "Since the hold"), rows, numeric=(3, 4), kind="compact phases"),
    )


def _bar(turn: Turn, old: str, new: str, committed: float | None) -> Html:
    unit = WIDTH / max(turn.marks[-1][1], 1e-3)
    return element(
        "svg",
        element("title", "Phases of the switch, to scale"),
        *_phases(turn, old, new, unit, committed),
        *_limits(turn, committed, unit),
        viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}",
        role="img",
        class_="chart bar",
    )


def _phases(turn: Turn, old: str, new: str, unit: float, committed: float | None) -> Iterator[Html]:
    after = committed is None
    for (_, before), (phase, ms) in pairwise([("", 0.0), *turn.marks]):
        left, wide = min(before * unit, WIDTH - 0.5), (ms - before) * unit
        kind = "outside" if phase == "mirrored" else f"{new if after else old}-phase"
        tip = element("title", f"{phase}: {duration((ms - before) / 1000)}")
        yield element("rect", tip, x=left, y=TOP, width=max(wide - 1.5, 0.5), height=THICK, class_=kind)
        if len(phase) * 6.4 + 8 < wide:
            yield element("text", phase, x=left + 5, y=TOP + 17, class_="band-label")
        after = after or phase == "committed"


def _limits(turn: Turn, committed: float | None, unit: float) -> Iterator[Html]:
    """The commit above the bar, the hold below it."""
    if committed is not None:
        at = committed * unit
        yield element("line", x1=at, y1=TOP - 6, x2=at, y2=TOP + THICK + 4, class_="commit")
        side = "end" if at > WIDTH / 2 else ""
        yield element("text", "commit", x=at - 5 if side else at + 5, y=TOP - 8, class_=f"head {side}".strip())
    held = turn.held * 1000 * unit
    foot = TOP + THICK + 9
    yield element(
        "polyline", points=f"0.5,{foot - 4} 0.5,{foot} {held:.1f},{foot} {held:.1f},{foot - 4}", class_="span"
    )
    yield element("text", f"requests held {duration(turn.held)}", x=1, y=foot + 14, class_="tick")
