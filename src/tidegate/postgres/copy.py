"""The first copy: every row of one snapshot, by several pipes side by side."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import asyncpg

from tidegate.postgres.catalog import Table
from tidegate.postgres.server import Server
from tidegate.postgres.side_by_side import side_by_side

__all__ = ["Copied", "copy_tables"]

JOBS = 2
CHUNKS = 8
"""Chunks between reader and writer: enough to keep both busy, few enough to keep memory flat."""


class Copied:
    """Bytes on the wire and tables done so far."""

    def __init__(self) -> None:
        self.bytes = self.tables = 0
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


@dataclass(frozen=True, slots=True)
class Pipe:
    """From one side to the other; each answers for its own errors."""

    source: Server
    target: Server
    reader: asyncpg.Connection[asyncpg.Record]
    writer: asyncpg.Connection[asyncpg.Record]


async def copy_tables(
    source: Server, target: Server, tables: list[Table], snapshot: str, note: Callable[[str], None]
) -> Copied:
    """`tables` as of `snapshot`, exported by a session that must stay open.

    Raises Unreachable, Refused: of the side that failed first.
    """
    queue = list(reversed(tables))
    copied = Copied()

    async def work() -> None:
        pipe = Pipe(source, target, await source.copier(), await target.copier())
        try:
            with target.explained():
                await pipe.writer.execute("set synchronous_commit = off")
            with source.explained():
                await pipe.reader.execute(
                    f"begin isolation level repeatable read read only; set transaction snapshot '{snapshot}'"
                )
            while queue:
                await _copy(pipe, queue.pop(), copied)
                copied.tables += 1
                note(f"copied {copied.tables} of {len(tables)} tables, {copied.bytes / 2**20:,.1f} MiB")
        finally:
            # no rollback: on a connection in the middle of a copy it would fail, and hide why the copy did
            pipe.reader.terminate()
            pipe.writer.terminate()

    await side_by_side(*(work() for _ in range(min(JOBS, len(tables)))))
    return copied


async def _copy(pipe: Pipe, table: Table, copied: Copied) -> None:
    with pipe.source.explained():
        columns = await pipe.reader.fetch(
            "select attname from pg_catalog.pg_attribute where attrelid = $1::int8::oid and attnum > 0 "
            "and not attisdropped and attgenerated = '' order by attnum",
            table.oid,
        )
    names = [str(row["attname"]) for row in columns]
    if not names:
        await _copy_without_columns(pipe, table)
        return
    chunks: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS)

    async def keep(chunk: bytes) -> None:
        copied.bytes += len(chunk)
        await chunks.put(bytes(chunk))

    async def read() -> None:
        quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
        with pipe.source.explained():
            await pipe.reader.copy_from_query(f"select {quoted} from only {table.name}", output=keep, format="binary")
        await chunks.put(None)

    async def arriving() -> AsyncGenerator[bytes]:
        while (chunk := await chunks.get()) is not None:
            yield chunk

    async def write() -> None:
        with pipe.target.explained():
            await pipe.writer.copy_to_table(
                table.table, schema_name=table.schema, columns=names, source=arriving(), format="binary"
            )

    await side_by_side(read(), write())


async def _copy_without_columns(pipe: Pipe, table: Table) -> None:
    """Such a table still has rows."""
    with pipe.source.explained():
        count = await pipe.reader.fetchval(f"select count(*) from only {table.name}")
    with pipe.target.explained():
        await pipe.writer.execute(f"insert into {table.name} select from pg_catalog.generate_series(1, {int(count)})")
