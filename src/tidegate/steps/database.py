"""The steps of one database: replicate, verify, prove after the switch, finish."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import JsonValue

from tidegate.errors import TidegateError
from tidegate.postgres.database import DatabaseMove
from tidegate.postgres.verify import VerifyReport
from tidegate.runbook.step import Action, Context, Finding, Interruptible, NoFacts
from tidegate.steps.workload import FactlessStep

__all__ = ["DatabaseFinish", "DatabaseProve", "DatabaseReplicate", "DatabaseVerify"]


class DatabaseStep(FactlessStep):
    store: str

    @property
    def database(self) -> DatabaseMove:
        return self.workload.databases[self.store]

    def plan(self, facts: NoFacts) -> Sequence[Action]:
        return []

    async def apply(self, context: Context, facts: NoFacts) -> None:
        pass

    async def undo(self, context: Context, facts: NoFacts) -> None:
        pass


class DatabaseReplicate(DatabaseStep):
    """Schema, rows and the stream that keeps them the same."""

    uses: str = "database-replicate"

    def plan(self, facts: NoFacts) -> Sequence[Action]:
        return [
            Action(
                verb="create",
                target=f"azure:{self.store}",
                detail="schema, roles and rows as on AWS, then every change as it is made",
                undo="drop what was copied, the stream and its roles, on both sides",
            )
        ]

    async def apply(self, context: Context, facts: NoFacts) -> None:
        await self.database.replicate(context.note)

    async def check(self, context: Context, facts: NoFacts) -> Sequence[Finding]:
        streaming = await self.database.streaming()
        message = f"{self.store} is copied, and its changes stream" if streaming else f"{self.store} doesn't stream"
        return [Finding(check=self.name, verdict="pass" if streaming else "fail", message=message)]

    async def undo(self, context: Context, facts: NoFacts) -> None:
        await self.database.remove(target_gone=context.forced)


class DatabaseVerify(DatabaseStep):
    """The whole content compared, while changes go on."""

    uses: str = "database-verify"

    async def apply(self, context: Context, facts: NoFacts) -> None:
        context.remember("report", _summary(await self.compare(context)))

    async def compare(self, context: Context) -> VerifyReport:
        return await self.database.verify(context.note)

    async def check(self, context: Context, facts: NoFacts) -> Sequence[Finding]:
        """From the report kept in the journal: comparing again would prove nothing about this one."""
        kept = context.recall("report")
        if not isinstance(kept, dict):
            return [Finding(check=self.name, verdict="fail", message=f"{self.store} has not been compared")]
        rows, wrong = kept["rows"], str(kept["wrong"])
        if wrong:
            return [Finding(check=self.name, verdict="fail", message=f"{self.store} differs: {wrong}")]
        message = f"{self.store}: {int(str(rows)):,} rows in {kept['tables']} tables are the same on both sides"
        return [Finding(check=self.name, verdict="pass", message=message, observed=float(str(rows)))]


class DatabaseProve(DatabaseVerify):
    """After the switch: what both sides were at its moment, while writes go on.

    A process that didn't make the switch has nothing of that moment: it compares what is there now.
    """

    uses: str = "database-prove"

    async def compare(self, context: Context) -> VerifyReport:
        store = self.workload.turned.pop(self.store, None)
        if store is not None:
            try:
                proof = await store.prove(context.note)
            finally:
                await store.close()
            if proof.report is not None:
                return proof.report
            context.note(proof.inconclusive)
        return await super().compare(context)


class DatabaseFinish(DatabaseStep):
    uses: str = "database-finish"

    interruptible: ClassVar[Interruptible] = "never"

    def plan(self, facts: NoFacts) -> Sequence[Action]:
        detail = "end the mirror to AWS; remove slots, publications, subscriptions and roles made for the run"
        return [Action(verb="delete", target=f"mirror of {self.store}", detail=detail)]

    async def apply(self, context: Context, facts: NoFacts) -> None:
        await self.database.disarm()

    async def check(self, context: Context, facts: NoFacts) -> Sequence[Finding]:
        left = await self.database.left_behind()
        message = f"left behind: {', '.join(left)}" if left else f"nothing of the run is left in {self.store}"
        return [Finding(check=self.name, verdict="fail" if left else "pass", message=message)]

    async def undo(self, context: Context, facts: NoFacts) -> None:
        raise TidegateError("the mirror has ended: this is past the point of no return", where=self.name)


def _summary(report: VerifyReport) -> dict[str, JsonValue]:
    wrong = [f"{table.name} ({table.difference})" for table in report.mismatched]
    return {
        "rows": report.rows,
        "tables": len(report.tables),
        "mismatched": sum(table.mismatched for table in report.mismatched),
        "wrong": "; ".join(wrong[:5]),
    }
