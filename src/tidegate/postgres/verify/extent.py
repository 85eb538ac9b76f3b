"""How many rows a table has, by estimate, and the parts in which it is read."""

from dataclasses import dataclass

from tidegate.postgres.server import Connection, statement
from tidegate.postgres.verify.chunks import Pages

__all__ = ["Extent", "extents", "parts"]

PART_PAGES = 32_768
"""256 MiB: a larger table is read in several parts, side by side if there are sessions, and progress shows."""


@dataclass(frozen=True, slots=True)
class Extent:
    """`rows`: the planner's estimate, as the files have grown since; from their size alone if it has none.

    `source`: a from-item with the table's own rows, and its partitions'. `pages`: of the largest file that holds them;
    0 where a part of them has no pages that could be named.
    """

    source: str
    rows: int
    pages: int


EXTENTS = """
select c.oid::int8,
    pg_catalog.format(case c.relkind when 'r' then 'only ' else '' end || '%%I.%%I', n.nspname, c.relname),
    coalesce(pg_catalog.sum(case when l.reltuples > 0 and l.relpages > 0 then l.reltuples / l.relpages * size.pages
        else size.pages * 100 end), 0)::int8,
    coalesce(case when pg_catalog.bool_and(l.relkind = 'r') then pg_catalog.max(size.pages) end, 0)::int8
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join lateral (
    select c.oid as leaf where c.relkind = 'r'
    union all
    select relid from pg_catalog.pg_partition_tree(c.oid) where isleaf and c.relkind = 'p') leaves on true
left join pg_catalog.pg_class l on l.oid = leaves.leaf
left join lateral (
    select coalesce(pg_catalog.pg_relation_size(l.oid), 0)
        / pg_catalog.current_setting('block_size')::int8 as pages) size on true
where c.oid::int8 = any(%s) group by 1, 2"""
"""A hundred rows on a page of 8 KiB: few tables hold more."""


async def extents(connection: Connection, oids: list[int]) -> dict[int, Extent]:
    cursor = await connection.execute(statement(EXTENTS), (oids,))
    return {oid: Extent(source, rows, pages) for oid, source, rows, pages in await cursor.fetchall()}


def parts(here: Extent, there: Extent) -> list[tuple[Pages | None, Pages | None]]:
    """What is read of both sides at the same time. A row need not lie in the same part on both."""
    if not (here.pages and there.pages):
        return [(None, None)]
    count = -(-max(here.pages, there.pages) // PART_PAGES)
    if count == 1:
        return [(None, None)]
    return [(_pages(here.pages, number, count), _pages(there.pages, number, count)) for number in range(count)]


def _pages(pages: int, number: int, count: int) -> Pages:
    return Pages(number * pages // count, (number + 1) * pages // count if number + 1 < count else None)
