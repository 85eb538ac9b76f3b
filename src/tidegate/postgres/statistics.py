"""What the planner knows about the copied tables: taken along where the target accepts it, else found out anew."""

from collections.abc import Callable
from pathlib import Path

from tidegate.postgres.binaries import client, run_client
from tidegate.postgres.catalog import NOT_OF_AN_EXTENSION, OURS
from tidegate.postgres.progress import seldom
from tidegate.postgres.schema import TAKES_STATISTICS, server_major
from tidegate.postgres.server import Connection, Server, statement

__all__ = ["bring_statistics"]

UNKNOWN = f"""
select pg_catalog.format('%I.%I', n.nspname, c.relname)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where {OURS} and {NOT_OF_AN_EXTENSION} and c.relkind in ('r', 'p', 'm') and c.relpersistence <> 't'
  and (c.relkind <> 'm' or c.relispopulated)
  and (c.reltuples < 0
    or exists (select 1 from pg_catalog.pg_statistic_ext e where e.stxrelid = c.oid)
    or (c.reltuples > 0 and exists (select 1 from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0
        and not a.attisdropped) and (n.nspname, c.relname) not in (
        select schemaname, tablename from pg_catalog.pg_stats)))
order by 1"""
"""Never analyzed at the source either, or with extended statistics, whose content no dump carries."""


async def bring_statistics(target: Server, dump: Path, note: Callable[[str], None]) -> None:
    """From `dump`, made by `dump_schema`; what doesn't come with it is found out by ANALYZE.

    Raises Unreachable, Refused.
    """
    major = await server_major(target)
    if major < TAKES_STATISTICS:
        note("analyzing all tables")
        async with target.session() as connection:
            await connection.execute("analyze")
        return
    note("taking the planner's statistics along")
    note = seldom(note)
    argv = [client("pg_restore", major), "--statistics-only", "--exit-on-error", "-d", target.database, dump]
    await run_client(argv, target.client_environment(), target.where)
    async with target.session() as connection:
        for table in await _unknown(connection):
            note(f"analyzing {table}")
            await connection.execute(statement(f"analyze {table}"))


async def _unknown(connection: Connection) -> list[str]:
    cursor = await connection.execute(statement(UNKNOWN))
    return [row[0] for row in await cursor.fetchall()]
