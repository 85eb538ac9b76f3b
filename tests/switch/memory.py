"""Stores, an edge and instances in memory, and a fuse that ends the process's life at any of their effects."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from tidegate.edges.edge import Held, Routes
from tidegate.errors import TidegateError
from tidegate.runbook.migration import Cloud, other
from tidegate.switch.store import Ownership


class Crash(BaseException):
    """kill -9."""


@dataclass
class World:
    """What outlives a process. Writers try after every effect; a write that is taken is acknowledged."""

    fuse: int = 10**9
    fails_at: str = ""
    acknowledged: list[str] = field(default_factory=list)
    rows: dict[Cloud, set[str]] = field(default_factory=lambda: {"aws": set(), "azure": set()})
    open: dict[Cloud, bool] = field(default_factory=lambda: {"aws": True, "azure": False})
    stream: Cloud | None = "azure"
    mirror_ready: bool = False
    held: bool = False
    row: dict[Cloud, Ownership | None] = field(default_factory=lambda: {"aws": None, "azure": None})
    routes: Routes = field(default_factory=Routes)

    def tick(self, what: str) -> None:
        self.fuse -= 1
        if self.fuse <= 0:
            raise Crash
        if what == self.fails_at:
            raise TidegateError("broken", where=what)
        for cloud in ("aws", "azure"):
            if self.open[cloud]:
                assert not self.open[other(cloud)], "both sides take writes"
                name = f"w{len(self.acknowledged)}"
                self.rows[cloud].add(name)
                self.acknowledged.append(name)

    @property
    def owner(self) -> Cloud:
        rows = [row for row in self.row.values() if row]
        return max(rows, key=lambda row: row.epoch).owner if rows else "aws"


class MemoryLead:
    """The contract of switch.store.Lead over a World."""

    name = "orders"

    def __init__(self, world: World, source: Cloud) -> None:
        self.world = world
        self.source: Cloud = source
        self.target: Cloud = other(source)

    async def arm(self) -> None:
        self.world.tick("arm")

    async def lag(self) -> int:
        return 0

    async def fence(self, deadline: float) -> None:
        self.world.tick("fence")
        self.world.open[self.source] = False
        self.world.tick("fenced")

    async def drain(self, deadline: float) -> None:
        self.world.tick("drain")
        assert self.world.stream == self.target
        assert not self.world.open[self.source], "drained while the source takes writes"
        self.world.rows[self.target] |= self.world.rows[self.source]
        self.world.tick("drained")

    async def seal(self, deadline: float) -> None:
        self.world.tick("seal")
        self.world.mirror_ready = True

    async def ownership(self) -> Ownership | None:
        return self.world.row[self.target]

    async def commit(self, ownership: Ownership) -> None:
        self.world.tick("commit")
        self.world.row[self.target] = ownership
        self.world.open[self.target] = True
        self.world.tick("committed")

    async def open(self) -> None:
        raise AssertionError("the commit opens the lead")

    async def release(self) -> None:
        self.world.tick("release")
        assert self.world.owner == self.target
        assert self.world.mirror_ready
        self.world.stream = self.source
        self.world.rows[self.source] |= self.world.rows[self.target]
        self.world.tick("released")

    async def reopen(self) -> None:
        self.world.tick("reopen")
        assert self.world.owner == self.source, "reopened after the commit"
        self.world.open[self.source] = True
        self.world.tick("reopened")

    async def close(self) -> None: ...


class MemoryEdge:
    def __init__(self, world: World) -> None:
        self.world = world

    async def hold(self, seconds: float) -> None:
        self.world.tick("hold")
        self.world.held = True

    async def settle(self, deadline: float) -> None:
        self.world.tick("settle")

    async def release(self) -> None:
        self.world.tick("let go")
        self.world.held = False

    async def held(self) -> Held:
        return Held()

    async def read(self) -> Routes:
        return self.world.routes

    async def write(self, routes: Routes) -> None:
        self.world.routes = routes


def acknowledge_at_once(endpoints: Path) -> None:
    """An instance that takes up every revision as soon as it is written."""
    folder = Path(f"{endpoints}.acks")
    folder.mkdir(exist_ok=True)
    (folder / "one").write_text(str(json.loads(endpoints.read_text())["revision"]))
