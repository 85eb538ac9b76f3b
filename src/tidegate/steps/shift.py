"""One more part of the users on Azure, then a bake: health is judged before the next part follows."""

import asyncio
import time
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import PrivateAttr

from tidegate.edges.criteria import routes_after, segment_of
from tidegate.edges.edge import Counts, Routes
from tidegate.health.judge import detectable
from tidegate.runbook.migration import Shift as ShiftSpec
from tidegate.runbook.step import Action, Context, Facts, Finding
from tidegate.steps.workload import PlaneStep

__all__ = ["Evidence", "Shift", "TrafficHome", "Watch"]

LONGER = 1.0
"""Seconds by which a bake goes on when it hasn't seen enough traffic."""


class RoutesBefore(Facts):
    azure: list[str]
    basis_points: int


class Evidence:
    """How much Azure has answered since a bake began, and what harm that would have shown."""

    def __init__(self, before: Counts) -> None:
        self.before = before

    def finding(self, check: str, now: Counts, detect: float, error_rate: float) -> Finding:
        """Inconclusive as long as harm of the size `detect` could have gone unseen."""
        requests = failed = 0
        for key, count in now.items():
            if key[1] == "azure":
                earlier = self.before.get(key)
                requests += count.total - (earlier.total if earlier else 0)
                failed += count.failed - (earlier.failed if earlier else 0)
        least = detectable(requests, error_rate)
        seen = f"Azure answered {requests:,} requests, {failed:,} failed; an error rate of {least:.1%} would have shown"
        if least > detect:
            message = f"{seen}, but the plan asks for {detect:.1%}: waiting for more traffic"
            return Finding(check=check, verdict="inconclusive", message=message, observed=requests, detectable=least)
        return Finding(check=check, verdict="pass", message=seen, observed=requests, detectable=least)
