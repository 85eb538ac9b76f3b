"""One database on its way from AWS to Azure: copied, followed, verified, switched, and taken back."""

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from tidegate.errors import Refused
from tidegate.postgres.bookkeeping import (
    Names,
    ensure_bookkeeping,
    is_ours,
    read_note,
    refuse_others,
    write_note,
)
from tidegate.postgres.catalog import copied_tables, is_empty
from tidegate.postgres.copy import copy_tables, in_snapshot, keep_tables
from tidegate.postgres.finish import finish
from tidegate.postgres.indexes import read_indexes
from tidegate.postgres.kept import (
    Kept,
    SchemaChanged,
    clear,
    describe,
    open_ledger,
    read_forms,
    read_kept,
    select,
    slot_gone,
)
from tidegate.postgres.large_objects import copy_large_objects, sync_large_objects
from tidegate.postgres.leavings import end_streams, forget, left_behind
from tidegate.postgres.meeting import bring_together, ensure_meeting
from tidegate.postgres.preflight import DatabaseFacts, read_facts
from tidegate.postgres.progress import seldom
from tidegate.postgres.replication import Stream, drop_subscription, export_snapshot, stream_into
from tidegate.postgres.reset import end_others, reset_target, schemas_now
from tidegate.postgres.restored import RestoredStore
from tidegate.postgres.rights import give_back
from tidegate.postgres.schema import dump_schema, ensure_roles, restore_indexes, restore_schema, schema_digest
from tidegate.postgres.sequences import advance_sequences
from tidegate.postgres.server import Server, statement
from tidegate.postgres.store import DatabaseStore, read_ownership
from tidegate.postgres.vacuum import vacuum_again
from tidegate.postgres.verify import VerifyReport, compare
from tidegate.runbook.migration import Cloud, Database, other
from tidegate.switch.store import Ownership

__all__ = ["DatabaseMove", "end_others"]

DRAIN_SECONDS = 60
STREAMING_SECONDS = 60
"""After the copy what was written meanwhile has to be caught up with: for so long at most without any progress."""
PLAIN = "without a stream"
SETTLED_SECONDS = 0.6
"""A mirror whose source is gone has applied what it received when it hasn't moved for so long."""


