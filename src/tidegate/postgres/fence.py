"""After the fence no session of the application's can write, nor has one a write in flight.

NOLOGIN alone misses sessions that are open; ending those misses one that was logging in; REVOKE misses what a
transaction has already written. So: no login, sessions ended, every table locked against writes (which waits
for writers in flight), rights revoked while the lock is held, sessions ended again. What is taken away is
recorded first in tidegate.fence, in the same database, and given back exactly from there.
"""

import asyncio
import json
import time
from collections.abc import Sequence

from psycopg import sql

from tidegate.errors import CheckFailed, DeadlinePassed
from tidegate.postgres.catalog import MOVED, copied_tables
from tidegate.postgres.schema import login_roles
from tidegate.postgres.server import Connection, Server, statement

__all__ = ["Fence", "give_back", "still_vacuum", "vacuum_again"]

REVOKED = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")

END_SESSIONS = """
select count(pg_catalog.pg_terminate_backend(pid)) from pg_catalog.pg_stat_activity
where datname = current_database() and backend_type = 'client backend' and usename = any(%s) and pid <> pg_backend_pid()
"""
WRITERS_IN_FLIGHT = """
select (select count(*) from pg_catalog.pg_prepared_xacts where database = current_database()),
    (select count(*) from pg_catalog.pg_stat_activity where datname = current_database()
        and backend_type = 'client backend' and application_name <> 'tidegate' and backend_xid is not null)
"""
TABLES = f"""
select pg_catalog.format('%I.%I', n.nspname, c.relname)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where {MOVED} order by 1
"""
GRANTS = f"""
select pg_catalog.format('%%I.%%I', n.nspname, c.relname),
    coalesce(pg_catalog.quote_ident(g.rolname), 'public'), a.privilege_type, a.is_grantable
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
cross join lateral pg_catalog.aclexplode(c.relacl) a left join pg_catalog.pg_roles g on g.oid = a.grantee
where {MOVED} and a.privilege_type = any(%s) and a.grantee <> c.relowner
"""


