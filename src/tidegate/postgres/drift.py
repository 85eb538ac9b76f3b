"""Where the tables of the two sides have come apart since they were copied: replication carries no DDL."""

from collections.abc import Mapping
from dataclasses import dataclass

from tidegate.postgres.bookkeeping import Names
from tidegate.postgres.catalog import MOVED
from tidegate.postgres.server import Connection, Server, statement
from tidegate.runbook.migration import Cloud

__all__ = ["Difference", "Shape", "digest", "drift", "read_shape"]

Columns = Mapping[str, tuple[str, bool]]
"""By quoted name: the type, and whether a row needs a value for it."""

TABLES = f"""
select pg_catalog.format('%%I.%%I', n.nspname, c.relname), a.attname is not null, pg_catalog.quote_ident(a.attname),
    pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull and not a.atthasdef and a.attidentity = '',
    not c.relispartition and not exists (select 1 from pg_catalog.pg_publication_rel r
        join pg_catalog.pg_publication p on p.oid = r.prpubid where p.pubname = %s and r.prrelid = c.oid)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where {MOVED} order by 1, a.attnum
"""


DIGEST = f"select pg_catalog.md5(pg_catalog.string_agg(row(t.*)::text, ' ')) from ({TABLES}) t"


@dataclass(frozen=True, slots=True)
class Shape:
    """The tables that move, by quoted name; `unpublished`: those whose changes nobody is sent."""

    cloud: Cloud
    tables: Mapping[str, Columns]
    unpublished: frozenset[str]


@dataclass(frozen=True, slots=True)
class Difference:
    """`text`: what differs, where, and the mend. `minor`: it harms nobody but the way back."""

    text: str
    minor: bool = False


async def read_shape(server: Server, publication: str) -> Shape:
    """Raises Unreachable, Refused."""
    tables: dict[str, dict[str, tuple[str, bool]]] = {}
    unpublished: set[str] = set()
    for table, real, column, kind, needed, hidden in await server.rows(TABLES, publication):
        columns = tables.setdefault(table, {})
        if real:
            columns[column] = (kind, bool(needed))
        if hidden:
            unpublished.add(table)
    return Shape(server.cloud, tables, frozenset(unpublished))


async def digest(connection: Connection, publication: str) -> str:
    """The same as long as no table has changed."""
    row = await (await connection.execute(statement(DIGEST), (publication,))).fetchone()
    return str(row[0]) if row else ""


def drift(source: Shape, target: Shape, names: Names) -> list[Difference]:
    """What stops the stream comes first. Pure."""
    here, there = source.cloud, target.cloud
    stream, publication = names.stream(there), names.publication
    refresh = f"on {there} ALTER SUBSCRIPTION {stream} REFRESH PUBLICATION, which copies its rows"
    found: list[Difference] = []
    for table in sorted(source.tables.keys() & target.tables.keys()):
        found += _columns(table, source, target)
    found += [
        Difference(f"{table} is a table on {here}, not on {there}: make it there too, with its owner and rights")
        for table in sorted(source.tables.keys() - target.tables.keys())
    ]
    found += [
        Difference(
            f"{table} isn't in the publication on {here}: ALTER PUBLICATION {publication} ADD TABLE {table}, GRANT "
            f"SELECT ON {table} TO {names.role}, and USAGE on its schema, there; then {refresh}; then REVOKE both"
        )
        for table in sorted(source.unpublished & target.tables.keys())
    ]
    found += [
        Difference(f"{table} is a table on {there}, not on {here}: DROP TABLE there too, if it was dropped here", True)
        for table in sorted(target.tables.keys() - source.tables.keys())
    ]
    return sorted(found, key=lambda each: each.minor)


def _columns(table: str, source: Shape, target: Shape) -> list[Difference]:
    here, there = source.cloud, target.cloud
    ours, theirs = source.tables[table], target.tables[table]
    found = [
        Difference(
            f"{table} has the column {column} on {here}, not on {there}: add it there with ALTER TABLE {table} "
            f"ADD COLUMN {column} {kind}, the stream goes on by itself; rows copied before have its default there"
        )
        for column, (kind, _) in ours.items()
        if column not in theirs
    ]
    found += [
        Difference(
            f"{table}.{column} is {kind} on {here}, {theirs[column][0]} on {there}: ALTER TABLE {table} ALTER COLUMN "
            f"{column} TYPE {kind} there"
        )
        for column, (kind, _) in ours.items()
        if column in theirs and theirs[column][0] != kind
    ]
    found += [
        Difference(
            f"{table} has the column {column} on {there}, not on {here}: ALTER TABLE {table} DROP COLUMN {column} "
            f"there, {'no row can be applied without a value for it' if needed else 'else the way back fails'}",
            minor=not needed,
        )
        for column, (_, needed) in theirs.items()
        if column not in ours
    ]
    return found
