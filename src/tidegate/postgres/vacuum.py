"""No autovacuum on the tables that a fence is to lock: a lock behind one was measured to wait for a second."""

import asyncio
import time

from tidegate.errors import DeadlinePassed, Refused
from tidegate.postgres.catalog import MOVED
from tidegate.postgres.server import Connection, statement

__all__ = ["still_vacuum", "vacuum_again"]

STILL_SECONDS = 30
LOCK_SECONDS = 3
"""More than the deadlock_timeout after which the server ends an autovacuum that is in the way."""
LOOK = 0.05

RECORD = f"""
insert into tidegate.fence
    select 'vacuum', pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.jsonb_build_object('option',
        (select option from pg_catalog.unnest(c.reloptions) option where option like 'autovacuum_enabled=%'))
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where {MOVED} and c.relkind = 'r' on conflict do nothing
"""
STILL = """
do $do$
declare relation text;
begin
    for relation in select f.subject from tidegate.fence f
            join pg_catalog.pg_class c on c.oid = pg_catalog.to_regclass(f.subject)
            where f.kind = 'vacuum' and not coalesce('autovacuum_enabled=off' = any(c.reloptions), false) loop
        perform pg_catalog.set_config('lock_timeout', '{milliseconds}', true);
        execute pg_catalog.format('alter table %s set (autovacuum_enabled = off)', relation);
        commit;
    end loop;
end $do$
"""
"""It waits behind a running autovacuum, which the server then ends, but for one that prevents wraparound."""
AGAIN = """
do $do$
declare taken record;
begin
    for taken in select subject, before ->> 'option' as option from tidegate.fence where kind = 'vacuum' loop
        if pg_catalog.to_regclass(taken.subject) is not null then
            execute pg_catalog.format('alter table %s %s', taken.subject,
                case when taken.option is null then 'reset (autovacuum_enabled)'
                    else pg_catalog.format('set (%s)', taken.option) end);
        end if;
        delete from tidegate.fence where kind = 'vacuum' and subject = taken.subject;
        commit;
    end loop;
end $do$
"""
AT_WORK = """
select p.relid::regclass::text, a.query from (
    select pid, relid from pg_catalog.pg_stat_progress_vacuum where datname = current_database()
    union all select pid, relid from pg_catalog.pg_stat_progress_analyze where datname = current_database()) p
join pg_catalog.pg_stat_activity a on a.pid = p.pid
join tidegate.fence f on f.kind = 'vacuum' and pg_catalog.to_regclass(f.subject) = p.relid
"""


async def still_vacuum(connection: Connection) -> None:
    """Raises DeadlinePassed for a vacuum that doesn't end: nothing is held yet."""
    until = time.monotonic() + STILL_SECONDS
    await connection.execute(statement(RECORD))
    while True:
        try:
            await connection.execute(statement(STILL.format(milliseconds=int(LOCK_SECONDS * 1000))))
        except Refused as error:
            if "lock timeout" not in error.why:
                raise
        else:
            if not (at_work := await _at_work(connection)):
                return
            await asyncio.sleep(LOOK)
            if time.monotonic() < until:
                continue
            raise _in_the_way(connection, at_work)
        if time.monotonic() > until:
            raise _in_the_way(connection, await _at_work(connection))


async def vacuum_again(connection: Connection) -> None:
    """As it was before, table by table."""
    await connection.execute(statement(AGAIN))


async def _at_work(connection: Connection) -> list[str]:
    cursor = await connection.execute(statement(AT_WORK))
    return [f"{query} ({table})" for table, query in await cursor.fetchall()]


def _in_the_way(connection: Connection, at_work: list[str]) -> DeadlinePassed:
    what = "; ".join(at_work) or "something that locks a table against its being altered, see pg_locks"
    return DeadlinePassed(
        f"a table can't be kept from vacuum: {what}",
        where=connection.server.where,
        mend="wait until it has ended, or end it: select * from pg_stat_progress_vacuum; nothing was held",
    )
