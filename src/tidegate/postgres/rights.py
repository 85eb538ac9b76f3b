"""What the application may write, taken away and given back, each in one round trip: requests are held meanwhile.

What is taken away is recorded first in tidegate.fence, in the same database. Besides rights on tables, columns and
views these are PUBLIC's on functions that run with their owner's: whoever is tied to this database by nothing else
isn't kept from logging in.
"""

from tidegate.postgres.catalog import MOVED, NOT_OF_AN_EXTENSION, OURS, ROLES
from tidegate.postgres.server import Connection, statement

__all__ = ["CLOSE_LOGINS", "GIVE_BACK", "REVOKE", "give_back"]

CLOSE_LOGINS = f"""
insert into tidegate.fence
    select 'role', r.rolname, '{{"login": true}}' from ({ROLES}) r where r.rolcanlogin on conflict do nothing;
do $do$
declare role name;
begin
    for role in select rolname from tidegate.fence join pg_catalog.pg_roles on rolname = subject
            where kind = 'role' and rolcanlogin loop
        execute pg_catalog.format('alter role %I nologin', role);
    end loop;
end $do$
"""
"""Also of roles that were made a moment ago."""

ENTRIES = f"""
select c.oid, c.relowner as owner, pg_catalog.format('%I.%I', n.nspname, c.relname) as object, 0 as attnum,
    acl.grantor, acl.grantee, acl.is_grantable, acl.privilege_type as privilege, acl.privilege_type as granted
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
cross join lateral pg_catalog.aclexplode(c.relacl) acl
where ({MOVED} or {OURS} and {NOT_OF_AN_EXTENSION} and c.relkind = 'v')
    and acl.privilege_type in ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')
union all
select c.oid, c.relowner, pg_catalog.format('%I.%I', n.nspname, c.relname), a.attnum,
    acl.grantor, acl.grantee, acl.is_grantable, acl.privilege_type,
    pg_catalog.format('%s (%I)', acl.privilege_type, a.attname)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_attribute a on a.attrelid = c.oid and not a.attisdropped
cross join lateral pg_catalog.aclexplode(a.attacl) acl
where ({MOVED} or {OURS} and {NOT_OF_AN_EXTENSION} and c.relkind = 'v') and acl.privilege_type in ('INSERT', 'UPDATE')
union all
select p.oid, p.proowner, 'routine ' || p.oid::regprocedure, 0,
    acl.grantor, acl.grantee, acl.is_grantable, acl.privilege_type, acl.privilege_type
from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
cross join lateral pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) acl
where {OURS} and p.prosecdef and acl.grantee = 0 and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
    and not exists (select 1 from pg_catalog.pg_depend e
        where e.classid = 'pg_catalog.pg_proc'::regclass and e.objid = p.oid and e.deptype = 'e')
"""

REVOKE = f"""
with recursive entries as ({ENTRIES}), passed_on as (
    select e.*, 0 as depth from entries e where e.grantor = e.owner and e.grantee <> e.owner
    union
    select e.*, p.depth + 1 from passed_on p join entries e on e.oid = p.oid and e.privilege = p.privilege
        and e.grantor = p.grantee and p.is_grantable and p.attnum in (0, e.attnum)
    where e.grantor <> e.owner and p.depth < 32
), shortest as (
    select oid, object, attnum, granted, grantor, grantee, is_grantable, owner, min(depth) as depth
    from passed_on group by oid, object, attnum, granted, grantor, grantee, is_grantable, owner
), statements as (
    select s.depth, case when s.grantor <> s.owner then pg_catalog.pg_get_userbyid(s.grantor) end as grantor,
        pg_catalog.string_agg(s.granted, ', ' order by s.granted) || ' on ' || s.object as what,
        coalesce(pg_catalog.quote_ident(r.rolname), 'public') as grantee,
        case when s.is_grantable then ' with grant option' else '' end as option
    from shortest s left join pg_catalog.pg_roles r on r.oid = s.grantee
    group by s.oid, s.object, s.depth, s.grantor, s.owner, s.grantee, s.is_grantable, r.rolname)
insert into tidegate.fence
    select 'grant', pg_catalog.md5(concat(what, grantee, option, grantor)), pg_catalog.jsonb_build_object(
        'grant', pg_catalog.format('grant %s to %s%s', what, grantee, option),
        'revoke', pg_catalog.format('revoke %s from %s cascade', what, grantee), 'grantor', grantor, 'depth', depth)
    from statements on conflict do nothing;
do $do$
declare
    taken record;
    me name := current_user;
begin
    for taken in select before ->> 'revoke' as revoke, before ->> 'grantor' as grantor from tidegate.fence
            where kind = 'grant' order by (before ->> 'depth')::int desc, subject loop
        if taken.grantor is null then
            execute taken.revoke;
            continue;
        end if;
        begin
            execute pg_catalog.format('set local role %I', taken.grantor);
            execute taken.revoke;
            execute pg_catalog.format('set local role %I', me);
        exception when insufficient_privilege or invalid_parameter_value or undefined_object then
            null;  -- mostly it goes with what it was passed on from; whoever has it can't log in
        end;
    end loop;
end $do$
"""
"""Grants are recorded with who granted them, and how far from the owner: that is the order in which they come back."""

GIVE_BACK = """
delete from tidegate.fence where kind = 'regranted';
do $do$
declare
    taken record;
    me name := current_user;
    changed text[] := '{}';
begin
    for taken in select rolname from tidegate.fence join pg_catalog.pg_roles on rolname = subject
            where kind = 'role' and not rolcanlogin loop
        execute pg_catalog.format('alter role %I login', taken.rolname);
    end loop;
    for taken in select before ->> 'grant' as again, before ->> 'grantor' as grantor from tidegate.fence
            where kind = 'grant' order by (before ->> 'depth')::int, subject loop
        begin
            if taken.grantor is not null then
                begin
                    execute pg_catalog.format('set local role %I', taken.grantor);
                    execute taken.again;
                    execute pg_catalog.format('set local role %I', me);
                    continue;
                exception when insufficient_privilege or invalid_grant_operation or invalid_parameter_value
                        or undefined_object then
                    changed := changed || taken.again;
                end;
            end if;
            execute taken.again;
        exception when undefined_object or undefined_table or undefined_column or undefined_function
                or invalid_schema_name then
            null;  -- dropped since: there is nothing to grant, or nobody to grant it to
        end;
    end loop;
    if changed <> '{}' then
        insert into tidegate.fence values ('regranted', 'by the owner', pg_catalog.to_jsonb(changed));
    end if;
end $do$;
delete from tidegate.fence where kind in ('role', 'grant')
"""


async def give_back(connection: Connection) -> None:
    """Everything that a fence has taken away in this database, in the caller's transaction.

    A role that was recorded, and then not closed, is left alone: we may not be allowed to alter it. A privilege
    that was passed on is granted again by whoever had passed it on; where we may not act for them the owner
    grants it, and tidegate.fence names it under `regranted`.
    """
    await connection.execute(statement(GIVE_BACK))
