"""The traffic series, while the edge or a store is silent."""

import asyncio
from dataclasses import dataclass, field
from itertools import count

from tidegate.edges.edge import Count
from tidegate.errors import Unreachable
from tidegate.steps.companions import traffic


class Store:
    """`lag` of an answer, an error, or none at all."""

    def __init__(self, lag) -> None:
        self.behind = lag

    async def lag(self):
        if self.behind is None:
            await asyncio.sleep(60)
        if isinstance(self.behind, Exception):
            raise self.behind
        return self.behind


@dataclass
class Workload:
    """Implements what `traffic` asks of a workload, its edge included."""

    databases: dict[str, Store]
    buckets: dict[str, Store] = field(default_factory=dict)
    down: bool = False
    counted: count = field(default_factory=count)

    @property
    def edge(self):
        return self

    async def count(self):
        if self.down:
            raise Unreachable("the edge doesn't answer")
        return {("everybody else", "aws"): Count(next(self.counted) * 100, 0)}


async def told(workload: Workload, seconds: float) -> list[dict]:
    samples = []
    task = asyncio.create_task(traffic(workload, samples.append))
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return samples


async def test_a_store_that_is_silent_hides_neither_the_traffic_nor_the_others(monkeypatch):
    monkeypatch.setattr("tidegate.steps.companions.SECOND", 0.1)
    monkeypatch.setattr("tidegate.steps.companions.PATIENCE", 0.05)
    stores = {"orders": Store(7), "ledger": Store(Unreachable("nobody answers")), "stock": Store(None)}
    samples = await told(Workload(stores, {"receipts": Store(3)}), 1)
    assert samples
    for sample in samples:
        assert sample["requests"] > 0
        assert sample["lag"] == {"orders": 7, "ledger": None, "stock": None, "receipts": 3}


async def test_without_the_edge_nothing_is_told(monkeypatch):
    monkeypatch.setattr("tidegate.steps.companions.SECOND", 0.05)
    assert await told(Workload({"orders": Store(7)}, down=True), 0.3) == []
