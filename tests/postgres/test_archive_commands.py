"""`tidegate postgres backup`, `check-backup`, `restore`: one database kept as files by what is typed."""

import io
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from tidegate.cli import main
from tidegate.cli.postgres.compared import Compared
from tidegate.lab.buckets import ACCESS_KEY, SECRET_KEY, Buckets
from tidegate.lab.sample import REGION
from tidegate.postgres.archive.hashes import TableHash
from tidegate.postgres.archive.manifest import Manifest
from tidegate.postgres.archive.progress import Lines, Progress
from tidegate.postgres.archive.restore import RestoreReport, TableVerdict
from tidegate.runbook.migration import Database, DatabaseServer

CHANGE = "update sales.customers set name = {name} where id = 7"
SESSIONS = """select count(*), count(*) filter (where wait_event_type = 'Lock') from pg_stat_activity
    where datname = '{name}' and application_name = 'tidegate'"""


class Typed:
    """The commands that keep a database and bring it back; each is told of no more than it needs."""

    def __init__(self, spec: Database, folder: Path) -> None:
        self.place = str(folder / "backup")
        self.options: list[str] = []
        self.environment = {
            "TIDEGATE_STORE": str(folder / "store"),
            "TIDEGATE_BACKUP_KEY": "env:BACKUP_KEY",
            "BACKUP_KEY": secrets.token_hex(32),
        }
        self.sides = {
            "backup": ["--source", spec.aws.dsn, "--source-password", str(spec.aws.password)],
            "check-backup": [],
            "restore": ["--target", spec.azure.dsn, "--target-password", str(spec.azure.password)],
        }
        for role, reference in spec.passwords.items():
            self.sides["restore"] += ["--role-password", f"{role}={reference}"]

    def words(self, command: str, *options: str) -> list[str]:
        return ["postgres", command, self.place, *self.sides[command], *self.options, *options]

    def start(self, command: str, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tidegate", *self.words(command, *options)],
            env=os.environ | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, command: str, *options: str, code: int = 0) -> Result:
        """In this process."""
        done = CliRunner().invoke(main, self.words(command, *options), env=self.environment)
        assert done.exit_code == code, done.stderr
        return done

    def json(self, command: str, *options: str, code: int = 0) -> Any:
        return json.loads(self(command, "--json", *options, code=code).stdout)


@pytest.fixture
def typed(shop, tmp_path) -> Typed:
    return Typed(shop.spec, tmp_path)


@pytest.fixture
def nowhere(tmp_path) -> Typed:
    """With servers that nobody asks."""
    server = DatabaseServer(dsn="postgresql://x@127.0.0.1:1/x", password="env:BACKUP_KEY")
    return Typed(Database(kind="postgres", aws=server, azure=server), tmp_path)


def test_a_database_is_kept_and_comes_back_with_its_logins(typed, shop, tmp_path):
    assert "PostgreSQL 16 can't be dumped for 15" in typed("backup", "--target-version", "15", code=2).stderr
    kept = typed.json("backup")
    tables = {each["table"]: each for each in kept["tables"]}
    assert (kept["rows"], tables["sales.customers"]["rows"]) == (10_000, 2000)
    assert typed.json("backup")["backup"] == kept["backup"], "it is complete already"
    assert list((tmp_path / "store" / "archive").glob("*/*")) == [], "nothing stays in plain text"
    assert typed.json("check-backup")["verdict"] == "whole"
    closed = typed("restore", "--keep-closed")
    assert "all are equal" in closed.stdout
    assert "the logins stay closed" in closed.stdout
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        shop.as_app("azure")
    shop.azure.psql(shop.name, CHANGE.format(name="'other'"))
    differs = typed("restore", code=4)
    assert "sales.customers is different" in differs.stderr
    assert "as backed up" in differs.stdout
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        shop.as_app("azure")
    shop.azure.psql(shop.name, CHANGE.format(name="'c7'"))
    restored = typed.json("restore")
    assert (restored["verdict"], restored["opened"], restored["rows"]) == ("equal", True, 10_000)
    found = {each["table"]: (each["rows"], each["hash"]) for each in restored["tables"]}
    assert found == {name: (each["rows"], each["hash"]) for name, each in tables.items()}
    with shop.as_app("azure") as connection:
        connection.execute("insert into sales.customers (name) values ('new')")
    assert shop.query("azure", "select to_regnamespace('tidegate') is null") == [["t"]]
    assert "the target isn't empty" in typed("restore", code=1).stderr


