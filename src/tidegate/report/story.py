"""What the events tell over time: stages, traffic, what went wrong, who decided, how the switch went."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Literal

from pydantic import JsonValue

from tidegate.engine.journal import Event
from tidegate.report.words import duration, finite

__all__ = ["PHASES", "ROLLBACK", "Band", "Marker", "Sample", "Story", "Turn", "thinned"]

PHASES = ("quiet", "fenced", "drained", "sealed", "committed", "open", "acknowledged", "released", "mirrored")
"""Of a switch, in the order in which they end."""
SPAN = 2.5
"""A sample further from the one before than this many typical intervals doesn't stand for the time between."""

ROLLBACK = ""
"""No stage has this name."""

Kind = Literal["fault", "alarm", "decision", "command", "aws", "azure"]
Cloud = Literal["aws", "azure"]


@dataclass(frozen=True, slots=True)
class Sample:
    """Rates per second between `began` and `ended`; the slowest answer in milliseconds.

    `azure` is its share, 0 to 1; None if nothing was answered.
    """

    began: float
    ended: float
    requests: float
    errors: float
    azure: float | None = None
    slowest: float = 0.0
    lag: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class Marker:
    at: float
    kind: Kind
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Band:
    """A time in which a stage ran; ROLLBACK stands for the whole way back."""

    stage: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Turn:
    """One switch of the primary. `marks`: milliseconds since the hold began at which each phase ended.

    `last`: the store for which a phase waited.
    """

    owner: Cloud
    began: float
    marks: tuple[tuple[str, float], ...]
    last: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def held(self) -> float:
        """Seconds for which requests were held."""
        released = [ms for phase, ms in self.marks if phase != "mirrored"]
        return released[-1] / 1000 if released else 0.0


@dataclass(frozen=True, slots=True)
class Story:
    """`began` is when somebody first drove the run; times are Unix seconds."""

    began: float
    ended: float
    bands: tuple[Band, ...]
    markers: tuple[Marker, ...]
    turns: tuple[Turn, ...]
    samples: tuple[Sample, ...]
    load: tuple[Sample, ...] = ()
    """The same traffic as its users saw it, where a load generator played them."""

    @classmethod
    def of(cls, events: Sequence[Event], load: JsonValue = None) -> "Story":
        first = next((event.at for event in events if event.kind == "begun"), events[0].at)
        ended = max([first, *(event.at for event in events)])
        turns = tuple(turn for event in events if (turn := _turn(event)))
        markers = sorted((*_markers(events), *map(_switched, turns)), key=lambda marker: marker.at)
        seen = tuple(sample for sample in _load(load) if first < sample.ended and sample.began < ended)
        return cls(first, ended, tuple(_bands(events)), tuple(markers), turns, _samples(events), seen)

    def seconds_of(self, stage: str) -> float | None:
        """How long a stage ran in all; None if it never did."""
        spans = [band.ended - band.began for band in self.bands if band.stage == stage]
        return sum(spans) if spans else None


def thinned(samples: Sequence[Sample], most: int) -> tuple[Sample, ...]:
    """At most so many samples. Errors and lag keep their peaks: they are what is looked for."""
    if len(samples) <= most:
        return tuple(samples)
    first, last = samples[0].began, max(sample.ended for sample in samples)
    width = (last - first) / most or 1.0
    buckets: dict[int, list[Sample]] = {}
    for sample in samples:
        buckets.setdefault(min(most - 1, max(0, int((sample.began - first) / width))), []).append(sample)
    return tuple(_merged(bucket) for _, bucket in sorted(buckets.items()))


def _merged(bucket: Sequence[Sample]) -> Sample:
    answered = [(sample.azure, sample.requests) for sample in bucket if sample.azure is not None]
    weight = sum(requests for _, requests in answered)
    stores = {store for sample in bucket for store in sample.lag}
    return Sample(
        began=min(sample.began for sample in bucket),
        ended=max(sample.ended for sample in bucket),
        requests=sum(sample.requests for sample in bucket) / len(bucket),
        errors=max(sample.errors for sample in bucket),
        azure=sum(azure * requests for azure, requests in answered) / weight if weight else None,
        slowest=max(sample.slowest for sample in bucket),
        lag={store: max(sample.lag.get(store, 0.0) for sample in bucket) for store in stores},
    )


