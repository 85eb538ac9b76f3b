"""What a comparison leaves out, and why: named, so that nobody takes it for proved."""

from tidegate.postgres.catalog import NOT_OF_AN_EXTENSION, OURS
from tidegate.postgres.server import Connection, statement
from tidegate.postgres.verify.comparison import Uncompared

__all__ = ["uncompared"]

REASONS = {
    "f": "a foreign table's rows are elsewhere",
    "m": "a materialized view's rows follow from the tables",
    "S": "a sequence's value moves, and is set at the switch",
    "u": "an unlogged table isn't replicated",
}
NAMES = f"""
select pg_catalog.format('%I.%I', n.nspname, c.relname), case when c.relkind = 'r' then 'u' else c.relkind end::text
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where {OURS} and {NOT_OF_AN_EXTENSION} and (c.relkind in ('f', 'S') or (c.relkind = 'm' and c.relispopulated)
    or (c.relkind = 'r' and c.relpersistence = 'u'))
order by 2, 1"""


async def uncompared(connection: Connection, *, large_objects: bool) -> list[Uncompared]:
    """`large_objects`: whether they are compared."""
    found = [
        Uncompared(name, REASONS[kind]) for name, kind in await (await connection.execute(statement(NAMES))).fetchall()
    ]
    if not large_objects:
        cursor = await connection.execute("select count(*) from pg_catalog.pg_largeobject_metadata")
        row = await cursor.fetchone()
        if row and row[0]:
            found.append(Uncompared(f"{row[0]:,} large objects", "that wasn't asked for"))
    return found
