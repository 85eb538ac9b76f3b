"""What the engine asks of whoever judges the workload's health. The planes' guard answers in production."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tidegate.engine.tasks import explained
from tidegate.errors import TidegateError
from tidegate.health.guard import Breach
from tidegate.runbook.runbook import Stage

__all__ = ["Breach", "Health", "Losses", "judged"]


@dataclass(frozen=True, slots=True)
class Losses:
    """The target owns the writes and is gone: what a forced rollback would lose."""

    text: str
    writes: int | None
    """How many acknowledged writes; None if nobody outside the stores has counted them."""
    file: str = ""
    """Where they are listed."""


class Health(Protocol):
    async def breach(self, stage: Stage, note: Callable[[str], None]) -> Breach:
        """Return on evidence of harm, and only then."""
        ...

    async def losses(self) -> Losses | None:
        """None as long as the owner of the writes answers, or AWS owns them."""
        ...


async def judged(health: Health, stage: Stage, note: Callable[[str], None]) -> Breach:
    """A guard that has ended by an error sees nothing any more: the run must not go on without it."""
    this = asyncio.current_task()
    try:
        return await health.breach(stage, note)
    except Exception as error:
        if this is not None and this.cancelling():  # its stage is over
            raise asyncio.CancelledError from error
        why = str(error) if isinstance(error, TidegateError) else explained(error)
        return Breach("pause", f"health is not judged any more: {why}", "")
