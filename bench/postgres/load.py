"""Servers of a benchmark's own, and the load on them: pgbench, and writers that log what was acknowledged."""

import asyncio
import multiprocessing
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import psycopg

from tidegate.lab.servers.postgres import Postgres
from tidegate.lab.servers.process import quiet_environment
from tidegate.runbook.migration import Cloud, Database

__all__ = ["Acknowledged", "Route", "Site", "Writers", "pgbench", "sites"]

DATABASE, APP = "bench", "app"
BUSY_AUTOVACUUM = {
    "autovacuum_naptime": "1s",
    "autovacuum_vacuum_threshold": "50",
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_insert_threshold": "50",
    "autovacuum_vacuum_insert_scale_factor": "0",
    "autovacuum_analyze_threshold": "50",
    "autovacuum_analyze_scale_factor": "0",
}
OWN = f"""
create role {APP} login password '{APP}';
alter table pgbench_history add id bigint generated always as identity primary key;
create table acknowledged (id bigint generated always as identity primary key, key text not null);
grant select, insert, update, delete on all tables in schema public to {APP};
"""
PAUSE = 0.008
"""Seconds between one writer's writes: two cores serve the databases, the load, and the turn."""


@dataclass(frozen=True)
class Site:
    """AWS's server with pgbench's tables, Azure's with nothing."""

    servers: dict[Cloud, Postgres]

    @property
    def spec(self) -> Database:
        sides = {
            cloud: {"dsn": server.dsn(DATABASE), "password": server.password_ref}
            for cloud, server in self.servers.items()
        }
        return Database.model_validate({"kind": "postgres", **sides, "passwords": {APP: "env:TIDEGATE_BENCH_APP"}})

    def as_app(self, cloud: Cloud) -> str:
        return f"host=127.0.0.1 port={self.servers[cloud].port} dbname={DATABASE} user={APP} password={APP}"

    def query(self, cloud: Cloud, query: str) -> list[list[str]]:
        return [line.split("\t") for line in self.servers[cloud].psql(DATABASE, query).splitlines()]


@contextmanager
def sites(scale: int, *, busy_autovacuum: bool = False) -> Generator[Site]:
    """`scale`: pgbench's; 1 is 100,000 rows."""
    os.environ["TIDEGATE_BENCH_APP"] = APP
    versions: dict[Cloud, Literal[16, 18]] = {"aws": 16, "azure": 18}
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        servers: dict[Cloud, Postgres] = {}
        try:
            for cloud, version in versions.items():
                server = servers[cloud] = Postgres(Path(folder) / cloud, version, f"postgres-{cloud}")
                server.create_database(DATABASE)
                for name, value in (BUSY_AUTOVACUUM if busy_autovacuum else {}).items():
                    server.psql("postgres", f"alter system set {name} = '{value}'")
                server.psql("postgres", "select pg_reload_conf()")
            aws = servers["aws"]
            argv = [aws.bin / "pgbench", "-i", "-q", "-s", str(scale), aws.dsn(DATABASE)]
            environment = quiet_environment() | {"PGPASSWORD": aws.password}
            subprocess.run(argv, env=environment, check=True, capture_output=True)
            aws.psql(DATABASE, OWN)
            yield Site(servers)
        finally:
            for server in servers.values():
                server.destroy()


class Route:
    """Where the application finds its database: what the endpoints are to a service."""

    def __init__(self) -> None:
        self.azure: Any = multiprocessing.get_context("spawn").Value("b", 0, lock=False)

    @property
    def cloud(self) -> Cloud:
        return "azure" if self.azure.value else "aws"

    def lead_to(self, cloud: Cloud) -> None:
        self.azure.value = int(cloud == "azure")


@contextmanager
def pgbench(site: Site, route: Route, rate: int, clients: int = 4) -> Generator[list[str]]:
    """`rate` transactions per second at the owner; ended by a turn, it begins again at the other. Yields its output."""
    ending, output = threading.Event(), list[str]()
    running: list[subprocess.Popen[str]] = []

    def run() -> None:
        while not ending.is_set():
            server = site.servers[route.cloud]
            argv = ["-n", "-R", str(rate), "-c", str(clients), "-T", "86400", site.as_app(route.cloud)]
            process = subprocess.Popen(
                [server.bin / "pgbench", *argv],
                env=quiet_environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            running[:] = [process]
            output.append(process.communicate()[0])
            ending.wait(0.01)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield output
    finally:
        ending.set()
        while thread.is_alive():
            for process in running:
                process.terminate()
            thread.join(0.1)


@dataclass(frozen=True)
class Acknowledged:
    """`at`: nanoseconds of time.monotonic_ns()."""

    at: int
    cloud: str
    key: str


class Writers:
    """A process of its own with `count` sessions; they note each write after the server has acknowledged it."""

    def __init__(self, site: Site, route: Route, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._folder = tempfile.TemporaryDirectory(prefix="tidegate-ledger-")
        self._ending = context.Event()
        self._count: Any = context.Value("q", 0, lock=False)
        self._ledger = Path(self._folder.name) / "ledger"
        dsns = {cloud: site.as_app(cloud) for cloud in site.servers}
        self._process = context.Process(
            target=_write_all,
            args=(dsns, route.azure, self._ending, self._count, self._ledger, count),
        )

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._process.join()

    async def progress(self, writes: int = 20) -> None:
        """Return when about so many more were acknowledged."""
        seen = self._count.value
        while self._count.value < seen + writes:
            await asyncio.sleep(0.01)

    def ledger(self) -> list[Acknowledged]:
        """After the end, in the order of acknowledgement."""
        lines = (line.split() for line in self._ledger.read_text().splitlines())
        found = sorted((Acknowledged(int(at), cloud, key) for at, cloud, key in lines), key=lambda each: each.at)
        self._folder.cleanup()
        return found


def _write_all(dsns: dict[Cloud, str], azure: Any, ending: Any, counted: Any, ledger: Path, count: int) -> None:
    noted: list[str] = []  # threads may append to a list, not write to one file
    threads = [threading.Thread(target=_write, args=(i, dsns, azure, ending, counted, noted)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.write_text("".join(noted))


def _write(writer: int, dsns: dict[Cloud, str], azure: Any, ending: Any, counted: Any, noted: list[str]) -> None:
    for number in _until(ending):
        cloud: Cloud = "azure" if azure.value else "aws"
        try:
            with psycopg.connect(dsns[cloud], autocommit=True) as connection:
                for inner in _until(ending):
                    key = f"{writer}-{number}-{inner}"
                    connection.execute("insert into acknowledged (key) values (%s)", (key,))
                    noted.append(f"{time.monotonic_ns()} {cloud} {key}\n")
                    counted.value += 1
                    time.sleep(PAUSE)
        except psycopg.Error:
            waited = time.monotonic()
            while cloud == ("azure" if azure.value else "aws") and time.monotonic() < waited + 0.1:
                time.sleep(0.0005)


def _until(ending: Any) -> Iterator[int]:
    number = 0
    while not ending.is_set():
        yield (number := number + 1)
