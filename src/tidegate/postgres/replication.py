"""Native logical replication in one direction: publication, slot, subscription, marker."""

import asyncio
import secrets
import time
import uuid
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from tidegate.errors import CheckFailed, DeadlinePassed
from tidegate.postgres.bookkeeping import Names
from tidegate.postgres.catalog import published_tables
from tidegate.postgres.drift import Difference, drift, read_shape
from tidegate.postgres.fence import at_once
from tidegate.postgres.server import Connection, Server, literal, statement
from tidegate.postgres.trouble import WORKER, failures, find_trouble, why_not
from tidegate.runbook.migration import Cloud

__all__ = ["Stream", "drop_slot", "drop_subscription", "export_snapshot", "stream_into", "worker_gone"]

PROGRESS_SECONDS = 1.0
LOOK = 0.002
LAG_LOOK = 0.01
HEARTBEAT = """insert into tidegate.marker values ('heartbeat')
on conflict (id) do update set at = clock_timestamp() returning at"""
EXPORT = "begin isolation level repeatable read read only; select pg_catalog.pg_export_snapshot()"
ARRIVAL = """
set local synchronous_commit = on;
do $do$
declare until timestamptz := clock_timestamp() + interval '{left} ms';
begin
    while not exists (select from tidegate.marker where id = {marker}) and clock_timestamp() < until loop
        perform pg_catalog.pg_sleep(0.001);
    end loop;
end $do$;
select pg_catalog.pg_logical_emit_message(true, 'tidegate', 'flush');
select exists (select from tidegate.marker where id = {marker})
"""
"""Waited for inside the server: whoever asks from elsewhere hears of it a round trip later."""


@dataclass(frozen=True, slots=True)
class _Progress:
    """`confirmed`: bytes of the source's log. Of the apply worker: `failures` so far, `received` a message when."""

    confirmed: int
    failures: int | None
    received: datetime | None


