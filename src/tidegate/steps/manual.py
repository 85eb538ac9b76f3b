"""What only a person can do: told to its owner, confirmed with `approve`."""

from collections.abc import Sequence
from typing import ClassVar

from tidegate.runbook.step import Action, Context, Finding, Interruptible, NoFacts, Step

__all__ = ["Manual"]


class Manual(Step[NoFacts]):
    uses: str = "manual"
    owner: str
    instructions: str
    take_back: str | None = None

    interruptible: ClassVar[Interruptible] = "always"

    @property
    def facts_type(self) -> type[NoFacts]:
        return NoFacts

    async def read(self, context: Context) -> NoFacts:
        return NoFacts()

    def plan(self, facts: NoFacts) -> Sequence[Action]:
        undo = f"{self.owner}: {self.take_back}" if self.take_back else "nothing to take back"
        return [Action(verb="ask", target=self.owner, detail=self.instructions, undo=undo)]

    async def apply(self, context: Context, facts: NoFacts) -> None:
        context.note(f"{self.owner}: {self.instructions}")

    async def check(self, context: Context, facts: NoFacts) -> Sequence[Finding]:
        """Inconclusive until somebody confirms it: the engine waits for that."""
        by = context.approved(self.name)
        if by is None:
            message = f"{self.owner} has to confirm: {self.instructions}"
            return [Finding(check=self.name, verdict="inconclusive", message=message)]
        return [Finding(check=self.name, verdict="pass", message=f"confirmed by {by}")]

    async def undo(self, context: Context, facts: NoFacts) -> None:
        if self.take_back:
            context.note(f"for {self.owner} to take back: {self.take_back}")
