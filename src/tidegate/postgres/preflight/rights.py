"""What the migration's login may do: replicate both ways, close logins, see sessions, act for owners, read every row.

Who may: CREATE_REPLICATION_SLOT wants REPLICATION; CREATE SUBSCRIPTION a superuser, from 16 on pg_create_subscription
too; CREATE PUBLICATION and a new schema CREATE on the database. RDS's and Azure's administrators stand in for a
superuser (documented, not measured). Row level security filters a COPY without a word, and stops the apply worker,
which acts for the table's owner.
"""

from tidegate.postgres.catalog import MOVED, NOT_OF_AN_EXTENSION, OURS
from tidegate.postgres.preflight.check import Asked, judged, listed, one_row
from tidegate.postgres.preflight.providers import Provider, grant_replication
from tidegate.postgres.server import Connection
from tidegate.runbook.migration import Cloud
from tidegate.runbook.step import Finding

__all__ = ["ReadingFacts", "RightsFacts", "judge_reading", "judge_rights", "read_reading", "read_rights"]

RIGHTS = f"""
select pg_catalog.quote_ident(me.rolname) as login, me.rolsuper as superuser, me.rolcreaterole as creates_roles,
    me.rolsuper or me.rolreplication or stands.replicates as replicates,
    me.rolsuper or stands.subscribes as subscribes,
    pg_catalog.has_database_privilege(current_database(), 'CREATE') as creates,
    pg_catalog.pg_has_role('pg_read_all_stats', 'usage') as sees_sessions,
    array(select r.rolname::text from pg_catalog.pg_roles r where r.rolname = any(%(logins)s) and not me.rolsuper
        and not (me.rolcreaterole and (current_setting('server_version_num')::int < 160000
            or pg_catalog.pg_has_role(r.oid, 'member with admin option'))) order by 1) as unalterable,
    array(select distinct pg_catalog.quote_ident(o.rolname) from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace join pg_catalog.pg_roles o on o.oid = c.relowner
        where {OURS} and c.relpersistence = 'p' and c.relkind in ('r', 'p', 'm') and {NOT_OF_AN_EXTENSION}
        and not pg_catalog.pg_has_role(c.relowner, 'usage') order by 1) as foreign_owners
from pg_catalog.pg_roles me, (
    select coalesce(pg_catalog.bool_or(rolname in ('rds_replication', 'rds_superuser')), false) as replicates,
        coalesce(pg_catalog.bool_or(rolname in ('pg_create_subscription', 'rds_superuser', 'azure_pg_admin')), false)
            as subscribes
    from pg_catalog.pg_roles
    where rolname in ('rds_replication', 'rds_superuser', 'azure_pg_admin', 'pg_create_subscription')
        and pg_catalog.pg_has_role(oid, 'member')) stands
where me.rolname = current_user
"""
READING = f"""
with me as (select rolsuper, rolsuper or rolbypassrls as sees_all from pg_catalog.pg_roles
    where rolname = current_user),
tables as (
    select c.oid, n.nspname::text as schema, n.oid as namespace, c.relkind,
        pg_catalog.format('%I.%I', n.nspname, c.relname) as name,
        c.relowner, pg_catalog.pg_has_role(c.relowner, 'usage') as own, c.relrowsecurity,
        c.relrowsecurity and c.relforcerowsecurity as forced, o.rolsuper or o.rolbypassrls as owner_sees_all
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join pg_catalog.pg_roles o on o.oid = c.relowner
    where {MOVED} or {OURS} and c.relkind = 'S' and {NOT_OF_AN_EXTENSION}),
foreign_owners as (select relowner from tables where relkind <> 'S' and not own)
select
    array(select name from tables where not pg_catalog.has_table_privilege(oid, 'SELECT')
        and relowner not in (select relowner from foreign_owners) order by 1) as unreadable,
    array(select distinct schema from tables where not pg_catalog.has_schema_privilege(namespace, 'USAGE')
        and relowner not in (select relowner from foreign_owners) order by 1) as closed_schemas,
    array(select name from tables, me where relkind = 'r' and relrowsecurity and not me.sees_all and (forced or not own)
        order by 1) as filtered,
    array(select name from tables where forced and not owner_sees_all order by 1) as forced,
    (select count(*) from pg_catalog.pg_largeobject_metadata l, me where not me.rolsuper
        and current_setting('lo_compat_privileges') = 'off' and not pg_catalog.pg_has_role(l.lomowner, 'usage')
        and not exists (select 1 from pg_catalog.aclexplode(l.lomacl) a where a.privilege_type = 'SELECT'
            and (a.grantee = 0 or pg_catalog.pg_has_role(a.grantee, 'usage')))) as unreadable_large_objects
"""


class RightsFacts(Asked):
    """`login`: quoted. `unalterable`: logins of the application that ours can't close. `foreign_owners`: of tables."""

    login: str
    superuser: bool
    creates_roles: bool
    replicates: bool
    subscribes: bool
    creates: bool
    sees_sessions: bool
    unalterable: list[str]
    foreign_owners: list[str]


