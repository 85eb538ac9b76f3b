"""The indexes of the copied tables, each built as soon as its table's rows are there.

A table's indexes can be built side by side, as none needs more than a SHARE lock: what a primary key or a unique
constraint needs besides is added last, on top of its index. What isn't built here is left to pg_restore: exclusion
constraints, indexes of partitioned tables and of materialized views, and whatever depends on an extension by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tidegate.postgres.catalog import Table
from tidegate.postgres.server import Connection, statement

__all__ = ["Index", "built_already", "read_indexes"]


@dataclass(frozen=True, slots=True)
class Index:
    """`table`: its table's oid. `name` is quoted and qualified. `entry`: class and oid by which an archive of pg_dump
    knows it, or its constraint.

    `size` in bytes, at the source. `afterwards`: statements for when every index of the table is there; among them
    a constraint's comment, which pg_restore omits if it doesn't make the constraint itself.
    """

    table: int
    name: str
    entry: tuple[int, int]
    definition: str
    size: int
    afterwards: tuple[str, ...]


INDEXES = """
select i.indrelid::int8, pg_catalog.format('%%I.%%I', n.nspname, c.relname),
    case when k.oid is null then array['pg_catalog.pg_class'::regclass::oid, i.indexrelid]
        else array['pg_catalog.pg_constraint'::regclass::oid, k.oid] end::int8[],
    pg_catalog.pg_get_indexdef(i.indexrelid), pg_catalog.pg_relation_size(i.indexrelid),
    pg_catalog.array_remove(array[
        case when k.oid is not null then
            pg_catalog.format('alter table only %%s add constraint %%I %%s using index %%I%%s%%s',
                i.indrelid::regclass, k.conname,
                case k.contype when 'p' then 'primary key' else 'unique' end, c.relname,
                case when k.condeferrable then ' deferrable' end,
                case when k.condeferred then ' initially deferred' end) end,
        case when t.description is not null then pg_catalog.format('comment on constraint %%I on %%s is %%L',
            k.conname, i.indrelid::regclass, t.description) end,
        case when i.indisclustered then
            pg_catalog.format('alter table %%s cluster on %%I', i.indrelid::regclass, c.relname) end,
        case when i.indisreplident then pg_catalog.format('alter table only %%s replica identity using index %%I',
            i.indrelid::regclass, c.relname) end], null)
    || array(select pg_catalog.format('alter index %%s alter column %%s set statistics %%s',
            i.indexrelid::regclass, a.attnum, a.attstattarget)
        from pg_catalog.pg_attribute a where a.attrelid = i.indexrelid and a.attstattarget >= 0 order by a.attnum)
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_constraint k on k.conindid = i.indexrelid and k.conrelid = i.indrelid
    and k.contype in ('p', 'u', 'x')
left join pg_catalog.pg_description t on t.classoid = 'pg_catalog.pg_constraint'::regclass and t.objoid = k.oid
where i.indrelid = any(%s::int8[]::oid[]) and i.indisvalid and i.indisready and not i.indisexclusion
  and not exists (select 1 from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_class'::regclass
    and d.objid = i.indexrelid and d.deptype in ('e', 'x'))
order by i.indexrelid"""


async def read_indexes(connection: Connection, tables: Sequence[Table]) -> list[Index]:
    """Those of `tables` that can be built here."""
    cursor = await connection.execute(statement(INDEXES), ([table.oid for table in tables],))
    return [
        Index(table, name, (entry[0], entry[1]), definition, size, tuple(afterwards))
        for table, name, entry, definition, size, afterwards in await cursor.fetchall()
    ]


async def built_already(target: Connection, indexes: Sequence[Index]) -> frozenset[str]:
    """The names of those that are there: one that failed, or was cut off, has left nothing."""
    cursor = await target.execute(
        "select name from pg_catalog.unnest(%s::text[]) name where pg_catalog.to_regclass(name) is not null",
        ([index.name for index in indexes],),
    )
    return frozenset(str(row[0]) for row in await cursor.fetchall())
