"""Stores, an edge and instances in memory, and a fuse that ends the process's life at any of their effects."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidegate.edges.edge import Held, Routes
from tidegate.errors import TidegateError
from tidegate.runbook.migration import Cloud, other
from tidegate.switch.store import Ownership


class Crash(BaseException):
    """kill -9."""


def sides(aws: Any, azure: Any) -> dict[Cloud, Any]:
    return {"aws": aws, "azure": azure}


@dataclass
class Content:
    """One store on both sides. Writers try after every effect; a write that is taken is acknowledged."""

    acknowledged: list[str] = field(default_factory=list)
    rows: dict[Cloud, set[str]] = field(default_factory=lambda: sides(set(), set()))
    open: dict[Cloud, bool] = field(default_factory=lambda: sides(True, False))
    stream: Cloud | None = "azure"
    mirror_ready: bool = False

    def write(self) -> None:
        for cloud in ("aws", "azure"):
            if self.open[cloud]:
                assert not self.open[other(cloud)], "both sides take writes"
                name = f"w{len(self.acknowledged)}"
                self.rows[cloud].add(name)
                self.acknowledged.append(name)


@dataclass
class World:
    """What outlives a process."""

    fuse: int = 10**9
    fails_at: str = ""
    stores: dict[str, Content] = field(default_factory=lambda: {name: Content() for name in ("orders", "receipts")})
    held: bool = False
    row: dict[Cloud, Ownership | None] = field(default_factory=lambda: sides(None, None))
    routes: Routes = field(default_factory=Routes)

    def tick(self, what: str) -> None:
        self.fuse -= 1
        if self.fuse <= 0:
            raise Crash
        if what == self.fails_at:
            raise TidegateError("broken", where=what)
        for store in self.stores.values():
            store.write()

    @property
    def owner(self) -> Cloud:
        rows = [row for row in self.row.values() if row]
        return max(rows, key=lambda row: row.epoch).owner if rows else "aws"


class MemoryStore:
    """The contract of switch.store.Store over a World. Between its effects the other stores have theirs."""

    def __init__(self, world: World, source: Cloud, name: str = "receipts") -> None:
        self.world, self.name, self.content = world, name, world.stores[name]
        self.source: Cloud = source
        self.target: Cloud = other(source)

    async def tick(self, what: str) -> None:
        await asyncio.sleep(0)
        self.world.tick(f"{self.name} {what}")

    async def arm(self) -> None:
        await self.tick("arm")

    async def lag(self) -> int:
        return 0

    async def fence(self, deadline: float) -> None:
        await self.tick("fence")
        self.content.open[self.source] = False
        await self.tick("fenced")

    async def drain(self, deadline: float) -> None:
        await self.tick("drain")
        assert self.content.stream == self.target
        assert not any(store.open[self.source] for store in self.world.stores.values()), "drained before all are fenced"
        self.content.rows[self.target] |= self.content.rows[self.source]
        await self.tick("drained")

    async def seal(self, deadline: float) -> None:
        await self.tick("seal")
        self.content.mirror_ready = True

    async def open(self) -> None:
        await self.tick("open")
        assert self.world.owner == self.target, "opened before the commit"
        self.content.open[self.target] = True

    async def release(self) -> None:
        await self.tick("release")
        assert self.world.owner == self.target
        assert self.content.mirror_ready
        self.content.stream = self.source
        self.content.rows[self.source] |= self.content.rows[self.target]
        await self.tick("released")

    async def reopen(self) -> None:
        await self.tick("reopen")
        assert self.world.owner == self.source, "reopened after the commit"
        self.content.open[self.source] = True
        await self.tick("reopened")

    async def close(self) -> None: ...


class MemoryLead(MemoryStore):
    def __init__(self, world: World, source: Cloud) -> None:
        super().__init__(world, source, "orders")

    async def ownership(self) -> Ownership | None:
        return self.world.row[self.target]

    async def commit(self, ownership: Ownership) -> None:
        await self.tick("commit")
        assert all(store.mirror_ready for store in self.world.stores.values()), "committed before all are sealed"
        self.world.row[self.target] = ownership
        self.content.open[self.target] = True
        await self.tick("committed")

    async def open(self) -> None:
        raise AssertionError("the commit opens the lead")


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