def test_a_bucket_keeps_it_too(typed, moto):
    bucket = f"backups-{secrets.token_hex(4)}"
    Buckets(moto.url).create(bucket)
    typed.place = f"s3://{bucket}/nightly"
    typed.environment |= {"AWS_REGION": REGION, "LAB_ACCESS_KEY": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    typed.options = ["--endpoint", moto.url, "--access-key", "env:LAB_ACCESS_KEY"]
    kept = typed.json("backup")
    found = typed.json("check-backup")
    assert (found["verdict"], found["files"]) == ("whole", kept["files"])
    assert typed.json("restore")["verdict"] == "equal"


def test_interrupted_it_leaves_nothing_running_and_goes_on(typed, shop):
    def sessions() -> list[str]:
        """How many there are, and how many of them wait for a lock."""
        return shop.query("aws", SESSIONS.format(name=shop.name))[0]

    with psycopg.connect(shop.aws.dsn(shop.name), password=shop.aws.password) as connection:
        connection.execute("alter view sales.totals set (security_barrier)")  # pg_dump waits for the end of that
        for number in (signal.SIGINT, signal.SIGTERM):
            process = typed.start("backup")
            while sessions()[1] == "0":
                assert process.poll() is None, process.communicate()
                time.sleep(0.05)
            process.send_signal(number)
            process.communicate()
            assert process.returncode == 130
            while sessions()[0] != "0":
                time.sleep(0.05)
    assert "no complete backup" in typed("check-backup", code=1).stderr
    assert typed.json("backup")["rows"] == 10_000


@pytest.mark.parametrize(
    ("command", "options", "code", "said"),
    [
        ("backup", ("--source", "mysql://x@y/z"), 2, "--source: write postgresql://"),
        ("backup", ("--key", "hunter2"), 2, "--key: a secret is a reference"),
        ("backup", ("--key", "env:NOT_SET"), 3, "NOT_SET is not set"),
        ("backup", ("--key", "env:SHORT"), 3, "isn't 32 bytes"),
        ("restore", ("--role-password", "hunter2"), 2, "--role-password: give ROLE=REF"),
        ("restore", ("--role-password", "app=hunter2"), 2, "--role-password app: a secret is a reference"),
        ("restore", (), 1, "there is no complete backup"),
    ],
)
def test_what_is_typed_wrong_is_named_and_no_secret_repeated(nowhere, command, options, code, said):
    nowhere.environment["SHORT"] = "hunter2"
    done = nowhere(command, *options, code=code)
    assert said in done.stderr
    assert "hunter2" not in done.output


@pytest.mark.parametrize(
    ("place", "options", "said"),
    [
        ("s3://bucket/x", (), "the region"),
        ("azure://account", (), "a container"),
        ("ftp://x/y", (), "isn't a place for a backup"),
        ("", (), "isn't a place for a backup"),
        ("azure://account/container", ("--account-key", "hunter2"), "--account-key: a secret is a reference"),
        ("s3://bucket/x", ("--endpoint", "nowhere"), "--endpoint: "),
    ],
)
def test_a_place_that_is_none_is_named(nowhere, place, options, said, monkeypatch):
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    nowhere.place = place
    done = nowhere("check-backup", *options, code=2)
    assert said in done.stderr
    assert "hunter2" not in done.output


def test_another_key_another_database_and_a_damaged_file_are_told_apart(typed, shop, tmp_path):
    typed("backup")
    typed.environment["OTHER"] = secrets.token_hex(32)
    assert "give the key that the backup was made with" in typed("check-backup", "--key", "env:OTHER", code=3).stderr
    assert "give another place" in typed("backup", "--source", shop.aws.dsn("template1"), code=1).stderr
    file = next(Path(typed.place).glob("toc.dat.*"))
    file.write_bytes(file.read_bytes()[:-1])
    done = typed("check-backup", code=4)
    assert f"{file.name} is truncated" in done.stdout
    damages = typed.json("check-backup", code=4)["damages"]
    assert damages == [{"file": file.name, "what": "truncated"}]
    assert "is truncated" in typed("restore", code=4).stderr
    assert shop.query("azure", "select to_regnamespace('tidegate') is null") == [["t"]], "it was left alone"


def test_progress_is_seldom_with_a_rate_and_the_time_left():
    said, at = [], 0.0
    lines = Lines(said.append, clock=lambda: at)
    for second in range(5):
        at = second
        lines(Progress("send", second * 2**20, 10 * 2**20))
        lines(Progress("hash", second * 2**20, 2 * 2**20, second * 1000))
        lines(Progress("dump", second * 2**20, None))
    assert said[:3] == [
        "sent 2.0 MiB of 10.0 MiB, 1.0 MiB/s, about 8 s left",
        "hashed 2.0 MiB of 2.0 MiB, 2,000 rows, 1.0 MiB/s",
        "dumped 2.0 MiB, 1.0 MiB/s",
    ]
    assert [line.split()[1] for line in said] == ["2.0"] * 3 + ["4.0"] * 3


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_is_short_and_fits(width):
    big = TableHash(5_000_000_000, "-99999999999999999999999999")
    names = ['"My Schema"."A table whose name is as long as a name can get, here and there"']
    names += [f"public.t{n}" for n in range(50)]
    tables = [TableVerdict(name, big, big) for name in names]
    tables += [TableVerdict("public.changed", big, TableHash(1, "7")), TableVerdict("public.gone", big, None)]
    report = RestoreReport(_manifest(), tuple(tables), ("public.numbers",))
    shown = io.StringIO()
    console = Console(file=shown, width=width)
    console.print(Compared(report))
    text = shown.getvalue()
    lines = text.splitlines()
    assert max(len(line) for line in lines) <= width
    assert len(lines) < 25
    assert "-99999999999999999999999999" in text
    assert "5,000,000,000" in text
    assert [line.split()[-1] for line in lines[2:5]] == ["missing", "different", "-99999999999999999999999999"]
    assert "sequence public.numbers is behind" in text
    assert "all equal" in text
    assert "53 tables" in text
    assert "2 differ" in text


def _manifest() -> Manifest:
    return Manifest(
        backup="1", run="r", store="s", at=datetime.now(UTC), source="here", version=160000, major=16, lsn="0/0",
        bytes=0, roles=(), taken=(), tables={}, sequences={},
    )  # fmt: skip
