"""What a bake has seen: enough traffic to have shown the harm that the plan names, or not."""

import asyncio
from dataclasses import dataclass

from tidegate.edges.edge import Counts
from tidegate.errors import Unreachable
from tidegate.health.judge import detectable
from tidegate.runbook.step import Finding
from tidegate.steps.workload import Workload

__all__ = ["Evidence"]

LOOK = 0.5
"""Seconds between two looks at the edge's counters."""


@dataclass(slots=True)
class Evidence:
    """Azure's answers since the bake began. That nothing harmful was among them, the stage's guard has judged.

    `part`: the segment whose own answers are counted too.
    """

    workload: Workload
    last: Counts
    part: str | None = None
    requests: int = 0
    failed: int = 0
    of_part: int = 0

    @classmethod
    async def begin(cls, workload: Workload, part: str | None = None) -> "Evidence":
        return cls(workload, await workload.edge.count(), part)

    async def gather(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (left := end - loop.time()) > 0:
            await asyncio.sleep(min(left, LOOK))
            await self.look()

    async def look(self) -> None:
        try:
            now = await self.workload.edge.count()
        except Unreachable:
            return  # nothing was seen; that is no evidence of anything
        for key, count in now.items():
            earlier = self.last.get(key)
            if key[1] == "azure" and earlier is not None and count.total >= earlier.total:
                self.requests += count.total - earlier.total
                self.failed += count.failed - earlier.failed
                self.of_part += count.total - earlier.total if key[0] == self.part else 0
        self.last = now

    async def finding(self, check: str) -> Finding:
        """Inconclusive as long as harm of the size `objectives.detect` could have gone unseen."""
        await self.look()
        objectives = self.workload.migration.objectives
        least = detectable(self.requests, objectives, len({segment for segment, _ in self.last}))
        own = f" ({self.of_part:,} of {self.part.partition(':')[2]})" if self.part else ""
        seen = (
            f"Azure answered {self.requests:,} requests{own}, {self.failed:,} failed; "
            f"an error rate of {least:.1%} would have shown"
        )
        if least <= objectives.detect:
            return Finding(check=check, verdict="pass", message=seen, observed=self.requests, detectable=least)
        message = f"{seen}, the plan asks for {objectives.detect:.1%}: more traffic is needed"
        return Finding(check=check, verdict="inconclusive", message=message, observed=self.requests, detectable=least)
