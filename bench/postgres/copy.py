"""A whole database copied, two jobs: ours, pg_dump and pg_restore, pgcopydb, and what the target alone needs at least.

Every method brings schema, rows, indexes and the planner's statistics; ours makes its slot and roles besides. The
limit: the rows from files of the server's own by COPY ... FREEZE, by two sessions, and the rest by pg_restore.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Options, say
from bench.postgres.dataset import generate
from bench.postgres.measure import Cost, measure, median, servers
from bench.postgres.move import COPIED
from tidegate.lab.servers.postgres import Postgres

JOBS = 2
DATABASE = "bench"
OURS, DUMP, PGCOPYDB, LIMIT = "tidegate", "pg_dump -Fd -Z0 -j2, pg_restore -j2", "pgcopydb -j2", "the target alone"
TABLES = """select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = relnamespace
where nspname = 'bank' and relkind = 'r' order by pg_relation_size(c.oid) desc"""
STATE = """select (select count(*) from bank.accounts), (select count(*) from bank.documents),
    (select count(*) from pg_index i join pg_class c on c.oid = i.indrelid where c.relnamespace = 'bank'::regnamespace),
    (select count(distinct starelid) > 100 from pg_statistic s join pg_class c on c.oid = starelid
        where c.relnamespace = 'bank'::regnamespace)"""


@dataclass(frozen=True)
class Bench:
    source: Postgres
    target: Postgres
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        passwords = self.folder / "pgpass"
        return {
            "PATH": f"{self.target.bin}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(["src", "."]),
            "PGPASSFILE": str(passwords),
        }

    def ours(self) -> Cost:
        sides = {
            cloud: {"dsn": server.dsn(DATABASE), "password": server.password_ref}
            for cloud, server in (("aws", self.source), ("azure", self.target))
        }
        argv = [sys.executable, "-m", "bench.postgres.move", json.dumps({"kind": "postgres", **sides})]
        cost, process = measure(argv, self.environment, self.source, self.target, COPIED)
        self.check()
        process.communicate("\n")
        if process.returncode:
            raise RuntimeError("taking the move back failed")
        return cost

    def dump_and_restore(self) -> Cost:
        dump = self.folder / "dump"
        shutil.rmtree(dump, ignore_errors=True)
        return self._shell(
            f"pg_dump -Fd -Z0 -j{JOBS} --statistics --no-sync -f {dump} -d {self.source.dsn(DATABASE)}"
            f" && pg_restore -j{JOBS} --statistics -d {self.target.dsn(DATABASE)} {dump}"
        )

    def pgcopydb(self) -> Cost:
        work = self.folder / "pgcopydb"
        return self._shell(
            f"pgcopydb clone --table-jobs {JOBS} --index-jobs {JOBS} --dir {work} --restart --not-consistent"
            f" --source {self.source.dsn(DATABASE)} --target {self.target.dsn(DATABASE)}"
        )

    def limit(self) -> Cost:
        """The rows' files were written by `export`."""
        dump, restore = self.folder / "schema.dump", f"pg_restore -d {self.target.dsn(DATABASE)}"
        psql = f"psql -Xq -v ON_ERROR_STOP=1 -d {self.target.dsn(DATABASE)} -f"
        return self._shell(
            f"{restore} --section pre-data {dump}"
            f" && {{ {psql} {self.folder}/0.sql & {psql} {self.folder}/1.sql; wait; }}"
            f" && {restore} -j{JOBS} --section post-data --statistics {dump} && {restore} --statistics-only {dump}"
        )

    def export(self) -> None:
        """Rows to files of the servers' own user; two scripts that load them, the larger ones first to the emptier."""
        rows = self.folder / "rows"
        rows.mkdir()
        if self.source.user is not None:
            os.chown(rows, self.source.user, -1)
        scripts, sizes = ["", ""], [0, 0]
        for number, table in enumerate(self.source.psql(DATABASE, TABLES).split("\n")[:-1]):
            file = rows / str(number)
            self.source.psql(DATABASE, f"copy {table} to '{file}' (format binary)")
            least = sizes.index(min(sizes))
            sizes[least] += file.stat().st_size
            scripts[least] += f"begin; truncate {table}; copy {table} from '{file}' (format binary, freeze); commit;\n"
        for number, script in enumerate(scripts):
            (self.folder / f"{number}.sql").write_text(script)
        self._shell(
            f"pg_dump -Fc --no-data --statistics -f {self.folder}/schema.dump -d {self.source.dsn(DATABASE)}",
            check=False,
        )

    def check(self) -> None:
        """Raises RuntimeError if a method left anything out."""
        found = [server.psql(DATABASE, STATE) for server in (self.source, self.target)]
        if found[0] != found[1]:
            raise RuntimeError(f"the copy is not whole: {found}")

    def _shell(self, command: str, *, check: bool = True) -> Cost:
        cost, _ = measure(["sh", "-c", command], self.environment, self.source, self.target)
        if check:
            self.check()
        return cost


