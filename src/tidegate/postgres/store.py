"""One database under the switch, in one direction. Implements switch.store.Lead."""

import time
from collections.abc import Callable
from contextlib import suppress

from tidegate.errors import CheckFailed, DeadlinePassed, TidegateError
from tidegate.postgres.bookkeeping import Names, ensure_bookkeeping
from tidegate.postgres.drift import digest
from tidegate.postgres.fence import Fence, at_once
from tidegate.postgres.large_objects import sync_large_objects
from tidegate.postgres.mirror import MirrorSlot
from tidegate.postgres.proof import Proof, Snapshots
from tidegate.postgres.replication import Stream, drop_slot, drop_subscription
from tidegate.postgres.rights import GIVE_BACK
from tidegate.postgres.sequences import sequence_names, take_values, values
from tidegate.postgres.server import Connection, Server, literal
from tidegate.postgres.side_by_side import side_by_side
from tidegate.postgres.vacuum import still_vacuum, vacuum_again
from tidegate.runbook.migration import Cloud
from tidegate.switch.store import Ownership

__all__ = ["DatabaseStore", "read_ownership"]

STREAMING_SECONDS = 60
"""An apply worker that is just restarting would lengthen the hold by seconds: it is waited for so long."""


class DatabaseStore:
    """Its sessions are opened by `arm`, before requests are held, or by whatever is called first."""

    def __init__(self, name: str, source: Server, target: Server, names: Names, epoch: int) -> None:
        self.name, self.names, self.epoch = name, names, epoch
        self.source: Cloud = source.cloud
        self.target: Cloud = target.cloud
        self._from, self._to = source, target
        self.forward = Stream(source, target, names)
        self.mirror = Stream(target, source, names)
        self.fencing = Fence(source)
        self._mirror_slot = MirrorSlot(self.mirror)
        self._snapshots = Snapshots(source, target)
        self._sessions: dict[Cloud, Connection] = {}
        self._sequences: list[str] = []
        self._tables = ""

    async def arm(self) -> None:
        source = await self._prepare()
        await self.forward.wait_until_streaming(STREAMING_SECONDS)
        self._tables = await digest(source, self.names.publication)
        if trouble := await self.forward.trouble(minor=False):
            raise CheckFailed(trouble, where=self._to.where)

    async def _prepare(self) -> Connection:
        """All but the stream; the source's session."""
        await ensure_bookkeeping(self._from, self.names)
        await ensure_bookkeeping(self._to, self.names)
        await self.mirror.ensure_publication()
        await self.mirror.subscribe(enabled=False)
        await self._mirror_slot.prepare()
        await self._snapshots.prepare()
        source = await self._session(self._from)
        await still_vacuum(source)
        self._sequences = await sequence_names(source)
        await self.fencing.prepare()
        await self._session(self._to)
        return source

    async def lag(self) -> int:
        await self._mirror_slot.keep_up()
        return await self.forward.lag()

    async def fence(self, deadline: float) -> None:
        await self.fencing.close(await self._session(self._from), deadline)

    async def drain(self, deadline: float) -> None:
        await self.forward.drain(await self._session(self._from), await self._session(self._to), deadline)

    async def seal(self, deadline: float) -> None:
        """Sequences and large objects as at the source; the mirror's slot, which must start before the target takes a
        write; snapshots of both sides as they are then.
        """
        await side_by_side(self._assert_unchanged(), self._carry_the_rest(), self._mirror_slot.create())
        await self._snapshots.take()
        if time.monotonic() > deadline:
            raise DeadlinePassed("sealing took too long", where=self._to.where)

    async def _assert_unchanged(self) -> None:
        """A table that was made since nobody follows. Raises CheckFailed."""
        if self._tables and await digest(await self._session(self._from), self.names.publication) != self._tables:
            raise CheckFailed(
                "tables have changed since the switch was prepared", where=self._from.where, mend="try again"
            )

    async def _carry_the_rest(self) -> None:
        """What replication doesn't carry."""
        await self._carry_sequences()
        here, there = await self._session(self._from), await self._session(self._to)
        if any(await side_by_side(_has_large_objects(here), _has_large_objects(there))):
            await sync_large_objects(here, there)

    async def _carry_sequences(self) -> None:
        here, there = await self._session(self._from), await self._session(self._to)
        await take_values(there, await values(here, self._sequences))

    async def ownership(self) -> Ownership | None:
        return await read_ownership(self._to, self.names.run)

    async def commit(self, ownership: Ownership) -> None:
        run, owner = literal(ownership.run), literal(ownership.owner)
        await at_once(
            await self._session(self._to),
            "set local synchronous_commit = on; insert into tidegate.ownership (run, epoch, owner) "
            f"values ({run}, {ownership.epoch:d}, {owner}); {GIVE_BACK}",
        )

    async def open(self) -> None:
        await at_once(await self._session(self._to), GIVE_BACK)

    async def release(self) -> None:
        to = await self._session(self._to)
        await drop_subscription(to, self.forward.name)
        session = await self._session(self._from)
        await drop_slot(session, self.forward.name)
        await self.fencing.open()
        await vacuum_again(session)
        await self.mirror.enable()
        await self._mirror_slot.close()

    async def prove(self, note: Callable[[str], None]) -> Proof:
        """The whole content of both sides as of the seal, while writes go on; after `release`.

        What to do about a mismatch is the caller's to decide. Raises Unreachable, Refused.
        """
        return await self._snapshots.prove(note)

    async def reopen(self) -> None:
        session = await self._session(self._from)
        await at_once(session, GIVE_BACK)
        await self.fencing.open()
        await vacuum_again(session)
        await self._disarm()

    async def _disarm(self) -> None:
        """What only a switch that goes on would need."""
        await self._snapshots.close()
        # The slot would keep the target's log for nothing; the next try makes its own.
        await self._mirror_slot.close()
        with suppress(TidegateError):
            async with self._to.session() as connection:
                await drop_slot(connection, self.mirror.name)

    async def close(self) -> None:
        await self.fencing.open()
        await self._mirror_slot.close()
        await self._snapshots.close()
        for connection in self._sessions.values():
            await connection.close()
        self._sessions.clear()

    async def _session(self, server: Server) -> Connection:
        connection = self._sessions.get(server.cloud)
        if connection is None or connection.closed or connection.broken:
            connection = self._sessions[server.cloud] = await server.connect()
        return connection


async def _has_large_objects(connection: Connection) -> bool:
    cursor = await connection.execute("select exists (select from pg_catalog.pg_largeobject_metadata)")
    row = await cursor.fetchone()
    return bool(row and row[0])


async def read_ownership(server: Server, run: str) -> Ownership | None:
    """The run's row with the highest epoch on this side. A commit on its way, whoever sent it, is waited for."""
    if not await server.value("select to_regclass('tidegate.ownership') is not null"):
        return None
    async with server.session() as connection, connection.transaction():
        # A process that died, or lost its connection, while the server was committing, has left this lock to it.
        await connection.execute("lock table tidegate.ownership in share mode")
        cursor = await connection.execute(
            "select run, epoch, owner from tidegate.ownership where run = %s order by epoch desc limit 1", (run,)
        )
        row = await cursor.fetchone()
    return Ownership(*row) if row else None
