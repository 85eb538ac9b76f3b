"""No command is swallowed, none is obeyed twice, and each acts within a second."""

import asyncio

import pytest

from crash.memory import World
from engine.running import GONE, Health, driven, once, plan_of, stage
from tidegate.engine.health import Breach
from tidegate.errors import Refused, TidegateError, Unreachable


async def test_a_rollback_is_obeyed_though_a_pause_is_unanswered_too(tmp_path):
    for order in (("pause", "rollback"), ("rollback", "pause")):
        folder, world = tmp_path / order[0], World()
        async with driven(folder, plan_of(stage("copy", "put rows", "slow objects")), world) as running:
            await running.until(lambda state: state.step("objects").note == "at work")
            for command in order:
                running.tell(command)
            state = await running.ended()
        assert (state.status, world.present) == ("rolled-back", set())


async def test_an_abort_then_a_rollback_are_obeyed_in_that_order(tmp_path):
    async with driven(tmp_path, plan_of(stage("copy", "slow rows")), World()) as running:
        await running.until(lambda state: state.step("rows").note == "at work")
        running.tell("abort")
        running.tell("rollback")
        assert (await running.ended()).status == "stopped"
    assert (await once(tmp_path, None, World())).status == "rolled-back"


async def test_a_stale_resume_does_not_end_the_pause_of_a_breach(tmp_path):
    health = Health()
    async with driven(tmp_path, plan_of(stage("shift", "slow half", guarded=True)), World(), health=health) as running:
        await running.until(lambda state: state.step("half").note == "at work")
        running.tell("resume")
        health.harm = Breach("pause", "AWS is ill too", "")
        await running.until(lambda state: state.status == "paused")
        await asyncio.sleep(0.4)
        assert running.kinds("paused", "continued") == ["paused"]
        health.harm = None
        running.tell("resume")
        await running.until(lambda state: state.status == "running")


async def test_a_second_pause_is_refused_and_the_first_one_s_reason_stays(tmp_path):
    async with driven(tmp_path, plan_of(stage("call", "ask call")), World()) as running:
        running.tell("pause")
        await running.until(lambda state: state.status == "paused")
        running.tell("pause")
        state = await running.until(lambda state: running.kinds("refused"))
        assert (state.status, state.unanswered) == ("paused", [])


@pytest.mark.parametrize("force", [False, True])
async def test_past_the_point_of_no_return_nothing_is_changed_by_a_rollback(tmp_path, force):
    world = World()
    plan = plan_of(stage("all", "traffic everybody"), stage("finish", "lasting mirror"), stage("call", "ask call"))
    async with driven(tmp_path, plan, world, health=Health(lost=GONE if force else None)) as running:
        await running.until(lambda state: state.waiting)
        running.tell("rollback", force=force)
        state = await running.until(lambda state: state.status == "paused", 1)
        assert "mirror: nothing takes back what it may have done" in state.reason
        assert (world.traffic, state.decision) == ("azure", None)
        running.tell("resume")
        await running.until(lambda state: state.waiting)
        running.tell("approve", gate="call")
        assert (await running.ended()).status == "migrated"


@pytest.mark.parametrize("cause", ["harm", "check"])
async def test_nor_by_a_guard_or_a_failed_check(tmp_path, cause):
    world, health = World(broken="half" if cause == "check" else ""), Health()
    last = "traffic half" if cause == "check" else "slow half"
    plan = plan_of(stage("finish", "lasting mirror"), stage("shift", last, guarded=True, on_failure="roll back"))
    async with driven(tmp_path, plan, world, health=health) as running:
        if cause == "harm":
            await running.until(lambda state: state.step("half").note == "at work")
            health.harm = Breach("roll back", "azure fails", "")
        state = await running.until(lambda state: state.status == "paused")
    assert "mirror: nothing takes back" in state.reason
    assert state.decision is None


@pytest.mark.parametrize("error", [Unreachable("the witness can't be read"), OSError("no file"), Refused("no login")])
async def test_a_rollback_pauses_with_the_reason_if_nobody_can_tell_what_it_would_lose(tmp_path, error):
    for force in (False, True):
        plan = plan_of(stage("call", "ask call"))
        async with driven(tmp_path / str(force), plan, World(), health=Health(lost=error)) as running:
            await running.until(lambda state: state.waiting)
            running.tell("rollback", force=force)
            state = await running.until(lambda state: state.status == "paused", 1)
            assert str(error) in state.reason


async def test_an_abort_does_not_wait_behind_the_question_what_would_be_lost(tmp_path):
    class Silent(Health):
        async def losses(self):
            await asyncio.sleep(60)

    world = World()
    async with driven(tmp_path, plan_of(stage("call", "ask call")), world, health=Silent()) as running:
        await running.until(lambda state: state.waiting)
        running.tell("rollback")
        await asyncio.sleep(0.3)
        running.tell("abort")
        assert (await running.ended()).reason == "aborted by Ada"
    assert (await once(tmp_path, None, world)).status == "rolled-back"  # which still stands


