"""Servers that tidegate did not start, a workload on them, and an operator who has nothing but the command line."""

import asyncio
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from string import Template
from typing import Any

import pytest

from scenarios.foreign_servers.users import Users
from tidegate.lab.buckets import ACCESS_KEY, SECRET_KEY, Buckets
from tidegate.lab.servers.azurite import ACCOUNT, KEY
from tidegate.lab.servers.envoy import Envoy
from tidegate.lab.servers.postgres import Postgres
from tidegate.lab.servers.process import Process, free_port, listens, quiet_environment
from tidegate.objects.blob import BlobSide
from tidegate.objects.http import Http
from tidegate.objects.s3 import S3Side
from tidegate.runbook.migration import Bucket, Cloud

HERE = Path(__file__).parent
PATIENCE = 240
"""Seconds after which an operator gives up."""

ADMIN = """
create role $admin login createdb createrole replication password '$password';
grant pg_monitor, pg_signal_backend, pg_create_subscription to $admin;
"""
"""What a managed service gives its customers: no superuser."""

SCHEMA = """
create role $login login password '$password';
grant $login to $admin with admin option;
create schema notebook authorization $login;
set role $login;
create table notebook.notes (
    number bigint generated always as identity primary key, id text not null, author text not null,
    at timestamptz not null default now());
create table notebook.authors (name text primary key, notes bigint not null);
insert into notebook.notes (id, author) select 'old-' || i, 'user-' || i % 40 from generate_series(1, 300) i;
insert into notebook.authors select author, count(*) from notebook.notes group by 1;
create table notebook.visits (author text, at timestamptz default now()); -- without a key, but with an identity
alter table notebook.visits replica identity full;
insert into notebook.visits (author) select author from notebook.notes;
grant select on notebook.authors to public;
"""

STATE = """
select 'role', rolname, concat(rolcanlogin, rolreplication) from pg_roles where rolname !~ '^pg_'
union all select 'member', roleid::regrole::text, member::regrole::text from pg_auth_members where roleid > 16383
union all select 'schema', nspname, nspacl::text from pg_namespace where nspname !~ '^pg_'
union all select 'relation', c.oid::regclass::text, concat_ws(' ', relacl, reloptions, relreplident)
    from pg_class c where relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
union all select 'publication', pubname, null from pg_publication
union all select 'subscription', subname, null from pg_subscription
    where subdbid = (select oid from pg_database where datname = current_database())
union all select 'slot', slot_name, null from pg_replication_slots where database = current_database()
order by 1, 2, 3
"""


