"""What a store must be able to do to take part in the switch."""

from dataclasses import dataclass
from typing import Protocol

from tidegate.runbook.migration import Cloud

__all__ = ["Lead", "Ownership", "Store"]


class Store(Protocol):
    """One store in one direction: `source` owns the writes, `target` is to own them.

    Every method may be called again after a crash, by another process, and must then do what is left.
    Deadlines are on time.monotonic(); past one, DeadlinePassed. A server that doesn't answer: Unreachable.
    """

    name: str
    source: Cloud
    target: Cloud

    async def arm(self) -> None:
        """All that is slow and can be done while writes go on; the mirror exists, disabled."""
        ...

    async def lag(self) -> int:
        """What the target has not yet applied, in bytes (objects: in objects)."""
        ...

    async def fence(self, deadline: float) -> None:
        """After this returns, no write is acknowledged at the source. What it takes away it records there first."""
        ...

    async def drain(self, deadline: float) -> None:
        """All that was acknowledged at the source is applied at the target, and durable there."""
        ...

    async def seal(self, deadline: float) -> None:
        """Make the target ready to be opened. The last moment at which anything is moved backwards."""
        ...

    async def open(self) -> None:
        """After the commit: the target takes writes. For the lead, `commit` has done it already."""
        ...

    async def release(self) -> None:
        """After `open`: the forward stream ends, the mirror runs."""
        ...

    async def reopen(self) -> None:
        """Before the commit: the source takes writes exactly as it did before `fence`; the stream goes on."""
        ...

    async def close(self) -> None:
        """Give back connections. Changes nothing; a crash does the same."""
        ...


@dataclass(frozen=True, slots=True)
class Ownership:
    run: str
    epoch: int
    owner: Cloud


class Lead(Store, Protocol):
    """The database whose ownership row commits the switch of all stores."""

    async def ownership(self) -> Ownership | None:
        """The row with the highest epoch that the *target* holds. None: nobody ever switched to it."""
        ...

    async def commit(self, ownership: Ownership) -> None:
        """Write the row and open the target's roles, in one durable transaction."""
        ...