async def test_a_refused_forced_rollback_leaves_a_paused_run_paused(tmp_path):
    async with driven(tmp_path, plan_of(stage("call", "ask call")), World()) as running:
        running.tell("pause")
        await running.until(lambda state: state.status == "paused")
        running.tell("rollback", force=True)
        await running.until(lambda _: running.kinds("refused"))
        await asyncio.sleep(0.3)
        assert running.state.status == "paused"


async def test_a_forced_rollback_is_remembered_by_the_next_process_and_its_approval_counts(tmp_path):
    world, plan = World(), plan_of(stage("call", "ask call"))
    assert (await once(tmp_path, plan, world)).status == "waiting"
    health = Health(lost=GONE)
    async with driven(tmp_path, None, world, health=health, wait=False) as running:
        running.tell("rollback", force=True)
        state = await running.ended()
        assert state.waiting.gate == "forced-rollback"
        running.tell("approve", gate="forced-rollback")
    state = await once(tmp_path, None, world, health=health)
    assert (state.status, state.decision.figure("forced")) == ("rolled-back", True)


async def test_an_approved_loss_is_not_an_approval_of_another(tmp_path):
    health = Health(lost=GONE)
    async with driven(tmp_path, plan_of(stage("call", "ask call")), World(), health=health) as running:
        running.tell("approve", gate="forced-rollback")
        running.tell("rollback", force=True)
        state = await running.until(lambda state: state.waiting)
        assert state.approvals == {}


async def test_at_the_gate_of_a_forced_rollback_another_word_counts(tmp_path):
    health = Health(lost=GONE)
    async with driven(tmp_path, plan_of(stage("call", "ask call")), World(), health=health) as running:
        running.tell("rollback", force=True)
        await running.until(lambda state: "forced-rollback" in state.waits)
        running.tell("pause")
        await running.until(lambda _: running.kinds("refused"), 1)
        health.lost = None
        running.tell("rollback")
        state = await running.ended()
        assert (state.status, state.reason) == ("rolled-back", "asked for by Ada")


async def test_during_a_rollback_a_pause_is_refused_and_an_abort_stops_after_the_step_in_hand(tmp_path):
    world, plan = World(), plan_of(stage("copy", "put rows"), stage("more", "slow-back objects", "ask call"))
    async with driven(tmp_path, plan, world) as running:
        await running.until(lambda state: state.waiting)
        running.tell("rollback")
        await running.until(lambda state: state.step("objects").status == "undoing")
        running.tell("pause")
        running.tell("rollback")
        await running.until(lambda _: running.kinds("refused"), 1)
        running.tell("abort")
        await asyncio.sleep(0.3)
        assert running.state.status == "rolling back"
        world.haste = True
        state = await running.ended()
    assert (state.status, world.present) == ("stopped", {"rows"})
    assert "tidegate resume" in state.mend
    state = await once(tmp_path, None, world)
    assert (state.status, state.reason, world.present) == ("rolled-back", "asked for by Ada", set())


async def test_a_rollback_that_can_not_reach_the_target_any_more_can_be_forced(tmp_path):
    world, health = World(), Health()
    async with driven(tmp_path, plan_of(stage("copy", "far rows", "ask call")), world, health=health) as running:
        await running.until(lambda state: state.waiting)
        running.tell("rollback")
        state = await running.ended()
        assert state.status == "stopped"
        assert state.reason.startswith("the rollback is incomplete: rows: nobody answers")
    health.lost = GONE
    async with driven(tmp_path, None, world, health=health) as running:
        running.tell("rollback", force=True)
        await running.until(lambda state: state.waiting)
        running.tell("approve", gate="forced-rollback")
        state = await running.ended()
    assert (state.status, world.present) == ("rolled-back", set())


async def test_what_is_said_while_the_last_step_ends_is_obeyed(tmp_path):
    world = World()
    async with driven(tmp_path, plan_of(stage("switch", "steady last")), world) as running:
        await running.until(lambda state: state.step("last").note == "at work")
        world.haste = True
        running.tell("rollback")
        state = await running.ended()
    assert (state.status, world.present) == ("rolled-back", set())


async def test_harm_that_shows_as_the_last_step_ends_is_heeded(tmp_path):
    class Late(Health):
        async def breach(self, stage, note):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return Breach("roll back", "azure fails", "")
            raise TidegateError("unreachable")

    async with driven(tmp_path, plan_of(stage("shift", "put half", guarded=True)), World(), health=Late()) as running:
        assert (await running.ended()).status == "rolled-back"