class DatabaseMove:
    """Every method may be called again after a crash, by another process. Raises Unreachable, Refused."""

    def __init__(self, name: str, spec: Database, run: str) -> None:
        self.name, self.spec, self.run = name, spec, run
        self.names = Names(run, name)
        self.servers: dict[Cloud, Server] = {
            "aws": Server(name, "aws", spec.aws),
            "azure": Server(name, "azure", spec.azure),
        }

    @property
    def aws(self) -> Server:
        return self.servers["aws"]

    @property
    def azure(self) -> Server:
        return self.servers["azure"]

    def where(self, cloud: Cloud) -> str:
        return self.servers[cloud].where

    async def facts(self, users: Collection[str] = ()) -> DatabaseFacts:
        """`users`: as whom the workload logs in."""
        followed = self.spec.method == "replicate"
        return await read_facts(self.aws, self.azure, users, self.names, self.spec.passwords, followed=followed)

    async def ping(self, cloud: Cloud) -> None:
        async with self.servers[cloud].session() as connection:  # a new one: whether it takes any is the question
            await connection.execute("select 1")

    async def replicate(self, note: Callable[[str], None]) -> None:
        """Schema, rows and the stream. Of a copy that was interrupted the complete tables are kept, where they can be;
        a complete one isn't repeated.
        """
        forward = self._stream("azure")
        await self._prove_empty()
        copied = await read_note(self.azure, "copied")
        if copied == PLAIN:
            raise Refused("a copy without a stream is there", where=self.azure.where, mend="abort it first")
        if copied != self.names.tag:
            kept = await self._kept(note)
            try:
                await self._copy_rest(kept, note)
            except SchemaChanged as changed:
                await self._begin_anew(note, str(changed))
                await self._copy_rest([], note)
            async with self.azure.session() as there:
                await write_note(there, "copied", self.names.tag)
        await forward.subscribe(enabled=True)
        note("copied; waits until changes stream")
        await forward.wait_until_streaming(STREAMING_SECONDS)
        note("copied; changes stream")

    async def copy(self, note: Callable[[str], None]) -> None:
        """What one snapshot shows, and no stream: what is written later isn't in it. Logins are open on Azure then."""
        await self._prove_empty()
        copied = await read_note(self.azure, "copied")
        if copied == self.names.tag:
            raise Refused("it is replicated already", where=self.azure.where, mend="abort that first")
        if copied != PLAIN:
            await self._begin_anew(note, "without a stream its rows can't be brought to another snapshot")
            with tempfile.TemporaryDirectory() as folder:
                dump = Path(folder) / "schema.dump"
                async with self._snapshot(None) as snapshot:
                    built = await self._rows(snapshot, dump, [], None, note)
                await restore_indexes(self.azure, dump, built)
                await finish(self.aws, self.azure, dump, built, note)
            async with self.azure.session() as there, there.transaction():
                await give_back(there)
                await write_note(there, "copied", PLAIN)
        note("copied; nothing is followed")

    async def is_plain_copy(self) -> bool:
        return await read_note(self.azure, "copied") == PLAIN

    async def _prove_empty(self) -> None:
        """Everything that a rollback will drop was made after this was noted. Another run's note proves nothing."""
        for server in (self.aws, self.azure):
            await refuse_others(server, self.names)
        for server in (self.aws, self.azure):
            await ensure_bookkeeping(server, self.names)
        if await read_note(self.azure, "empty") is not None:
            return
        async with self.azure.session() as connection:
            if not await is_empty(connection):
                raise Refused("the target isn't empty", where=self.azure.where, mend="give an empty database")
            await write_note(connection, "empty", await schemas_now(connection))

    async def _kept(self, note: Callable[[str], None]) -> list[Kept]:
        """What can be kept of an interrupted copy. If nothing can, all that it left is taken back."""
        await end_others(self.azure)
        kept = await read_kept(self.azure)
        why = await slot_gone(self.aws, self.azure, self.names, kept) if kept else "no table was complete"
        if why is None:
            return kept
        await self._begin_anew(note, why)
        return []

    async def _copy_rest(self, kept: Sequence[Kept], note: Callable[[str], None]) -> None:
        """All but what is `kept`, and what it is completed by. Raises SchemaChanged if nothing can be kept."""
        forward = self._stream("azure")
        async with self.aws.session() as here:
            tables = await copied_tables(here)
            chosen = select(self.names, kept, await read_forms(here, tables))
        slot = None if kept and len(chosen.keep) == len(tables) else chosen.slot
        recorded = slot or chosen.keep[0].slot
        if kept:
            await clear(self.azure, chosen.clear)
            note(describe(chosen.keep, len(tables)))
        else:
            await forward.ensure_publication()
            await ensure_meeting(self.aws, self.names)
        with tempfile.TemporaryDirectory() as folder:
            dump = Path(folder) / "schema.dump"
            async with self._snapshot(slot) as snapshot:
                built = await self._rows(snapshot, dump, chosen.keep, recorded, note)
            await restore_indexes(self.azure, dump, built)
            await bring_together(forward, note)
            await finish(self.aws, self.azure, dump, built, note)

    @asynccontextmanager
    async def _snapshot(self, slot: str | None) -> AsyncGenerator[str]:
        exporter, snapshot = await export_snapshot(self.aws, slot)
        try:
            yield snapshot
        finally:
            await exporter.close()

    async def _rows(
        self, snapshot: str, dump: Path, keep: Sequence[Kept], slot: str | None, note: Callable[[str], None]
    ) -> set[tuple[int, int]]:
        """What `snapshot` shows, but for the tables to `keep`, with the indexes whose class and oid are returned.

        `slot`: in whose name complete tables are recorded. Raises SchemaChanged.
        """
        rarely = seldom(note)
        async with in_snapshot(self.aws, snapshot) as here:
            tables = await copied_tables(here)
            await keep_tables(here, self.aws, tables)
            done = {each.relation: each.indexed for each in keep}
            rest = [table for table in tables if table.oid not in done]
            indexes = await read_indexes(here, tables)
            pending = [index for index in indexes if not done.get(index.table)]
            ledger = await open_ledger(here, self.azure, slot, tables, pending) if slot else None
            if ledger:
                select(self.names, keep, ledger.forms)  # nobody alters anything from here on
            note("copying the schema")
            await dump_schema(self.aws, self.azure, snapshot, dump)
            digest = await schema_digest(self.azure, dump)
            if keep and digest != await read_note(self.azure, "schema"):
                raise SchemaChanged("the schema on aws has changed since")
            if locked_out := await ensure_roles(self.aws, self.azure, self.spec.passwords):
                note(f"no password could be read for {', '.join(locked_out)}; set it on azure, or name it")
            if not keep:
                async with self.azure.session() as there:
                    await write_note(there, "schema", digest)
                await restore_schema(self.azure, dump, "pre-data")
            await copy_tables(
                self.aws, self.azure, rest, pending, snapshot, lambda progress: note(str(progress)), ledger
            )
            async with self.azure.session() as there:
                if keep:
                    await sync_large_objects(here, there)
                else:
                    await copy_large_objects(here, there, lambda done: rarely(f"copied {done:,} large objects"))
        return {index.entry for index in indexes}

    async def streams(self) -> bool:
        """Whether changes flow, or are to flow, in either direction."""
        return await self._flows("azure") or await self._flows("aws")

    async def streaming(self) -> bool:
        return await self._stream(other(await self._owner())).streaming()

    async def lag(self) -> int:
        """Of the stream that flows now, in bytes; 0 if none does."""
        return max(
            [await self._stream(cloud).lag() for cloud in ("azure", "aws") if await self._flows(cloud)], default=0
        )

    async def lag_seconds(self) -> float | None:
        """How old what the other side shows is. None if nobody can tell, or nothing flows."""
        stream = self._stream(other(await self._owner()))
        return await stream.lag_seconds() if await stream.subscribed() else None

    async def trouble(self) -> str | None:
        """What is wrong with the stream that flows now, with its mend; None if nothing is."""
        stream = self._stream(other(await self._owner()))
        return await stream.trouble() if await stream.subscribed() else None

    async def _flows(self, into: Cloud) -> bool:
        return await self._stream(into).subscribed()

    async def verify(self, note: Callable[[str], None]) -> VerifyReport:
        """Both sides compared, in the direction in which changes flow."""
        owner = await self._owner()
        stream = self._stream(other(owner))
        if not await stream.subscribed():
            return await compare(self.servers[owner], self.servers[other(owner)], None, note)

        async def drained() -> None:
            async with stream.source.session() as here, stream.target.session() as there:
                await stream.drain(here, there, time.monotonic() + DRAIN_SECONDS)

        return await compare(self.servers[owner], self.servers[other(owner)], drained, note)

    def store(self, source: Cloud, epoch: int) -> DatabaseStore:
        kind = RestoredStore if self.spec.method == "restore" and source == "aws" else DatabaseStore
        return kind(self.name, self.servers[source], self.servers[other(source)], self.names, epoch)

    async def ownership(self) -> Ownership | None:
        """The run's row with the highest epoch on either side; both have to answer."""
        rows = [await read_ownership(server, self.run) for server in self.servers.values()]
        return max((row for row in rows if row), key=lambda row: row.epoch, default=None)

    async def epoch(self, cloud: Cloud) -> int:
        """The highest that this side knows of; 0 if the writes have never moved."""
        row = await read_ownership(self.servers[cloud], self.run)
        return row.epoch if row else 0

    async def last_heard(self, cloud: Cloud) -> datetime | None:
        """When this side last received anything of the other, by the other's clock."""
        query = "select latest_end_time from pg_catalog.pg_stat_subscription where subname = %s and relid is null"
        return await self.servers[cloud].value(query, self.names.stream(cloud))

    async def heartbeat(self, cloud: Cloud) -> None:
        await self.servers[cloud].value(
            "insert into tidegate.marker values ('heartbeat') "
            "on conflict (id) do update set at = clock_timestamp() returning at"
        )

    async def last_heartbeat(self, cloud: Cloud) -> datetime | None:
        """The last one that has arrived on this side, by the writing side's clock."""
        return await self.servers[cloud].value("select at from tidegate.marker where id = 'heartbeat'")

    async def mirror_applied(self) -> None:
        """With Azure gone: AWS has applied all that it had received."""
        query = "select latest_end_lsn::text from pg_catalog.pg_stat_subscription where subname = %s"
        name, last = self.names.stream("aws"), object()
        while (now := (await self.aws.value(query, name), await self.last_heartbeat("aws"))) != last:
            last = now
            await asyncio.sleep(SETTLED_SECONDS)

    async def present(self, cloud: Cloud, query: str, ids: list[str]) -> set[str]:
        """Those of the ids that this side has, by the operator's own query."""
        found: set[str] = set()
        async with self.servers[cloud].session() as connection:
            for start in range(0, len(ids), 10_000):
                cursor = await connection.execute(statement(query), (ids[start : start + 10_000],))
                found |= {str(row[0]) for row in await cursor.fetchall()}
        return found

    async def force_home(self, epoch: int) -> None:
        """Without Azure: AWS owns the writes, with what its mirror has received. Sequences only move forward."""
        ownership = await read_ownership(self.aws, self.run)
        if ownership is not None and ownership.epoch >= epoch:
            return
        await self.mirror_applied()
        async with self.aws.session() as connection:
            await drop_subscription(connection, self.names.stream("aws"))
            await advance_sequences(connection)
            async with connection.transaction():
                await connection.execute(
                    "insert into tidegate.ownership (run, epoch, owner) values (%s, %s, 'aws')", (self.run, epoch)
                )
                await give_back(connection)

    async def remove(self, *, target_gone: bool = False) -> None:
        """Undo `replicate`: both sides as before, AWS's roles open.

        A side that is gone is left behind; one that is another run's is left alone.
        """
        ours = not target_gone and await is_ours(self.azure, self.names)
        copied = ours and await read_note(self.azure, "empty") is not None
        if copied:
            await end_others(self.azure)  # before the streams: one may wait for what such a session has locked
        await end_streams([self.aws] if target_gone else [self.aws, self.azure], self.names)
        if copied:
            await reset_target(self.azure)
        if ours:
            await forget(self.azure, self.names)
        if await is_ours(self.aws, self.names):
            async with self.aws.session() as connection:
                async with connection.transaction():
                    await give_back(connection)
                await vacuum_again(connection)
            await forget(self.aws, self.names)

    async def disarm(self) -> None:
        """The migration is done: streams, slots, roles of the run go; the data stays, AWS stays fenced."""
        await end_streams([self.aws, self.azure], self.names)
        for server in self.servers.values():
            await forget(server, self.names)

    async def left_behind(self) -> list[str]:
        """What of the run is still there on either side."""
        return await left_behind([self.aws, self.azure], self.names)

    async def close(self) -> None:
        for server in self.servers.values():
            await server.close()

    async def _begin_anew(self, note: Callable[[str], None], why: str) -> None:
        """As before the first try; told with the reason if that had left anything."""
        async with self.azure.session() as there:
            left = not await is_empty(there)
        if left:
            note(f"an interrupted copy is begun anew: {why}")
        await end_others(self.azure)
        await end_streams([self.aws, self.azure], self.names)
        await reset_target(self.azure)

    async def _owner(self) -> Cloud:
        ownership = await self.ownership()
        return ownership.owner if ownership else "aws"

    def _stream(self, into: Cloud) -> Stream:
        return stream_into(into, self.servers, self.names)
