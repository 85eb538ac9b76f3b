"""One more part of the users on Azure, then a bake: health is judged before the next part follows."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import PrivateAttr

from tidegate.edges.criteria import after_shift, segment_of
from tidegate.edges.edge import Routes
from tidegate.runbook.migration import Shift as ShiftSpec
from tidegate.runbook.step import Action, Context, Facts, Finding, Interruptible, NoFacts
from tidegate.steps.evidence import Evidence
from tidegate.steps.workload import FactlessStep, PlaneStep

__all__ = ["Shift", "TrafficHome"]


class RoutesBefore(Facts):
    azure: list[str]
    basis_points: int


class Shift(PlaneStep[RoutesBefore]):
    uses: str = "shift"
    shift: ShiftSpec
    bake: float

    interruptible: ClassVar[Interruptible] = "always"
    _evidence: Evidence | None = PrivateAttr(default=None)

    @property
    def facts_type(self) -> type[RoutesBefore]:
        return RoutesBefore

    async def read(self, context: Context) -> RoutesBefore:
        routes = await self.workload.edge.read()
        return RoutesBefore(azure=sorted(routes.azure), basis_points=routes.basis_points)

    def plan(self, facts: RoutesBefore) -> Sequence[Action]:
        whom = f"{self.shift.percent:g} % of the users" if self.shift.percent else f"everybody of {self.shift.label}"
        return [
            Action(verb="change", target="edge", detail=f"{whom} to Azure", undo="one write sends everybody to AWS"),
            Action(verb="wait", target="edge", detail=f"judge health for {self.bake:g} s", undo="nothing to take back"),
        ]

    def routes(self, facts: RoutesBefore) -> Routes:
        return after_shift(Routes(frozenset(facts.azure), facts.basis_points), self.shift)

    async def apply(self, context: Context, facts: RoutesBefore) -> None:
        routes = self.routes(facts)
        await self.workload.edge.write(routes)
        context.note(
            f"{self.shift.label} on Azure; health is judged for {self.bake:g} s", share=routes.basis_points / 1e4
        )
        self._evidence = await Evidence.begin(self.workload, segment_of(self.shift))
        await self._evidence.gather(self.bake)

    async def check(self, context: Context, facts: RoutesBefore) -> Sequence[Finding]:
        if await self.workload.edge.read() != self.routes(facts):
            message = "the edge doesn't obey these routes"
            return [Finding(check=f"{self.name}.routes", verdict="fail", message=message)]
        if self._evidence is None:
            message = "nobody has watched this bake to its end"
            return [Finding(check=f"{self.name}.health", verdict="inconclusive", message=message)]
        return [await self._evidence.finding(f"{self.name}.health")]

    async def undo(self, context: Context, facts: RoutesBefore) -> None:
        await self.workload.edge.write(Routes())


class TrafficHome(FactlessStep):
    """One write at the edge: everybody to AWS. The first thing that a rollback does."""

    uses: str = "traffic-home"

    def plan(self, facts: NoFacts) -> Sequence[Action]:
        return [Action(verb="change", target="edge", detail="everybody to AWS", undo="nothing to take back")]

    async def apply(self, context: Context, facts: NoFacts) -> None:
        """A maintenance goes on: what serves them is still closed."""
        await self.workload.edge.write(Routes(maintenance=(await self.workload.edge.read()).maintenance))

    async def check(self, context: Context, facts: NoFacts) -> Sequence[Finding]:
        home = (await self.workload.edge.read()).home
        message = "the edge sends everybody to AWS" if home else "the edge still sends users to Azure"
        return [Finding(check=self.name, verdict="pass" if home else "fail", message=message)]

    async def undo(self, context: Context, facts: NoFacts) -> None:
        pass
