"""After the fence no session of the application's can write, nor has one a write in flight.

NOLOGIN alone misses sessions that are open; ending those misses one that was logging in; REVOKE misses what a
transaction has already written. So: no login, sessions ended, every table locked against writes (which waits
for writers in flight), rights revoked while the lock is held, sessions ended again. Three round trips, if nothing
has to be waited for: requests are held meanwhile.
"""

import asyncio
import time
from contextlib import suppress
from typing import Any

from tidegate.errors import CheckFailed, DeadlinePassed, Refused, TidegateError
from tidegate.postgres.catalog import MOVED
from tidegate.postgres.rights import CLOSE_LOGINS, REVOKE
from tidegate.postgres.server import Connection, Server, literal, statement

__all__ = ["Fence", "at_once"]

SPARE = 0.05
"""Seconds before the deadline at which a lock is given up, to be able to say for whom it waited."""
LOOK = 0.005

END_SESSIONS = """
select count(*) filter (where pg_catalog.pg_terminate_backend(a.pid))
from pg_catalog.pg_stat_activity a join pg_catalog.pg_roles r on r.oid = a.usesysid
where a.datname = current_database() and a.backend_type = 'client backend' and a.pid <> pg_catalog.pg_backend_pid()
    and (r.rolname in (select subject from tidegate.fence where kind = 'role')
        or a.backend_start < {before}::timestamptz and not r.rolsuper and not r.rolreplication
            and r.rolname <> current_user and r.rolname !~ '^(pg_|rds|azure|tidegate_)'
            and (pg_catalog.pg_has_role('pg_signal_backend', 'usage') or pg_catalog.pg_has_role(r.oid, 'usage')))
"""
"""The application's; and whoever else is no superuser: a function called before the rights were revoked goes on."""
PREPARED = "select count(*) from pg_catalog.pg_prepared_xacts where database = current_database()"
WRITING = """
select count(*) from pg_catalog.pg_stat_activity where datname = current_database()
    and backend_type = 'client backend' and application_name <> 'tidegate' and backend_xid is not null
"""
LOCK = f"""
do $do$ begin
    execute coalesce((select 'lock table '
            || pg_catalog.string_agg(pg_catalog.format('%I.%I', n.nspname, c.relname), ', ' order by c.oid)
            || ' in share mode'
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where {MOVED}), 'select');
end $do$
"""
HOLDERS = f"""
select distinct pg_catalog.format('%s of %s on %s', l.mode, coalesce(a.usename, a.backend_type), c.oid::regclass)
from pg_catalog.pg_locks l join pg_catalog.pg_class c on c.oid = l.relation
join pg_catalog.pg_namespace n on n.oid = c.relnamespace left join pg_catalog.pg_stat_activity a on a.pid = l.pid
where {MOVED} and l.granted and l.mode like '%Exclusive%' and l.database =
    (select oid from pg_catalog.pg_database where datname = current_database()) order by 1 limit 3
"""


class Fence:
    """Around one database. `lock` is the session that holds the tables; a crash frees it, and only it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.lock: Connection | None = None

    async def prepare(self) -> None:
        """Open the session that will hold the tables, while nobody waits for it."""
        if self.lock is None or self.lock.closed or self.lock.broken:
            self.lock = await self.server.connect()

    async def close(self, control: Connection, deadline: float) -> None:
        """Raises CheckFailed for a prepared transaction, which only its owner can end; DeadlinePassed."""
        ending = END_SESSIONS.format(before="'-infinity'")
        self._nothing_prepared(await at_once(control, f"{CLOSE_LOGINS}; commit; begin; {ending}; {PREPARED}"))
        await self._lock_tables(control, deadline)
        ((revoked,),) = await at_once(control, f"{REVOKE}; commit; begin; select pg_catalog.clock_timestamp()::text")
        while await self._still_there(control, literal(revoked)):
            if time.monotonic() > deadline:
                raise DeadlinePassed(
                    "the application's sessions, or writes, don't end",
                    where=self.server.where,
                    mend="see pg_stat_activity",
                )
            await asyncio.sleep(LOOK)

    async def open(self) -> None:
        """Let the tables go. Rights and logins are given back by `give_back`."""
        if self.lock is not None:
            await self.lock.close()
            self.lock = None

    async def _lock_tables(self, control: Connection, deadline: float) -> None:
        await self.prepare()
        assert self.lock is not None, "it was prepared"
        left = max(1, int((deadline - SPARE - time.monotonic()) * 1000))
        try:
            await self.lock.execute(statement(f"rollback; begin; set local lock_timeout = {left}; {LOCK}"))
        except Refused as error:
            if "lock timeout" not in error.why:
                raise
            holders = [row[0] for row in await (await control.execute(statement(HOLDERS))).fetchall()]
            raise DeadlinePassed(
                f"tables can't be locked in time: {'; '.join(holders) or 'somebody held one'}",
                where=self.server.where,
                mend="end what holds them, and try again",
            ) from None

    async def _still_there(self, control: Connection, revoked: str) -> bool:
        """Sessions of the application, or transactions that write. A role may have been made by one of them."""
        ending = END_SESSIONS.format(before=revoked)
        counts = f"select ({ending}), ({WRITING}), ({PREPARED})"
        ((sessions, writing, prepared),) = await at_once(control, f"{CLOSE_LOGINS}; commit; begin; {counts}")
        self._nothing_prepared([(prepared,)])
        return bool(sessions or writing)

    def _nothing_prepared(self, rows: list[tuple[Any, ...]]) -> None:
        if rows[0][0]:
            raise CheckFailed(
                f"{rows[0][0]} prepared transactions could still write",
                where=self.server.where,
                mend="commit or roll them back: select * from pg_prepared_xacts",
            )


async def at_once(connection: Connection, statements: str) -> list[tuple[Any, ...]]:
    """`statements`, without parameters, in one transaction and one round trip. The rows of the last one."""
    try:
        cursor = await connection.execute(
            statement(f"begin isolation level read committed read write; {statements}; commit")
        )
    except BaseException:
        with suppress(TidegateError):
            await connection.execute("rollback")
        raise
    rows: list[tuple[Any, ...]] = []
    while True:
        if cursor.description is not None:
            rows = await cursor.fetchall()
        if not cursor.nextset():
            return rows
