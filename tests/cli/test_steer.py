"""Commands from a second terminal: appended, obeyed by whoever drives the run, and told what becomes of them."""

import json
import os

import pytest

from cli.runs import command_names, driven, finished_run, memory_driver, plan_of, state_of, until
from crash.memory import World
from tidegate.cli import driving
from tidegate.engine.health import Losses
from tidegate.engine.journal import Store

GONE = Losses("Azure's database is gone; 3 writes are at risk", 3, "at-risk.txt")


def test_an_approval_is_obeyed_by_the_process_that_waits_for_it(cli, folder):
    with driven(folder, plan_of(), World()) as run:
        until(folder, run, lambda state: state.status == "waiting")
        done = cli("approve", run, "--by", "Ada")
        assert done.exit_code == 0
        assert f"{run}: approval of finish asked for by Ada" in done.stdout
        assert f"process {os.getpid()} drives this run" in done.stdout
        state = until(folder, run, lambda state: state.ended is not None)
    assert state.status == "migrated"
    assert state.approvals == {"finish": "Ada"}


def test_a_pause_is_kept_until_somebody_says_resume(cli, folder):
    world = World()
    with driven(folder, plan_of(slow=True), world) as run:
        until(folder, run, lambda state: state.step("rows").note == "at work")
        assert cli("pause").exit_code == 0
        world.present.add("haste")
        until(folder, run, lambda state: state.status == "paused")
        assert cli("pause").exit_code == 2
        assert cli("resume").exit_code == 0
        state = until(folder, run, lambda state: state.status == "waiting")
    assert command_names(state) == ["pause", "resume"]


def test_an_abort_stops_the_run_where_it_is(cli, folder):
    world = World()
    with driven(folder, plan_of(slow=True), world) as run:
        until(folder, run, lambda state: state.step("rows").note == "at work")
        assert cli("abort", "--by", "Ada").exit_code == 0
        state = until(folder, run, lambda state: state.status == "stopped")
    assert state.reason == "aborted by Ada"
    assert "-objects" not in world.history


def test_a_rollback_takes_everything_back(cli, folder):
    world = World()
    with driven(folder, plan_of(), world) as run:
        until(folder, run, lambda state: state.status == "waiting")
        assert cli("rollback", "--by", "Ada").exit_code == 0
        state = until(folder, run, lambda state: state.ended is not None)
    assert (state.status, state.reason) == ("rolled-back", "asked for by Ada")
    assert world.present == set()
    assert world.traffic == "aws"


def test_a_forced_rollback_waits_until_its_loss_is_approved(cli, folder):
    world = World()
    with driven(folder, plan_of(), world, losses=GONE) as run:
        until(folder, run, lambda state: state.status == "waiting")
        cli("rollback", "--force")
        until(folder, run, lambda state: state.waiting is not None and state.waiting.gate == "forced-rollback")
        assert "3 writes are at risk" in cli("status").stdout
        assert "accepts the loss" in cli("status").stdout
        assert cli("approve", "--gate", "forced-rollback", "--by", "Ada").exit_code == 0
        state = until(folder, run, lambda state: state.ended is not None)
    assert state.reason.startswith("forced, approved by Ada")
    assert world.traffic == "aws"


def test_a_forced_rollback_while_the_target_answers_is_refused_and_told(cli, folder):
    with driven(folder, plan_of(), World()) as run:
        until(folder, run, lambda state: state.status == "waiting")
        cli("rollback", "--force")
        store = Store(folder)
        until(folder, run, lambda _: any(event.kind == "refused" for event in store.events(run)))
        store.close()


def test_a_command_to_a_run_that_nobody_drives_is_kept_and_obeyed_on_resume(cli, folder, monkeypatch):
    world = World()
    run = finished_run(folder, plan_of(), world)
    done = cli("rollback")
    assert done.exit_code == 0
    assert f"it is kept, and obeyed on `tidegate --store {folder} resume {run}`" in done.stdout
    for name in "ABCDE":
        monkeypatch.setenv(name, "-")
    monkeypatch.setenv("APP_PASSWORD", "-")
    monkeypatch.setattr(driving, "drive_migration", memory_driver(world))
    assert cli("resume").exit_code == 6
    assert world.present == set()


@pytest.mark.parametrize("command", ["pause", "abort"])
def test_what_stands_still_can_not_be_stopped(cli, folder, command):
    run = finished_run(folder, plan_of())
    done = cli(command)
    assert done.exit_code == 2
    assert f"{run}: no process drives this run" in done.stderr
    assert state_of(folder, run).commands == []


@pytest.mark.parametrize("words", [("approve",), ("approve", "--gate", "finish")])
def test_nothing_is_approved_in_advance(cli, folder, words):
    run = finished_run(folder, plan_of(), World(down="objects"))
    done = cli(*words)
    assert done.exit_code == 2
    assert f"{run}: this run waits for no approval" in done.stderr
    assert state_of(folder, run).approvals == {}


def test_another_gate_than_the_one_it_waits_for_is_refused(cli, folder):
    finished_run(folder, plan_of())
    done = cli("approve", "--gate", "switch")
    assert done.exit_code == 2
    assert "it waits for: finish" in done.stderr


@pytest.mark.parametrize("command", ["approve", "pause", "abort", "rollback"])
def test_a_run_that_has_ended_obeys_nobody(cli, folder, command):
    finished_run(folder, plan_of(approval=False, irreversible=False), irreversible=False)
    done = cli(command)
    assert done.exit_code == 2
    assert "this run has ended: migrated" in done.stderr


def test_past_the_point_of_no_return_there_is_no_rollback(cli, folder):
    world = World(down="finished")
    run = finished_run(folder, plan_of(), world)
    cli("approve")
    store = Store(folder)
    import asyncio

    asyncio.run(memory_driver(world)(store, run, wait=False))
    store.close()
    done = cli("rollback")
    assert done.exit_code == 2
    assert "finished has begun: this run is past its point of no return" in done.stderr


def test_a_command_as_data(cli, folder):
    run = finished_run(folder, plan_of())
    document = json.loads(cli("rollback", "--by", "Ada", "--json").stdout)
    assert {key: document[key] for key in ("run", "command", "by", "force", "driver")} == {
        "run": run, "command": "rollback", "by": "Ada", "force": False, "driver": None,
    }  # fmt: skip


def test_a_run_is_found_by_the_beginning_of_its_name(cli, folder):
    run = finished_run(folder, plan_of())
    assert cli("approve", run[:-2]).exit_code == 0
    done = cli("approve", "another")
    assert done.exit_code == 2
    assert run in done.stderr
