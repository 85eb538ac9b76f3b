"""Health watched for a while, with nothing changed."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import PrivateAttr

from tidegate.runbook.step import Action, Context, Finding, Interruptible, NoFacts
from tidegate.steps.evidence import Evidence
from tidegate.steps.workload import FactlessStep

__all__ = ["Watch"]


class Watch(FactlessStep):
    uses: str = "watch"
    seconds: float

    interruptible: ClassVar[Interruptible] = "always"
    _evidence: Evidence | None = PrivateAttr(default=None)

    def plan(self, facts: NoFacts) -> Sequence[Action]:
        detail = f"judge health for {self.seconds:g} s"
        return [Action(verb="wait", target="edge", detail=detail, undo="nothing to take back")]

    async def apply(self, context: Context, facts: NoFacts) -> None:
        context.note(f"health is judged for {self.seconds:g} s")
        self._evidence = await Evidence.begin(self.workload)
        await self._evidence.gather(self.seconds)

    async def check(self, context: Context, facts: NoFacts) -> Sequence[Finding]:
        if self._evidence is None:
            message = "nobody has watched to the end"
            return [Finding(check=self.name, verdict="inconclusive", message=message)]
        return [await self._evidence.finding(self.name)]

    async def undo(self, context: Context, facts: NoFacts) -> None:
        pass
