import json

import pytest

from cli.runs import finished_run, plan_of
from tidegate.cli import plan as plan_module
from tidegate.cli.init import sample
from tidegate.runbook.plan import parse_plan
from tidegate.runbook.step import Finding

pytestmark = pytest.mark.usefixtures("secrets")
PASSES = Finding(check="edge.routes", verdict="pass", message="everybody is on AWS")
FAILS = Finding(check="orders.wal_level", verdict="fail", message="wal_level is replica", mend="set it to logical")


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A migration file; planning it reads from no server."""

    async def planned(migration):
        return plan_of(), findings

    findings = [PASSES]
    monkeypatch.setattr(plan_module, "plan_migration", planned)
    file = tmp_path / "migration.yaml"
    file.write_text(sample())
    return file


@pytest.fixture
def failing(monkeypatch, file):
    async def planned(migration):
        return plan_of(), [PASSES, FAILS]

    monkeypatch.setattr(plan_module, "plan_migration", planned)
    return file


def test_each_stage_shows_its_actions_what_undoes_them_and_who_approves(cli, file):
    done = cli("plan", file)
    assert done.exit_code == 0
    rows = [line.rstrip() for line in done.stdout.splitlines()]
    begin = rows.index("before the cutover")
    assert rows[begin + 1 : begin + 6] == [
        "  copy",
        "    create rows: put it there",
        "      undo: take it away",
        "    create objects: put it there",
        "      undo: take it away",
    ]
    assert "  shift  guarded, a failure rolls back" in rows
    last = next(index for index, row in enumerate(rows) if "point of no return" in row)
    assert rows[last + 1 : last + 5] == [
        "  finish",
        "    approval: the mirror ends",
        "    create finished: put it there",
        "      nothing undoes this",
    ]


def test_how_long_it_took_is_the_last_rehearsals_and_says_so(cli, folder, file):
    finished_run(folder, plan_of(approval=False, irreversible=False), irreversible=False)
    stdout = cli("plan", file).stdout
    assert "last rehearsal (lab): shop-" in stdout
    assert "  copy  last rehearsal (lab): 0." in stdout


def test_productions_times_are_no_rehearsals(cli, folder, file):
    finished_run(folder, plan_of(approval=False, irreversible=False, environment="production"), irreversible=False)
    assert "last rehearsal" not in cli("plan", file).stdout


def test_a_saved_plan_is_what_run_reads(cli, file, tmp_path):
    output = tmp_path / "plan.json"
    done = cli("plan", file, "-o", output)
    assert done.exit_code == 0
    assert f"saved {output}" in done.stderr
    assert parse_plan(output.read_text(), "plan.json") == plan_of()
    assert [each.name for each in tmp_path.iterdir() if each.name.endswith(".part")] == []


def test_a_plan_whose_preflight_fails_is_shown_and_not_saved(cli, failing, tmp_path):
    output = tmp_path / "plan.json"
    done = cli("plan", failing, "-o", output)
    assert done.exit_code == 4
    assert "preflight: 1 of 2 checks pass" in done.stdout
    assert "fail  orders.wal_level: wal_level is replica" in done.stdout
    assert "    mend: set it to logical\n" in done.stdout
    listed = "  orders.wal_level: wal_level is replica\n    mend: set it to logical\n"
    assert done.stderr.startswith(f"preflight: 1 of 2 checks fail\n{listed}")
    assert not output.exists()


def test_a_plan_as_data(cli, failing):
    done = cli("plan", failing, "--json")
    document = json.loads(done.stdout)
    assert done.exit_code == 4
    assert document["point_of_no_return"] == "finish"
    assert [finding["verdict"] for finding in document["findings"]] == ["pass", "fail"]
    assert document["last_rehearsal"] is None
    assert document["plan"]["digest"] == plan_of().digest


def test_planning_makes_no_folder_for_runs(cli, folder, file):
    cli("plan", file)
    assert not folder.exists()
