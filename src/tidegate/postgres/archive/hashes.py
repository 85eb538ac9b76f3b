"""What a database holds, as numbers that another one can be compared with: rows and content of every table.

A row is hashed as the text that a record of it is written as, of which a dump consists too: what looks different is
different, be it 1.0 and 1.00, 0 and -0, or a blank at the end. A record's own hash would be faster, but it adds its
columns' hashes up: two rows that exchange a value would look unchanged.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tidegate.postgres.catalog import NOT_OF_AN_EXTENSION, OURS, sequences
from tidegate.postgres.server import Connection, Server, literal, statement
from tidegate.postgres.side_by_side import side_by_side

__all__ = ["LARGE_OBJECTS", "Position", "TableHash", "reading", "sequence_positions", "table_hashes"]

LARGE_OBJECTS = "large objects"
"""Their name among the tables'; no table's name is without a dot."""

SETTINGS = """
set timezone = 'UTC'; set datestyle = 'ISO, YMD'; set intervalstyle = 'iso_8601'; set extra_float_digits = 1;
set bytea_output = 'hex'; set lc_monetary = 'C'; set xmlbinary = 'base64'; set quote_all_identifiers = off;
set search_path = ''; set row_security = off; set statement_timeout = 0; set idle_in_transaction_session_timeout = 0;
begin isolation level repeatable read read only"""
"""What changes how values are written; and rows that a policy hides are an error, not a difference."""

TABLES = f"""
select pg_catalog.format('%I.%I', n.nspname, c.relname),
    coalesce((select pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' order by a.attnum)
        from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), ''),
    case c.relkind when 'r' then coalesce(pg_catalog.pg_total_relation_size(c.oid), 0)
        else (select coalesce(pg_catalog.sum(pg_catalog.pg_total_relation_size(part.relid)), 0)::int8
            from pg_catalog.pg_partition_tree(c.oid) part) end
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where {OURS} and {NOT_OF_AN_EXTENSION} and not c.relispartition and c.relkind in ('r', 'p')
    and c.relpersistence in ('p', 'u')
order by 3, 1"""
"""A partitioned table stands for its partitions. Unlogged tables are dumped as well. The largest is taken first."""

OBJECTS = """
select count(distinct m.oid), coalesce(pg_catalog.sum(pg_catalog.hash_record_extended(
    row(m.oid, part.n, pg_catalog.lo_get(m.oid, part.n * 1048576, 1048576)), 0)::numeric), 0)
from pg_catalog.pg_largeobject_metadata m
cross join lateral (select pg_catalog.lo_open(m.oid, 262144) as fd offset 0) opened
cross join lateral (select pg_catalog.lo_lseek64(opened.fd, 0, 2) as bytes offset 0) sought
cross join lateral (
    select pg_catalog.lo_close(case when sought.bytes >= 0 then opened.fd end) as done offset 0) closed
cross join lateral pg_catalog.generate_series(0, case when closed.done = 0 then sought.bytes / 1048576 end) part (n)
"""
"""MiB by MiB, through functions: pg_largeobject itself only a superuser may read. 262144 is INV_READ."""
OBJECTS_SIZE = "select pg_catalog.pg_total_relation_size('pg_catalog.pg_largeobject')"


@dataclass(frozen=True, slots=True)
class TableHash:
    """`hash`: the sum of all rows' hashes, so that order doesn't matter and duplicates count; decimal."""

    rows: int
    hash: str


@dataclass(frozen=True, slots=True)
class Position:
    """Where a sequence has come to. `called`: its `value` has been given out."""

    value: int
    called: bool
    ascending: bool

    def is_behind(self, other: "Position") -> bool:
        """It would give out a value that the other has given out already."""
        mine, others = (self.value, self.called), (other.value, other.called)
        return mine < others if self.ascending else (-self.value, self.called) < (-other.value, other.called)


@asynccontextmanager
async def reading(server: Server, snapshot: str | None = None) -> AsyncGenerator[Connection]:
    """A session in a transaction that sees one state, written out in one way whatever the server's settings."""
    async with server.session() as connection:
        await connection.execute(statement(SETTINGS))
        if snapshot:
            await connection.execute(statement(f"set transaction snapshot {literal(snapshot)}"))
        yield connection


async def table_hashes(
    server: Server, snapshot: str | None, jobs: int, done: Callable[[int, int, int], None]
) -> dict[str, TableHash]:
    """By quoted, qualified name; of the whole database. `done`: so many bytes of so many, and the rows that they hold.
    Raises Unreachable, Refused.
    """
    found: dict[str, TableHash] = {}
    queue: list[tuple[str, str, int]] = []
    hashed = rows = total = 0

    async def work(connection: Connection) -> None:
        nonlocal hashed, rows
        while queue:
            name, query, size = queue.pop()
            cursor = await connection.execute(statement(query))
            row = await cursor.fetchone()
            assert row is not None, "the query counts"
            found[name] = TableHash(row[0], str(row[1]))
            hashed, rows = hashed + size, rows + row[0]
            done(hashed, total, rows)

    async def another() -> None:
        async with reading(server, snapshot) as connection:
            await work(connection)

    async with reading(server, snapshot) as connection:
        large = await (await connection.execute(OBJECTS_SIZE)).fetchone()
        queue.append((LARGE_OBJECTS, OBJECTS, large[0] if large else 0))
        tables = await (await connection.execute(statement(TABLES))).fetchall()
        queue += [(name, _query(name, columns), size) for name, columns, size in tables]
        total = sum(size for _, _, size in queue)
        await side_by_side(work(connection), *(another() for _ in range(min(jobs, len(queue)) - 1)))
    return found


def _query(table: str, columns: str) -> str:
    if not columns:  # such a table has rows nevertheless
        return f"select count(*), 0 from {table}"
    content = f'pg_catalog.hashtextextended(row({columns})::text collate "C", 0)'
    return f"select count(*), coalesce(pg_catalog.sum({content}::numeric), 0) from {table}"


async def sequence_positions(connection: Connection) -> dict[str, Position]:
    ascending = {each.name: each.ascending for each in await sequences(connection)}
    if not ascending:
        return {}
    query = " union all ".join(f"select {literal(name)}, last_value, is_called from {name}" for name in ascending)
    cursor = await connection.execute(statement(query))
    return {name: Position(value, called, ascending[name]) for name, value, called in await cursor.fetchall()}
