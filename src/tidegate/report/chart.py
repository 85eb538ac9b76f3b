"""The run over time, as one SVG: who answered, what failed, how far the copies lagged, and which stage ran.

Every shape has absolute coordinates within `WIDTH` and the chart's height. Colours are classes of the sheet.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tidegate.report.html import Html, element, fragment
from tidegate.report.story import ROLLBACK, Marker, Sample, Story, thinned
from tidegate.report.words import count, duration, elapsed, size

__all__ = ["MARKERS", "WIDTH", "chart", "shown_markers"]

WIDTH = 960.0
LEFT, RIGHT = 62.0, 12.0
SAMPLES = 440
"""One for two units of width: finer than that nobody sees."""
MARKERS = 24
STORES = 6
TITLE, GAP = 20.0, 12.0
SIGN = 7.5
"""Radius of a marker's disc."""
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Axis:
    """Time to x."""

    began: float
    ended: float

    def __call__(self, at: float) -> float:
        span = max(self.ended - self.began, 1e-3)
        inside = min(max(at, self.began), self.ended)
        return LEFT + (inside - self.began) / span * (WIDTH - LEFT - RIGHT)

    def ticks(self) -> list[float]:
        span = self.ended - self.began
        step = next((step for step in STEPS if span / step <= 9), math.ceil(span / 8 / 86400) * 86400)
        return [self.began + n * step for n in range(int(span / step) + 1)]


@dataclass(frozen=True, slots=True)
class Panel:
    """A strip of the chart: 0 at its foot, `high` at its head."""

    top: float
    height: float
    high: float

    def __call__(self, value: float) -> float:
        return self.foot - min(max(value / self.high, 0.0), 1.0) * self.height

    @property
    def foot(self) -> float:
        return self.top + self.height

    def frame(self, title: str, *labels: tuple[float, str], note: str = "") -> Html:
        head = element("tspan", title, class_="head")
        more = element("tspan", f"  {note}", class_="soft") if note else None
        lines = [
            fragment(
                _line(LEFT, self(value), WIDTH - RIGHT, self(value), "grid"),
                element("text", label, x=LEFT - 8, y=self(value) + 4, class_="tick end"),
            )
            for value, label in labels
        ]
        return fragment(element("text", head, more, x=LEFT, y=self.top - 7), *lines)


def shown_markers(markers: Sequence[Marker]) -> list[Marker]:
    """The ones that have room; commands give way first."""
    if len(markers) <= MARKERS:
        return list(markers)
    events = [marker for marker in markers if marker.kind != "command"]
    return events[:MARKERS]


def chart(story: Story, order: Sequence[str], sized: Sequence[str]) -> Html:
    """`order`: the stages' names, by number; `sized`: the stores whose lag is in bytes."""
    axis = Axis(story.began, max(story.ended, story.began + 1))
    samples = thinned(story.samples, SAMPLES)
    load = thinned(story.load, SAMPLES)
    markers = shown_markers(story.markers)
    lanes = _lanes(markers, axis)
    top = 8.0 + (max(lanes, default=-1) + 1) * (2 * SIGN + 4)
    first = top
    panels: list[Html] = []
    if samples:
        drawn, top = _split(samples, axis, top + TITLE)
        panels.append(drawn)
    if samples or load:
        drawn, top = _rates(load or samples, axis, top + GAP + TITLE, as_users_saw=bool(load))
        panels.append(drawn)
    if any(sample.slowest for sample in load):
        drawn, top = _slowest(load, axis, top + GAP + TITLE)
        panels.append(drawn)
    for store in _stores(samples):
        drawn, top = _lag(store, samples, axis, top + GAP + TITLE, in_bytes=store in sized)
        panels.append(drawn)
    bands, foot = _bands(story, order, axis, top + GAP + TITLE)
    ticks = [
        element("text", elapsed(at - story.began), x=axis(at), y=foot + 18, class_="tick middle") for at in axis.ticks()
    ]
    rules = [_line(axis(at), first + TITLE, axis(at), foot, "grid faint") for at in axis.ticks()]
    height = foot + 26
    signs = [_sign(n, marker, axis, lane, foot) for n, (marker, lane) in enumerate(zip(markers, lanes, strict=True), 1)]
    return element(
        "svg",
        element("title", "Traffic, failures, replication lag and stages over the time of the run"),
        *rules,
        *panels,
        *_holds(story, axis, first + TITLE, foot),
        bands,
        *ticks,
        *signs,
        viewBox=f"0 0 {WIDTH:.0f} {height:.0f}",
        role="img",
        class_="chart",
    )


