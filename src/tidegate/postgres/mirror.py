"""The mirror's slot: it has to start before the new owner takes a write, and after what was applied there.

To create one waits for every transaction that writes on that server, an autovacuum's too: done beforehand, by a
temporary slot, which is then moved up to now and copied. The copy is on disk when the server answers; a slot that
was only moved would stand where it was after a crash, and send back what had come from the other side.
"""

import secrets
from contextlib import suppress

from tidegate.errors import Refused, TidegateError
from tidegate.postgres.replication import Stream, drop_slot
from tidegate.postgres.server import Connection, literal, statement

__all__ = ["MirrorSlot"]

CREATE = "select pg_catalog.pg_create_logical_replication_slot(%s, 'pgoutput', true)"
MOVE_UP = "select pg_catalog.pg_replication_slot_advance({}, pg_catalog.pg_current_wal_insert_lsn())"
COPY = "select pg_catalog.pg_copy_logical_replication_slot({}, {}, false)"


class MirrorSlot:
    """Of `stream`, on its source. The temporary slot is gone with its session: a crash leaves nothing."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._session: Connection | None = None
        self._name = ""

    async def prepare(self) -> None:
        """One that is left from an earlier try starts too early, and is dropped."""
        await self.close()
        session = self._session = await self.stream.source.connect()
        await drop_slot(session, self.stream.name)
        name = f"{self.stream.name}_{secrets.token_hex(4)}"
        await session.execute(CREATE, (name,))
        self._name = name

    async def keep_up(self) -> None:
        """Move the temporary slot up to now: so much less is left to do while requests are held."""
        if self._session is not None and self._name:
            await self._session.execute(statement(MOVE_UP.format(literal(self._name))))

    async def create(self) -> None:
        """The slot, durable, from this moment on; in one round trip."""
        if self._session is not None and self._name and not self._session.closed:
            name = literal(self._name)
            with suppress(Refused):  # the session's slot is lost, or this is called again
                await self._session.execute(
                    statement(f"{MOVE_UP.format(name)}; {COPY.format(name, literal(self.stream.name))}")
                )
                return
        await self.stream.create_slot()

    async def close(self) -> None:
        if self._session is not None:
            with suppress(TidegateError):
                await self._session.close()
        self._session, self._name = None, ""
