"""The whole content of both sides compared inside the servers, by hashed chunks, down to the rows that differ.

A chunk is a bucket of the key's hash; its rows' hashes are summed, so that order doesn't matter and duplicates
count. Types whose equal values can look different (1.0 and 1.00, 0 and -0, case-insensitive text) are hashed
as text, all others as they are. While changes stream, rows that differ are looked at again, each time after a
marker: a row that didn't change at the owner in between must be the same on the other side.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate.postgres.catalog import Table, published_tables
from tidegate.postgres.server import Connection, Server, literal, statement
from tidegate.postgres.side_by_side import side_by_side
from tidegate.runbook.migration import Cloud

__all__ = ["TableReport", "VerifyReport", "compare"]

CHUNK_ROWS = 20_000
TRIES = 40
"""How often rows that differ are looked at again while changes stream."""
SHOWN = 5

SETTINGS = """
set timezone = 'UTC'; set datestyle = 'ISO, YMD'; set intervalstyle = 'iso_8601'; set extra_float_digits = 1;
set bytea_output = 'hex'; set lc_monetary = 'C'; set xmloption = 'content'; set search_path = '';
set work_mem = '64MB'; set default_transaction_isolation = 'repeatable read'
"""
SAME_BYTES = (
    *("int2", "int4", "int8", "bool", "text", "varchar", "bpchar", "uuid"),
    *("timestamp", "timestamptz", "date", "bytea", "oid", "inet"),
)
"""Types for which equal values always have equal bytes, under a deterministic collation."""


@dataclass(frozen=True, slots=True)
class TableReport:
    """`mismatched`: rows that are missing, extra or different; `differing`: the keys of a few of them, as text."""

    name: str
    rows: int
    chunks: int
    differing: tuple[str, ...] = ()
    difference: str = ""
    mismatched: int = 0

    @property
    def equal(self) -> bool:
        return not self.difference


@dataclass(slots=True)
class VerifyReport:
    tables: list[TableReport] = field(default_factory=list[TableReport])

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    @property
    def mismatched(self) -> list[TableReport]:
        return [table for table in self.tables if not table.equal]


@dataclass(frozen=True, slots=True)
class Hashes:
    """SQL expressions over one table's row: its key as text, and its content."""

    table: str
    key: str
    content: str
    buckets: int

    @property
    def bucket(self) -> str:
        return (
            f'((pg_catalog.hashtextextended({self.key} collate "C", 7) & 9223372036854775807) % {self.buckets})::int8'
        )

    def per_bucket(self) -> str:
        content = f"pg_catalog.sum({self.content}::numeric)"
        return f"select {self.bucket}, count(*), {content} from {self.table} group by 1"

    def of_buckets(self) -> str:
        """(key, content, count) of the rows in the buckets of the one parameter."""
        return (
            f"select {self.key}, {self.content}, count(*) from {self.table} where {self.bucket} = any(%s) group by 1, 2"
        )


async def compare(
    owner: Server,
    follower: Server,
    drained: Callable[[], Any] | None,
    note: Callable[[str], None],
    snapshots: Mapping[Cloud, str] | None = None,
) -> VerifyReport:
    """`drained`: awaited before rows are looked at again; it returns when the follower has what the owner had.

    None: nothing streams, the first difference counts. `snapshots`: exported on either side, to compare what they
    show. Raises Unreachable, Refused.
    """
    report = VerifyReport()
    async with owner.session() as here, follower.session() as there:
        for connection in (here, there):
            await connection.execute(statement(SETTINGS))
            if snapshots:
                shown = literal(snapshots[connection.server.cloud])
                await connection.execute(statement(f"begin read only; set transaction snapshot {shown}"))
        tables = await published_tables(here)
        if missing := {t.name for t in tables} ^ {t.name for t in await published_tables(there)}:
            report.tables += [
                TableReport(name, 0, 0, (), "the table is on one side only", 1) for name in sorted(missing)
            ]
        for table in tables:
            if table.name in missing:
                continue
            report.tables.append(await _compare_table(here, there, table, drained))
            note(f"compared {len(report.tables)} of {len(tables)} tables, {report.rows:,} rows")
    return report


