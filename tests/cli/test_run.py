"""`run` and `resume` over the real engine and steps in memory: what they exit with, and whom they refuse."""

import json
import os

import pytest

from cli.runs import finished_run, memory_driver, plan_of, state_of
from crash.memory import World
from tidegate.cli import driving
from tidegate.cli import run as run_module
from tidegate.engine.health import Losses
from tidegate.engine.journal import Store
from tidegate.engine.lease import lease
from tidegate.runbook.step import Finding

pytestmark = pytest.mark.usefixtures("secrets")
LOSSES = Losses("Azure's database is gone; 3 writes are at risk", 3, "at-risk.txt")


@pytest.fixture
def in_memory(monkeypatch):
    """`in_memory(world)`: what is run from now on is run there."""

    def install(world: World, **fate) -> World:
        monkeypatch.setattr(driving, "drive_migration", memory_driver(world, **fate))
        return world

    return install


@pytest.fixture
def plan_file(tmp_path):
    def write(**options):
        file = tmp_path / "plan.json"
        file.write_text(plan_of(**options).model_dump_json())
        return file

    return write


@pytest.mark.parametrize(
    ("world", "fate", "options", "code", "status"),
    [
        (World(), {"irreversible": False}, {"approval": False, "irreversible": False}, 0, "migrated"),
        (World(down="objects"), {}, {}, 1, "stopped"),
        (World(broken="objects"), {}, {}, 4, "stopped"),
        (World(), {}, {}, 5, "waiting"),
        (World(), {"harm_in": "shift", "losses": LOSSES}, {}, 5, "paused"),
        (World(broken="half"), {}, {}, 6, "rolled-back"),
        (World(), {"harm_in": "shift"}, {}, 6, "rolled-back"),
        (World(broken="home"), {"harm_in": "shift"}, {}, 7, "stopped"),
    ],
)
def test_the_exit_code_says_how_the_run_stands(
    cli, folder, in_memory, plan_file, *, world, fate, options, code, status
):
    in_memory(world, **fate)
    done = cli("run", plan_file(**options), "--no-wait")
    assert done.exit_code == code
    [run] = Store(folder).runs()
    assert state_of(folder, run).status == status
    assert run in done.stdout
    assert "Traceback" not in done.output


def test_what_waits_names_the_command_that_approves(cli, folder, in_memory, plan_file):
    in_memory(World())
    done = cli("run", plan_file(), "--no-wait")
    [run] = Store(folder).runs()
    assert "waits: finish: the mirror ends" in done.stdout
    assert f"  tidegate --store {folder} approve {run}  approves" in done.stdout


def test_a_pause_before_a_loss_names_the_forced_way_back(cli, in_memory, plan_file):
    in_memory(World(), harm_in="shift", losses=LOSSES)
    done = cli("run", plan_file(), "--no-wait")
    assert "3 writes are at risk" in done.stdout
    assert "--force  goes back without Azure, once it is approved" in done.stdout


def test_data_goes_to_stdout_and_progress_to_stderr(cli, in_memory, plan_file):
    in_memory(World())
    done = cli("run", plan_file(), "--no-wait", "--json")
    document = json.loads(done.stdout)
    assert (document["status"], document["exit_code"]) == ("waiting", 5)
    assert document["waiting"] == [{"gate": "finish", "reason": "the mirror ends", "by_itself": False}]
    assert [stage["status"] for stage in document["stages"]] == ["done", "done", "pending"]
    assert "copy begins" in done.stderr
    assert "objects: objects is there" in done.stderr


def test_a_run_that_was_approved_meanwhile_goes_on_to_its_end(cli, folder, in_memory, plan_file):
    in_memory(World())
    cli("run", plan_file(), "--no-wait")
    assert cli("approve", "--by", "Ada").exit_code == 0
    done = cli("resume", "--no-wait")
    assert done.exit_code == 0
    assert "migrated" in done.stdout
    [run] = Store(folder).runs()
    assert state_of(folder, run).approvals == {"finish": "Ada"}


def test_a_stopped_run_goes_on_once_the_cause_is_gone(cli, in_memory, plan_file):
    world = in_memory(World(down="objects"))
    done = cli("run", plan_file(), "--no-wait")
    assert "nobody answers" in done.stdout
    assert "resume" in done.stdout
    world.down = ""
    assert cli("resume", "--no-wait").exit_code == 5


def test_a_second_process_is_refused_with_the_firsts_id(cli, folder, in_memory, plan_file):
    in_memory(World())
    cli("run", plan_file(), "--no-wait")
    store = Store(folder)
    [run] = store.runs()
    with lease(store, run):
        for words in (("resume",), ("run", plan_file())):
            done = cli(*words)
            assert done.exit_code == 1
            assert f"{run}: process {os.getpid()} drives" in done.stderr
    assert store.runs() == [run]


def test_two_runs_of_one_migration_do_not_fight(cli, folder, in_memory, plan_file):
    in_memory(World())
    cli("run", plan_file(), "--no-wait")
    [run] = Store(folder).runs()
    done = cli("run", plan_file(), "--no-wait")
    assert done.exit_code == 2
    assert f"{run}: a run of shop is not finished" in done.stderr
    assert Store(folder).runs() == [run]


def test_a_run_that_has_ended_is_not_resumed(cli, folder):
    finished_run(folder, plan_of(approval=False, irreversible=False), irreversible=False)
    done = cli("resume")
    assert done.exit_code == 2
    assert "this run has ended" in done.stderr


def test_a_plan_that_was_edited_is_refused_and_nothing_begins(cli, folder, plan_file):
    file = plan_file()
    file.write_text(file.read_text().replace("put it there", "put it elsewhere"))
    done = cli("run", file)
    assert done.exit_code == 3
    assert f"{file}: the plan was changed" in done.stderr
    assert not folder.exists()


def test_a_secret_of_a_plan_that_is_not_set_is_named_before_anything_begins(cli, folder, plan_file, monkeypatch):
    monkeypatch.delenv("APP_PASSWORD")
    done = cli("run", plan_file())
    assert done.exit_code == 3
    assert "components.shop.logins.orders.password: the environment variable APP_PASSWORD is not set" in done.stderr
    assert not folder.exists()


def test_a_migration_file_is_planned_and_run(cli, folder, in_memory, tmp_path, monkeypatch):
    async def planned(migration):
        return plan_of(), []

    monkeypatch.setattr(run_module, "plan_migration", planned)
    in_memory(World())
    cli("init", tmp_path / "migration.yaml")
    assert cli("run", tmp_path / "migration.yaml", "--no-wait").exit_code == 5


def test_a_migration_whose_preflight_fails_is_not_begun(cli, folder, in_memory, tmp_path, monkeypatch):
    async def planned(migration):
        return plan_of(), [Finding(check="orders.wal_level", verdict="fail", message="wal_level is replica")]

    monkeypatch.setattr(run_module, "plan_migration", planned)
    in_memory(World())
    cli("init", tmp_path / "migration.yaml")
    done = cli("run", tmp_path / "migration.yaml")
    assert done.exit_code == 4
    assert "orders.wal_level: wal_level is replica" in done.stderr
    assert Store(folder).runs() == []
