"""Sessions to both sides, all of whose statements may see one moment of each."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tidegate.postgres.server import Connection, Server, literal, statement
from tidegate.postgres.verify.hashes import pin_settings
from tidegate.runbook.migration import Cloud

__all__ = ["Pair", "one_moment", "open_pairs"]

BEGIN = "begin isolation level repeatable read read only"


@dataclass(frozen=True, slots=True)
class Pair:
    """Sessions at the owner and at its follower."""

    here: Connection
    there: Connection


@asynccontextmanager
async def open_pairs(
    owner: Server, follower: Server, snapshots: Mapping[Cloud, str] | None, count: int
) -> AsyncGenerator[list[Pair]]:
    """`snapshots`: exported, of each side, by sessions that hold them; every statement then sees them.

    Raises Unreachable; Refused, if a snapshot isn't held any more.
    """
    async with AsyncExitStack() as stack:

        async def session(server: Server) -> Connection:
            connection = await stack.enter_async_context(server.session())
            await pin_settings(connection)
            if snapshots is not None:
                await _import(connection, snapshots[server.cloud])
            return connection

        yield [Pair(await session(owner), await session(follower)) for _ in range(count)]


@asynccontextmanager
async def one_moment(pairs: Sequence[Pair]) -> AsyncGenerator[None]:
    """All statements of all pairs see the same, of each side. After an error the sessions are good for nothing more."""
    sides = [[pair.here for pair in pairs], [pair.there for pair in pairs]]
    for first, *others in sides:
        await first.execute(BEGIN)
        if others:
            row = await (await first.execute("select pg_catalog.pg_export_snapshot()")).fetchone()
            assert row is not None
            for connection in others:
                await _import(connection, row[0])
    yield
    for connection in (*sides[0], *sides[1]):
        await connection.execute("commit")


async def _import(connection: Connection, snapshot: str) -> None:
    await connection.execute(BEGIN)
    await connection.execute(statement(f"set transaction snapshot {literal(snapshot)}"))
