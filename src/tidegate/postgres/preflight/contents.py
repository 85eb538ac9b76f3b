"""What is in the database beside plain tables, and how it fares: carried, left behind, or changed on the way.

Nothing needs looking at here, as it was measured or is documented: identity columns GENERATED ALWAYS (COPY and the
apply worker write them), generated columns (computed again), children of an inheritance (each is copied and published
by itself), rules (the apply worker knows none), temporary tables (gone with their session).
"""

from typing import Any

from tidegate.postgres.catalog import MOVED, NOT_OF_AN_EXTENSION, OURS
from tidegate.postgres.preflight.check import Asked, all_rows, judged, listed, one_row, size
from tidegate.postgres.server import Connection
from tidegate.runbook.step import Finding

__all__ = ["ContentsFacts", "judge_contents", "read_contents"]

NEAR_END = 0.9
"""Of a sequence's range."""

NAME = "pg_catalog.format('%I.%I', n.nspname, c.relname)"
RELATION = "pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
USERS = f"{OURS} and {NOT_OF_AN_EXTENSION}"
NAMES = f"""
select
    array(select {NAME} from {RELATION} where {USERS} and c.relkind = 'r' and c.relpersistence = 'u') as unlogged,
    array(select {NAME} from {RELATION} where {USERS} and c.relkind = 'f') as foreign_tables,
    array(select {NAME} from {RELATION} where {USERS} and c.relkind = 'm') as views,
    array(select {NAME} from {RELATION} where {USERS} and c.reltablespace <> 0) as spaced,
    array(select pg_catalog.format('%I.%I', n.nspname, p.proname) from pg_catalog.pg_proc p
        join pg_catalog.pg_namespace n on n.oid = p.pronamespace
        join pg_catalog.pg_language l on l.oid = p.prolang where l.lanname = 'c' and {OURS}
        and not exists (select 1 from pg_catalog.pg_depend e where e.deptype = 'e' and e.objid = p.oid
            and e.classid = 'pg_catalog.pg_proc'::regclass)) as c_functions,
    array(select pg_catalog.format('%I.%I', n.nspname, p.proname) from pg_catalog.pg_proc p
        join pg_catalog.pg_namespace n on n.oid = p.pronamespace
        where p.prosrc ~ '\\mpg_largeobject(_metadata)?\\M' and {OURS}
        and not exists (select 1 from pg_catalog.pg_depend e where e.deptype = 'e' and e.objid = p.oid
            and e.classid = 'pg_catalog.pg_proc'::regclass)) as large_object_readers,
    (select count(*) from pg_catalog.pg_largeobject_metadata) as large_objects,
    pg_catalog.pg_table_size('pg_catalog.pg_largeobject') as large_object_bytes
"""
BY_OID = f"""
with recursive oids (whole, part) as (
    select oid, oid from pg_catalog.pg_type
    where typname in ('regclass', 'regcollation', 'regconfig', 'regdictionary', 'regnamespace', 'regoper', 'regrole',
        'regoperator', 'regproc', 'regprocedure', 'regtype', 'oid') and typnamespace = 'pg_catalog'::regnamespace
    union
    select t.oid, o.part from oids o join pg_catalog.pg_type t
        on t.typtype = 'd' and t.typbasetype = o.whole or t.typcategory = 'A' and t.typelem = o.whole)
select {NAME} || '.' || pg_catalog.quote_ident(a.attname), o.part::regtype::text
from pg_catalog.pg_attribute a join oids o on o.whole = a.atttypid
join {RELATION.replace("pg_catalog.pg_class c", "pg_catalog.pg_class c on c.oid = a.attrelid", 1)}
where a.attnum > 0 and not a.attisdropped and {MOVED} and not c.relispartition order by 1
"""
HASHED = f"""
with recursive enums (oid) as (
    select oid from pg_catalog.pg_type where typtype = 'e'
    union
    select t.oid from enums e join pg_catalog.pg_type t
        on t.typtype = 'd' and t.typbasetype = e.oid or t.typcategory = 'A' and t.typelem = e.oid)
select {NAME} from {RELATION} join pg_catalog.pg_partitioned_table p on p.partrelid = c.oid
where {MOVED} and p.partstrat = 'h' and exists (select 1 from pg_catalog.pg_attribute a where a.attrelid = c.oid
    and a.attnum = any(p.partattrs::int2[]) and a.atttypid in (select oid from enums)) order by 1
"""
SEQUENCES = f"""
select {NAME}, not exists (select 1 from pg_catalog.pg_depend d where d.objid = c.oid and d.deptype in ('a', 'i')
        and d.classid = 'pg_catalog.pg_class'::regclass and d.refclassid = 'pg_catalog.pg_class'::regclass),
    not q.seqcycle and coalesce(case when q.seqincrement > 0
        then (v.last_value::numeric - q.seqmin) else (q.seqmax - v.last_value::numeric) end
        / nullif(q.seqmax::numeric - q.seqmin, 0), 0) > {NEAR_END}
from {RELATION} join pg_catalog.pg_sequence q on q.seqrelid = c.oid,
lateral (select pg_catalog.pg_sequence_last_value(c.oid) as last_value
    where pg_catalog.has_sequence_privilege(c.oid, 'SELECT, USAGE')) v
where c.relkind = 'S' and {USERS} order by 1
"""


