"""What of a run stands on the servers besides the data, and how it goes."""

from collections.abc import Sequence

from psycopg import sql

from tidegate.postgres.bookkeeping import Names, is_ours
from tidegate.postgres.replication import drop_slot, drop_subscription
from tidegate.postgres.server import Connection, Server, statement

__all__ = ["end_streams", "forget", "left_behind"]


async def end_streams(servers: Sequence[Server], names: Names) -> None:
    """Every subscription, then every slot and publication of the run."""
    for server in servers:
        async with server.session() as connection:
            for name in await _ours(connection, names, "subname", "pg_subscription"):
                await drop_subscription(connection, name)
    for server in servers:
        async with server.session() as connection:
            for name in await _ours(connection, names, "slot_name", "pg_replication_slots"):
                await drop_slot(connection, name)
            for name in await _ours(connection, names, "pubname", "pg_publication"):
                await connection.execute(statement(f"drop publication if exists {name}"))


async def forget(server: Server, names: Names) -> None:
    """Its role and bookkeeping."""
    ours = await is_ours(server, names)
    async with server.session() as connection:
        if await _ours(connection, names, "rolname", "pg_roles"):  # it owns nothing, and was granted nothing
            await connection.execute(sql.SQL("drop role {}").format(sql.Identifier(names.role)))
        if ours:
            await connection.execute("drop schema tidegate cascade")


async def left_behind(servers: Sequence[Server], names: Names) -> list[str]:
    """In words."""
    found: list[str] = []
    for server in servers:
        async with server.session() as connection:
            for what, name, catalog in (
                ("publication", "pubname", "pg_publication"),
                ("subscription", "subname", "pg_subscription"),
                ("slot", "slot_name", "pg_replication_slots"),
                ("role", "rolname", "pg_roles"),
            ):
                found += [f"{what} on {server.cloud}" for _ in await _ours(connection, names, name, catalog)]
        if await is_ours(server, names):
            found.append(f"bookkeeping on {server.cloud}")
    return found


async def _ours(connection: Connection, names: Names, name: str, catalog: str) -> list[str]:
    query = f"select {name} from pg_catalog.{catalog} where {name} ~ %s order by 1"
    cursor = await connection.execute(statement(query), (f"^tidegate_{names.tag}(_|$)",))
    return [row[0] for row in await cursor.fetchall()]
