"""The first copy: every row of one snapshot, by several pipes side by side."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine

import asyncpg

from tidegate.postgres.catalog import Table
from tidegate.postgres.server import Server

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


async def copy_tables(
    source: Server, target: Server, tables: list[Table], snapshot: str, note: Callable[[str], None]
) -> Copied:
    """`tables` as of `snapshot`, exported by a session that must stay open. Raises Unreachable, Refused."""
    queue = list(reversed(tables))
    copied = Copied()

    async def pipe() -> None:
        reader, writer = await source.copier(), await target.copier()
        try:
            await writer.execute("set synchronous_commit = off")
            async with reader.transaction(isolation="repeatable_read", readonly=True):
                await reader.execute(f"set transaction snapshot '{snapshot}'")
                while queue:
                    table = queue.pop()
                    with source.explained():
                        await _copy(reader, writer, table, copied)
                    copied.tables += 1
                    note(f"copied {copied.tables} of {len(tables)} tables, {copied.bytes / 2**20:,.1f} MiB")
        finally:
            reader.terminate()
            writer.terminate()

    await _side_by_side(*(pipe() for _ in range(min(JOBS, len(tables)))))
    return copied


async def _copy(
    reader: asyncpg.Connection[asyncpg.Record], writer: asyncpg.Connection[asyncpg.Record], table: Table, copied: Copied
) -> None:
    columns = await reader.fetch(
        "select attname from pg_catalog.pg_attribute where attrelid = $1::int8::oid and attnum > 0 "
        "and not attisdropped and attgenerated = '' order by attnum",
        table.oid,
    )
    names = [str(row["attname"]) for row in columns]
    if not names:  # a table without columns still has rows
        count = await reader.fetchval(f"select count(*) from only {table.name}")
        await writer.execute(f"insert into {table.name} select from pg_catalog.generate_series(1, {int(count)})")
        return
    chunks: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS)

    async def keep(chunk: bytes) -> None:
        copied.bytes += len(chunk)
        await chunks.put(bytes(chunk))

    async def read() -> None:
        quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
        await reader.copy_from_query(f"select {quoted} from only {table.name}", output=keep, format="binary")
        await chunks.put(None)

    async def arriving() -> AsyncGenerator[bytes]:
        while (chunk := await chunks.get()) is not None:
            yield chunk

    async def write() -> None:
        await writer.copy_to_table(
            table.table, schema_name=table.schema, columns=names, source=arriving(), format="binary"
        )

    await _side_by_side(read(), write())


async def _side_by_side(*work: Coroutine[object, object, None]) -> None:
    """The first error ends them all."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
