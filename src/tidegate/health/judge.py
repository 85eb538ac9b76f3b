"""Is Azure harming users? E-processes over the edge's counters: evidence that may be looked at as often as one likes.

An e-process is a bet against the null hypothesis; under it, the chance that it ever exceeds 1/alpha is at most
alpha (Ville's inequality), however long it is watched. Per segment there are two:

- *ratio*: given that a request failed, was it more often Azure's than twice AWS's rate would explain? AWS's
  users of the same segment at the same time are the control.
- *absolute*: does Azure fail more often than the objective, or than twice what AWS did in this segment before?
  It stands alone where nobody of a segment is on AWS any more.

A last one, absolute, is over all of Azure's requests: harm that is everywhere shows there soonest.

Each mixes over how large the harm is and over when it began. Alpha is split over all of them. Where AWS
fails beyond the objective as well, going back would not help: that is for a human.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tidegate.edges.edge import Count, Counts
from tidegate.runbook.migration import Cloud, Objectives

__all__ = ["Judge", "Verdict", "detectable"]

EFFECTS = (2.0, 4.0, 8.0, 16.0, 40.0)
"""Harm is bet on at these multiples of what the null hypothesis allows."""
TOLERATED_RATIO = 2.0
HIGHEST = 0.9
POWER_QUANTILE = 1.2816
"""The normal quantile of 90 %: what a bake could detect, it would have detected nine times out of ten."""
ENOUGH_HISTORY = 200
CONTROL_EVIDENCE = 20.0
"""Evidence against AWS itself that is taken for "AWS is ill too"."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`evidence` is the greatest e-value, in units of the alarm's threshold: at 1 it alarms."""

    state: Literal["healthy", "harm", "both ill"]
    segment: str = ""
    evidence: float = 0.0
    reason: str = ""


@dataclass(slots=True)
class _Wager:
    """One e-process: a mixture over effect sizes and start times, kept as one number per effect size."""

    stakes: list[float] = field(default_factory=lambda: [0.0] * len(EFFECTS))
    ticks: int = 0
    kept: float = 1.0

    def play(self, log_ratios: list[float]) -> None:
        """Half of the stake is bet at once, the other half in ever smaller parts later (sum of 1/t^2)."""
        weight = 0.5 if self.ticks == 0 else 0.5 * 6 / math.pi**2 / self.ticks**2
        self.ticks += 1
        self.kept -= weight
        self.stakes = [
            min((stake + weight) * math.exp(min(log_ratio, 600.0)), 1e300)
            for stake, log_ratio in zip(self.stakes, log_ratios, strict=True)
        ]

    @property
    def value(self) -> float:
        return sum(self.stakes) / len(EFFECTS) + max(self.kept, 0.0)


@dataclass(slots=True)
class _Segment:
    ratio: _Wager = field(default_factory=_Wager)
    absolute: _Wager = field(default_factory=_Wager)
    control: _Wager = field(default_factory=_Wager)
    azure: Count = field(default_factory=Count)
    aws: Count = field(default_factory=Count)


