"""What a run waits for: told once per gate, and left by a process that is not to wait."""

import asyncio
import time

from crash.memory import World
from engine.running import Health, driven, once, plan_of, stage
from tidegate.engine import work
from tidegate.engine.health import Breach


async def test_without_waiting_a_run_is_left_where_a_person_has_to_confirm(tmp_path):
    state = await once(tmp_path, plan_of(stage("call", "ask call")), World())
    assert (state.status, state.waiting.gate) == ("waiting", "call")
    async with driven(tmp_path, None, World()) as running:
        assert running.kinds("step-began") == ["step-began"]
        running.tell("approve", gate="call")
        assert (await running.ended()).status == "migrated"


async def test_without_waiting_traffic_is_awaited_for_a_while_only(tmp_path, monkeypatch):
    monkeypatch.setattr(work, "PATIENCE", 0.8)
    state = await once(tmp_path, plan_of(stage("bake", "measure bake")), World())
    assert state.status == "waiting"
    assert state.waiting.by_itself


async def test_without_waiting_a_run_is_not_left_while_a_step_is_at_work(tmp_path):
    world = World()
    async with driven(tmp_path, plan_of(stage("both", "ask call", "slow rows")), world, wait=False) as running:
        await running.until(lambda state: state.waits)
        await asyncio.sleep(0.3)
        assert not running.task.done()
        world.haste = True
        state = await running.ended()
        assert (state.status, state.step("rows").status) == ("waiting", "done")


async def test_several_gates_of_one_stage_are_told_once_each(tmp_path):
    plan = plan_of(stage("all", "ask first", "ask second", "measure third"))
    async with driven(tmp_path, plan, World()) as running:
        await running.until(lambda state: len(state.waits) == 3)
        await asyncio.sleep(1.2)
        assert running.kinds("waiting") == ["waiting"] * 3
        assert {gate: wait.by_itself for gate, wait in running.state.waits.items()} == {
            "first": False, "second": False, "third": True,
        }  # fmt: skip
        running.tell("approve", gate="first")
        state = await running.until(lambda state: "first" not in state.waits)
        assert (state.status, list(state.waits)) == ("waiting", ["second", "third"])
        running.tell("approve", gate="second")
        running.tell("approve", gate="third")
        assert (await running.ended()).status == "migrated"


async def test_evidence_that_comes_in_lets_the_run_go_on_by_itself(tmp_path):
    world = World()
    async with driven(tmp_path, plan_of(stage("bake", "measure bake")), world) as running:
        await running.until(lambda state: state.waiting)
        world.seen = 1000
        assert (await running.ended()).status == "migrated"
        [passed] = [event for event in running.events if event.kind == "passed"]
        assert passed.figure("by") is None


async def test_what_was_accepted_before_a_crash_is_not_done_again(tmp_path):
    world = World()
    assert (await once(tmp_path, plan_of(stage("odd", "doubt odd")), world)).status == "waiting"
    async with driven(tmp_path, None, world) as running:
        running.tell("approve", gate="odd")
        assert (await running.ended()).status == "migrated"
    assert world.history == ["+odd"]


async def test_a_pause_at_a_gate_is_obeyed_at_once_and_the_gate_is_still_there_afterwards(tmp_path):
    plan = plan_of(stage("finish", "put done", approval="for good"))
    async with driven(tmp_path, plan, World()) as running:
        await running.until(lambda state: state.waiting)
        running.tell("pause")
        state = await running.until(lambda state: state.status == "paused", 1)
        assert state.waiting is None
        running.tell("resume")
        await running.until(lambda state: state.waiting, 1)
        running.tell("approve", gate="finish")
        assert (await running.ended()).status == "migrated"


async def test_a_pause_is_obeyed_by_a_step_that_waits_at_its_own_gate(tmp_path):
    async with driven(tmp_path, plan_of(stage("odd", "doubt odd")), World()) as running:
        await running.until(lambda state: state.waiting)
        running.tell("pause")
        await running.until(lambda state: state.status == "paused", 1)
        running.tell("resume")
        await running.until(lambda state: state.waiting)


async def test_the_board_can_say_since_when_a_gate_waits(tmp_path):
    before = time.time()
    state = await once(tmp_path, plan_of(stage("finish", "put done", approval="for good")), World())
    assert before <= state.waits["finish"].since <= time.time()


SHIFTED = (stage("shift", "traffic half", guarded=True), stage("finish", "lasting mirror", approval="for good"))


async def test_users_on_azure_are_watched_over_while_an_approval_is_waited_for(tmp_path):
    world, health = World(), Health()
    async with driven(tmp_path, plan_of(*SHIFTED), world, health=health) as running:
        await running.until(lambda state: "finish" in state.waits)
        health.harm = Breach("roll back", "Azure fails", "")
        state = await running.ended()
    assert (state.status, state.reason, world.present) == ("rolled-back", "Azure fails", set())


async def test_users_on_azure_are_watched_over_while_somebody_has_paused_the_run(tmp_path):
    world, health = World(), Health()
    async with driven(tmp_path, plan_of(*SHIFTED), world, health=health) as running:
        await running.until(lambda state: "finish" in state.waits)
        running.tell("pause")
        await running.until(lambda state: state.status == "paused")
        health.harm = Breach("roll back", "Azure fails", "")
        assert (await running.ended()).status == "rolled-back"


async def test_when_going_back_would_not_help_it_is_said_once(tmp_path):
    health = Health()
    async with driven(tmp_path, plan_of(*SHIFTED), World(), health=health) as running:
        await running.until(lambda state: "finish" in state.waits)
        health.harm = Breach("pause", "both are ill", "")
        await running.until(lambda state: state.status == "paused")
        await asyncio.sleep(0.5)
        assert running.kinds("breach", "paused") == ["breach", "paused"]