async def _compare_table(
    here: Connection, there: Connection, table: Table, drained: Callable[[], Any] | None
) -> TableReport:
    hashes = await _hashes(here, table)
    query = f"select 0, count(*), 0 from {table.name}" if hashes is None else hashes.per_bucket()
    ours, theirs = await side_by_side(_buckets(here, query), _buckets(there, query))
    rows = sum(count for count, _ in ours.values())
    bad = [bucket for bucket in ours.keys() | theirs.keys() if ours.get(bucket) != theirs.get(bucket)]
    chunks = hashes.buckets if hashes else 1
    if not bad:
        return TableReport(table.name, rows, chunks)
    if hashes is None:
        return TableReport(table.name, rows, chunks, (), "the number of rows differs", 1)
    differing = await _differing(here, there, hashes, bad, drained)
    if not differing:
        return TableReport(table.name, rows, chunks)
    keys = tuple(sorted(differing)[:SHOWN])
    return TableReport(
        table.name, rows, chunks, keys, f"{len(differing)} rows differ: {', '.join(keys)}", len(differing)
    )


async def _differing(
    here: Connection, there: Connection, hashes: Hashes, bad: list[int], drained: Callable[[], Any] | None
) -> set[str]:
    """Keys whose rows differ although they rested at the owner while the follower caught up; seen so twice.

    Once could be a row that changed and changed back in between.
    """
    query = hashes.of_buckets()
    suspects: dict[str, int] | None = None
    needed = 2 if drained else 1
    for _ in range(TRIES):
        before = await _rows(here, query, bad)
        if drained:
            await drained()
        other = await _rows(there, query, bad)
        after = await _rows(here, query, bad) if drained else before
        if suspects is None:
            keys = before.keys() | after.keys() | other.keys()
            suspects = {key: 0 for key in keys if other.get(key) != after.get(key) or before.get(key) != after.get(key)}
        for key in list(suspects):
            if other.get(key) in (before.get(key), after.get(key)):
                del suspects[key]  # a row that was equal once is the same row
            elif before.get(key) == after.get(key):
                suspects[key] += 1
        if all(seen >= needed for seen in suspects.values()):
            break
    return set(suspects or ())


async def _buckets(connection: Connection, query: str) -> dict[int, tuple[int, Any]]:
    cursor = await connection.execute(statement(query))
    return {bucket: (count, content) for bucket, count, content in await cursor.fetchall()}


async def _rows(connection: Connection, query: str, buckets: list[int]) -> dict[str, frozenset[tuple[int, int]]]:
    cursor = await connection.execute(statement(query.replace(" % ", " %% ")), (buckets,))
    found: dict[str, set[tuple[int, int]]] = {}
    for key, content, count in await cursor.fetchall():
        found.setdefault(key, set()).add((content, count))
    return {key: frozenset(contents) for key, contents in found.items()}


async def _hashes(connection: Connection, table: Table) -> Hashes | None:
    """None for a table without columns: its rows can only be counted."""
    cursor = await connection.execute(
        """select pg_catalog.quote_ident(a.attname), t.typname = any(%s) and coalesce(c.collisdeterministic, true)
        from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
        left join pg_catalog.pg_collation c on c.oid = a.attcollation
        where a.attrelid = %s::int8::oid and a.attnum > 0 and not a.attisdropped order by a.attnum""",
        (list(SAME_BYTES), table.oid),
    )
    columns = await cursor.fetchall()
    if not columns:
        return None
    parts = [name if safe else f'{name}::text collate "C"' for name, safe in columns]
    key = f"row({', '.join(table.key or [name for name, _ in columns])})::text"
    content = f"pg_catalog.hash_record_extended(row({', '.join(parts)}), 0)"
    return Hashes(table.name, key, content, max(1, table.rows // CHUNK_ROWS))
