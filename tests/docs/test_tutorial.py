"""The tutorial, done as it is written: every command in order, in one shell, and what each prints."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from docs.blocks import commands, matches

pytestmark = pytest.mark.rehearsal

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
END = "-- end of command, exit code "


def test_the_tutorial_is_true(tmp_path):
    with shell(tmp_path) as run:
        for command in commands(TUTORIAL):
            code, printed = run(command.text)
            place = f"docs/tutorial.md:{command.line}: $ {command.text}\n"
            told = "\n".join(printed)
            if command.shown is None:
                assert code == 0, f"{place}exits {code}:\n{told}"
            else:
                assert matches(command.shown, printed), f"{place}prints something else:\n{told}"


@contextmanager
def shell(folder: Path):
    """A bash in which commands run one after the other; each gives (exit code, lines printed)."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("TIDEGATE", "COV_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        ["bash", "--norc"],
        cwd=folder,
        env=environment | {"PATH": path, "COLUMNS": "100", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def run(command: str) -> tuple[int, list[str]]:
            # < /dev/null: a program that reads its input would swallow the commands that follow
            process.stdin.write(f"{{ {command}\n}} < /dev/null; code=$?; echo '{END}'$code; (exit $code)\n")
            process.stdin.flush()
            printed = []
            for line in iter(process.stdout.readline, ""):
                text, end, code = line.rstrip("\n").partition(END)
                printed += [text] if text or not end else []
                if end:
                    return int(code), printed
            raise AssertionError(f"the shell ended in the middle of: {command}")

        try:
            yield run
        finally:
            process.stdin.close()
            with suppress(ProcessLookupError):  # what was left in the middle: a lab ends with its rehearsal
                os.killpg(process.pid, signal.SIGTERM)


def test_the_shell_keeps_its_folder_its_variables_and_the_exit_code(tmp_path):
    with shell(tmp_path) as run:
        assert run("export A=b; mkdir sub && cd sub; false") == (1, [])
        assert run("echo $? $A; pwd; echo oops >&2") == (0, ["1 b", f"{tmp_path}/sub", "oops"])
        assert run("printf half") == (0, ["half"])
