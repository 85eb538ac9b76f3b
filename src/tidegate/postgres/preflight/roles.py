"""Roles that have to be there on azure, and logins that need a password there.

The copy makes the application's roles. It doesn't make superusers, replication roles, its own login or what a
provider has made; if one of those owns anything, or was granted anything or is somebody's group, it has to exist.
Of a role's attributes and memberships it makes the plain ones alone: the others may be more than its login may give.
The database itself is somebody else's making: whose it is, and what was granted on it, no dump of its content tells.
"""

import re

from tidegate.postgres.catalog import OURS, Role, roles
from tidegate.postgres.preflight.check import Asked, all_rows, judged, listed
from tidegate.postgres.server import Connection, statement
from tidegate.runbook.step import Finding

__all__ = ["RoleFacts", "judge_roles", "read_roles"]

OWNERS = f"""
with objects as (
    select 'pg_catalog.pg_class'::regclass as catalog, c.oid, c.relowner as owner from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace where {OURS}
    union all
    select 'pg_catalog.pg_proc'::regclass, p.oid, p.proowner from pg_catalog.pg_proc p
        join pg_catalog.pg_namespace n on n.oid = p.pronamespace where {OURS}
    union all
    select 'pg_catalog.pg_type'::regclass, t.oid, t.typowner from pg_catalog.pg_type t
        join pg_catalog.pg_namespace n on n.oid = t.typnamespace where {OURS}
    union all
    select 'pg_catalog.pg_namespace'::regclass, n.oid, n.nspowner from pg_catalog.pg_namespace n
        where {OURS} and n.nspname <> 'public'
    union all
    select d.classid, d.objid, d.refobjid from pg_catalog.pg_shdepend d
        where d.refclassid = 'pg_catalog.pg_authid'::regclass and d.deptype in ('o', 'a', 'r')
        and d.dbid = (select oid from pg_catalog.pg_database where datname = current_database()))
select distinct o.owner::int8, r.rolname::text from objects o left join pg_catalog.pg_roles r on r.oid = o.owner
where not exists (select 1 from pg_catalog.pg_depend e
    where e.classid = o.catalog and e.objid = o.oid and e.deptype = 'e') and o.owner <> 0
    and coalesce(r.rolname, '') !~ '^tidegate_'
"""
ATTRIBUTES = """
select pg_catalog.quote_ident(r.rolname) || ' ' || pg_catalog.unnest(array[
    case when r.rolcreaterole then 'CREATEROLE' end, case when r.rolcreatedb then 'CREATEDB' end,
    case when r.rolbypassrls then 'BYPASSRLS' end, case when not r.rolinherit then 'NOINHERIT' end,
    case when r.rolconnlimit <> -1 then 'CONNECTION LIMIT ' || r.rolconnlimit end,
    case when r.rolvaliduntil < 'infinity' then 'VALID UNTIL ' || (r.rolvaliduntil at time zone 'UTC') end])
from pg_catalog.pg_roles r where r.rolname = any(%(roles)s)
union
select pg_catalog.quote_ident(r.rolname) || ' in ' || pg_catalog.quote_ident(g.rolname) || ' WITH ' ||
    pg_catalog.unnest(array[case when m.admin_option then 'ADMIN OPTION' end,
        case when r.rolinherit and pg_catalog.to_jsonb(m) ->> 'inherit_option' = 'false' then 'INHERIT FALSE' end,
        case when pg_catalog.to_jsonb(m) ->> 'set_option' = 'false' then 'SET FALSE' end])
from pg_catalog.pg_auth_members m join pg_catalog.pg_roles r on r.oid = m.member
join pg_catalog.pg_roles g on g.oid = m.roleid where r.rolname = any(%(roles)s)
"""
DATABASE = """
select 'owner ' || pg_catalog.quote_ident(r.rolname) from pg_catalog.pg_database d
join pg_catalog.pg_roles r on r.oid = d.datdba where d.datname = current_database() and r.rolname = any(%(roles)s)
union
select a.privilege_type || ' to ' || coalesce(pg_catalog.quote_ident(r.rolname), 'PUBLIC') ||
    case when a.is_grantable then ' WITH GRANT OPTION' else '' end
from pg_catalog.pg_database d
cross join pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a
left join pg_catalog.pg_roles r on r.oid = a.grantee
where d.datname = current_database() and a.grantee <> d.datdba and (a.grantee = 0 or r.rolname = any(%(roles)s))
"""