class Estate:
    """Both sides of the notebook, and how an operator has written it down."""

    def __init__(self, folder: Path, servers: dict[Cloud, Postgres], s3: str, blob: str) -> None:
        self.folder, self.servers = folder, servers
        tag = secrets.token_hex(4)
        self.database, self.login, self.bucket = f"notebook_{tag}", f"notebook_{tag}_app", f"notebook-{tag}"
        self.admin = f"notebook_{tag}_admin"
        self.password, self.admin_password = secrets.token_hex(12), secrets.token_hex(12)
        self.ports = {
            name: free_port() for name in ("notebook_on_aws", "notebook_on_azure", "edge", "edge_admin", "hold")
        }
        self.secrets = {
            "NOTEBOOK_PASSWORD": self.password,
            "AWS_ADMIN_PASSWORD": self.admin_password,
            "AZURE_ADMIN_PASSWORD": self.admin_password,
            "S3_ACCESS_KEY": ACCESS_KEY,
            "S3_SECRET_KEY": SECRET_KEY,
            "BLOB_KEY": KEY,
        }
        self.roles_before = {cloud: self.roles(cloud) for cloud in servers}
        self.s3, self.blob = s3, blob
        self.migration = folder / "migration.yaml"
        self.migration.write_text(
            Template((HERE / "migration.yaml").read_text()).substitute(
                **self.ports,
                folder=folder,
                login=self.login,
                admin=self.admin,
                database=self.database,
                postgres_on_aws=servers["aws"].port,
                postgres_on_azure=servers["azure"].port,
                bucket=self.bucket,
                s3=s3,
                account=ACCOUNT,
                blob=blob,
            )
        )

    @property
    def environment(self) -> dict[str, str]:
        return quiet_environment() | self.secrets | {"TIDEGATE_STORE": str(self.folder / "runs"), "COLUMNS": "120"}

    def fill(self) -> None:
        """AWS with a schema, rows and objects; Azure with an empty database, and no container."""
        for server in self.servers.values():
            server.psql("postgres", Template(ADMIN).substitute(admin=self.admin, password=self.admin_password))
            server.psql("postgres", f"create database {self.database} owner {self.admin}")
        text = Template(SCHEMA).substitute(login=self.login, password=self.password, admin=self.admin)
        self.servers["aws"].psql(self.database, text)
        buckets = Buckets(self.s3)
        buckets.create(self.bucket)
        for number in range(1, 41):
            buckets.s3.put_object(Bucket=self.bucket, Key=f"notes/old-{number}.txt", Body=b"old" * number)

    def write_endpoints(self) -> None:
        """As documented: both copies use what AWS has."""
        document = {
            "revision": 7,
            "active": True,
            "primary": "aws",
            "stores": {
                "notes": {
                    "kind": "postgres",
                    "dsn": f"postgresql://{self.login}@127.0.0.1:{self.servers['aws'].port}/{self.database}",
                    "password": "env:NOTEBOOK_PASSWORD",
                },
                "attachments": {
                    "kind": "s3",
                    "endpoint": self.s3,
                    "region": "eu-north-1",
                    "bucket": self.bucket,
                    "access_key": "env:S3_ACCESS_KEY",
                    "secret_key": "env:S3_SECRET_KEY",
                },
            },
        }
        for cloud in self.servers:
            (self.folder / cloud).mkdir()
            self.endpoints(cloud).write_text(json.dumps(document))

    def endpoints(self, cloud: Cloud) -> Path:
        return self.folder / cloud / "stores.json"

    def told(self, cloud: Cloud) -> dict[str, Any]:
        return json.loads(self.endpoints(cloud).read_text())

    def query(self, cloud: Cloud, query: str) -> list[list[str]]:
        return [line.split("\t") for line in self.servers[cloud].psql(self.database, query).splitlines()]

    def roles(self, cloud: Cloud) -> set[str]:
        return set(self.servers[cloud].psql("postgres", "select rolname from pg_roles").split())

    def state(self) -> dict[Cloud, list[list[str]]]:
        """Roles, rights, options and whatever replicates, on both sides."""
        return {cloud: self.query(cloud, STATE) for cloud in self.servers}

    def notes(self, cloud: Cloud) -> list[str]:
        """The ids of the rows that are there, also if one is there twice."""
        return [row[0] for row in self.query(cloud, "select id from notebook.notes")]

    def attachments(self, cloud: Cloud) -> dict[str, bytes] | None:
        """The objects that are there, by note; None without a container."""
        return asyncio.run(self._attachments(cloud))

    async def _attachments(self, cloud: Cloud) -> dict[str, bytes] | None:
        spec = Bucket.model_validate(
            {
                "kind": "bucket",
                "aws": {
                    "bucket": self.bucket,
                    "region": "eu-north-1",
                    "access_key": "env:S3_ACCESS_KEY",
                    "secret_key": "env:S3_SECRET_KEY",
                    "endpoint": self.s3,
                },
                "azure": {"account": ACCOUNT, "container": self.bucket, "key": "env:BLOB_KEY", "endpoint": self.blob},
            }
        )
        http = Http()
        try:
            blob = BlobSide("attachments", spec.azure, http)
            if cloud == "azure" and not await blob.exists():
                return None
            side = blob if cloud == "azure" else S3Side("attachments", spec.aws, http)
            found: dict[str, bytes] = {}
            async for each in (each async for page in side.pages() for each in page):
                got = await side.get(each.key)
                found[each.key.removeprefix("notes/").removesuffix(".txt")] = got.body
            return found
        finally:
            await http.close()

    def clear(self) -> None:
        """Whatever a run has left: the servers are shared, and a slot that stays keeps their log for ever."""
        here = "(select oid from pg_database where datname = current_database())"
        for cloud, server in self.servers.items():
            for (name,) in self.query(cloud, f"select subname from pg_subscription where subdbid = {here}"):
                for change in (
                    f"alter subscription {name} disable",
                    f"alter subscription {name} set (slot_name = none)",
                ):
                    server.psql(self.database, change)
                server.psql(self.database, f"drop subscription {name}")
        for cloud, server in self.servers.items():
            server.psql(
                self.database,
                "select pg_terminate_backend(active_pid) from pg_replication_slots where database = current_database()",
            )
            while self.query(
                cloud, "select 1 from pg_replication_slots where active and database = current_database()"
            ):
                time.sleep(0.05)
            server.psql(
                self.database,
                "select pg_drop_replication_slot(slot_name) from pg_replication_slots "
                "where database = current_database()",
            )
            server.psql("postgres", f'drop database "{self.database}" with (force)')
            for role in self.roles(cloud) - self.roles_before[cloud]:
                server.psql("postgres", f'drop role "{role}"')


