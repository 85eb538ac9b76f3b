"""Tables that were copied in several snapshots, brought to one point of the source's log: by then all are as of it.

For each slot there is a subscription, of the tables that were copied in its snapshot; what is sent of others it passes
over, as the server does with tables that a subscription doesn't know. All of them are stopped by one row, which
each finds locked on the target: changes are applied in the order of their commits, so whoever waits for it has applied
all before it, and nothing behind it. From there one slot, of all tables, goes on.
"""

import asyncio
import secrets
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime

from tidegate.errors import CheckFailed, DeadlinePassed
from tidegate.postgres.bookkeeping import Names
from tidegate.postgres.catalog import copied_tables, published_tables
from tidegate.postgres.kept import Kept, position, read_forms, read_kept
from tidegate.postgres.progress import seldom
from tidegate.postgres.replication import Stream, drop_slot, drop_subscription, worker_gone
from tidegate.postgres.server import Connection, Server, literal, statement
from tidegate.postgres.trouble import failures

__all__ = ["bring_together", "ensure_meeting"]

PATIENCE = 60
"""Seconds without any progress."""
LOOK = 0.05
HOLD = """
set lock_timeout = 0; set idle_in_transaction_session_timeout = 0; set statement_timeout = 0;
begin; lock table tidegate.meeting in share mode"""
WAITING = """
select count(distinct s.subname) from pg_catalog.pg_stat_subscription s join pg_catalog.pg_locks l on l.pid = s.pid
where s.subname = any(%s) and l.locktype = 'relation' and l.relation = 'tidegate.meeting'::regclass and not l.granted
and l.database = (select oid from pg_catalog.pg_database where datname = current_database())"""
CONFIRMED = """
select pg_catalog.pg_wal_lsn_diff(confirmed_flush_lsn, '0/0')::int8
from pg_catalog.pg_replication_slots where slot_name = any(%s)"""
RECEIVED = "select max(last_msg_receipt_time) from pg_catalog.pg_stat_subscription where subname = any(%s)"
FOLLOWED = """
select r.prrelid::int8 from pg_catalog.pg_publication_rel r join pg_catalog.pg_publication p on p.oid = r.prpubid
where p.pubname = %s"""
FOUND = """
select max(lsn)::text from pg_catalog.pg_logical_slot_peek_binary_changes(%s, null, null,
    'proto_version', '1', 'publication_names', %s) where xid = %s::text::xid"""
"""The end of the commit: whoever starts there is sent all that was committed later."""


async def ensure_meeting(source: Server, names: Names) -> None:
    """The publication of the row that stops them; a slot knows only those that are older than itself. Idempotent."""
    async with source.session() as connection:
        cursor = await connection.execute(
            "select 1 from pg_catalog.pg_publication where pubname = %s", (names.meeting,)
        )
        if not await cursor.fetchone():
            await connection.execute(statement(f"create publication {names.meeting} for table tidegate.meeting"))


async def bring_together(stream: Stream, note: Callable[[str], None]) -> None:
    """All that is kept, and complete, as of one point: the one from which the slot of `stream` goes on, alone.

    May be begun again. Raises Unreachable, Refused, DeadlinePassed.
    """
    kept = await read_kept(stream.target)
    if len({each.slot for each in kept}) > 1:
        parts = await _parts(stream, kept)
        password = secrets.token_urlsafe(24)
        async with stream.source.session() as connection:
            await stream.ensure_role(connection, password)
        for slot, tables in parts.items():
            await _subscribe(stream, slot, tables, password)
        note("applying what was written since the interrupted copy")
        await _catch_up(stream, list(parts), seldom(note))
        await _stop(stream, list(parts))
    await _leave_one(stream, await read_kept(stream.target))


async def _parts(stream: Stream, kept: Sequence[Kept]) -> dict[str, list[str]]:
    """By slot, the published tables that are as of it, quoted; together all."""
    async with stream.source.session() as here:
        followed = {row[0] for row in await (await here.execute(FOLLOWED, (stream.names.publication,))).fetchall()}
        published = [table for table in await published_tables(here) if table.oid in followed]
        forms = await read_forms(here, await copied_tables(here))
    slots = {forms[each.relation].root: each.slot for each in kept if each.relation in forms}
    parts: dict[str, list[str]] = {}
    for table in published:  # a partitioned table without partitions has no rows to be as of anything
        parts.setdefault(slots.get(table.oid, kept[0].slot), []).append(table.name)
    return parts


async def _leave_one(stream: Stream, kept: Sequence[Kept]) -> None:
    """Of slots and subscriptions only the slot of `stream`, which starts where all of `kept` meets. Idempotent.

    A crash of the source sets a slot that was moved on back to where it was; one that is made by copying stays.
    """
    subscriptions = "select subname from pg_catalog.pg_subscription where subname ~ %s"
    publications = "select pubname from pg_catalog.pg_publication where pubname ~ %s"
    slots = "select slot_name from pg_catalog.pg_replication_slots where slot_name ~ %s"
    part = f"^{stream.name}(_[0-9]+)?_part$"
    async with stream.target.session() as there, stream.source.session() as here:
        for (name,) in await (await there.execute(subscriptions, (part,))).fetchall():
            await drop_subscription(there, name)
        if kept and (met := kept[0]).slot != stream.name:
            await _let_go(here, [met.slot])
            ((confirmed,),) = await (await here.execute(CONFIRMED, ([met.slot],))).fetchall()
            if confirmed < position(met.since):
                await here.execute(
                    "select pg_catalog.pg_replication_slot_advance(%s, %s::pg_lsn)", (met.slot, met.since)
                )
            await drop_slot(here, stream.name)
            await here.execute("select pg_catalog.pg_copy_logical_replication_slot(%s, %s)", (met.slot, stream.name))
            await there.execute("update tidegate.kept set slot = %s", (stream.name,))
        for (name,) in await (await here.execute(publications, (part,))).fetchall():
            await here.execute(statement(f"drop publication {name}"))
        await here.execute(statement(f"drop publication if exists {stream.names.meeting}"))
        for (name,) in await (await here.execute(slots, (f"^{stream.name}_[0-9]+$",))).fetchall():
            await drop_slot(here, name)


