"""Roles and schema on the target, made as they are on the source; and taken back."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from psycopg import sql

from tidegate.postgres.binaries import client, run_client
from tidegate.postgres.bookkeeping import write_note
from tidegate.postgres.catalog import Role, roles, user_schemas
from tidegate.postgres.server import Connection, Server, statement
from tidegate.secret import resolve

__all__ = ["dump_schema", "ensure_roles", "login_roles", "make_roles", "reset_target", "restore_schema"]


async def dump_schema(source: Server, target: Server, snapshot: str, file: Path) -> None:
    """The schema as of `snapshot`, by the pg_dump of the target's version, to `file`."""
    major = await _major(target)
    argv = [
        *(client("pg_dump", major), "--schema-only", "-Fc", "--snapshot", snapshot),
        *("--exclude-schema", "tidegate", "--no-publications", "--no-subscriptions", "-f", file),
    ]
    await run_client(argv, source.client_environment(), source.where)


async def restore_schema(target: Server, file: Path, section: str, jobs: int = 1) -> None:
    """`section`: pre-data, before the rows; post-data (indexes, keys, triggers), after them."""
    program = client("pg_restore", await _major(target))
    parallel = ["-j", str(jobs)] if jobs > 1 else []
    argv = [program, "--section", section, "--exit-on-error", *parallel, "-d", target.database, file]
    await run_client(argv, target.client_environment(), target.where)


async def ensure_roles(source: Server, target: Server, passwords: Mapping[str, str]) -> None:
    """The roles that the source's objects and grants name."""
    async with source.session() as connection:
        wanted = await roles(connection)
    await make_roles(target, wanted, passwords)


async def make_roles(target: Server, wanted: Sequence[Role], passwords: Mapping[str, str]) -> None:
    """Without login. What was made is recorded first."""
    async with target.session() as connection:
        cursor = await connection.execute("select rolname from pg_catalog.pg_roles")
        there = {row[0] for row in await cursor.fetchall()}
        missing = [role for role in wanted if role.name not in there]
        made = set(await _made_roles(connection)) | {role.name for role in missing}
        await write_note(connection, "roles", sorted(made))
        for role in missing:
            await _make_role(connection, role.name)
        for role in wanted:
            await _complete(connection, role, passwords)


async def _make_role(connection: Connection, role: str) -> None:
    """Whoever isn't a superuser may give objects only to a role of which it is a member itself."""
    name = sql.Identifier(role)
    await connection.execute(sql.SQL("create role {} nologin").format(name))
    cursor = await connection.execute("select pg_catalog.pg_has_role(%s, 'usage')", (role,))
    if (row := await cursor.fetchone()) and not row[0]:
        await connection.execute(sql.SQL("grant {} to current_user").format(name))


async def _complete(connection: Connection, role: Role, passwords: Mapping[str, str]) -> None:
    """Password and memberships; a role that can log in at the source is to be opened by the switch."""
    name = sql.Identifier(role.name)
    if role.name in passwords:
        # Sent hashed, so that no server log can show it.
        secret = connection.pgconn.encrypt_password(
            resolve(passwords[role.name]).encode(), role.name.encode(), b"scram-sha-256"
        )
        await connection.execute(sql.SQL("alter role {} password {}").format(name, sql.Literal(secret.decode())))
    for group in role.member_of:
        await connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(group), name))
    if role.login:
        await connection.execute(
            "insert into tidegate.fence values ('role', %s, %s) on conflict do nothing",
            (role.name, json.dumps({"login": True})),
        )


async def login_roles(connection: Connection) -> list[str]:
    """The application's roles that can log in now."""
    return [role.name for role in await roles(connection) if role.login]


async def reset_target(target: Server) -> None:
    """Drop everything that was copied. Only to be called for a target that was proved empty beforehand."""
    async with target.session() as connection:
        before = await _schemas_before(connection)
        for schema in await user_schemas(connection):
            if schema not in before:
                await connection.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(schema)))
            else:
                await _empty_schema(connection, schema)
        for role in await _made_roles(connection):
            cursor = await connection.execute("select 1 from pg_catalog.pg_roles where rolname = %s", (role,))
            if await cursor.fetchone():
                await connection.execute(sql.SQL("drop owned by {}").format(sql.Identifier(role)))
                await _drop_role(connection, role)
        await write_note(connection, "roles", [])


async def _drop_role(connection: Connection, role: str) -> None:
    """Unless another database on the server still has something of it: another store's move drops it then."""
    cursor = await connection.execute(
        "select 1 from pg_catalog.pg_shdepend where refclassid = 'pg_catalog.pg_authid'::regclass "
        "and refobjid = (select oid from pg_catalog.pg_roles where rolname = %s)",
        (role,),
    )
    if not await cursor.fetchone():
        await connection.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


async def _empty_schema(connection: Connection, schema: str) -> None:
    drops = """
        select format('drop %%s if exists %%I.%%I cascade', case c.relkind when 'v' then 'view' when 'm' then
            'materialized view' when 'S' then 'sequence' when 'f' then 'foreign table' when 'c' then 'type'
            else 'table' end, n.nspname, c.relname)
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname = %(schema)s and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'c') and {free}
        union all
        select format('drop routine if exists %%s cascade', c.oid::regprocedure)
        from pg_catalog.pg_proc c join pg_catalog.pg_namespace n on n.oid = c.pronamespace
        where n.nspname = %(schema)s and {free}
        union all
        select format('drop type if exists %%I.%%I cascade', n.nspname, c.typname)
        from pg_catalog.pg_type c join pg_catalog.pg_namespace n on n.oid = c.typnamespace
        where n.nspname = %(schema)s and c.typtype in ('e', 'd', 'r') and {free}"""
    free = "not exists (select 1 from pg_catalog.pg_depend e where e.objid = c.oid and e.deptype = 'e')"
    cursor = await connection.execute(statement(drops.format(free=free)), {"schema": schema})
    for (drop,) in await cursor.fetchall():
        await connection.execute(statement(drop))


async def _schemas_before(connection: Connection) -> list[str]:
    cursor = await connection.execute("select value from tidegate.note where key = 'empty'")
    row = await cursor.fetchone()
    return list(row[0]["schemas"]) if row else []


async def _made_roles(connection: Connection) -> list[str]:
    cursor = await connection.execute("select value from tidegate.note where key = 'roles'")
    row = await cursor.fetchone()
    return list(row[0]) if row else []


async def _major(server: Server) -> int:
    return int(await server.value("show server_version_num")) // 10_000