class Operator:
    """Types commands, each in a process of its own."""

    def __init__(self, estate: Estate, started: list[Process]) -> None:
        self.estate, self._started = estate, started
        self.run: Process | None = None

    def tidegate(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tidegate", *map(str, words)],
            env=self.estate.environment,
            cwd=self.estate.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def in_the_background(self, name: str, *words: str | Path) -> Process:
        argv = [sys.executable, "-m", "tidegate", *words]
        process = Process(name, argv, self.estate.folder / f"{name}.log", env=self.estate.environment)
        self._started.append(process)
        return process

    def begin(self, *words: str | Path) -> None:
        self.run = self.in_the_background("run", "run", *words, "--plain")

    def status(self) -> dict[str, Any]:
        done = self.tidegate("status", "--json")
        return json.loads(done.stdout) if done.returncode == 0 else {"status": done.stderr, "stages": [], "waiting": []}

    def until(self, happens: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Look again and again until something happens to the run, and give back what is seen then."""
        deadline = time.monotonic() + PATIENCE
        while not happens(status := self.status()):
            assert self.run.alive, f"the run has ended: {self.said()}"
            assert time.monotonic() < deadline, f"it never happened: {self.said()}"
            time.sleep(0.1)
        return status

    def says(self, *words: str) -> None:
        done = self.tidegate(*words)
        assert done.returncode == 0, done.stderr

    def said(self) -> str:
        return self.run.log.read_text()


def waits_for(gate: str) -> Callable[[dict[str, Any]], bool]:
    return lambda status: gate in [each["gate"] for each in status["waiting"]]


def has_begun(stage: str) -> Callable[[dict[str, Any]], bool]:
    return lambda status: any(each["began"] for each in status["stages"] if each["name"] == stage)


@pytest.fixture
def started() -> Iterator[list[Process]]:
    """What a test has started, ended in the opposite order."""
    started: list[Process] = []
    yield started
    for process in reversed(started):
        process.stop()


@pytest.fixture
def estate(tmp_path, postgres16, postgres18, moto, azurite, monkeypatch) -> Iterator[Estate]:
    estate = Estate(tmp_path, {"aws": postgres16, "azure": postgres18}, moto.url, azurite.url)
    for name, secret in estate.secrets.items():
        monkeypatch.setenv(name, secret)
    with ExitStack() as stack:
        stack.callback(estate.clear)
        estate.fill()
        estate.write_endpoints()
        yield estate


@pytest.fixture
def operator(estate, started) -> Operator:
    """With the notebook running in both clouds behind an edge that tidegate has prepared."""
    for cloud in estate.servers:
        port = estate.ports[f"notebook_on_{cloud}"]
        argv = [sys.executable, HERE / "notebook.py", cloud, str(port), estate.endpoints(cloud), f"notebook-{cloud}-1"]
        process = Process(f"notebook on {cloud}", argv, estate.folder / f"{cloud}.log", env=estate.environment)
        started.append(process)
        process.wait_until(lambda port=port: listens(port), 60)
    operator = Operator(estate, started)
    bootstrap = operator.tidegate("edge", "bootstrap", estate.migration)
    assert bootstrap.returncode == 0, bootstrap.stderr
    hold = operator.in_the_background("hold", "edge", "hold", "--listen", f"127.0.0.1:{estate.ports['hold']}")
    hold.wait_until(lambda: listens(estate.ports["hold"]), 60)
    envoy = Envoy(estate.folder / "envoy", json.loads(bootstrap.stdout), estate.ports["edge_admin"])
    started.append(envoy.process)
    return operator


@pytest.fixture
def users(estate, operator) -> Iterator[Users]:
    with Users(estate.ports["edge"]) as users:
        yield users
