"""Every reason that the migration would fail, looked for before it starts."""

from collections.abc import Sequence

from tidegate.runbook.step import Action, Context, Facts, Finding
from tidegate.steps.workload import PlaneStep

__all__ = ["Preflight"]


class Found(Facts):
    findings: list[Finding]


class Preflight(PlaneStep[Found]):
    uses: str = "preflight"

    @property
    def facts_type(self) -> type[Found]:
        return Found

    async def read(self, context: Context) -> Found:
        """Raises Unreachable or Refused, naming the server, if one can't be asked."""
        workload = self.workload
        findings: list[Finding] = []
        for name, store in [*workload.databases.items(), *workload.buckets.items()]:
            found = (await store.facts()).findings
            findings += [
                Finding(check=f"{name}.{each.check}", verdict=each.verdict, message=each.message) for each in found
            ]
        routes = await workload.edge.read()
        message = "the edge answers; everybody is on AWS" if routes.home else "the edge sends users to Azure already"
        findings.append(Finding(check="edge.routes", verdict="pass" if routes.home else "fail", message=message))
        return Found(findings=findings)

    def plan(self, facts: Found) -> Sequence[Action]:
        return []

    async def apply(self, context: Context, facts: Found) -> None:
        pass

    async def check(self, context: Context, facts: Found) -> Sequence[Finding]:
        return facts.findings

    async def undo(self, context: Context, facts: Found) -> None:
        pass