class Fence:
    """Around one database. `lock` is the session that holds the tables; a crash frees it, and only it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.lock: Connection | None = None

    async def prepare(self) -> None:
        """Open the session that will hold the tables, while nobody waits for it."""
        if self.lock is None or self.lock.closed:
            self.lock = await self.server.connect()

    async def close(self, control: Connection, deadline: float) -> None:
        """Raises CheckFailed for a prepared transaction, which only its owner can end; DeadlinePassed."""
        roles = await login_roles(control)
        await _record(control, [("role", role, {"login": True}) for role in roles])
        fenced = await _recorded_roles(control)
        await _together(control, [sql.SQL("alter role {} nologin").format(sql.Identifier(role)) for role in fenced])
        await control.execute(END_SESSIONS, (fenced,))
        await self._lock_tables(deadline)
        await _revoke(control)
        while row := await (await control.execute(END_SESSIONS, (fenced,))).fetchone():
            if row[0] == 0:
                break
            _in_time(self.server, deadline)
            await asyncio.sleep(0.002)
        await self._assert_quiet(control, deadline)

    async def open(self) -> None:
        """Let the tables go. Rights and logins are given back by `give_back`."""
        if self.lock is not None:
            await self.lock.close()
            self.lock = None

    async def _lock_tables(self, deadline: float) -> None:
        await self.prepare()
        assert self.lock is not None, "it was prepared"
        tables = ", ".join(row[0] for row in await (await self.lock.execute(statement(TABLES))).fetchall())
        left = max(1, int((deadline - time.monotonic()) * 1000))
        await self.lock.execute(statement(f"begin; set local lock_timeout = {left}"))
        if tables:
            await self.lock.execute(statement(f"lock table {tables} in share mode"))

    async def _assert_quiet(self, control: Connection, deadline: float) -> None:
        while True:
            row = await (await control.execute(WRITERS_IN_FLIGHT)).fetchone()
            assert row is not None, "the query counts"
            prepared, writing = row
            if prepared:
                raise CheckFailed(
                    f"{prepared} prepared transactions could still write",
                    where=self.server.where,
                    mend="commit or roll them back: select * from pg_prepared_xacts",
                )
            if not writing:
                return
            _in_time(self.server, deadline)
            await asyncio.sleep(0.005)


async def _revoke(control: Connection) -> None:
    cursor = await control.execute(statement(GRANTS), (list(REVOKED),))
    grants = await cursor.fetchall()
    by_table: dict[str, list[list[object]]] = {}
    for table, grantee, privilege, grantable in grants:
        by_table.setdefault(table, []).append([grantee, privilege, grantable])
    await _record(control, [("grants", table, {"grants": found}) for table, found in by_table.items()])
    revokes: list[sql.Composable] = []
    for table, found in by_table.items():
        for grantee in sorted({str(grant[0]) for grant in found}):
            privileges = ", ".join(str(grant[1]) for grant in found if grant[0] == grantee)
            revokes.append(statement(f"revoke {privileges} on {table} from {grantee} cascade"))
    await _together(control, revokes)


async def _together(connection: Connection, statements: Sequence[sql.Composable]) -> None:
    """In one round trip and one transaction: requests are held meanwhile."""
    if statements:
        await connection.execute(sql.SQL("; ").join(statements))


async def give_back(connection: Connection) -> None:
    """Everything that a fence has taken away in this database, in the caller's transaction.

    A role that was recorded, and then not closed, is left alone: we may not be allowed to alter it.
    """
    cursor = await connection.execute(
        "select kind, subject, before, rolcanlogin from tidegate.fence "
        "left join pg_catalog.pg_roles on rolname = subject where kind in ('role', 'grants')"
    )
    for kind, subject, before, can_login in await cursor.fetchall():
        if kind == "role":
            if not can_login:
                await connection.execute(sql.SQL("alter role {} login").format(sql.Identifier(subject)))
        else:
            for grantee, privilege, grantable in before["grants"]:
                option = " with grant option" if grantable else ""
                await connection.execute(statement(f"grant {privilege} on {subject} to {grantee}{option}"))
    await connection.execute("delete from tidegate.fence where kind in ('role', 'grants')")


async def still_vacuum(connection: Connection) -> None:
    """No autovacuum on the tables: a lock that waits behind one was measured to wait for a second."""
    for table in await copied_tables(connection):
        cursor = await connection.execute(
            "select (select option from unnest(reloptions) option where option like 'autovacuum_enabled=%%') "
            "from pg_catalog.pg_class where oid = %s::int8::oid",
            (table.oid,),
        )
        row = await cursor.fetchone()
        await _record(connection, [("vacuum", table.name, {"option": row[0] if row else None})])
        await connection.execute(statement(f"alter table {table.name} set (autovacuum_enabled = off)"))


async def vacuum_again(connection: Connection) -> None:
    cursor = await connection.execute("select subject, before from tidegate.fence where kind = 'vacuum'")
    for table, before in await cursor.fetchall():
        change = f"set ({before['option']})" if before["option"] else "reset (autovacuum_enabled)"
        await connection.execute(statement(f"alter table {table} {change}"))
        await connection.execute("delete from tidegate.fence where kind = 'vacuum' and subject = %s", (table,))


async def _record(connection: Connection, taken: list[tuple[str, str, dict[str, object]]]) -> None:
    """What is recorded already was there before an earlier, interrupted fence: it stays."""
    rows = [{"kind": kind, "subject": subject, "before": before} for kind, subject, before in taken]
    await connection.execute(
        "insert into tidegate.fence select * from jsonb_to_recordset(%s::jsonb) "
        "as taken (kind text, subject text, before jsonb) on conflict do nothing",
        (json.dumps(rows),),
    )


async def _recorded_roles(connection: Connection) -> list[str]:
    cursor = await connection.execute("select subject from tidegate.fence where kind = 'role' order by 1")
    return [row[0] for row in await cursor.fetchall()]


def _in_time(server: Server, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise DeadlinePassed("sessions of the application don't end", where=server.where)
