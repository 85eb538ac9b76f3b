"""The state machine of the switch, killed at any effect, over stores in memory."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sample import sample_document
from switch.memory import Crash, MemoryEdge, MemoryLead, MemoryStore, World, acknowledge_at_once
from tidegate.edges.edge import Routes
from tidegate.endpoints import Directory
from tidegate.errors import CheckFailed, DeadlinePassed, TidegateError
from tidegate.runbook.migration import Cloud, Migration, other
from tidegate.switch.front import Workload
from tidegate.switch.store import Ownership
from tidegate.switch.switch import Parties, abandon, committed, switch

STEPS = ("arm", "fence", "fenced", "drain", "drained", "seal")


class Acknowledged(Directory):
    """A directory whose instances answer at once."""

    def write(self, entries) -> None:
        super().write(entries)
        for component in self.migration.components.values():
            for deployment in (component.aws, component.azure):
                if Path(deployment.endpoints).exists():
                    acknowledge_at_once(Path(deployment.endpoints))


def parties(world: World, source: Cloud, folder: Path, routes: Routes | None = None) -> Parties:
    document = sample_document()
    for name, component in document["components"].items():
        for cloud in ("aws", "azure"):
            component[cloud]["endpoints"] = str(folder / f"{name}-{cloud}.json")
    lead, edge = MemoryLead(world, source), MemoryEdge(world)
    directory = Acknowledged(Migration.model_validate(document))
    stores = [lead, MemoryStore(world, source)]
    return Parties(stores, lead, Workload(edge, edge, directory, routes), {"orders": 0, "receipts": 0})


def quiet(_: str) -> None:
    pass


async def turn(world: World, source: Cloud, epoch: int, folder: Path, *, hold: float = 8, stopping=lambda: False):
    """As the step does it: what an earlier process left before its commit is taken back first."""
    there, ownership = parties(world, source, folder), Ownership("run", epoch, other(source))
    if not await committed(there.lead, ownership):
        await abandon(there)
    return await switch(there, ownership, hold=hold, stopping=stopping, note=quiet)


def check(world: World, owner: Cloud) -> None:
    assert world.owner == owner
    for store in world.stores.values():
        assert store.open == {owner: True, other(owner): False}
        assert set(store.acknowledged) <= store.rows[owner]
    assert not world.held


@settings(max_examples=200, deadline=None)
@given(fuses=st.lists(st.integers(1, 60), max_size=4), back=st.booleans())
def test_killed_anywhere_and_resumed_nothing_acknowledged_is_lost(fuses, back):
    world = World()
    with tempfile.TemporaryDirectory() as folder:
        for source, epoch in (("aws", 1), ("azure", 2))[: 1 + back]:
            for fuse in [*fuses, 10**9]:
                world.fuse = fuse
                try:
                    asyncio.run(turn(world, source, epoch, Path(folder)))
                    break
                except Crash:
                    continue
            world.fuse = 10**9
            check(world, other(source))


EFFECTS = [f"{name} {what}" for name in ("orders", "receipts") for what in STEPS]


@pytest.mark.parametrize("fails_at", ["hold", "settle", *EFFECTS, "orders commit"])
async def test_an_error_before_the_commit_gives_the_source_back(fails_at, tmp_path):
    world = World(fails_at=fails_at)
    with pytest.raises(TidegateError, match="broken"):
        await turn(world, "aws", 1, tmp_path)
    world.fails_at = ""
    check(world, "aws")


async def test_a_commit_whose_answer_was_lost_is_finished_not_taken_back(tmp_path):
    world = World(fails_at="orders committed")
    await turn(world, "aws", 1, tmp_path)
    check(world, "azure")


async def test_told_to_stop_it_reopens_the_source(tmp_path):
    world = World()
    with pytest.raises(CheckFailed, match="told to stop"):
        await turn(world, "aws", 1, tmp_path, stopping=lambda: world.held)
    check(world, "aws")


async def test_told_to_stop_it_does_not_wait_until_all_is_armed(tmp_path, monkeypatch):
    world, never = World(), asyncio.Event()

    async def endless(self) -> None:
        await never.wait()

    monkeypatch.setattr(MemoryStore, "arm", endless)
    with pytest.raises(CheckFailed, match="before anything was held"):
        await turn(world, "aws", 1, tmp_path, stopping=lambda: True)
    check(world, "aws")


async def test_what_is_held_goes_on_even_if_the_source_cannot_be_reopened(tmp_path, monkeypatch):
    world = World(fails_at="orders seal")

    async def broken(self) -> None:
        raise TidegateError("it stays shut", where="orders")

    there = parties(world, "aws", tmp_path)
    monkeypatch.setattr(MemoryLead, "reopen", broken)
    with pytest.raises(TidegateError, match="stays shut"):
        await switch(there, Ownership("run", 1, "azure"), hold=8, stopping=lambda: False, note=quiet)
    assert not world.held
    assert world.stores["receipts"].open["aws"]


async def test_past_its_deadline_it_reopens_the_source(tmp_path, monkeypatch):
    world = World()
    never = asyncio.Event()

    async def endless(self, deadline: float) -> None:
        await never.wait()

    monkeypatch.setattr(MemoryLead, "drain", endless)
    with pytest.raises(DeadlinePassed):
        await turn(world, "aws", 1, tmp_path, hold=0.2)
    check(world, "aws")


async def test_workers_rest_while_the_writes_move_and_then_work_in_one_cloud(tmp_path, monkeypatch):
    world = World()
    seen = []

    async def look(self, deadline: float) -> None:
        seen.append({cloud: directory.read("settler", cloud).active for cloud in ("aws", "azure")})

    monkeypatch.setattr(MemoryLead, "fence", look)
    monkeypatch.setattr(MemoryLead, "drain", look)
    there = parties(world, "aws", tmp_path)
    assert isinstance(there.front, Workload)
    directory = there.front.directory
    for store in world.stores.values():
        store.open["aws"] = False
    await switch(there, Ownership("run", 1, "azure"), hold=8, stopping=lambda: False, note=quiet)
    assert seen == [{"aws": False, "azure": False}] * 2
    assert directory.read("settler", "azure").active
    assert not directory.read("settler", "aws").active


async def test_in_a_window_the_traffic_moves_before_the_requests_are_let_go(tmp_path, monkeypatch):
    world = World()
    routes_at_release = []

    async def release(self) -> None:
        routes_at_release.append(world.routes)

    monkeypatch.setattr(MemoryEdge, "release", release)
    everybody = Routes(basis_points=10_000)
    there = parties(world, "aws", tmp_path, everybody)
    await switch(there, Ownership("run", 1, "azure"), hold=8, stopping=lambda: False, note=quiet)
    assert routes_at_release == [everybody]
