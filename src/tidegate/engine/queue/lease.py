"""A session of PostgreSQL, whose locks say that this process lives."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NoReturn

from tidegate.engine.queue.server import QueueServer
from tidegate.errors import TidegateError, Unreachable
from tidegate.postgres.server import Connection

__all__ = ["Session", "opened"]

BEAT = 0.5
SILENT = 3.0
"""Seconds without an answer after which this process gives itself up."""
ENDED = 6.0
"""Seconds of a client's silence after which the server ends the session: later than the client has given up."""


class Session:
    def __init__(self, server: QueueServer, connection: Connection) -> None:
        self.server = server
        self._connection = connection

    async def take(self, name: str) -> bool:
        """Whether nobody else had it. Kept until it is released, or until this session ends."""
        return await self._lock("pg_try_advisory_lock", name)

    async def share(self, name: str) -> None:
        await self._lock("pg_advisory_lock_shared", name)

    async def release(self, name: str) -> None:
        await self._lock("pg_advisory_unlock", name)

    async def beat(self) -> NoReturn:
        """Raises Unreachable once the server doesn't answer, or has ended the session: others may have the leases."""
        while True:
            asked = asyncio.ensure_future(self._connection.execute("select 1"))
            done, _ = await asyncio.wait([asked], timeout=SILENT)
            if not done:
                await self._connection.close()  # and what waits for it fails
            try:
                await asked
            except TidegateError as error:
                why = error.why if done else f"the server hasn't answered for {SILENT:.0f} s"
                raise Unreachable(
                    f"the lease is lost: {why}", where=self.server.where, mend="see to the network, then start it again"
                ) from None
            await asyncio.sleep(BEAT)

    async def _lock(self, function: str, name: str) -> bool:
        query = f"select {function}(hashtextextended(%s, 0))"
        found = await (
            await self._connection.execute(query.encode(), [f"{self.server.database} tidegate {name}"])
        ).fetchone()
        return bool(found and found[0])


@asynccontextmanager
async def opened(server: QueueServer) -> AsyncGenerator[Session]:
    async with server.session() as connection:
        await connection.execute(f"set idle_session_timeout = '{ENDED:.0f}s'".encode())
        yield Session(server, connection)
