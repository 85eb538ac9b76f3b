import subprocess
import sys

import pytest

from tidegate.cli import COMMANDS

HEAVY = ("aiohttp", "asyncio", "asyncpg", "botocore", "psycopg", "pydantic", "rich", "sqlite3", "yaml")

PROGRAM = f"""
import sys
from tidegate.cli import main
try:
    main(["--help"])
finally:
    print("imported:", [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""


def test_the_help_imports_nothing_that_takes_long():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert "imported: []" in done.stderr
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


def test_it_is_a_module_too():
    done = subprocess.run([sys.executable, "-m", "tidegate", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("tidegate, version ")


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "rehearse"])
def test_every_command_explains_itself(cli, name):
    done = cli(name, "--help")
    assert done.exit_code == 0
    assert f"Usage: main --store DIRECTORY {name}" in done.output or f" {name} " in done.output
    assert "Show this message and exit." in done.output


def test_a_command_that_is_almost_right_is_named(cli):
    done = cli("aprove")
    assert done.exit_code == 2
    assert "Did you mean 'approve'?" in done.stderr


@pytest.mark.parametrize("words", [("nothing",), ("status", "--jsn"), ("plan",), ("run", "a", "b")])
def test_what_can_not_be_meant_is_a_usage_error(cli, words):
    assert cli(*words).exit_code == 2


def test_completion_knows_commands_and_runs(cli, folder, monkeypatch):
    from cli.runs import finished_run

    run = finished_run(folder)
    script = [sys.executable, "-m", "tidegate"]
    words = f"tidegate --store {folder} status "
    environment = {"_TIDEGATE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "4", "PATH": "/bin"}
    done = subprocess.run(script, capture_output=True, text=True, env=environment, check=False)
    assert run in done.stdout
    environment |= {"COMP_WORDS": "tidegate ro", "COMP_CWORD": "1"}
    done = subprocess.run(script, capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.strip() == "plain,rollback"
