"""Two databases of 16 and 18 compared: inside the servers, and by pulling every row to hash it here.

Both read both sides at the same time, alternately, one session to a side. To pull the rows there is a process for each
side: one alone can't keep up with two servers.
"""

import argparse
import asyncio
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.rehearsal import row
from tidegate.lab.servers.postgres import Postgres
from tidegate.postgres.server import Server
from tidegate.postgres.verify import compare
from tidegate.runbook.migration import Cloud, DatabaseServer

__all__ = ["main"]

DATABASE = "bench"
TABLE = """
create table orders (id bigint primary key, customer bigint not null, status text not null, amount numeric(12, 2),
    at timestamptz not null, note text);
insert into orders select i, i % 100000, (array['new', 'paid', 'sent'])[1 + i % 3], (i % 100000) / 7.0,
    '2024-01-01 00:00+00'::timestamptz + i * interval '7.3 s', repeat(md5(i::text), 2)
    from generate_series(1, {rows}) i;
"""
READY = "vacuum analyze orders"
DIFFERENT = "update orders set status = 'other'"


@dataclass(frozen=True)
class Measured:
    """Seconds, and MiB: of the client the peak of all its processes together. `wall`: without their start."""

    wall: float
    client: float
    servers: tuple[float, float]
    memory: float


def main(options: argparse.Namespace) -> None:
    """`rows`: of the table, 5 million unless given. `times`: how often each is measured."""
    rows, times = int(getattr(options, "rows", 5_000_000)), int(getattr(options, "times", 3))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        servers = Postgres(Path(folder) / "16", 16), Postgres(Path(folder) / "18", 18)
        try:
            _fill(servers, rows)
            _measure(servers, rows, times)
        finally:
            for server in servers:
                server.stop()


def _fill(servers: tuple[Postgres, Postgres], rows: int) -> None:
    for server in servers:
        server.create_database(DATABASE)
        server.psql(DATABASE, TABLE.format(rows=rows))
        server.psql(DATABASE, READY)


def _measure(servers: tuple[Postgres, Postgres], rows: int, times: int) -> None:
    print(f"\nComparing {rows:,} rows on PostgreSQL 16 with those on 18\n", file=sys.stderr, flush=True)
    print("| what | bound | median | values |\n|---|---|---|---|", flush=True)
    ours: list[Measured] = []
    pulled: list[Measured] = []
    for _ in range(times):  # alternately: whatever else this machine does meets both
        ours.append(_run(servers, ["compare"]))
        pulled.append(_run(servers, ["pull aws", "pull azure"]))
    row("verify, million rows a second on each side", "at least 1.5", [rows / m.wall / 1e6 for m in ours], "M/s")
    row("pulling the rows", "", [rows / m.wall / 1e6 for m in pulled], "M/s")
    ratio = statistics.median(m.wall for m in pulled) / statistics.median(m.wall for m in ours)
    row("verify against pulling the rows", "at least 1.5 times", [ratio], "times")
    for what, measured in (("verify", ours), ("pulling", pulled)):
        row(f"{what}, wall", "", [m.wall for m in measured])
        row(f"{what}, CPU of the client", "", [m.client for m in measured])
        for number, version in enumerate((16, 18)):
            row(f"{what}, CPU of {version}", "", [m.servers[number] for m in measured])
        row(f"{what}, memory of the client", "under 100 MiB" * (what == "verify"), [m.memory for m in measured], "MiB")
    servers[1].psql(DATABASE, DIFFERENT)
    every = _run(servers, ["compare"], code=1)
    row("verify, memory when every row differs", "under 100 MiB", [every.memory], "MiB")
    row("verify, wall when every row differs", "", [every.wall])


def _run(servers: tuple[Postgres, Postgres], works: Sequence[str], code: int = 0) -> Measured:
    sides = json.dumps({cloud: _side(server) for cloud, server in zip(("aws", "azure"), servers, strict=True)})
    before = [_cpu(server) for server in servers]
    argv = [sys.executable, "-m", "bench.postgres.verify"]
    processes = [subprocess.Popen([*argv, work, sides], stdout=subprocess.PIPE, text=True) for work in works]
    wall = client = memory = 0.0
    for process in processes:
        assert process.stdout is not None
        with process.stdout as output:
            wall = max(wall, float(output.read() or 0))
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != code:
            sys.exit(f"{works} ended with {process.returncode}")
        client += used.ru_utime + used.ru_stime
        memory += used.ru_maxrss / 1024
    _until_idle(servers)
    first, second = (_cpu(server) - earlier for server, earlier in zip(servers, before, strict=True))
    return Measured(wall, client, (first, second), memory)


def _side(server: Postgres) -> dict[str, str]:
    return {"dsn": server.dsn(DATABASE), "password": server.password_ref}


def _cpu(server: Postgres) -> float:
    """Of all its processes; of those that have ended, whoever waited for them knows."""
    whole = psutil.Process(server.process.pid)
    every = [process.cpu_times() for process in (whole, *whole.children(recursive=True))]
    return sum(each.user + each.system + each.children_user + each.children_system for each in every)


def _until_idle(servers: Sequence[Postgres]) -> None:
    query = f"select count(*) from pg_stat_activity where datname = '{DATABASE}' and pid <> pg_backend_pid()"
    for server in servers:
        while server.psql(DATABASE, query).strip() != "0":
            time.sleep(0.05)


def _work(work: str, sides: dict[Cloud, Any]) -> int:
    servers = {cloud: Server("orders", cloud, DatabaseServer(**side)) for cloud, side in sides.items()}
    began, code = time.perf_counter(), 0
    if work == "compare":
        code = 0 if asyncio.run(compare(servers["aws"], servers["azure"], None, lambda _: None)).equal else 1
    else:
        asyncio.run(_pull(servers["aws" if work == "pull aws" else "azure"]))
    print(time.perf_counter() - began)
    return code


async def _pull(server: Server) -> int:
    """The sum of the rows' hashes, as the comparison has it."""
    total, rest = 0, b""

    async def take(data: bytes) -> None:
        nonlocal total, rest
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            total += int.from_bytes(hashlib.md5(line, usedforsecurity=False).digest()[:8])

    connection = await server.copier()
    try:
        await connection.copy_from_query("select * from public.orders", output=take)
    finally:
        await connection.close()
    return total


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in ("compare", "pull aws", "pull azure"):
        sys.exit(_work(sys.argv[1], json.loads(sys.argv[2])))
    parser = argparse.ArgumentParser(prog="bench.postgres.verify", description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--times", type=int, default=3)
    main(parser.parse_args())