class ReadingFacts(Asked):
    """Of the source, but for what foreign owners have.

    `filtered`: tables of which the login may not see every row; `forced`: nor may their owners.
    """

    unreadable: list[str]
    closed_schemas: list[str]
    filtered: list[str]
    forced: list[str]
    unreadable_large_objects: int


async def read_rights(connection: Connection, logins: list[str]) -> RightsFacts:
    """`logins`: of the application, as the source has them."""
    cursor = await connection.execute(RIGHTS, {"logins": logins})
    row = await cursor.fetchone()
    assert row is not None, "the query answers with one row"
    return RightsFacts(**dict(zip(RightsFacts.model_fields, row, strict=True)))


async def read_reading(connection: Connection) -> ReadingFacts:
    return ReadingFacts(**await one_row(connection, READING))


def judge_rights(cloud: Cloud, where: str, provider: Provider, version: int, facts: RightsFacts) -> list[Finding]:
    login = facts.login
    lacking = [
        *([] if facts.superuser or facts.creates_roles else ["CREATEROLE"]),
        *([] if facts.creates else ["CREATE on the database"]),
    ]
    grants = [
        *([] if facts.superuser or facts.creates_roles else [f"ALTER ROLE {login} CREATEROLE"]),
        *([] if facts.creates else [f"GRANT CREATE ON DATABASE ... TO {login}"]),
    ]
    administrator = {"rds": "rds_superuser", "aurora": "rds_superuser", "azure": "azure_pg_admin"}.get(provider)
    subscribing = administrator or ("pg_create_subscription" if version >= 16 else None)
    return [
        judged(
            f"{cloud}.rights",
            where,
            f"the login may replicate on {cloud}",
            wrong="" if facts.replicates else f"the login may not replicate on {cloud}",
            mend=grant_replication(provider, login),
        ),
        judged(
            f"{cloud}.subscribing",
            where,
            f"the login may subscribe on {cloud}",
            wrong="" if facts.subscribes else f"the login may not create a subscription on {cloud}",
            mend=f"GRANT {subscribing} TO {login}" if subscribing else "before 16 only a superuser may: use one",
        ),
        judged(
            f"{cloud}.creating",
            where,
            f"the login may create schemas and roles on {cloud}",
            wrong=f"the login lacks {' and '.join(lacking)} on {cloud}" if lacking else "",
            mend="; ".join(grants),
        ),
        judged(
            f"{cloud}.sessions",
            where,
            f"the login sees sessions on {cloud}",
            wrong="" if facts.sees_sessions else f"the login doesn't see other sessions on {cloud}",
            mend=f"GRANT pg_monitor TO {login}",
        ),
        judged(
            f"{cloud}.logins",
            where,
            f"the application's logins can be closed on {cloud}",
            wrong=f"the login may not alter {listed(facts.unalterable)} on {cloud}" if facts.unalterable else "",
            mend=f"GRANT ... TO {login} WITH ADMIN OPTION, for each (before 16: CREATEROLE)",
        ),
        judged(
            f"{cloud}.owners",
            where,
            f"the login can act for whoever owns tables on {cloud}",
            wrong=f"the login can't act for {listed(facts.foreign_owners)} on {cloud}, who owns tables"
            if facts.foreign_owners
            else "",
            mend=f"GRANT {', '.join(facts.foreign_owners)} TO {login}",
        ),
    ]


def judge_reading(where: str, facts: ReadingFacts, login: str) -> list[Finding]:
    unread = [
        *([f"tables {listed(facts.unreadable)}"] if facts.unreadable else []),
        *([f"whatever is in the schemas {listed(facts.closed_schemas)}"] if facts.closed_schemas else []),
        *([f"{facts.unreadable_large_objects:,} large objects"] if facts.unreadable_large_objects else []),
    ]
    return [
        judged(
            "reading",
            where,
            "the login may read everything on aws",
            wrong=f"the login may not read {'; '.join(unread)} on aws" if unread else "",
            mend=f"GRANT USAGE ON SCHEMA ... TO {login}; GRANT SELECT ON ... TO {login}; or GRANT pg_read_all_data",
        ),
        judged(
            "row_security",
            where,
            "row level security hides nothing from the login on aws",
            wrong=f"row level security may hide rows from the login, and the copy would leave them behind without a "
            f"word: {listed(facts.filtered)}"
            if facts.filtered
            else "",
            mend=f"ALTER ROLE {login} BYPASSRLS, or ALTER TABLE ... NO FORCE ROW LEVEL SECURITY and be its owner",
        ),
        judged(
            "forced_row_security",
            where,
            "row level security stops no applied change",
            wrong=f"row level security is forced on owners too, for whom changes are applied; that would stop: "
            f"{listed(facts.forced)}"
            if facts.forced
            else "",
            mend="ALTER TABLE ... NO FORCE ROW LEVEL SECURITY, or give its owner BYPASSRLS, until the move is over",
        ),
    ]
