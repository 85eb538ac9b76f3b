"""The whole content of both sides proved equal, as of one moment of the switch, without lengthening it.

While the source is fenced and drained a snapshot is opened on either side, in a round trip. Both are kept while
writes go on, and all that they show is compared. A snapshot holds no lock, but keeps vacuum from removing what
it can still see: it is closed as soon as the content is proved.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tidegate.errors import TidegateError
from tidegate.postgres.server import Connection, Server, statement
from tidegate.postgres.verify import VerifyReport, compare
from tidegate.runbook.migration import Cloud

__all__ = ["Proof", "Snapshots"]

GONE = "the snapshots are gone, and with them the moment at which both sides had to be equal; compare them live"
OPEN = "begin isolation level repeatable read read only; select pg_catalog.pg_export_snapshot()"
KEEP = "set idle_in_transaction_session_timeout = 0"


@dataclass(frozen=True, slots=True)
class Proof:
    """`report`: what was compared, with every mismatch; None if it is inconclusive, and why."""

    report: VerifyReport | None
    inconclusive: str = ""

    @property
    def equal(self) -> bool:
        return self.report is not None and not self.report.mismatched


class Snapshots:
    """One on each side, each exported by a session of its own, with which it dies."""

    def __init__(self, source: Server, target: Server) -> None:
        self.source, self.target = source, target
        self._sessions: dict[Cloud, Connection] = {}
        self.names: dict[Cloud, str] = {}

    async def prepare(self) -> None:
        """Open the sessions, before anything is held."""
        await self.close()
        for server in (self.source, self.target):
            session = self._sessions[server.cloud] = await server.connect()
            await session.execute(KEEP)

    async def take(self) -> None:
        """Both at once. The source must be fenced, the target have applied everything.

        One that can't be opened stops no switch: the proof is inconclusive then.
        """
        with suppress(TidegateError):
            self.names = dict(await asyncio.gather(*(self._open(cloud) for cloud in self._sessions)))

    async def prove(self, note: Callable[[str], None]) -> Proof:
        """Everything that both snapshots show is compared; they are closed then. Raises Unreachable, Refused."""
        try:
            if not await self._held():
                return Proof(None, GONE)
            try:
                return Proof(await compare(self.source, self.target, None, note, snapshots=self.names))
            except TidegateError:
                if await self._held():
                    raise
                return Proof(None, GONE)
        finally:
            await self.close()

    async def close(self) -> None:
        for session in self._sessions.values():
            with suppress(TidegateError):
                await session.close()
        self._sessions, self.names = {}, {}

    async def _open(self, cloud: Cloud) -> tuple[Cloud, str]:
        cursor = await self._sessions[cloud].execute(statement(f"rollback; {OPEN}"))
        while cursor.nextset():
            pass
        row = await cursor.fetchone()
        assert row is not None, "the function returns its name"
        return cloud, str(row[0])

    async def _held(self) -> bool:
        """Whether both sessions live, and have the snapshot that they exported."""
        if len(self.names) < len((self.source, self.target)):
            return False
        try:
            for session in self._sessions.values():
                await session.execute("select")
        except TidegateError:
            return False
        return True
