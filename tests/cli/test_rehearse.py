"""`rehearse`, and `resume` of a rehearsal, without a lab: what is refused before anything starts, what is passed on."""

import asyncio
import json

import pytest
from rich.console import Console

from cli.runs import finished_run, memory_driver, plan_of
from crash.memory import World
from tidegate.cli import driving
from tidegate.cli import rehearse as rehearse_module
from tidegate.cli.verdict import Shown
from tidegate.engine.journal import Store
from tidegate.engine.run import start
from tidegate.engine.state import fold
from tidegate.lab import rehearsal as rehearsal_module
from tidegate.lab.lab import Lab
from tidegate.lab.rehearsal import Rehearsal
from tidegate.lab.verdict import Verdict

ENDED = {"plan": plan_of(approval=False, irreversible=False), "irreversible": False}


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (".", "this is a folder"),
        ("nowhere/figures.json", "nowhere: no file can be written here: No such file or directory"),
        ("/proc/figures.json", "/proc: no file can be written here: "),
    ],
)
def test_figures_that_could_not_be_written_are_noticed_before_anything_starts(cli, tmp_path, monkeypatch, place, why):
    def fail(*_, **__):
        pytest.fail("a lab was started")

    monkeypatch.setattr(Lab, "start", fail)
    monkeypatch.chdir(tmp_path)
    done = cli("rehearse", "--json", place)
    assert done.exit_code == 2
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert [*tmp_path.iterdir()] == []


@pytest.fixture
def rehearsed(folder, tmp_path):
    """`rehearsed(...)`: a run that belongs to a rehearsal whose lab has ended."""

    def make(**run) -> str:
        name = finished_run(folder, **run)
        kept = folder / "runs" / name
        kept.mkdir(parents=True)
        record = {"scenario": "incremental", "lab": str(tmp_path / "lab"), "began": 0.0}
        (kept / "rehearsal.json").write_text(json.dumps(record))
        return name

    return make


def test_without_its_lab_a_rehearsal_is_neither_gone_on_with_nor_judged(cli, rehearsed):
    for run in ({"plan": plan_of()}, ENDED):
        name = rehearsed(**run)
        done = cli("resume", name)
        assert done.exit_code == 1
        assert "the lab of this rehearsal has ended" in done.stderr
        assert "start anew with `tidegate rehearse`" in done.stderr


def test_a_rehearsal_with_its_verdict_has_ended(cli, folder, rehearsed):
    name = rehearsed(**ENDED)
    (folder / "runs" / name / "verdict.json").write_text("{}")
    done = cli("resume", name)
    assert done.exit_code == 2
    assert "this run has ended" in done.stderr


def test_resume_passes_on_what_it_was_told(cli, folder, tmp_path, rehearsed, monkeypatch):
    class Nowhere(Lab):
        def stop(self) -> None:
            pytest.fail("a run that waits keeps its lab")

    async def play(*_):
        await asyncio.sleep(60)

    def rehearsal_of(store, run):
        return Rehearsal(Nowhere(tmp_path, None), store, "incremental", 0.0, run=run)

    name = rehearsed(plan=plan_of())
    monkeypatch.setattr(rehearse_module, "rehearsal_of", rehearsal_of)
    monkeypatch.setattr(rehearsal_module, "play", play)
    monkeypatch.setattr(driving, "drive_migration", memory_driver(World()))
    done = cli("resume", "--no-wait", "--json", name)
    assert done.exit_code == 5
    assert (json.loads(done.stdout)["run"], json.loads(done.stdout)["status"]) == (name, "waiting")
    assert len([event for event in Store(folder).events(name) if event.kind == "begun"]) == 2


def test_what_ends_with_its_process_names_what_to_do_instead_of_going_on(cli, folder, tmp_path):
    store, instead = Store(folder), rehearse_module.INSTEAD
    name = start(store, plan_of())

    async def interrupted() -> None:
        task = asyncio.create_task(memory_driver(World())(store, name, instead=instead))
        while fold(store.events(name)).status != "waiting":
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(interrupted())
    shown = " ".join(cli("status").stdout.split())
    assert f"stopped interrupted; {instead}" in shown
    assert "resume" not in shown
    assert cli("rollback").stderr == f"{name}: this run has ended: stopped\n"
    assert json.loads(cli("status", "--json").stdout)["mend"] == instead
    cli("report", "-o", tmp_path / "report.html")
    assert f"Next: {instead}." in (tmp_path / "report.html").read_text()
    assert "tidegate resume" not in (tmp_path / "report.html").read_text()


def test_what_nobody_could_count_is_not_shown_as_none():
    seconds = {"writes_stopped": None, "detect": None, "rollback": None, "total": 9.0}
    requests = {"total": 10, "failed": 0, "held": None}
    figures = {"scenario": "window", "outcome": "migrated", "report": "report.html"}
    console = Console(width=100)
    with console.capture() as shown:
        console.print(Shown(Verdict((), {**figures, "requests": requests, "seconds": seconds})))
    assert "10 requests, 0 failed, unknown how many held" in shown.get()
