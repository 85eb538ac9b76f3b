"""The database into which a backup is restored: proved empty, claimed for one run, and emptied again."""

from typing import Any

from tidegate.errors import Refused
from tidegate.postgres.bookkeeping import Names, ensure_bookkeeping, is_ours, read_note, refuse_others, write_note
from tidegate.postgres.catalog import is_empty
from tidegate.postgres.reset import end_others, reset_target, schemas_now
from tidegate.postgres.restored import RESTORED
from tidegate.postgres.server import Connection, Server, statement
from tidegate.postgres.store import read_ownership

__all__ = ["claim", "forget", "note_restored", "require_empty", "restored", "take_back"]

BESIDE_SCHEMAS = """
select pg_catalog.format('drop event trigger %I', evtname) from pg_catalog.pg_event_trigger e
    where not exists (select 1 from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_event_trigger'::regclass
        and d.objid = e.oid and d.deptype = 'e')
union all
select pg_catalog.format('drop server %I cascade', srvname) from pg_catalog.pg_foreign_server
union all
select pg_catalog.format('drop foreign data wrapper %I cascade', fdwname) from pg_catalog.pg_foreign_data_wrapper f
    where not exists (select 1 from pg_catalog.pg_depend d
        where d.classid = 'pg_catalog.pg_foreign_data_wrapper'::regclass and d.objid = f.oid and d.deptype = 'e')"""
"""What a dump makes that goes with no schema, as the statements that drop it. A cast goes with its types."""

UNLINK = """select count(pg_catalog.lo_unlink(oid)) from
    (select oid from pg_catalog.pg_largeobject_metadata order by oid limit 1000) large"""
"""So many in one transaction: each takes a lock."""


async def require_empty(server: Server, names: Names) -> None:
    """Changes nothing. Raises Refused if the target holds anything that this run hasn't restored, or owns writes."""
    await refuse_others(server, names)
    if await read_ownership(server, names.run):
        raise Refused(
            "the database has owned the application's writes, which a restore would drop",
            where=server.where,
            mend="roll the run back, or give an empty database",
        )
    if not await _noted_empty(server, names):
        await _prove_empty(server)


async def claim(server: Server, names: Names) -> None:
    """After this, everything in the database but the bookkeeping was made by this run. Raises Refused."""
    await require_empty(server, names)
    await ensure_bookkeeping(server, names)
    if not await _noted_empty(server, names):
        await _prove_empty(server)
        async with server.session() as connection:
            beside = [drop for (drop,) in await (await connection.execute(BESIDE_SCHEMAS)).fetchall()]
            await write_note(connection, "empty", await schemas_now(connection) | {"beside": beside})


async def take_back(server: Server, names: Names) -> None:
    """Everything that was restored goes. Raises Refused if the database wasn't claimed for this run."""
    noted = await read_note(server, "empty") if await is_ours(server, names) else None
    if noted is None or "beside" not in noted:
        raise Refused("it was never seen empty: nothing is dropped", where=server.where, mend="give an empty database")
    await end_others(server)
    async with server.session() as connection:
        await connection.execute("delete from tidegate.note where key = %s", (RESTORED,))
        for (drop,) in await (await connection.execute(BESIDE_SCHEMAS)).fetchall():
            if drop not in noted["beside"]:  # a managed server comes with its own
                await connection.execute(statement(drop))
        while (row := await (await connection.execute(UNLINK)).fetchone()) and row[0]:
            pass
    await reset_target(server)


async def restored(server: Server) -> Any:
    """The id of the backup that was restored to its end and not taken back; None if none was."""
    return await read_note(server, RESTORED)


async def note_restored(connection: Connection, backup: str) -> None:
    await write_note(connection, RESTORED, backup)


async def forget(connection: Connection) -> None:
    """What is there is nobody's to drop any more."""
    await connection.execute("drop schema tidegate cascade")


async def _noted_empty(server: Server, names: Names) -> bool:
    return await is_ours(server, names) and await read_note(server, "empty") is not None


async def _prove_empty(server: Server) -> None:
    async with server.session() as connection:
        cursor = await connection.execute("select exists (select 1 from pg_catalog.pg_largeobject_metadata)")
        row = await cursor.fetchone()
        if (row and row[0]) or not await is_empty(connection):
            raise Refused("the target isn't empty", where=server.where, mend="give an empty database")