def _bands(events: Iterable[Event]) -> Iterable[Band]:
    """What runs, runs until the next of these; when a process was killed, until its last sign of life."""
    stage: str | None = None
    began = seen = 0.0
    back = False
    for event in events:
        now = max(seen, event.at)
        ends = event.kind in ("stage-began", "decided", "paused", "stopped", "finished", "begun")
        if stage is not None and (ends or (event.kind in ("stage-done", "stage-failed") and event.stage == stage)):
            yield Band(stage, began, seen if event.kind == "begun" else now)
            stage = None
        back = back or event.kind == "decided"
        if event.kind == "stage-began":
            stage, began = event.stage, now
        elif event.kind == "decided" or (event.kind == "begun" and back):
            stage, began = ROLLBACK, now
        seen = now
    if stage is not None:
        yield Band(stage, began, seen)


def _markers(events: Iterable[Event]) -> Iterable[Marker]:
    alarm = ""
    for event in events:
        reason = str(event.figure("reason") or "")
        match event.kind:
            case "fault":
                yield Marker(event.at, "fault", "fault", str(event.figure("text") or "a fault was made"))
            case "breach":
                alarm = reason
                yield Marker(event.at, "alarm", "alarm", reason)
            case "decided":
                yield Marker(
                    event.at, "decision", "decision", "roll back" if reason == alarm else f"roll back: {reason}"
                )
            case "paused":
                yield Marker(event.at, "decision", "pause", reason)
            case "stopped":
                yield Marker(event.at, "decision", "stop", reason)
            case "command":
                verb = str(event.figure("command") or "")
                gate = event.figure("gate")
                text = f"{verb} {gate}" if gate else verb
                yield Marker(event.at, "command", verb, f"{text}, by {event.figure('by') or 'an operator'}")
            case _:
                pass


def _switched(turn: Turn) -> Marker:
    name = "Azure" if turn.owner == "azure" else "AWS"
    return Marker(
        turn.began, turn.owner, "switch", f"{name} takes the writes over; requests held for {duration(turn.held)}"
    )


def _turn(event: Event) -> Turn | None:
    figures = event.figure("figures")
    if event.kind != "step-note" or not isinstance(figures, dict):
        return None
    marks: list[tuple[str, float]] = []
    for phase in PHASES:
        ms = finite(figures.get(f"{phase} ms"))
        if ms is not None:
            marks.append((phase, max(ms, marks[-1][1] if marks else 0.0)))
    if not marks:
        return None
    owner: Cloud = "aws" if str(event.figure("text")).startswith("aws") else "azure"
    last = {phase: str(figures[f"{phase} last"]) for phase, _ in marks if f"{phase} last" in figures}
    return Turn(owner, event.at - marks[-1][1] / 1000, tuple(marks), last)


def _samples(events: Iterable[Event]) -> tuple[Sample, ...]:
    traffic = [event for event in events if event.kind == "traffic"]
    spans = _spans([event.at for event in traffic])
    return tuple(_sample(event, *span) for event, span in zip(traffic, spans, strict=True))


def _sample(event: Event, began: float, ended: float) -> Sample:
    aws, azure = _rate(event.figure("aws")), _rate(event.figure("azure"))
    lag = event.figure("lag")
    return Sample(
        began,
        ended,
        requests=_rate(event.figure("requests")),
        errors=_rate(event.figure("errors")),
        azure=azure / (aws + azure) if aws + azure > 0 else None,
        lag={store: _rate(each) for store, each in lag.items() if each is not None} if isinstance(lag, dict) else {},
    )


def _load(load: JsonValue) -> tuple[Sample, ...]:
    entries = [entry for entry in load if isinstance(entry, dict)] if isinstance(load, list) else []
    seconds = [
        Sample(at, at + 1, _rate(entry.get("requests")), _rate(entry.get("failed")), slowest=_rate(entry.get("slow")))
        for entry in entries
        if (at := finite(entry.get("at"))) is not None
    ]
    return tuple(sorted(seconds, key=lambda second: second.began))


def _rate(value: JsonValue) -> float:
    return min(max(0.0, finite(value) or 0.0), 1e15)


def _spans(times: Sequence[float]) -> list[tuple[float, float]]:
    """The time for which each sample stands: since the one before, unless that is long ago."""
    steps = [after - before for before, after in pairwise(times) if after > before]
    typical = median(steps) if steps else 1.0
    spans: list[tuple[float, float]] = []
    for at in times:
        ended = max(at, spans[-1][1]) if spans else at
        began = spans[-1][1] if spans and ended - spans[-1][1] <= SPAN * typical else ended - typical
        spans.append((began, ended))
    return spans
