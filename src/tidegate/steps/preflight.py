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
        components = workload.migration.components.values()
        for name, database in workload.databases.items():
            users = {component.logins[name].user for component in components if name in component.logins}
            findings += _of(name, (await database.facts(users)).findings)
        for name, bucket in workload.buckets.items():
            findings += _of(name, (await bucket.facts()).findings)
        routes = await workload.edge.read()
        wrong = "it serves nobody" if routes.maintenance else "" if routes.home else "it sends users to Azure already"
        message = f"the edge answers; {wrong or 'everybody is on AWS'}"
        findings.append(Finding(check="edge.routes", verdict="fail" if wrong else "pass", message=message))
        return Found(findings=findings)

    def plan(self, facts: Found) -> Sequence[Action]:
        return []

    async def apply(self, context: Context, facts: Found) -> None:
        pass

    async def check(self, context: Context, facts: Found) -> Sequence[Finding]:
        return facts.findings

    async def undo(self, context: Context, facts: Found) -> None:
        pass


def _of(store: str, findings: Sequence[Finding]) -> list[Finding]:
    return [finding.model_copy(update={"check": f"{store}.{finding.check}"}) for finding in findings]