class Judge:
    """`observe` takes the edge's cumulative counters; what was counted before is AWS's history.

    `before`: at which count that ended. By default at the first call.
    """

    def __init__(self, objectives: Objectives, before: Counts | None = None) -> None:
        self.objectives, self._before = objectives, before
        self._last: Counts | None = None
        self._history: dict[str, Count] = {}
        self._segments: dict[str, _Segment] = {}
        self._whole = _Segment()

    @property
    def threshold(self) -> float:
        return alarm_threshold(self.objectives, len(self._segments))

    def observe(self, counts: Mapping[tuple[str, Cloud], Count]) -> Verdict:
        """A counter that fell was reset with its edge: what it shows is a new beginning, no harm."""
        now = dict(counts)
        if self._last is None:
            self._last = now
            self._segments = {name: _Segment() for name, _ in now}
            before = now if self._before is None else self._before
            self._history = {name: count for (name, cloud), count in before.items() if cloud == "aws"}
            return Verdict("healthy")
        new = {name: (self._new(now, name, "azure"), self._new(now, name, "aws")) for name in self._segments}
        for name, segment in self._segments.items():
            self._play(name, segment, *new[name])
        self._play_whole(new)
        self._last = now
        return self._verdict()

    def _new(self, now: Counts, name: str, cloud: Cloud) -> Count:
        before, after = (self._last or {}).get((name, cloud), Count()), now.get((name, cloud), Count())
        if after.total < before.total or after.failed < before.failed:
            return Count()
        return Count(after.total - before.total, after.failed - before.failed)

    def _play(self, name: str, segment: _Segment, azure: Count, aws: Count) -> None:
        segment.azure, segment.aws = _plus(segment.azure, azure), _plus(segment.aws, aws)
        if azure.total and aws.total:
            segment.ratio.play(_ratio_bets(azure, aws))
        if azure.total:
            segment.absolute.play(_absolute_bets(azure, self._acceptable(name)))
        if aws.total:
            segment.control.play(_absolute_bets(aws, self.objectives.error_rate))

    def _play_whole(self, new: Mapping[str, tuple[Count, Count]]) -> None:
        """As much may fail as in the worst segment that had any: no mixture of them is a false alarm."""
        azure, aws = Count(), Count()
        for of_azure, of_aws in new.values():
            azure, aws = _plus(azure, of_azure), _plus(aws, of_aws)
        self._whole.azure, self._whole.aws = _plus(self._whole.azure, azure), _plus(self._whole.aws, aws)
        if azure.total:
            acceptable = max(self._acceptable(name) for name, (of_azure, _) in new.items() if of_azure.total)
            self._whole.absolute.play(_absolute_bets(azure, acceptable))

    def _acceptable(self, name: str) -> float:
        """The objective; or twice AWS's own history of the segment, where that is worse."""
        history = self._history.get(name, Count())
        if history.total < ENOUGH_HISTORY:
            return self.objectives.error_rate
        return min(HIGHEST / 2, max(self.objectives.error_rate, TOLERATED_RATIO * history.failed / history.total))

    def _verdict(self) -> Verdict:
        every = [*self._segments.items(), ("", self._whole)]
        name, segment = max(every, key=lambda item: _evidence(item[1]))
        evidence = _evidence(segment) / self.threshold
        if evidence < 1:
            return Verdict("healthy", name, evidence)
        observed = (
            f"Azure failed {segment.azure.failed:,} of {segment.azure.total:,} requests, "
            f"AWS {segment.aws.failed:,} of {segment.aws.total:,}"
        )
        of = f"{name}: " if name else ""
        # Compared with AWS, Azure is worse: then it doesn't matter that AWS isn't well either.
        if segment.ratio.value < self.threshold and self._aws_is_ill():
            return Verdict("both ill", name, evidence, f"{of}{observed}: both clouds fail beyond the objective")
        return Verdict("harm", name, evidence, f"{of}{observed}")

    def _aws_is_ill(self) -> bool:
        return any(segment.control.value >= CONTROL_EVIDENCE for segment in self._segments.values())


def alarm_threshold(objectives: Objectives, segments: int) -> float:
    return (2 * segments + 1) / objectives.false_alarms


def detectable(requests: int, objectives: Objectives, segments: int) -> float:
    """The smallest error rate among all of this many requests that would have shown, nine times out of ten; 1 if none.

    `segments`: how many the edge counts.
    """
    needed = math.log(alarm_threshold(objectives, segments))
    rate = objectives.error_rate
    while rate < 1:
        rate = min(1.0, rate * 1.05)
        failed = math.floor(requests * rate - POWER_QUANTILE * math.sqrt(requests * rate * (1 - rate)))
        if failed > 0:
            bets = _absolute_bets(Count(requests, failed), objectives.error_rate)
            best = max(bets)
            if best + math.log(0.5 * sum(math.exp(bet - best) for bet in bets) / len(bets)) >= needed:
                return rate
    return 1.0


def _evidence(segment: _Segment) -> float:
    return max(segment.ratio.value, segment.absolute.value)


def _ratio_bets(azure: Count, aws: Count) -> list[float]:
    """Of all failures, how many are Azure's: binomial, with a probability that the null hypothesis bounds."""
    expected = TOLERATED_RATIO * azure.total
    null = expected / (expected + aws.total)
    bets: list[float] = []
    for effect in EFFECTS:
        harmed = effect * expected / (effect * expected + aws.total)
        bets.append(azure.failed * math.log(harmed / null) + aws.failed * math.log((1 - harmed) / (1 - null)))
    return bets


def _absolute_bets(count: Count, acceptable: float) -> list[float]:
    bets: list[float] = []
    for effect in EFFECTS:
        rate = min(HIGHEST, effect * acceptable)
        succeeded = max(0, count.total - count.failed)
        bets.append(count.failed * math.log(rate / acceptable) + succeeded * math.log((1 - rate) / (1 - acceptable)))
    return bets


def _plus(one: Count, other: Count) -> Count:
    return Count(one.total + other.total, one.failed + other.failed)