def _split(samples: Sequence[Sample], axis: Axis, top: float) -> tuple[Html, float]:
    """Azure's share rises from the foot; where nothing was answered there is nothing."""
    panel = Panel(top, 132, 1)
    areas: list[Html] = []
    for piece in _pieces(samples, lambda sample: sample.azure is not None):
        steps = list(_steps(piece, axis, lambda sample: panel(sample.azure or 0.0)))
        left, right = steps[0][0], steps[-1][0]
        areas.append(_polygon([(left, panel.top), *steps, (right, panel.top)], "aws-area"))
        areas.append(_polygon([(left, panel.foot), *steps, (right, panel.foot)], "azure-area"))
    frame = panel.frame("Who answered", (0, "0 %"), (0.5, "50 %"), (1, "100 %"), note="share of requests")
    return fragment(*areas, frame), panel.foot


def _rates(samples: Sequence[Sample], axis: Axis, top: float, *, as_users_saw: bool) -> tuple[Html, float]:
    whose = "as users saw it" if as_users_saw else "as the edge counted"
    high = _above(max(sample.requests for sample in samples))
    panel = Panel(top, 54, high)
    requests = [
        _polyline(list(_steps(piece, axis, lambda sample: panel(sample.requests))), "ink-line")
        for piece in _pieces(samples, lambda _: True)
    ]
    frame = panel.frame("Requests per second", (0, "0"), (high, count(high)), note=whose)
    worst = max(sample.errors for sample in samples)
    failing = Panel(panel.foot + GAP + TITLE, 54 if worst else 14, _above(worst))
    bars = _bars(samples, axis, failing, lambda sample: sample.errors, "error-bar")
    if worst:
        labels = ((0.0, "0"), (failing.high, count(failing.high)))
        below = failing.frame("Errors per second", *labels, note=f"{whose}; {count(worst)} at the worst")
    else:
        below = failing.frame("Errors per second", (0, "0"), note="none")
    return fragment(frame, *requests, below, *bars), failing.foot


def _slowest(samples: Sequence[Sample], axis: Axis, top: float) -> tuple[Html, float]:
    """A hold shows here: those held are answered, but late."""
    worst = max(sample.slowest for sample in samples)
    panel = Panel(top, 40, _above(worst))
    bars = _bars(samples, axis, panel, lambda sample: sample.slowest, "slow-bar")
    head = (panel.high, duration(panel.high / 1000))
    frame = panel.frame(
        "Slowest answer", (0, "0"), head, note=f"as users saw it; {duration(worst / 1000)} at the worst"
    )
    return fragment(*bars, frame), panel.foot


def _lag(store: str, samples: Sequence[Sample], axis: Axis, top: float, *, in_bytes: bool) -> tuple[Html, float]:
    worst = max(sample.lag.get(store, 0.0) for sample in samples)
    unit = 1024.0 ** min(4, int(math.log2(max(worst, 1)) / 10)) if in_bytes else 1.0
    panel = Panel(top, 40, _above(worst / unit) * unit)
    shapes: list[Html] = []
    for piece in _pieces(samples, lambda sample: store in sample.lag):
        steps = list(_steps(piece, axis, lambda sample: panel(sample.lag.get(store, 0.0))))
        shapes.append(_polygon([(steps[0][0], panel.foot), *steps, (steps[-1][0], panel.foot)], "lag-area"))
        shapes.append(_polyline(steps, "ink-line thin"))
    read = size if in_bytes else count
    frame = panel.frame(
        f"Replication lag of {_short(store, 30)}",
        (0, "0"),
        (panel.high, read(panel.high)),
        note=f"{read(worst)} at the worst" if in_bytes else f"{read(worst)} changes at the worst",
    )
    return fragment(*shapes, frame), panel.foot


def _bands(story: Story, order: Sequence[str], axis: Axis, top: float) -> tuple[Html, float]:
    panel = Panel(top, 24, 1)
    shapes: list[Html] = []
    for n, band in enumerate(story.bands):
        left, right = axis(band.began), axis(band.ended)
        wide = max(right - left - 1, 0.8)
        left = min(left, WIDTH - RIGHT - wide)
        back = band.stage == ROLLBACK
        number = "" if back or band.stage not in order else str(order.index(band.stage) + 1)
        name = "rollback" if back else band.stage
        kind = "band back" if back else "band odd" if n % 2 else "band"
        tip = element("title", f"{name}: {duration(band.ended - band.began)}")
        shapes.append(element("rect", tip, x=left, y=top, width=wide, height=panel.height, class_=kind))
        label = next((text for text in (f"{number} {name}".strip(), number) if text and _wide(text) + 8 < wide), None)
        if label:
            shapes.append(element("text", label, x=left + 5, y=top + 16, class_="band-label"))
    frame = panel.frame("Stages", note="numbered as in the table below")
    return fragment(frame, *shapes), panel.foot


