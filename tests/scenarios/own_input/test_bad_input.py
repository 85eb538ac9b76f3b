"""Input that can't be taken along: one message that says why and what to do, and nothing is left running."""

import os
import re
import subprocess
import sys
import uuid
from dataclasses import dataclass

import psutil
import pytest

pytestmark = pytest.mark.rehearsal

LONGEST = 240
MARK = "TIDEGATE_TEST_MARK"
TINY = ("--rows", "500", "--receipts", "10", "--bake", "0.5", "--watch", "0.5", "--rate", "20")


@dataclass(frozen=True)
class Refused:
    exit_code: int
    message: str
    left_running: list[str]


@pytest.fixture
def refused(tmp_path):
    """`refused("--database", "my.sql")`: how such a rehearsal ends. A mark tells what it has started."""
    mark = uuid.uuid4().hex

    def rehearse(*options: str) -> Refused:
        done = subprocess.run(
            [sys.executable, "-m", "tidegate", "rehearse", "--plain", *TINY, *options],
            env=os.environ | {MARK: mark},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        return Refused(done.returncode, done.stderr, [*_marked(mark)])

    return rehearse


def _marked(mark: str) -> list[str]:
    """The command lines of all processes with this mark in their environment."""
    found: list[str] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:  # it has just ended, or is somebody else's
            continue
    return found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--database", "no such.sql"), "no such.sql: there is no such dump\n  name a file written by pg_dump\n"),
        (("--database", "."), ".: there is no such dump\n  name a file written by pg_dump\n"),
        (("--objects", "no such folder"), "no such folder: there is no such folder\n  name a folder of files\n"),
        (("--objects", "a file"), "a file: there is no such folder\n  name a folder of files\n"),
    ],
)
def test_a_path_that_is_not_what_it_should_be_is_told_before_anything_starts(refused, tmp_path, options, message):
    (tmp_path / "a file").touch()
    assert refused(*options) == Refused(2, message, [])


def test_a_dump_without_a_table_is_told_and_the_lab_that_had_begun_ends(refused, tmp_path):
    (tmp_path / "empty.sql").write_text("select 1;\n")
    ended = refused("--database", "empty.sql")
    mend = "it makes no table; there must be one database\n  dump one database\n"
    assert ended == Refused(2, f"{tmp_path}/empty.sql: {mend}", [])


def test_what_replication_can_not_carry_is_named_and_refused_before_anything_is_copied(refused, tmp_path):
    (tmp_path / "dump.sql").write_text(
        "create table sensors (id int primary key);\n"
        "create table readings (sensor int references sensors, celsius float);\n"
        "insert into sensors values (1);\ninsert into readings values (1, 20.5);\n"
    )
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "ends with a dot.").write_text("Blob would cut it off")
    ended = refused("--database", "dump.sql", "--objects", "files")
    assert ended.exit_code == 4
    assert (
        "no replica identity: every UPDATE and DELETE would fail once it is published: public.readings" in ended.message
    )
    assert "'ends with a dot.' (a segment that ends with a dot, which Blob cuts off)" in ended.message
    assert not re.search(r"replicate begins|Traceback", ended.message)
    assert ended.left_running == []
