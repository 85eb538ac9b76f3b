"""What was copied to the target, taken away again."""

import asyncio
from typing import Any

from psycopg import sql

from tidegate.postgres.bookkeeping import write_note
from tidegate.postgres.catalog import user_schemas
from tidegate.postgres.large_objects import drop_large_objects
from tidegate.postgres.schema import made_roles
from tidegate.postgres.server import Connection, Server, statement

__all__ = ["end_others", "reset_target", "schemas_now"]

BESIDES = (
    *("pg_cast", "pg_opclass", "pg_opfamily", "pg_operator", "pg_conversion", "pg_collation"),
    *("pg_ts_config", "pg_ts_dict", "pg_ts_parser", "pg_ts_template"),
    *("pg_foreign_server", "pg_foreign_data_wrapper", "pg_extension", "pg_language"),
)
"""Catalogs of what isn't in a schema, or in one that was there before."""


RIGHTS = """
select n.nspname, pg_catalog.pg_get_userbyid(n.nspowner), pg_catalog.array_agg(
    pg_catalog.format('grant %%s on schema %%I to %%s%%s', acl.privilege_type, n.nspname,
        coalesce(pg_catalog.quote_ident(r.rolname), 'public'), case when acl.is_grantable then ' with grant option' end)
    order by acl.privilege_type, r.rolname) filter (where acl.privilege_type is not null)
from pg_catalog.pg_namespace n
left join lateral pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) acl on true
left join pg_catalog.pg_roles r on r.oid = acl.grantee
where n.nspname = any(%s) group by n.nspname, n.nspowner"""
REVOKES = """
select distinct pg_catalog.format('revoke all on schema %%I from %%s cascade', n.nspname,
    coalesce(pg_catalog.quote_ident(r.rolname), 'public'))
from pg_catalog.pg_namespace n
cross join lateral pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) acl
left join pg_catalog.pg_roles r on r.oid = acl.grantee where n.nspname = %s"""


async def schemas_now(connection: Connection) -> dict[str, Any]:
    """For the note `empty`: the schemas that a target has of its own, with their owners and grants."""
    schemas = await user_schemas(connection)
    found = await (await connection.execute(RIGHTS, (schemas,))).fetchall()
    return {"schemas": schemas, "rights": {name: [owner, grants or []] for name, owner, grants in found}}


async def reset_target(target: Server) -> None:
    """Drop everything that was copied. Only to be called for a target that was proved empty beforehand."""
    async with target.session() as connection:
        await connection.execute(
            "delete from tidegate.kept; delete from tidegate.note where key in ('schema', 'indexed', 'finishing')"
        )
        await _drop(connection, "pg_event_trigger")  # one could forbid to drop anything
        await drop_large_objects(connection)
        before, rights = await _schemas_before(connection)
        for schema in await user_schemas(connection):
            if schema not in before:
                await connection.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(schema)))
            else:
                await _empty_schema(connection, schema)
                await _give_back(connection, schema, *rights[schema])
        for catalog in BESIDES:
            await _drop(connection, catalog)
        for role in await made_roles(connection):
            cursor = await connection.execute("select 1 from pg_catalog.pg_roles where rolname = %s", (role,))
            if await cursor.fetchone():
                await connection.execute(sql.SQL("drop owned by {}").format(sql.Identifier(role)))
                await _drop_role(connection, role)
        await write_note(connection, "roles", [])


async def end_others(server: Server) -> None:
    """A pg_restore outlives the process that started it, and must not go on with what is dropped now."""
    query = """select count(pg_catalog.pg_terminate_backend(pid)) from pg_catalog.pg_stat_activity
        where datname = current_database() and backend_type = 'client backend' and usename = current_user
        and application_name = 'tidegate' and pid <> pg_catalog.pg_backend_pid()"""
    async with server.session() as connection:
        while (row := await (await connection.execute(query)).fetchone()) and row[0]:
            await asyncio.sleep(0.02)


async def _drop(connection: Connection, catalog: str) -> None:
    """What of `catalog` was made after the bookkeeping, and so by the copy: oids rise."""
    cursor = await connection.execute(
        statement(f"""
        select pg_catalog.format('drop %s if exists %s cascade', pg_catalog.replace(i.type, '-', ' '), i.identity)
        from pg_catalog.{catalog} c, pg_catalog.pg_identify_object(c.tableoid, c.oid, 0) i
        where c.oid > pg_catalog.to_regnamespace('tidegate')::oid and not exists (select 1 from pg_catalog.pg_depend e
            where e.classid = c.tableoid and e.objid = c.oid and e.deptype = 'e')""")
    )
    for (drop,) in await cursor.fetchall():
        await connection.execute(statement(drop))


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


async def _give_back(connection: Connection, schema: str, owner: str, grants: list[str]) -> None:
    """The copy has made it the source's, in owner and grants."""
    now = await schemas_now(connection)
    if now["rights"][schema] == [owner, grants]:
        return
    if now["rights"][schema][0] != owner:
        change = sql.SQL("alter schema {} owner to {}").format(sql.Identifier(schema), sql.Identifier(owner))
        await connection.execute(change)
    for (revoke,) in await (await connection.execute(REVOKES, (schema,))).fetchall():
        await connection.execute(statement(revoke))
    for grant in grants:
        await connection.execute(statement(grant))


async def _schemas_before(connection: Connection) -> tuple[list[str], dict[str, tuple[str, list[str]]]]:
    cursor = await connection.execute("select value from tidegate.note where key = 'empty'")
    row = await cursor.fetchone()
    return (row[0]["schemas"], row[0]["rights"]) if row else ([], {})
