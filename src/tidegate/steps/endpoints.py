"""Components of both clouds pointed at their stores, which are still on AWS."""

import time
from collections.abc import Sequence

from tidegate.endpoints import Entry
from tidegate.errors import DeadlinePassed
from tidegate.runbook.migration import Cloud
from tidegate.runbook.step import Action, Context, Facts, Finding
from tidegate.steps.workload import PlaneStep

__all__ = ["Endpoints"]

ACKNOWLEDGE_SECONDS = 60.0


class Told(Facts):
    """What each deployment had been told before: "name cloud" -> (primary, active), None for nothing."""

    before: dict[str, tuple[Cloud, bool] | None]


class Endpoints(PlaneStep[Told]):
    uses: str = "endpoints"

    @property
    def facts_type(self) -> type[Told]:
        return Told

    async def read(self, context: Context) -> Told:
        directory = self.workload.directory
        before: dict[str, tuple[Cloud, bool] | None] = {}
        for name, cloud in directory.deployments():
            entry = directory.read(name, cloud)
            before[f"{name} {cloud}"] = (entry.primary, entry.active) if entry else None
        return Told(before=before)

    def plan(self, facts: Told) -> Sequence[Action]:
        return [
            Action(
                verb="change",
                target=f"{name} on {cloud}",
                detail="uses the stores on AWS, and acknowledges it",
                undo="what it was told before",
            )
            for name, cloud in self.workload.directory.deployments()
        ]

    async def apply(self, context: Context, facts: Told) -> None:
        directory = self.workload.directory
        entries = directory.settled("aws")
        directory.write(entries)
        await directory.acknowledged(entries, time.monotonic() + ACKNOWLEDGE_SECONDS)

    async def check(self, context: Context, facts: Told) -> Sequence[Finding]:
        directory = self.workload.directory
        entries = directory.settled("aws")
        wrong = [f"{n} on {c}" for (n, c), entry in entries.items() if directory.read(n, c) != entry]
        silent = directory.silent(entries)
        if wrong or silent:
            message = f"not pointed at AWS's stores: {', '.join(wrong or silent)}"
            return [Finding(check=self.name, verdict="fail", message=message)]
        message = f"{len(entries)} deployments use AWS's stores and have acknowledged it"
        return [Finding(check=self.name, verdict="pass", message=message, observed=len(entries))]

    async def undo(self, context: Context, facts: Told) -> None:
        """Where nothing had been told, the files stay: an instance that lost its stores would serve nobody."""
        directory = self.workload.directory
        entries: dict[tuple[str, Cloud], Entry] = {
            (name, cloud): Entry(entry[0], active=entry[1])
            for (name, cloud) in directory.deployments()
            if (entry := facts.before.get(f"{name} {cloud}")) is not None
        }
        directory.write(entries)
        try:
            await directory.acknowledged(entries, time.monotonic() + ACKNOWLEDGE_SECONDS)
        except DeadlinePassed as error:
            context.note(f"taken back, but not acknowledged: {error.where}")
