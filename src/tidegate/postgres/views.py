"""Materialized views: a dump without rows leaves them unpopulated, and replication doesn't carry them."""

from collections.abc import Callable

from tidegate.postgres.catalog import NOT_OF_AN_EXTENSION, OURS
from tidegate.postgres.server import Server, statement

__all__ = ["refresh_views"]

POPULATED = f"""
with recursive uses as (
    select r.ev_class as view, d.refobjid as used
    from pg_catalog.pg_rewrite r join pg_catalog.pg_depend d on d.objid = r.oid
    where d.classid = 'pg_catalog.pg_rewrite'::regclass and d.refclassid = 'pg_catalog.pg_class'::regclass
      and d.refobjid <> r.ev_class
    union
    select uses.view, d.refobjid
    from uses join pg_catalog.pg_rewrite r on r.ev_class = uses.used join pg_catalog.pg_depend d on d.objid = r.oid
    where d.classid = 'pg_catalog.pg_rewrite'::regclass and d.refclassid = 'pg_catalog.pg_class'::regclass
      and d.refobjid <> r.ev_class)
select pg_catalog.format('%I.%I', n.nspname, c.relname)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join uses on uses.view = c.oid
left join pg_catalog.pg_class other on other.oid = uses.used and other.relkind = 'm'
where c.relkind = 'm' and c.relispopulated and {OURS} and {NOT_OF_AN_EXTENSION}
group by n.nspname, c.relname having coalesce(pg_catalog.bool_and(other.relispopulated), true)
order by count(other.oid), 1"""
"""Whoever is used, at whatever distance, uses fewer itself: it comes first.

One that uses an unpopulated one couldn't be refreshed at the source either.
"""


async def refresh_views(source: Server, target: Server, note: Callable[[str], None]) -> None:
    """Fill those that are populated on `source`, from the rows on `target`. Raises Unreachable, Refused."""
    async with source.session() as connection:
        cursor = await connection.execute(statement(POPULATED))
        names = [row[0] for row in await cursor.fetchall()]
    async with target.session() as connection:
        for done, name in enumerate(names, 1):
            await connection.execute(statement(f"refresh materialized view {name}"))
            note(f"refreshed {done} of {len(names)} materialized views")
