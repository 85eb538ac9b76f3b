"""The first copy: every row of one snapshot by several pipes side by side, and the indexes behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import asyncpg

from tidegate.errors import Refused
from tidegate.postgres.catalog import Table
from tidegate.postgres.indexes import Index
from tidegate.postgres.kept import Ledger
from tidegate.postgres.progress import Meter, Progress
from tidegate.postgres.server import Connection, Server, statement
from tidegate.postgres.side_by_side import side_by_side
from tidegate.postgres.tasks import Tasks

__all__ = ["JOBS", "copy_tables", "in_snapshot", "keep_tables"]

JOBS = 2
CHUNKS = 8
"""Chunks between reader and writer: enough to keep both busy, few enough to keep memory flat."""

PATIENT = "set statement_timeout = 0; set idle_in_transaction_session_timeout = 0"
"""Whatever the login or the database is set to: a large table takes its time."""
READER = (
    f"{PATIENT}; set row_security = off; "
    "begin isolation level repeatable read read only; set transaction snapshot '{}'"
)
"""A policy that would hide rows from the login is an error, not a smaller copy."""
WRITER = f"{PATIENT}; set lock_timeout = 0; set synchronous_commit = off"

REWRITTEN = """select pg_catalog.format('%%I.%%I', n.nspname, c.relname) from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid = any(%s::int8[]::oid[]) and c.relfilenode is distinct from pg_catalog.pg_relation_filenode(c.oid)
order by 1"""
"""The catalog as of the snapshot against the files of now."""


@asynccontextmanager
async def in_snapshot(source: Server, snapshot: str) -> AsyncGenerator[Connection]:
    """A session that sees what `snapshot`, exported by a session that stays open, sees."""
    async with source.session() as connection:
        await connection.execute(statement(READER.format(snapshot)))
        yield connection


async def keep_tables(connection: Connection, source: Server, tables: Sequence[Table]) -> None:
    """No table is dropped, emptied or rewritten before this session ends. Raises Refused if one has been already.

    Whoever looks with an older snapshot sees a table that was truncated or rewritten since as empty
    (PostgreSQL's documentation, "Caveats" of concurrency control).
    """
    if tables:
        names = ", ".join(f"only {table.name}" for table in tables)
        await connection.execute(statement(f"lock table {names} in access share mode"))
    cursor = await connection.execute(statement(REWRITTEN), ([table.oid for table in tables],))
    if rewritten := [row[0] for row in await cursor.fetchall()]:
        raise Refused(
            f"rewritten or emptied while the copy began: {', '.join(rewritten)}",
            where=source.where,
            mend="run it again; change no tables meanwhile",
        )


@dataclass(frozen=True, slots=True)
class Pipe:
    """From one side to the other; each answers for its own errors."""

    source: Server
    target: Server
    reader: asyncpg.Connection[asyncpg.Record]
    writer: asyncpg.Connection[asyncpg.Record]

    async def write(self, command: str) -> None:
        with self.target.explained():
            await self.writer.execute(command)


@asynccontextmanager
async def _pipe(source: Server, target: Server) -> AsyncGenerator[Pipe]:
    """Ended without a rollback: on a connection in the middle of a copy it would fail, and hide why the copy did."""
    reader = await source.copier()
    try:
        writer = await target.copier()
        try:
            yield Pipe(source, target, reader, writer)
        finally:
            _end(writer)
    finally:
        _end(reader)


def _end(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    with suppress(AttributeError):  # of the event loop that a lost connection has let go
        connection.terminate()


@contextmanager
def _lost() -> Generator[None]:
    """What asyncpg stumbles over when it wants to end a copy on a connection that is gone."""
    try:
        yield
    except AttributeError as error:
        raise ConnectionError("the connection was lost") from error


async def copy_tables(
    source: Server,
    target: Server,
    tables: Sequence[Table],
    indexes: Sequence[Index],
    snapshot: str,
    report: Callable[[Progress], None],
    ledger: Ledger | None = None,
    jobs: int = JOBS,
) -> Progress:
    """The rows of `tables` as of `snapshot`, exported by a session that must stay open, and then `indexes`: theirs,
    and those of tables whose rows are there already.

    The tables must be there, and empty. What is complete goes into `ledger`. Raises Unreachable, Refused: of the side
    that failed first.
    """
    built = ledger.built if ledger else frozenset[str]()
    meter = Meter(tables, [index for index in indexes if index.name not in built], report)
    load = _Load(tables, indexes, meter, ledger, built)

    async def work() -> None:
        async with _pipe(source, target) as pipe:
            await pipe.write(WRITER)
            with source.explained():
                await pipe.reader.execute(READER.format(snapshot))
            await load.tasks.work(pipe)

    await side_by_side(*(work() for _ in range(jobs)))
    load.meter.finish()
    return load.meter.now


@dataclass(slots=True)
class _Load:
    """What there is to do, and what has to wait for it."""

    tables: Sequence[Table]
    indexes: Sequence[Index]
    meter: Meter
    ledger: Ledger | None
    built: frozenset[str]
    tasks: Tasks[Pipe] = field(default_factory=Tasks[Pipe])
    _of: dict[int, list[Index]] = field(default_factory=dict[int, list[Index]])
    _missing: dict[int, int] = field(default_factory=dict[int, int])

    def __post_init__(self) -> None:
        for index in self.indexes:
            self._of.setdefault(index.table, []).append(index)
        for table in self.tables:
            behind = sum(index.size for index in self._of.get(table.oid, []))
            self.tasks.add(table.size + behind, partial(self._copy, table))
        for relation in self._of.keys() - {table.oid for table in self.tables}:
            self._begin_indexes(relation)

    async def _copy(self, table: Table, pipe: Pipe) -> None:
        self.meter.begin(table)
        record = f"{self.ledger.rows(table)};" if self.ledger else ""
        rows = await _copy(pipe, table, lambda size: self.meter.came(table, size), record)
        self.meter.copied(table, rows)
        self._begin_indexes(table.oid)

    def _begin_indexes(self, relation: int) -> None:
        missing = [index for index in self._of.get(relation, []) if index.name not in self.built]
        self._missing[relation] = len(missing)
        for index in missing:
            self.tasks.add(index.size, partial(self._build, index))
        if not missing:
            self.tasks.add(0, partial(self._finish, relation))

    async def _build(self, index: Index, pipe: Pipe) -> None:
        await pipe.write(index.definition)
        self.meter.built(index)
        self._missing[index.table] -= 1
        if not self._missing[index.table]:
            await self._finish(index.table, pipe)

    async def _finish(self, relation: int, pipe: Pipe) -> None:
        """All at once, in one transaction: nobody could tell what of it is there already."""
        commands = [command for index in self._of.get(relation, []) for command in index.afterwards]
        if self.ledger:
            commands.append(self.ledger.indexes(relation))
        if commands:
            await pipe.write("; ".join(commands))


async def _copy(pipe: Pipe, table: Table, came: Callable[[int], None], record: str) -> int:
    """How many rows there were. `record` is committed with them."""
    with pipe.source.explained():
        columns = await pipe.reader.fetch(
            "select attname from pg_catalog.pg_attribute where attrelid = $1::int8::oid and attnum > 0 "
            "and not attisdropped and attgenerated = '' order by attnum",
            table.oid,
        )
    names = [str(row["attname"]) for row in columns]
    if not names:
        return await _copy_without_columns(pipe, table, record)
    chunks: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS)

    async def keep(chunk: bytes) -> None:
        came(len(chunk))
        await chunks.put(bytes(chunk))

    async def read() -> str:
        quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
        with pipe.source.explained():
            status = await pipe.reader.copy_from_query(
                f"select {quoted} from only {table.name}", output=keep, format="binary"
            )
        await chunks.put(None)
        return status

    async def arriving() -> AsyncGenerator[bytes]:
        while (chunk := await chunks.get()) is not None:
            yield chunk

    async def write() -> str:
        # emptied in the same transaction, its rows can be written as frozen ones: nobody rewrites them later
        await pipe.write(f"begin; truncate only {table.name}")
        with pipe.target.explained(), _lost():
            status = await pipe.writer.copy_to_table(
                table.table, schema_name=table.schema, columns=names, source=arriving(), format="binary", freeze=True
            )
        await pipe.write(f"{record} commit")
        return status

    _, status = await side_by_side(read(), write())
    return int(status.split()[-1])


async def _copy_without_columns(pipe: Pipe, table: Table, record: str) -> int:
    """Such a table still has rows."""
    with pipe.source.explained():
        count = int(await pipe.reader.fetchval(f"select count(*) from only {table.name}"))
    await pipe.write(f"{record} insert into {table.name} select from pg_catalog.generate_series(1, {count})")
    return count
