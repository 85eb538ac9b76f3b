"""How a run's process ends: by Ctrl-C, by an error that nobody foresaw, by a disk that is full. The run goes on."""

import asyncio
import sqlite3

import pytest

from crash.memory import KINDS, World
from engine.running import Health, driven, once, plan_of, stage
from tidegate.engine.journal import Store
from tidegate.engine.lease import driver, lease
from tidegate.engine.run import start
from tidegate.errors import CheckFailed, InvalidMigration, LeaseHeld, LocalFault, Refused, TidegateError, Unreachable


async def interrupt(running, times: int = 1) -> None:
    for _ in range(times):
        running.task.cancel()
        await asyncio.sleep(0.05)
    with pytest.raises(asyncio.CancelledError):
        await running.task


async def test_what_is_never_broken_off_comes_to_its_safe_end_first(tmp_path):
    world = World()
    async with driven(tmp_path, plan_of(stage("switch", "steady turn")), world) as running:
        await running.until(lambda state: state.step("turn").note == "at work")
        await interrupt(running, times=3)
        assert world.history == ["safe"]
        assert any("turn comes to a safe end first" in str(e.figure("text")) for e in running.events)
        state = running.state
        assert (state.status, state.reason) == ("stopped", "interrupted")
        assert [f.verdict for f in state.step("turn").findings] == ["inconclusive"]
    assert (await once(tmp_path, None, world)).status == "migrated"


@pytest.mark.parametrize(("kind", "undone"), [("slow-back", False), ("steady-back", True)])
async def test_an_interrupted_rollback_goes_on_later(tmp_path, kind, undone):
    world = World()
    async with driven(tmp_path, plan_of(stage("copy", "put rows", f"{kind} objects", "ask call")), world) as running:
        await running.until(lambda state: state.waiting)
        running.tell("rollback")
        await running.until(lambda state: state.step("objects").status == "undoing")
        running.task.cancel()
        await asyncio.sleep(0.2)
        world.haste = True
        with pytest.raises(asyncio.CancelledError):
            await running.task
        assert running.state.status == "stopped"
        assert ("objects" not in world.present) is undone
    assert (await once(tmp_path, None, world)).status == "rolled-back"
    assert world.present == set()


async def test_a_companion_that_dies_is_told_of_and_ends_nothing(tmp_path):
    async def follow():
        raise ValueError("odd")

    plan = plan_of(stage("call", "ask call"))
    async with driven(tmp_path, plan, World(), companions=[follow]) as running:
        await running.until(lambda state: state.waiting)
        [noted] = [event for event in running.events if event.kind == "noted"]
        assert noted.figure("text") == "follow has ended, which ran beside the steps: ValueError: odd"


@pytest.mark.parametrize("error", [ValueError("odd"), Unreachable("nobody answers")])
async def test_a_guard_that_fails_pauses_and_breaks_nothing_off(tmp_path, error):
    world, health = World(), Health()
    plan = plan_of(stage("switch", "steady turn", guarded=True, on_failure="roll back"))
    async with driven(tmp_path, plan, world, health=health) as running:
        await running.until(lambda state: state.step("turn").note == "at work")
        health.harm = error
        state = await running.until(lambda state: state.status == "paused")
        assert state.reason.startswith("health is not judged any more")
        assert str(error) in state.reason
        assert world.history == ["safe"]
        health.harm, world.haste = None, True
        running.tell("resume")
        assert (await running.ended()).status == "migrated"


def fill(store: Store, run: str) -> None:
    while True:
        store.append(run, "noted")


async def test_what_a_guard_raises_when_its_stage_is_over_is_nothing(tmp_path):
    class Rude(Health):
        async def breach(self, stage, note):
            try:
                await asyncio.sleep(60)
            finally:
                raise ValueError("odd")

    async with driven(tmp_path, plan_of(stage("shift", "put half", guarded=True)), World(), health=Rude()) as running:
        assert (await running.ended()).status == "migrated"


async def test_what_a_step_raises_when_it_is_broken_off_is_no_failed_check(tmp_path, monkeypatch):
    async def apply(self, context, facts):
        context.note("at work")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise CheckFailed("odd") from None

    monkeypatch.setattr("crash.memory.Ask.apply", apply)
    async with driven(tmp_path, plan_of(stage("shift", "ask half", on_failure="roll back")), World()) as running:
        await running.until(lambda state: state.step("half").note == "at work")
        running.tell("pause")
        await running.until(lambda state: state.status == "paused", 1)


async def test_a_full_disk_ends_the_process_and_the_run_can_be_resumed(tmp_path):
    world, plan = World(), plan_of(stage("shift", "slow rows", "steady objects", on_failure="roll back"))
    async with driven(tmp_path, plan, world) as running:
        await running.until(lambda state: state.step("objects").note == "at work")
        driving = running.driving
        [pages] = driving.db.execute("pragma page_count").fetchone()
        driving.db.execute(f"pragma max_page_count={pages}")
        with pytest.raises(TidegateError, match="disk is full"):
            fill(driving, running.run)
        world.haste = True
        with pytest.raises(TidegateError, match="the journal can't be used: database or disk is full"):
            await running.ended()
        assert running.state.decision is None
        driving.db.execute("pragma max_page_count=100000")
    assert (await once(tmp_path, None, world)).status == "migrated"