class Stream:
    """From `source` to `target`: changes of every published table, applied in commit order."""

    def __init__(self, source: Server, target: Server, names: Names) -> None:
        self.source, self.target, self.names = source, target, names
        self.name = names.stream(target.cloud)
        self._calm = 0

    async def ensure_publication(self) -> None:
        """Every table, and the marker. Idempotent."""
        async with self.source.session() as connection:
            tables = ", ".join([each.name for each in await published_tables(connection)] + ["tidegate.marker"])
            cursor = await connection.execute(
                "select 1 from pg_catalog.pg_publication where pubname = %s", (self.names.publication,)
            )
            if not await cursor.fetchone():
                await connection.execute(
                    statement(
                        f"create publication {self.names.publication} for table {tables} "
                        "with (publish_via_partition_root = true)"
                    )
                )

    async def subscribe(self, *, enabled: bool) -> None:
        """With a replication role of the run's own, whose password only the subscription keeps. Idempotent."""
        if await self.subscribed():
            return
        password = secrets.token_urlsafe(24)
        async with self.source.session() as connection:
            await self.ensure_role(connection, password)
        conninfo = literal(self.source.peer_conninfo(self.names.role, password))
        async with self.target.session() as connection:
            options = (
                f"create_slot = false, slot_name = '{self.name}', copy_data = false, enabled = {str(enabled).lower()}"
            )
            await connection.execute(
                statement(
                    f"create subscription {self.name} connection {conninfo} "
                    f"publication {self.names.publication} with ({options})"
                )
            )

    async def subscribed(self) -> bool:
        query = "select exists (select 1 from pg_catalog.pg_subscription where subname = %s)"
        return bool(await self.target.value(query, self.name))

    async def enable(self) -> None:
        async with self.target.session() as connection:
            await connection.execute(statement(f"alter subscription {self.name} enable"))

    async def streaming(self) -> bool:
        """Its walsender has caught up once and sends as changes come; its slot hasn't lost anything."""
        query = """select exists (select 1 from pg_catalog.pg_stat_replication r
            join pg_catalog.pg_replication_slots s on s.active_pid = r.pid
            where s.slot_name = %s and r.state = 'streaming' and s.wal_status in ('reserved', 'extended'))"""
        return bool(await self.source.value(query, self.name))

    async def wait_until_streaming(self, patience: float) -> None:
        """Raises DeadlinePassed, with what the servers show, if nothing moves for `patience` seconds.

        A long catching up is no reason to give up: positions confirmed count, and, for one long transaction, what
        an apply worker receives, until it fails.
        """
        first = best = await self._progress()
        until = time.monotonic() + patience
        while not await self._streaming_within(PROGRESS_SECONDS):
            now = await self._progress()
            if now.failures != first.failures and (apart := await self._apart()):
                raise CheckFailed(f"changes can't be applied: {apart[0].text}", where=self.target.where)
            if now.confirmed > best.confirmed or (now.failures == best.failures and now.received != best.received):
                best, until = now, time.monotonic() + patience
            if time.monotonic() > until:
                raise DeadlinePassed(
                    f"changes don't stream: {await why_not(self.source, self.target, self.name)}",
                    where=self.target.where,
                    mend="see the log of this server, which applies them, and of the one that sends them",
                )

    async def _apart(self) -> list[Difference]:
        shapes = [await read_shape(server, self.names.publication) for server in (self.source, self.target)]
        return drift(shapes[0], shapes[1], self.names)

    async def _streaming_within(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not (streaming := await self.streaming()) and time.monotonic() < until:
            await asyncio.sleep(0.1)
        return streaming

    async def _progress(self) -> _Progress:
        confirmed = await self.source.value(
            "select pg_catalog.pg_wal_lsn_diff(confirmed_flush_lsn, '0/0')::int8 "
            "from pg_catalog.pg_replication_slots where slot_name = %s",
            self.name,
        )
        received = await self.target.value(f"select s.last_msg_receipt_time {WORKER}", self.name)
        count = await failures(self.target, self.name)
        # before 15 nobody counts failures: a worker that fails again and again receives something each time
        return _Progress(int(confirmed or 0), count, None if count is None else received)

    async def trouble(self, *, minor: bool = True) -> str | None:
        """What is wrong, where, and the mend: slot, subscription, worker, conflicts, tables that have come apart.

        None if nothing is. `minor`: also what harms nobody but the way back. It takes less than ten seconds,
        mostly a few milliseconds. Raises Unreachable, Refused.
        """
        found = await find_trouble(self.source, self.target, self.names, self._calm, minor=minor)
        if found is None:
            self._calm = await failures(self.target, self.name) or 0
        return found

    async def lag_seconds(self, patience: float = 1.0) -> float | None:
        """How old what the target shows is: a heartbeat is written at the source, and looked for at the target.

        It is right also when nothing else is written, which a walsender's replay_lag isn't, and when nothing is
        applied any more. One that doesn't arrive within `patience` seconds counts from the last that did, by the
        source's clock; None if none ever has.
        """
        async with self.source.session() as connection:
            cursor = await connection.execute(HEARTBEAT)
            ((written,),) = await cursor.fetchall()
            began = time.monotonic()
            seen = None
            while time.monotonic() < began + patience:
                seen = await self.target.value("select at from tidegate.marker where id = 'heartbeat'")
                if seen is not None and seen >= written:
                    return time.monotonic() - began
                await asyncio.sleep(LAG_LOOK)
            ((now,),) = await (await connection.execute("select pg_catalog.clock_timestamp()")).fetchall()
        return None if seen is None else (now - seen).total_seconds()

    async def lag(self) -> int:
        """Bytes of the source's log that the target hasn't confirmed. Without a slot: 0, nothing flows this way."""
        query = """select coalesce(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), confirmed_flush_lsn), 0)
            from pg_catalog.pg_replication_slots where slot_name = %s"""
        return max(0, int(await self.source.value(query, self.name) or 0))

    async def create_slot(self) -> None:
        """From this moment on. One that is left from an earlier try starts too early, and is replaced."""
        async with self.source.session() as connection:
            await drop_slot(connection, self.name)
            await connection.execute(
                "select pg_catalog.pg_create_logical_replication_slot(%s, 'pgoutput')", (self.name,)
            )

    async def drain(self, writer: Connection, reader: Connection, deadline: float) -> None:
        """Return when the target has applied all that the source had committed, and made it durable.

        Commits are applied in their order: what was committed before the marker is there when the marker is.
        The apply worker commits without waiting for the disk; a synchronous commit after it flushes all.
        """
        marker = str(uuid.uuid4())
        await writer.execute("insert into tidegate.marker (id) values (%s)", (marker,))
        left = max(0, int((deadline - time.monotonic()) * 1000))
        arrived = await at_once(reader, ARRIVAL.format(marker=literal(marker), left=left))
        if not arrived[0][0]:
            raise DeadlinePassed(
                "the marker didn't arrive in time",
                where=self.target.where,
                mend="see whether the subscription runs",
            )

    async def ensure_role(self, connection: Connection, password: str) -> None:
        """As whom the target's server connects to the source. Its password is a new one from now on."""
        role = self.names.role
        cursor = await connection.execute("select 1 from pg_catalog.pg_roles where rolname = %s", (role,))
        if not await cursor.fetchone():
            await connection.execute(statement(f"create role {role} login replication"))
        secret = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
        await connection.execute(statement(f"alter role {role} password {literal(secret)}"))
        # RDS grants replication through a role of its own; elsewhere there is none of this name.
        cursor = await connection.execute("select 1 from pg_catalog.pg_roles where rolname = 'rds_replication'")
        if await cursor.fetchone():
            await connection.execute(statement(f"grant rds_replication to {role}"))


async def drop_subscription(connection: Connection, name: str) -> None:
    """Without touching the slot on the other side, which may be gone for good."""
    cursor = await connection.execute("select 1 from pg_catalog.pg_subscription where subname = %s", (name,))
    if not await cursor.fetchone():
        return
    await connection.execute(statement(f"alter subscription {name} disable"))
    await worker_gone(connection, name)
    await connection.execute(statement(f"alter subscription {name} set (slot_name = none)"))
    await connection.execute(statement(f"drop subscription {name}"))


async def worker_gone(connection: Connection, name: str) -> None:
    query = "select 1 from pg_catalog.pg_stat_subscription where subname = %s and pid is not null"
    while await (await connection.execute(query, (name,))).fetchone():
        await asyncio.sleep(LOOK)


async def drop_slot(connection: Connection, name: str) -> None:
    """Its walsender, which may outlive a subscription for a moment, is ended first."""
    query = "select active_pid from pg_catalog.pg_replication_slots where slot_name = %s"
    while row := await (await connection.execute(query, (name,))).fetchone():
        if row[0] is None:
            await connection.execute("select pg_catalog.pg_drop_replication_slot(%s)", (name,))
            return
        await connection.execute("select pg_catalog.pg_terminate_backend(%s)", (row[0],))
        await asyncio.sleep(0.02)


async def export_snapshot(source: Server, slot: str | None) -> tuple[Connection, str]:
    """Valid as long as the connection is open: the one at which a new slot starts, in the place of any of its name;
    without a slot one of now.
    """
    if slot is not None:
        async with source.session() as session:
            await drop_slot(session, slot)
    connection = await source.connect(replication=slot is not None)
    try:
        if slot is None:
            cursor = await connection.execute(EXPORT)
            while cursor.nextset():
                pass
        else:
            create = sql.SQL("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput EXPORT_SNAPSHOT")
            cursor = await connection.execute(create.format(sql.Identifier(slot)))
        row = await cursor.fetchone()
    except BaseException:
        await connection.close()
        raise
    assert row is not None, "either answers with one row"
    return connection, str(row[0 if slot is None else 2])


def stream_into(cloud: Cloud, servers: dict[Cloud, Server], names: Names) -> Stream:
    return Stream(servers["aws" if cloud == "azure" else "azure"], servers[cloud], names)
