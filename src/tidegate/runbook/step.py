"""The contract that every step keeps: read, plan, apply, check, undo."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue

from tidegate.runbook.migration import Migration

__all__ = ["Action", "Context", "Facts", "Finding", "Interruptible", "NoFacts", "Step", "Verdict"]

Verdict = Literal["pass", "fail", "inconclusive"]
Interruptible = Literal["always", "to stop", "never"]


class Facts(BaseModel):
    """What `read` saw. Journalled before any effect; `undo` gets the same facts back."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NoFacts(Facts):
    """For steps that need to know nothing beforehand."""


class Action(BaseModel):
    """One effect, at the size that an operator approves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verb: Literal["create", "change", "delete", "run", "ask", "wait"]
    target: str
    detail: str
    undo: str | None = None
    """What takes it back. None: nothing does; the plan then shows a point of no return before it."""


class Finding(BaseModel):
    """One check's verdict, with what was observed and what it could have detected.

    `where`: the server or thing that was looked at; `mend`: what to do about it. Empty where there is nothing to say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: str
    verdict: Verdict
    message: str
    where: str = ""
    mend: str = ""
    observed: float | None = None
    detectable: float | None = None


class Context(Protocol):
    """All that a step may touch besides its planes."""

    @property
    def run(self) -> str: ...
    @property
    def migration(self) -> Migration: ...
    @property
    def forced(self) -> bool:
        """The target's stores are gone and an operator has approved a rollback without them."""
        ...

    def note(self, text: str, **figures: float | str) -> None:
        """Say what is going on; kept in the journal."""
        ...

    def remember(self, key: str, value: JsonValue) -> None:
        """Keep a value of this step's own, durably, before the effect that depends on it."""
        ...

    def recall(self, key: str) -> JsonValue:
        """The last value kept under this key, also by an earlier process. None if there is none."""
        ...

    def stopping(self) -> bool:
        """Whether the run was told to stop; long work ends at its next safe point, by raising CheckFailed."""
        ...

    def approved(self, gate: str) -> str | None:
        """Who approved this, if somebody has."""
        ...


F = TypeVar("F", bound=Facts)


class Step(BaseModel, ABC, Generic[F]):
    """The fields are what the compiled runbook holds. `apply` and `undo` are idempotent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uses: str
    name: str

    interruptible: ClassVar[Interruptible] = "to stop"
    """When `apply` is cancelled: by a pause too; only when the run stops or rolls back; or never (it then looks
    at `stopping` itself)."""

    @property
    @abstractmethod
    def facts_type(self) -> type[F]: ...

    @abstractmethod
    async def read(self, context: Context) -> F:
        """Look, change nothing."""

    @abstractmethod
    def plan(self, facts: F) -> Sequence[Action]:
        """What `apply` will do. Pure; independent of anything that earlier steps change."""

    @abstractmethod
    async def apply(self, context: Context, facts: F) -> None: ...

    @abstractmethod
    async def check(self, context: Context, facts: F) -> Sequence[Finding]:
        """Whether the effect is there. Looks, changes nothing; decides after a crash whether apply runs again."""

    @abstractmethod
    async def undo(self, context: Context, facts: F) -> None: ...


AnyStep = Step[Any]
