"""Nobody is served while what can't be followed is brought over: the edge answers, workers are idle."""

import time
from collections.abc import Sequence

from tidegate.edges.edge import Routes
from tidegate.endpoints import Entry
from tidegate.errors import CheckFailed, DeadlinePassed
from tidegate.runbook.migration import Cloud
from tidegate.runbook.step import Action, Context, Finding, NoFacts
from tidegate.steps.workload import FactlessStep

__all__ = ["Maintenance"]

SETTLE_SECONDS = 60.0
"""For requests and jobs that had begun."""


class Maintenance(FactlessStep):
    uses: str = "maintenance"

    def plan(self, facts: NoFacts) -> Sequence[Action]:
        response = self.workload.migration.edge.maintenance
        workers = sorted({name for name, _ in self.workload.directory.deployments("worker")})
        return [
            Action(
                verb="change",
                target="edge",
                detail=f"answer every request with 503, to be tried again after {response.retry_after:g} s",
                undo="serve them on AWS",
            ),
            *(Action(verb="change", target=worker, detail="idle", undo="active on AWS") for worker in workers),
        ]

    async def apply(self, context: Context, facts: NoFacts) -> None:
        """Raises CheckFailed if what had begun doesn't end: users aren't kept away for it."""
        deadline, idle = time.monotonic() + SETTLE_SECONDS, self._idle()
        await self.workload.edge.write(Routes(maintenance=True))
        try:
            await self.workload.edge.settle(deadline)
            self.workload.directory.write(idle)
            await self.workload.directory.acknowledged(idle, deadline)
        except DeadlinePassed as late:
            raise CheckFailed(late.why, where=late.where, mend=late.mend) from None
        context.note("the edge tells everybody of the maintenance; workers are idle")

    async def check(self, context: Context, facts: NoFacts) -> Sequence[Finding]:
        directory, idle = self.workload.directory, self._idle()
        away = (await self.workload.edge.read()).maintenance
        still = all(directory.read(*worker) == entry for worker, entry in idle.items()) and not directory.silent(idle)
        message = "nobody is served, and no worker works" if away and still else "somebody may still be served"
        return [Finding(check=self.name, verdict="pass" if away and still else "fail", message=message)]

    async def undo(self, context: Context, facts: NoFacts) -> None:
        """Users last: AWS's instances can serve them then. One that doesn't answer keeps nobody else away."""
        entries = self.workload.directory.settled("aws")
        self.workload.directory.write(entries)
        at_home = {deployment: entry for deployment, entry in entries.items() if deployment[1] == "aws"}
        try:
            await self.workload.directory.acknowledged(at_home, time.monotonic() + SETTLE_SECONDS)
        except DeadlinePassed as late:
            context.note(f"served again, but not acknowledged: {late.where}")
        await self.workload.edge.write(Routes())

    def _idle(self) -> dict[tuple[str, Cloud], Entry]:
        return {worker: Entry("aws", active=False) for worker in self.workload.directory.deployments("worker")}
