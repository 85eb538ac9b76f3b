"""Ctrl-C, a termination signal, a reader that goes away, a defect: one message, and a run that can be resumed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.runs import finished_run, plan_of, state_of, until
from tidegate.cli import status as status_module
from tidegate.engine.journal import Store

TESTS = Path(__file__).parents[1]
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": str(TESTS),
    "APP_PASSWORD": "-",
    **dict.fromkeys("ABCDE", "-"),
}


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on(folder, tmp_path, which):
    plan = tmp_path / "plan.json"
    plan.write_text(plan_of().model_dump_json())
    words = [sys.executable, str(TESTS / "cli" / "process.py"), "--store", str(folder), "run", str(plan)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        [run] = _when_there_is_one(folder)
        until(folder, run, lambda state: state.status == "waiting")
        process.send_signal(which)
        out, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said.splitlines()[-1] == f"interrupted; `tidegate --store {folder} resume {run}` goes on"
    assert "Traceback" not in said
    assert out == ""
    state = state_of(folder, run)
    assert (state.status, state.reason) == ("stopped", "interrupted")


def _when_there_is_one(folder: Path) -> list[str]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if (folder / "journal.db").exists() and (runs := Store(folder).runs()):
            return runs
        time.sleep(0.05)
    pytest.fail("no run began")


def test_a_reader_that_has_gone_is_no_error_worth_a_word(folder):
    finished_run(folder)
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "tidegate", "--store", str(folder), "status", "--json"]
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, check=False)
    os.close(writer)
    assert done.stderr == ""


def test_a_defect_is_told_in_one_message_without_the_text_of_the_exception(cli, folder, monkeypatch):
    def fail(*_):
        raise ValueError("hunter2")

    finished_run(folder)
    monkeypatch.setattr(status_module, "Watch", fail)
    done = cli("status")
    assert done.exit_code == 1
    assert done.stderr.startswith("this is a defect of tidegate: ValueError at status.py:")
    assert "hunter2" not in done.output
    assert "Traceback" not in done.output
    monkeypatch.setenv("TIDEGATE_DEBUG", "1")
    assert "Traceback" in cli("status").stderr


def test_a_full_disk_is_told_as_what_it_is(cli, folder, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device", str(folder / "journal.db"))

    finished_run(folder)
    monkeypatch.setattr(status_module, "Watch", fail)
    done = cli("status")
    assert done.exit_code == 1
    assert done.stderr == f"{folder / 'journal.db'}: No space left on device\n  see to that, then try again\n"


def test_a_folder_without_runs_is_told_of_and_not_made(cli, folder):
    for command in ("status", "resume", "approve", "rollback", "report"):
        done = cli(command)
        assert done.exit_code == 2
        assert done.stderr == f"{folder}: there is no run here yet\n  start one with `tidegate run`\n"
    assert not folder.exists()
