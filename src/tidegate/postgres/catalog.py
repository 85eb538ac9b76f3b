"""What a database holds, read from its catalog: the tables, sequences, roles that move."""

from dataclasses import dataclass

from tidegate.postgres.server import Connection, statement

__all__ = [
    "MOVED",
    "NOT_OF_AN_EXTENSION",
    "OURS",
    "ROLES",
    "Role",
    "Sequence",
    "Table",
    "copied_tables",
    "is_empty",
    "published_tables",
    "roles",
    "sequences",
    "user_schemas",
]

OURS = "n.nspname not in ('pg_catalog', 'information_schema', 'tidegate') and n.nspname !~ '^pg_(toast|temp)'"
NOT_OF_AN_EXTENSION = """not exists (select 1 from pg_catalog.pg_depend e
    where e.classid = 'pg_catalog.pg_class'::regclass and e.objid = c.oid and e.deptype = 'e')"""

MOVED = f"{OURS} and {NOT_OF_AN_EXTENSION} and c.relpersistence = 'p' and c.relkind in ('r', 'p')"
"""Of pg_class c and its pg_namespace n: every table that moves, partitioned ones and their partitions."""


@dataclass(frozen=True, slots=True)
class Table:
    """`name` is quoted and qualified. `key`: quoted columns of the primary key. `rows` is the planner's estimate."""

    oid: int
    name: str
    schema: str
    table: str
    key: tuple[str, ...]
    rows: int
    size: int


@dataclass(frozen=True, slots=True)
class Sequence:
    """`columns`: (table, column), quoted, numbers whose defaults draw from it. `least`, `greatest`: its bounds."""

    name: str
    columns: tuple[tuple[str, str], ...]
    ascending: bool
    least: int
    greatest: int


@dataclass(frozen=True, slots=True)
class Role:
    name: str
    login: bool
    member_of: tuple[str, ...]


TABLES = f"""
select c.oid::int8, pg_catalog.format('%I.%I', n.nspname, c.relname), n.nspname, c.relname,
    coalesce((select pg_catalog.array_agg(pg_catalog.quote_ident(a.attname)
            order by pg_catalog.array_position(i.indkey::int2[], a.attnum))
        from pg_catalog.pg_index i join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = any(i.indkey)
        where i.indrelid = c.oid and i.indisprimary), '{{}}'),
    greatest(c.reltuples, 0)::int8,
    (case when c.relkind = 'r' then pg_catalog.pg_table_size(c.oid) else 0 end)::int8
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where {MOVED} and """


async def copied_tables(connection: Connection) -> list[Table]:
    """Every table that stores rows itself, partitions included; the largest first."""
    return await _tables(connection, "c.relkind = 'r'")


async def published_tables(connection: Connection) -> list[Table]:
    """Every table by which its rows are addressed: a partitioned table for all its partitions."""
    return await _tables(connection, "not c.relispartition")


async def _tables(connection: Connection, which: str) -> list[Table]:
    cursor = await connection.execute(statement(f"{TABLES} {which} order by 7 desc, 2"))
    return [
        Table(oid, name, schema, table, tuple(key), rows, size)
        for oid, name, schema, table, key, rows, size in await cursor.fetchall()
    ]


async def sequences(connection: Connection) -> list[Sequence]:
    cursor = await connection.execute(
        statement(f"""
        with numbers as (select oid from pg_catalog.pg_type where typcategory = 'N')
        select pg_catalog.format('%I.%I', n.nspname, c.relname),
            coalesce(pg_catalog.array_agg(distinct array[drawn.relation, drawn.attribute])
                filter (where drawn.relation is not null), '{{}}'), q.seqincrement > 0, q.seqmin, q.seqmax
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        join pg_catalog.pg_sequence q on q.seqrelid = c.oid
        left join lateral (
            select d.refobjid::regclass::text as relation, pg_catalog.quote_ident(a.attname) as attribute
            from pg_catalog.pg_depend d
            join pg_catalog.pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
            where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid
              and d.refclassid = 'pg_catalog.pg_class'::regclass and d.deptype in ('a', 'i') and d.refobjsubid > 0
              and a.atttypid in (select oid from numbers)
            union
            select f.adrelid::regclass::text, pg_catalog.quote_ident(a.attname)
            from pg_catalog.pg_depend d
            join pg_catalog.pg_attrdef f on d.classid = 'pg_catalog.pg_attrdef'::regclass and d.objid = f.oid
            join pg_catalog.pg_attribute a on a.attrelid = f.adrelid and a.attnum = f.adnum
            where d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = c.oid
              and a.atttypid in (select oid from numbers)
        ) drawn on true
        where c.relkind = 'S' and {OURS} and {NOT_OF_AN_EXTENSION}
        group by n.nspname, c.relname, q.seqincrement, q.seqmin, q.seqmax order by 1""")
    )
    return [
        Sequence(name, tuple((relation, attribute) for relation, attribute in columns), ascending, least, greatest)
        for name, columns, ascending, least, greatest in await cursor.fetchall()
    ]


ROLES = """
with recursive used as (
    select refobjid as oid from pg_catalog.pg_shdepend
    where refclassid = 'pg_catalog.pg_authid'::regclass
      and dbid in (0, (select oid from pg_catalog.pg_database where datname = current_database()))
      and (dbid <> 0 or objid = (select oid from pg_catalog.pg_database where datname = current_database()))
    union
    select case when m.roleid = used.oid then m.member else m.roleid end
    from used join pg_catalog.pg_auth_members m on used.oid in (m.roleid, m.member))
select r.rolname, r.rolcanlogin,
    coalesce((select array_agg(g.rolname order by g.rolname) from pg_catalog.pg_auth_members m
        join pg_catalog.pg_roles g on g.oid = m.roleid where m.member = r.oid), '{}')
from pg_catalog.pg_roles r where r.oid in (select oid from used)
  and not r.rolsuper and not r.rolreplication and r.rolname <> current_user
  and r.rolname !~ '^(pg_|rds|azure|tidegate_)'
order by 1"""
"""(name, whether it can log in, its groups) of those that are tied to this database; no superuser."""


async def roles(connection: Connection) -> list[Role]:
    """Those that own or are granted anything in this database, and their members and groups; no superuser."""
    cursor = await connection.execute(statement(ROLES))
    return [Role(name, login, tuple(groups)) for name, login, groups in await cursor.fetchall()]


async def user_schemas(connection: Connection) -> list[str]:
    cursor = await connection.execute(
        statement(f"""select n.nspname from pg_catalog.pg_namespace n where {OURS} and not exists (
            select 1 from pg_catalog.pg_depend e where e.classid = 'pg_catalog.pg_namespace'::regclass
            and e.objid = n.oid and e.deptype = 'e') order by 1""")
    )
    return [row[0] for row in await cursor.fetchall()]


async def is_empty(connection: Connection) -> bool:
    """No relation, function or type of a user's is there."""
    kinds = (("pg_class", "relnamespace"), ("pg_proc", "pronamespace"), ("pg_type", "typnamespace"))
    for catalog, namespace in kinds:
        cursor = await connection.execute(
            statement(f"""
            select exists (select 1 from pg_catalog.{catalog} c join pg_catalog.pg_namespace n on n.oid = c.{namespace}
                where {OURS} and not exists (select 1 from pg_catalog.pg_depend e where e.deptype = 'e'
                    and e.classid = 'pg_catalog.{catalog}'::regclass and e.objid = c.oid))""")
        )
        row = await cursor.fetchone()
        if row and row[0]:
            return False
    return True