def main(options: Options) -> None:
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name, servers(Path(name)) as (source, target):
        bench = Bench(source, target, Path(name))
        passwords = Path(name) / "pgpass"
        passwords.write_text("".join(f"*:{each.port}:*:*:{each.password}\n" for each in (source, target)))
        passwords.chmod(0o600)
        say(f"generating the data, scale {options.scale:g}")
        generate(source, DATABASE, options.scale)
        bench.export()
        methods: dict[str, Callable[[], Cost]] = {OURS: bench.ours, DUMP: bench.dump_and_restore, LIMIT: bench.limit}
        if shutil.which("pgcopydb"):
            methods[PGCOPYDB] = bench.pgcopydb
        costs: dict[str, list[Cost]] = {each: [] for each in methods}
        for turn in range(options.times):
            order = list(methods) if turn % 2 == 0 else list(reversed(methods))
            for method in order:
                target.create_database(DATABASE)
                costs[method].append(methods[method]())
                target.psql("postgres", f'drop database "{DATABASE}" with (force)')
                say(f"  {method}: {costs[method][-1].wall:.2f} s")
        size = int(source.psql(DATABASE, "select pg_database_size(current_database())")) / 2**20
        _print(costs, size)


def _print(costs: dict[str, list[Cost]], size: float) -> None:
    ours = median(costs[OURS], lambda cost: cost.wall)
    print(f"copy of {size:,.0f} MiB, {JOBS} jobs, 16 to 18; medians of {len(costs[OURS])}\n")
    print("| method | wall s | times ours | CPU s: client | source | target | client's memory, MiB | every wall |")
    print("|---|---|---|---|---|---|---|---|")
    for method, values in costs.items():
        figures = [median(values, of) for of in (_wall, _client, _source, _target, _memory)]
        wall, client, source, target, memory = figures
        walls = ", ".join(f"{value.wall:.2f}" for value in values)
        print(
            f"| {method} | {wall:.2f} | {wall / ours:.2f} | {client:.1f} | {source:.1f} | {target:.1f} "
            f"| {memory:.0f} | {walls} |"
        )
    if PGCOPYDB not in costs:
        print(f"| {PGCOPYDB} | not installed | | | | | | |")
    limit = median(costs[LIMIT], _wall)
    floor, used = median(costs[LIMIT], _target), median(costs[OURS], _target)
    print(f"\nThe limit, rows from the server's own files: {limit:.2f} s, of which ours reaches {limit / ours:.0%};")
    print(f"the target's CPU floor {floor:.1f} s, of which ours needs {used / floor:.2f} times as much.", flush=True)


def _wall(cost: Cost) -> float:
    return cost.wall


def _client(cost: Cost) -> float:
    return cost.client


def _source(cost: Cost) -> float:
    return cost.source


def _target(cost: Cost) -> float:
    return cost.target


def _memory(cost: Cost) -> float:
    return cost.memory
