"""Whoever uses the stores, as the switch sees them: kept still while the writes move, then sent to the new owner."""

import asyncio
import time
from dataclasses import dataclass
from typing import ClassVar, Protocol

from tidegate.edges.edge import Hold, Router, Routes
from tidegate.endpoints import Directory, Entry
from tidegate.runbook.migration import Cloud

__all__ = ["Away", "Front", "Nobody", "Workload"]

ACKNOWLEDGE_SECONDS = 60.0
"""After the commit instances are waited for beyond the hold: there is no way but forward."""


class Front(Protocol):
    """Every method is idempotent. Deadlines are on time.monotonic(); past one, DeadlinePassed.

    `still`: how it is kept still, in words.
    """

    still: ClassVar[str]

    async def hold(self, seconds: float) -> None:
        """Keep new requests waiting, for at most so long."""
        ...

    async def settle(self, owner: Cloud, deadline: float) -> None:
        """Return once no request is in flight and workers, told that `owner` still owns, are idle."""
        ...

    async def turn(self, owner: Cloud) -> None:
        """Everybody uses `owner`'s stores and has acknowledged it; traffic goes where it is to go with that."""
        ...

    async def stay(self, owner: Cloud) -> None:
        """The same for an owner that hasn't changed: traffic stays where it is."""
        ...

    async def release(self) -> None:
        """What is held goes on."""
        ...


@dataclass(frozen=True, slots=True)
class Workload:
    """Behind an edge, with endpoints. `routes`: where traffic goes after the turn; None: as before."""

    still: ClassVar[str] = "requests are held"
    edge: Hold
    router: Router
    directory: Directory
    routes: Routes | None = None

    async def hold(self, seconds: float) -> None:
        await self.edge.hold(seconds)

    async def settle(self, owner: Cloud, deadline: float) -> None:
        """Side by side; both have ended before an error of either is raised."""
        results = await asyncio.gather(
            self.edge.settle(deadline), self._quiesce(owner, deadline), return_exceptions=True
        )
        if errors := [result for result in results if result is not None]:
            raise errors[0]

    async def _quiesce(self, owner: Cloud, deadline: float) -> None:
        """Workers of both clouds finish what they have in hand and stay idle."""
        idle = {worker: Entry(owner, active=False) for worker in self.directory.deployments("worker")}
        self.directory.write(idle)
        await self.directory.acknowledged(idle, deadline)

    async def turn(self, owner: Cloud) -> None:
        entries = self.directory.settled(owner)
        self.directory.write(entries)
        if self.routes is not None:
            await self.router.write(self.routes)
        await self.directory.acknowledged(entries, time.monotonic() + ACKNOWLEDGE_SECONDS)

    async def stay(self, owner: Cloud) -> None:
        entries = self.directory.settled(owner)
        self.directory.write(entries)
        await self.directory.acknowledged(entries, time.monotonic() + ACKNOWLEDGE_SECONDS)

    async def release(self) -> None:
        await self.edge.release()


@dataclass(frozen=True, slots=True)
class Away:
    """The edge answers that the service is away, workers are idle, and so it stays until the turn, or its own end."""

    still: ClassVar[str] = "users are told of the maintenance"
    router: Router
    directory: Directory
    routes: Routes

    async def hold(self, seconds: float) -> None:
        pass

    async def settle(self, owner: Cloud, deadline: float) -> None:
        pass

    async def turn(self, owner: Cloud) -> None:
        """Users come back once the owner's instances can serve them, or have had time enough for it."""
        entries = self.directory.settled(owner)
        ours = {deployment: entry for deployment, entry in entries.items() if deployment[1] == owner}
        self.directory.write(entries)
        deadline = time.monotonic() + ACKNOWLEDGE_SECONDS
        try:
            await self.directory.acknowledged(ours, deadline)
        finally:
            await self.router.write(self.routes)
        await self.directory.acknowledged(entries, deadline)

    async def stay(self, owner: Cloud) -> None:
        pass

    async def release(self) -> None:
        pass


class Nobody:
    """A store that is switched by itself: its fence alone keeps its users off, and they find the new owner alone."""

    still: ClassVar[str] = "logins are closed"

    async def hold(self, seconds: float) -> None:
        pass

    async def settle(self, owner: Cloud, deadline: float) -> None:
        pass

    async def turn(self, owner: Cloud) -> None:
        pass

    async def stay(self, owner: Cloud) -> None:
        pass

    async def release(self) -> None:
        pass