async def _subscribe(stream: Stream, slot: str, tables: Sequence[str], password: str) -> None:
    """A subscription knows the tables of its publication as it is made; it is sent what its slot has known always."""
    names, name = stream.names, stream.names.part(slot)
    conninfo = literal(stream.source.peer_conninfo(names.role, password))
    async with stream.target.session() as there:
        if not await (
            await there.execute("select 1 from pg_catalog.pg_subscription where subname = %s", (name,))
        ).fetchone():
            async with stream.source.session() as here:
                await here.execute(statement(f"drop publication if exists {name}"))
                await here.execute(
                    statement(
                        f"create publication {name} for table {', '.join(tables)} "
                        "with (publish_via_partition_root = true)"
                    )
                )
            await there.execute(
                statement(
                    f"create subscription {name} connection {conninfo} publication {name}, {names.meeting} "
                    f"with (create_slot = false, slot_name = '{slot}', copy_data = false, enabled = false)"
                )
            )
        await there.execute(statement(f"alter subscription {name} connection {conninfo}"))
        await there.execute(
            statement(
                f"alter subscription {name} set publication {names.publication}, {names.meeting} with (refresh = false)"
            )
        )
        await there.execute(statement(f"alter subscription {name} enable"))


async def _catch_up(stream: Stream, slots: Sequence[str], note: Callable[[str], None]) -> None:
    """Until all has been applied that was committed before this began, rows of earlier meetings among it."""
    until = await stream.source.value("select pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0')::int8")
    patience = _Patience(stream, slots)
    while True:
        confirmed = [row[0] for row in await stream.source.rows(CONFIRMED, list(slots))]
        missing = sum(max(0, until - each) for each in confirmed)
        if not missing:
            return
        note(f"applying what was written since the interrupted copy, {missing / 2**20:,.1f} MiB of log are left")
        await patience.wait()


async def _stop(stream: Stream, slots: Sequence[str]) -> None:
    """Every subscription waits for the lock until its worker is gone: none has gone on."""
    # the stream's own may be taken away when another has taken its place
    meeting = next(slot for slot in slots if slot != stream.name)
    names, parts = stream.names, [stream.names.part(slot) for slot in slots]
    holder = await stream.target.connect()
    try:
        await holder.execute(HOLD)
        async with stream.source.session() as here:
            cursor = await here.execute(
                "insert into tidegate.meeting values (%s) returning pg_catalog.txid_current() & 4294967295",
                (str(uuid.uuid4()),),
            )
            ((xid,),) = await cursor.fetchall()
        patience = _Patience(stream, slots)
        while await stream.target.value(WAITING, parts) < len(parts):
            await patience.wait()
        async with stream.target.session() as there:
            for name in parts:
                await there.execute(statement(f"alter subscription {name} disable"))
            await there.execute(
                "select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_subscription "
                "where subname = any(%s) and pid is not null",
                (parts,),
            )
            for name in parts:
                await worker_gone(there, name)
        async with stream.source.session() as here:
            await _let_go(here, slots)
            cursor = await here.execute(FOUND, (meeting, names.meeting, str(xid)))
            ((met,),) = await cursor.fetchall()
        if met is None:
            raise CheckFailed("the row that all streams stopped at isn't in the log", where=stream.source.where)
        await holder.execute("update tidegate.kept set slot = %s, since = %s::pg_lsn", (meeting, met))
        await holder.execute("set local synchronous_commit = on")
        await holder.execute("commit")
    finally:
        await holder.close()


async def _let_go(here: Connection, slots: Sequence[str]) -> None:
    """A walsender outlives its subscription for a moment."""
    query = (
        "select pg_catalog.pg_terminate_backend(active_pid) from pg_catalog.pg_replication_slots "
        "where slot_name = any(%s) and active_pid is not null"
    )
    while await (await here.execute(query, (list(slots),))).fetchall():
        await asyncio.sleep(LOOK)


class _Patience:
    """With workers that apply: as long as positions move on, or, for one long transaction, something is received."""

    def __init__(self, stream: Stream, slots: Sequence[str]) -> None:
        self.stream, self.slots = stream, list(slots)
        self.parts = [stream.names.part(slot) for slot in slots]
        self._confirmed = -1
        self._failed = 0
        self._until = 0.0
        self._received: datetime | None = None

    async def wait(self) -> None:
        """For a moment. Raises DeadlinePassed."""
        target = self.stream.target
        confirmed = sum([row[0] for row in await self.stream.source.rows(CONFIRMED, self.slots)])
        counts = [await failures(target, part) for part in self.parts]
        failed = sum([count or 0 for count in counts])
        # before 15 nobody counts failures: a worker that fails again and again receives something each time
        received = None if None in counts else await target.value(RECEIVED, self.parts)
        if confirmed > self._confirmed or (failed == self._failed and received != self._received):
            self._until = time.monotonic() + PATIENCE
        self._confirmed = max(confirmed, self._confirmed)
        self._failed, self._received = failed, received
        if time.monotonic() > self._until:
            raise DeadlinePassed(
                "what was written since the interrupted copy isn't applied"
                + (f": an apply worker has failed {failed} times" if failed else ""),
                where=target.where,
                mend="see the log of this server, which applies it, and of the one that sends it; then run it again",
            )
        await asyncio.sleep(LOOK)
