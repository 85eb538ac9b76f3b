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

CHANGE = "update sales.customers set name = {name} where id = 7"
WAITING = """select count(*) from pg_stat_activity
    where datname = current_database() and application_name = 'tidegate'"""


class Typed:
    """A shop's database, and the commands that keep it and bring it back; each is told of no more than it needs."""

    def __init__(self, shop, folder: Path) -> None:
        self.shop, self.place = shop, str(folder / "backup")
        self.options: list[str] = []
        self.environment = {
            "TIDEGATE_STORE": str(folder / "store"),
            "TIDEGATE_BACKUP_KEY": "env:BACKUP_KEY",
            "BACKUP_KEY": secrets.token_hex(32),
        }
        self.sides = {
            "backup": ["--source", shop.spec.aws.dsn, "--source-password", str(shop.spec.aws.password)],
            "check-backup": [],
            "restore": ["--target", shop.spec.azure.dsn, "--target-password", str(shop.spec.azure.password),
                        "--role-password", f"{shop.app}=env:SHOP_APP_PASSWORD"],
        }  # fmt: skip

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
def typed(make_shop, tmp_path) -> Typed:
    return Typed(make_shop(), tmp_path)


def test_a_database_is_kept_and_comes_back_with_its_logins(typed, tmp_path):
    shop = typed.shop
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing_running_and_goes_on(typed, number):
    shop = typed.shop
    with psycopg.connect(shop.aws.dsn(shop.name), password=shop.aws.password, autocommit=True) as connection:
        with connection.transaction():
            connection.execute("alter view sales.totals set (security_barrier)")  # pg_dump waits for that
            process = typed.start("backup")
            while not connection.execute(f"{WAITING} and wait_event_type = 'Lock'").fetchone()[0]:
                assert process.poll() is None, process.communicate()
                time.sleep(0.02)
            process.send_signal(number)
            process.communicate()
            assert process.returncode == 130
        while connection.execute(WAITING).fetchone()[0]:
            time.sleep(0.02)
    assert "no complete backup" in typed("check-backup", code=1).stderr
    assert typed.json("backup")["rows"] == 10_000


@pytest.mark.parametrize(
    ("command", "options", "code", "said"),
    [
        ("backup", ("--source", "mysql://x@y/z"), 2, "--source: write postgresql://"),
        ("backup", ("--target-version", "15"), 2, "PostgreSQL 16 can't be dumped for 15"),
        ("backup", ("--key", "hunter2"), 2, "--key: a secret is a reference"),
        ("backup", ("--key", "env:NOT_SET"), 3, "NOT_SET is not set"),
        ("backup", ("--key", "env:SHORT"), 3, "isn't 32 bytes"),
        ("restore", ("--role-password", "hunter2"), 2, "--role-password: give ROLE=REF"),
        ("restore", ("--role-password", "app=hunter2"), 2, "--role-password app: a secret is a reference"),
        ("restore", (), 1, "there is no complete backup"),
        ("check-backup", ("--account-key", "hunter2"), 2, "--account-key: a secret is a reference"),
        ("check-backup", ("--endpoint", "nowhere"), 2, "--endpoint"),
    ],
)
def test_what_is_typed_wrong_is_named_and_no_secret_repeated(typed, command, options, code, said):
    typed.environment["SHORT"] = "hunter2"
    done = typed(command, *options, code=code)
    assert said in done.stderr
    assert "hunter2" not in done.output


@pytest.mark.parametrize(
    ("place", "said"),
    [("s3://bucket/x", "the region"), ("azure://account", "a container"), ("ftp://x/y", "isn't a place for a backup")],
)
def test_a_place_that_is_none_is_named(typed, place, said, monkeypatch):
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    typed.place = place
    assert said in typed("check-backup", code=2).stderr


def test_another_key_another_database_and_a_damaged_file_are_told_apart(typed, make_shop, tmp_path):
    typed("backup")
    typed.environment["OTHER"] = secrets.token_hex(32)
    assert "give the key that the backup was made with" in typed("check-backup", "--key", "env:OTHER", code=3).stderr
    other = Typed(make_shop(), tmp_path)
    other.environment = typed.environment
    assert "give another place" in other("backup", code=1).stderr
    file = next(Path(typed.place).glob("toc.dat.*"))
    file.write_bytes(file.read_bytes()[:-1])
    done = typed("check-backup", code=4)
    assert f"{file.name} is truncated" in done.stdout
    damages = typed.json("check-backup", code=4)["damages"]
    assert damages == [{"file": file.name, "what": "truncated"}]
    assert "is truncated" in typed("restore", code=4).stderr
    assert typed.shop.query("azure", "select to_regnamespace('tidegate') is null") == [["t"]], "it was left alone"


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
