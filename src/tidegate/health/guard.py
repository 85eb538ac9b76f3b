"""Watches the edge until there is evidence of harm."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tidegate.edges.edge import Counters, Counts
from tidegate.errors import TidegateError
from tidegate.health.judge import Judge
from tidegate.runbook.migration import Objectives

__all__ = ["Breach", "watch"]

INTERVAL = 0.25


@dataclass(frozen=True, slots=True)
class Breach:
    """`pause`: AWS is ill too, so that going back would help nobody."""

    verdict: Literal["roll back", "pause"]
    reason: str
    segment: str


async def watch(
    counters: Counters, objectives: Objectives, note: Callable[[str], None], before: Counts | None = None
) -> Breach:
    """Return on evidence of harm, and only then: an edge that can't be asked is told of, and is no evidence.

    `before`: as of health.judge.Judge.
    """
    judge = Judge(objectives, before)
    told = ""
    while True:
        try:
            verdict = judge.observe(await counters.count())
        except TidegateError as error:
            if str(error) != told:
                note(told := str(error))
        else:
            if verdict.state != "healthy":
                return Breach("roll back" if verdict.state == "harm" else "pause", verdict.reason, verdict.segment)
        await asyncio.sleep(INTERVAL)