def test_a_transaction_that_can_not_be_committed_leaves_none_open(tmp_path, monkeypatch):
    store = Store(tmp_path)
    run = start(store, plan_of(stage("copy", "put rows")))

    class Full:
        def __init__(self, db) -> None:
            self.db, self.fails = db, True

        def execute(self, sql, *args):
            if sql == "commit" and self.fails:
                self.fails = False
                raise sqlite3.OperationalError("database or disk is full")
            return self.db.execute(sql, *args)

        def __getattr__(self, name):
            return getattr(self.db, name)

    monkeypatch.setattr(store, "db", Full(store.db))
    with pytest.raises(TidegateError, match="disk is full"):
        store.append(run, "noted")
    assert store.append(run, "noted").seq
    store.verify(run)


@pytest.mark.parametrize(
    ("error", "exit_code"), [(CheckFailed("wrong"), 4), (Refused("no"), 1), (Unreachable("silent"), 1), (KeyError(), 1)]
)
async def test_a_failed_step_keeps_its_error_s_exit_code(tmp_path, monkeypatch, error, exit_code):
    async def fail(*_):
        raise error

    monkeypatch.setattr("crash.memory.Slow.apply", fail)
    state = await once(tmp_path, plan_of(stage("copy", "slow rows")), World())
    assert (state.status, state.step("rows").exit_code) == ("stopped", exit_code)


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        (LocalFault("the file can't be written", mend="make room"), "make room"),
        (OSError(28, "No space left"), "see to this machine's disk, memory and limits"),
        (KeyError("odd"), "report this defect of tidegate"),
        (InvalidMigration("there is no such secret"), "mend it"),
    ],
)
async def test_what_goes_wrong_on_this_machine_is_no_evidence_of_harm(tmp_path, monkeypatch, error, mend):
    async def fail(*_):
        raise error

    monkeypatch.setattr("crash.memory.Slow.apply", fail)
    plan = plan_of(stage("switch", "slow rows", on_failure="roll back"))
    async with driven(tmp_path, plan, world := World(haste=True)) as running:
        state = await running.ended()
    assert (state.status, state.decision) == ("stopped", None)
    assert state.mend == f"{mend}; then `tidegate resume {running.run}`"
    assert [finding.verdict for finding in state.step("rows").findings] == ["inconclusive"]
    monkeypatch.undo()
    assert (await once(tmp_path, None, world)).status == "migrated"


async def test_a_step_that_cancels_itself_stops_the_run(tmp_path, monkeypatch):
    async def fail(*_):
        raise asyncio.CancelledError

    monkeypatch.setattr("crash.memory.Slow.apply", fail)
    state = await once(tmp_path, plan_of(stage("copy", "slow rows")), World())
    assert (state.status, "cancelled" in state.reason) == ("stopped", True)


async def test_a_defect_outside_the_steps_is_told_in_the_journal(tmp_path, monkeypatch):
    plan = plan_of(stage("copy", "put rows"))
    monkeypatch.delitem(KINDS, "put")
    async with driven(tmp_path, plan, World()) as running:
        with pytest.raises(KeyError):
            await running.task
        assert (running.state.status, running.state.reason) == ("stopped", "KeyError: 'put'")


async def test_the_first_failure_is_the_reason_and_not_what_it_broke_off(tmp_path):
    world = World(down="rows")
    plan = plan_of(stage("copy", "steady turn", "put rows", on_failure="roll back"))
    state = await once(tmp_path, plan, world)
    assert (state.status, "nobody answers" in state.reason) == ("stopped", True)


async def test_a_stage_that_failed_or_was_undone_has_a_duration(tmp_path):
    world = World(down="rows")
    state = await once(tmp_path, plan_of(stage("copy", "put objects"), stage("more", "put rows")), world)
    assert [each.seconds is not None for each in state.stages] == [True, True]
    async with driven(tmp_path, None, World(present={"objects"})) as running:
        running.tell("rollback")
        state = await running.ended()
    assert [(each.status, each.seconds is not None) for each in state.stages] == [("undone", True), ("undone", True)]


async def test_a_day_of_traffic_is_not_kept_in_memory(tmp_path):
    async with driven(tmp_path, plan_of(stage("call", "ask call")), World()) as running:
        for _ in range(200):
            running.store.append(running.run, "traffic", {})
        assert len(running.state.traffic) == 60


def test_looking_who_drives_keeps_nobody_from_driving(tmp_path):
    import fcntl
    import threading

    store = Store(tmp_path)
    run = start(store, plan_of(stage("copy", "put rows")))
    path = tmp_path / f"{run}.lock"
    path.touch()
    with path.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.2, fcntl.flock, (looking, fcntl.LOCK_UN)).start()
        with lease(store, run):
            assert driver(store, run)
            with pytest.raises(LeaseHeld), lease(store, run):
                pass
