"""The steps of one bucket: replicate, verify, prove after the switch, finish."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import JsonValue

from tidegate.errors import TidegateError
from tidegate.objects.bucket import BucketMove
from tidegate.objects.verify import VerifyReport
from tidegate.runbook.step import Action, Context, Finding, Interruptible, NoFacts
from tidegate.steps.workload import FactlessStep

__all__ = ["BucketFinish", "BucketProve", "BucketReplicate", "BucketVerify"]


class BucketStep(FactlessStep):
    store: str

    @property
    def bucket(self) -> BucketMove:
        return self.workload.buckets[self.store]

    def plan(self, facts: NoFacts) -> Sequence[Action]:
        return []

    async def apply(self, context: Context, facts: NoFacts) -> None:
        pass

    async def undo(self, context: Context, facts: NoFacts) -> None:
        pass


class BucketReplicate(BucketStep):
    """All objects, then every change; what keeps up runs beside the steps (steps/companions.py)."""

    uses: str = "bucket-replicate"

    def plan(self, facts: NoFacts) -> Sequence[Action]:
        return [
            Action(
                verb="create",
                target=f"azure:{self.store}",
                detail="every object, then every change as it is made",
                undo="delete what was copied, and the container if it was made for it",
            )
        ]

    async def apply(self, context: Context, facts: NoFacts) -> None:
        await self.bucket.copy(context.note)

    async def check(self, context: Context, facts: NoFacts) -> Sequence[Finding]:
        copied = await self.bucket.copied()
        message = f"{self.store} is copied" if copied else f"{self.store} is not copied to its end"
        return [Finding(check=self.name, verdict="pass" if copied else "fail", message=message)]

    async def undo(self, context: Context, facts: NoFacts) -> None:
        await self.bucket.remove(target_gone=context.forced)


class BucketVerify(BucketStep):
    """Every object's content compared, while changes go on."""

    uses: str = "bucket-verify"

    async def apply(self, context: Context, facts: NoFacts) -> None:
        context.remember("report", _summary(await self.bucket.verify(context.note)))

    async def check(self, context: Context, facts: NoFacts) -> Sequence[Finding]:
        kept = context.recall("report")
        if not isinstance(kept, dict):
            return [Finding(check=self.name, verdict="fail", message=f"{self.store} has not been compared")]
        if kept["wrong"]:
            return [Finding(check=self.name, verdict="fail", message=f"{self.store} differs: {kept['wrong']}")]
        message = f"{self.store}: {int(str(kept['objects'])):,} objects are the same on both sides"
        return [Finding(check=self.name, verdict="pass", message=message, observed=float(str(kept["objects"])))]


class BucketProve(BucketVerify):
    """After the switch: what came too late is copied create-only, then all is compared."""

    uses: str = "bucket-prove"

    async def apply(self, context: Context, facts: NoFacts) -> None:
        context.remember("report", _summary(await self.bucket.settle(context.note)))


class BucketFinish(BucketStep):
    uses: str = "bucket-finish"

    interruptible: ClassVar[Interruptible] = "never"

    def plan(self, facts: NoFacts) -> Sequence[Action]:
        return [Action(verb="delete", target=f"mirror of {self.store}", detail="changes no longer go back to AWS")]

    async def apply(self, context: Context, facts: NoFacts) -> None:
        await self.bucket.disarm()

    async def check(self, context: Context, facts: NoFacts) -> Sequence[Finding]:
        ended = self.bucket.phase in (None, "ended")
        message = f"{self.store} lives on Azure alone" if ended else f"changes of {self.store} still go to AWS"
        return [Finding(check=self.name, verdict="pass" if ended else "fail", message=message)]

    async def undo(self, context: Context, facts: NoFacts) -> None:
        raise TidegateError("the mirror has ended: this is past the point of no return", where=self.name)


def _summary(report: VerifyReport) -> dict[str, JsonValue]:
    wrong = ", ".join(each.key for each in report.first[:5])
    return {"objects": report.objects, "mismatched": report.differences, "wrong": wrong}