class ContentsFacts(Asked):
    """Names, quoted; columns with their types. `spaced`: relations in a tablespace of their own."""

    rows: int
    bytes: int
    tables: int
    biggest: str
    unlogged: list[str]
    foreign_tables: list[str]
    views: list[str]
    spaced: list[str]
    c_functions: list[str]
    large_object_readers: list[str]
    large_objects: int
    large_object_bytes: int
    by_oid: dict[str, str]
    hashed_enums: list[str]
    sequences: int
    unowned_sequences: list[str]
    ending_sequences: list[str]


async def read_contents(connection: Connection, room: dict[str, Any]) -> ContentsFacts:
    """`room`: rows, bytes, tables, biggest, as read already."""
    sequences = await all_rows(connection, SEQUENCES)
    return ContentsFacts(
        **room,
        **await one_row(connection, NAMES),
        by_oid=dict(await all_rows(connection, BY_OID)),
        hashed_enums=[row[0] for row in await all_rows(connection, HASHED)],
        sequences=len(sequences),
        unowned_sequences=[name for name, unowned, _ in sequences if unowned],
        ending_sequences=[name for name, _, ending in sequences if ending],
    )


def judge_contents(where: str, facts: ContentsFacts) -> list[Finding]:
    def absent(check: str, message: str, names: list[str], wrong: str, mend: str, **how: Any) -> Finding:
        told = wrong.format(listed(names)) if names else ""
        return judged(check, where, message, wrong=told, mend=mend, **how)

    views = f", {len(facts.views)} materialized views (refreshed on azure, not streamed)" if facts.views else ""
    biggest = f", the biggest table {facts.biggest}" if facts.biggest else ""
    registered = [f"{name} {kind}" for name, kind in facts.by_oid.items() if kind != "oid"]
    plain = [name for name, kind in facts.by_oid.items() if kind == "oid"]
    unowned = f", {len(facts.unowned_sequences)} of them of no column" if facts.unowned_sequences else ""
    spaced = f", out of their tablespaces {listed(facts.spaced)}" if facts.spaced else ""
    return [
        judged(
            "contents",
            where,
            f"{facts.tables} tables with about {facts.rows:,} rows{views}{spaced}; {size(facts.bytes)}{biggest}",
            wrong="" if facts.tables else "there is no table in the database on aws that the login can see",
            mend="see whether the dsn names the right database, or approve to move it as it is",
            verdict="inconclusive",
        ),
        absent(
            "unlogged",
            "no unlogged table",
            facts.unlogged,
            "unlogged tables aren't replicated: {}",
            "ALTER TABLE ... SET LOGGED, or drop them",
        ),
        judged(
            "large_objects",
            where,
            f"{facts.large_objects:,} large objects of {size(facts.large_object_bytes)} are copied, and compared at "
            "the switch"
            if facts.large_objects
            else "no large objects",
        ),
        absent(
            "large_object_readers",
            "no function reads the large objects' catalog",
            facts.large_object_readers,
            "functions name pg_largeobject, which only a superuser may read: {}",
            "let them use lo_get and the like",
            verdict="inconclusive",
        ),
        absent(
            "foreign_tables",
            "no foreign table",
            facts.foreign_tables,
            "foreign tables are defined on azure too, and their rows stay where they are; whether azure reaches their "
            "servers can't be known here: {}",
            "see that azure reaches those servers, then approve",
            verdict="inconclusive",
        ),
        absent(
            "oids",
            "no column holds an object's OID",
            registered,
            "columns hold OIDs of objects, which are others on azure: {}",
            "ALTER TABLE ... ALTER COLUMN ... TYPE text, which keeps the name",
        ),
        absent(
            "oid_columns",
            "oid columns name large objects, which keep their OIDs" if plain else "no column of type oid",
            [] if facts.large_objects else plain,
            "columns of type oid, and no large object that they could name; other OIDs are others on azure: {}",
            "see what they hold; numbers are better kept as bigint",
            verdict="inconclusive",
        ),
        absent(
            "hash_partitions",
            "no row's partition depends on an enum's OID",
            facts.hashed_enums,
            "partitioned by the hash of an enum, whose OIDs are others on azure, so that rows belong elsewhere: {}",
            "partition by the hash of its text, or by list",
        ),
        absent(
            "sequences",
            f"{facts.sequences} sequences are carried{unowned}",
            facts.ending_sequences,
            "sequences have less than a tenth of their range left: {}",
            "ALTER SEQUENCE ... AS bigint MAXVALUE ..., and the column with it; or approve",
            verdict="inconclusive",
        ),
        absent(
            "c_functions",
            "no function of a library outside extensions",
            facts.c_functions,
            "functions in C belong to no extension, and their library isn't on azure: {}",
            "drop them, or install the extension that holds them",
        ),
    ]