class RoleFacts(Asked):
    """`absent`: on azure, and not made by the copy. `ghosts`: OIDs of owners that no longer exist on aws.

    `attributes`: of the roles that are moved, and of their memberships, which they lack on azure. `database`: its owner
    and its grants, as far as azure's lacks them; `open_to_all`: what only azure's grants to PUBLIC.

    `without_password`: logins of which the migration names no password; `readable`: whether aws shows their hashes.
    """

    moved: list[str]
    absent: list[str]
    ghosts: list[int]
    attributes: list[str]
    database: list[str]
    open_to_all: list[str]
    without_password: list[str]
    readable: bool


async def read_roles(here: Connection, there: Connection, passwords: frozenset[str]) -> RoleFacts:
    moved = await roles(here)
    owners = await all_rows(here, OWNERS)
    present = {row[0] for row in await all_rows(there, "select rolname from pg_catalog.pg_roles")}
    readable = await all_rows(here, "select pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')")
    names = [role.name for role in moved]
    here_on_it, there_on_it = await _of_roles(here, DATABASE, names), await _of_roles(there, DATABASE, names)
    return RoleFacts(
        moved=names,
        absent=_absent(moved, {name for _, name in owners if name is not None}, present),
        ghosts=sorted(oid for oid, name in owners if name is None),
        attributes=sorted(await _of_roles(here, ATTRIBUTES, names) - await _of_roles(there, ATTRIBUTES, names)),
        database=sorted(each for each in here_on_it - there_on_it if _plainly(each) not in there_on_it),
        open_to_all=sorted(each for each in there_on_it - here_on_it if each.endswith(" to PUBLIC")),
        without_password=[role.name for role in moved if role.login and role.name not in passwords],
        readable=readable[0][0],
    )


async def _of_roles(connection: Connection, query: str, names: list[str]) -> set[str]:
    rows = await (await connection.execute(statement(query), {"roles": names})).fetchall()
    return {row[0] for row in rows if row[0] is not None}


def _plainly(grant: str) -> str:
    """What gives everybody the same; a grant option is nobody's in PUBLIC."""
    return re.sub(r" to .*(?<! WITH GRANT OPTION)$", " to PUBLIC", grant)


def _absent(moved: list[Role], owners: set[str], present: set[str]) -> list[str]:
    named = owners | {group for role in moved for group in role.member_of}
    return sorted(named - {role.name for role in moved} - present)


def judge_roles(where: str, facts: RoleFacts) -> list[Finding]:
    hashes = "; their hashes can be read on aws" if facts.without_password else ""
    apart = "; ".join(
        [
            *([f"aws has {listed(facts.database)}"] if facts.database else []),
            *([f"azure has {listed(facts.open_to_all)}"] if facts.open_to_all else []),
        ]
    )
    unknown = "" if facts.readable else listed(facts.without_password)
    return [
        judged(
            "roles",
            where,
            "every role that owns, was granted or lends anything will be on azure",
            wrong=f"roles that own or were granted something on aws, or lend it to others, aren't on azure, and aren't "
            f"made by the copy: {listed(facts.absent)}"
            if facts.absent
            else "",
            mend="CREATE ROLE on azure, or on aws REASSIGN OWNED, REVOKE",
        ),
        judged(
            "owners",
            where,
            "every object's owner exists",
            wrong=f"objects on aws belong to, or name, roles that don't exist: OID {', '.join(map(str, facts.ghosts))}"
            if facts.ghosts
            else "",
            mend="ALTER ... OWNER TO a role that exists; REVOKE what was granted to the one that is gone",
        ),
        judged(
            "role_attributes",
            where,
            "no role needs more than a login and its groups",
            wrong=f"attributes of roles and memberships don't move: {listed(facts.attributes)}"
            if facts.attributes
            else "",
            mend="make these roles on azure beforehand, NOLOGIN and with what they need: the copy leaves it to them; "
            "or approve to go without",
            verdict="inconclusive",
        ),
        judged(
            "database",
            where,
            "the database is whose it was, with the same grants on it",
            wrong=f"the database itself isn't copied, its owner and the grants on it: {apart}" if apart else "",
            mend="ALTER DATABASE ... OWNER TO; GRANT, REVOKE ... ON DATABASE on azure, once its roles are there; or "
            "approve to go without",
            verdict="inconclusive",
        ),
        judged(
            "passwords",
            where,
            f"{len(facts.moved)} roles go over with their passwords{hashes}",
            wrong=f"passwords can't be read on aws; these logins would have none on azure: {unknown}"
            if unknown
            else "",
            mend="name them under `passwords` of the database, or approve if they log in otherwise",
            verdict="inconclusive",
        ),
    ]
