"""What an edge can do: route parts of the users to one cloud or the other, hold requests, count outcomes."""

from dataclasses import dataclass, field
from typing import Protocol

from tidegate.runbook.migration import Cloud

__all__ = ["REST", "Count", "Counters", "Counts", "Edge", "Hold", "Router", "Routes"]

REST = "rest"
"""The segment of everybody whom no criterion names; a percentage splits it."""


@dataclass(frozen=True, slots=True)
class Routes:
    """Which segments are served by Azure, and how much of the rest.

    Segments are named as in edges/criteria.py: `path:/catalog`, `user_type:beta`, `country:SE`.
    `basis_points` is Azure's share of the rest, 0 to 10,000; a user stays on one side of it (sticky).
    `maintenance`: nobody is served: the edge itself answers that the service is away for a while.
    """

    azure: frozenset[str] = frozenset()
    basis_points: int = 0
    maintenance: bool = False

    @property
    def home(self) -> bool:
        """Nobody is on Azure."""
        return not self.azure and self.basis_points == 0


@dataclass(frozen=True, slots=True)
class Count:
    """Requests answered since the edge started. A failure is a 5xx, or no answer."""

    total: int = 0
    failed: int = 0


Counts = dict[tuple[str, Cloud], Count]
"""(segment or REST, cloud): what that cloud answered to that segment."""


class Router(Protocol):
    async def read(self) -> Routes:
        """The routes that the edge obeys now. Raises Unreachable."""
        ...

    async def write(self, routes: Routes) -> None:
        """Return once the edge has confirmed that it obeys them. Idempotent. Raises Unreachable, Refused."""
        ...


@dataclass(frozen=True, slots=True)
class Held:
    """What a hold has done so far."""

    waiting: int = 0
    served: int = 0
    expired: int = field(default=0)


class Hold(Protocol):
    async def hold(self, seconds: float) -> None:
        """Hold every new request for at most `seconds`, after which the hold ends by itself. Idempotent."""
        ...

    async def settle(self, deadline: float) -> None:
        """Return once no request is in flight behind the edge. `deadline` is on time.monotonic().

        Raises DeadlinePassed.
        """
        ...

    async def release(self) -> None:
        """Let what is held go on, by the routes as they are now. Idempotent."""
        ...

    async def held(self) -> Held: ...


class Counters(Protocol):
    async def count(self) -> Counts: ...


class Edge(Router, Hold, Counters, Protocol):
    async def close(self) -> None: ...