def _holds(story: Story, axis: Axis, top: float, foot: float) -> Iterator[Html]:
    for turn in story.turns:
        left, right = axis(turn.began), axis(turn.began + turn.held)
        wide = max(right - left, 2)
        yield element("rect", x=min(left, WIDTH - RIGHT - wide), y=top, width=wide, height=foot - top, class_="hold")


def _sign(number: int, marker: Marker, axis: Axis, lane: int, foot: float) -> Html:
    x, y = axis(marker.at), 8.0 + SIGN + lane * (2 * SIGN + 4)
    to_left = x + SIGN + 5 + _wide(marker.label) > WIDTH
    where = {"x": x - SIGN - 5, "class_": "sign-label end"} if to_left else {"x": x + SIGN + 5, "class_": "sign-label"}
    return element(
        "g",
        element("title", f"{elapsed(marker.at - axis.began)} {marker.text[:300]}"),
        _line(x, y + SIGN, x, foot, "sign-line"),
        element("circle", cx=min(x, WIDTH - SIGN), cy=y, r=SIGN),
        element("text", str(number), x=min(x, WIDTH - SIGN), y=y + 3.6, class_="sign-number middle"),
        element("text", _short(marker.label, 20), y=y + 4, **where),
        class_=f"sign {marker.kind}",
    )


def _lanes(markers: Sequence[Marker], axis: Axis) -> list[int]:
    """Signs that would overlap stand below each other."""
    ends: list[float] = []
    lanes: list[int] = []
    for marker in markers:
        reach = SIGN + 9 + _wide(_short(marker.label, 20))
        x = axis(marker.at)
        left, right = (x - reach, x + SIGN + 4) if x + reach > WIDTH else (x - SIGN, x + reach)
        lane = next((n for n, end in enumerate(ends) if end <= left), len(ends))
        ends[lane : lane + 1] = [right]
        lanes.append(lane)
    return lanes


def _stores(samples: Sequence[Sample]) -> list[str]:
    """Those with the greatest lag, if there are too many, in the order of their names."""
    worst: dict[str, float] = {}
    for sample in samples:
        for store, lag in sample.lag.items():
            worst[store] = max(lag, worst.get(store, 0.0))
    return sorted(sorted(worst, key=lambda store: -worst[store])[:STORES])


def _pieces(samples: Sequence[Sample], there: Callable[[Sample], bool]) -> Iterator[list[Sample]]:
    """Runs of samples without a hole in time between them."""
    piece: list[Sample] = []
    for sample in samples:
        if piece and (not there(sample) or sample.began - piece[-1].ended > 1e-6):
            yield piece
            piece = []
        if there(sample):
            piece.append(sample)
    if piece:
        yield piece


def _steps(piece: Sequence[Sample], axis: Axis, y: Callable[[Sample], float]) -> Iterator[tuple[float, float]]:
    """A rate holds for its whole second: no slope between two is invented."""
    for sample in piece:
        yield axis(sample.began), y(sample)
        yield axis(sample.ended), y(sample)


def _bars(
    samples: Sequence[Sample], axis: Axis, panel: Panel, value: Callable[[Sample], float], kind: str
) -> Iterator[Html]:
    for sample in samples:
        if (height := value(sample)) > 0:
            left, y = axis(sample.began), min(panel(height), panel.foot - 1)
            wide = max(axis(sample.ended) - left, 1.2)
            left = min(left, WIDTH - RIGHT - wide)
            yield element("rect", x=left, y=y, width=wide, height=panel.foot - y, class_=kind)


def _above(worst: float) -> float:
    """The round figure above it, as the panel's head."""
    if worst < 1e-6:
        return 1.0
    power = 10.0 ** math.floor(math.log10(worst))
    return next(step * power for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * power >= worst * 0.999)


def _polygon(points: Sequence[tuple[float, float]], kind: str) -> Html:
    return element("polygon", points=_points(points), class_=kind)


def _polyline(points: Sequence[tuple[float, float]], kind: str) -> Html:
    return element("polyline", points=_points(points), class_=kind)


def _points(points: Sequence[tuple[float, float]]) -> str:
    """Without those in the middle of a level stretch."""
    kept = [
        point
        for n, point in enumerate(points)
        if n in (0, len(points) - 1) or not (points[n - 1][1] == point[1] == points[n + 1][1])
    ]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in kept)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Html:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def _wide(text: str) -> float:
    """About how wide small text is."""
    return len(text) * 6.3


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
