"""By what a changed row is found again: the replica identity of every table, partitions included.

A partition's own identity decides whether its UPDATEs are allowed, the root's what is sent. A deferrable key is no
identity (RelationGetIndexList). With FULL and no key on the other side the apply worker compares whole rows, and
stops at the first type without an equality operator. A key with a generated column isn't sent (CREATE PUBLICATION:
publish_generated_columns).
"""

from tidegate.postgres.catalog import MOVED
from tidegate.postgres.preflight.check import Asked, all_rows, judged, listed
from tidegate.postgres.server import Connection
from tidegate.runbook.step import Finding

__all__ = ["IdentityFacts", "judge_identity", "read_identity"]

INCOMPARABLE = """
with recursive comparable as (
    select o.opcintype from pg_catalog.pg_opclass o join pg_catalog.pg_am m on m.oid = o.opcmethod
    where o.opcdefault and m.amname in ('btree', 'hash')),
parts (whole, part) as (
    select oid, oid from pg_catalog.pg_type where oid in (select a.atttypid from pg_catalog.pg_attribute a
        join pg_catalog.pg_class c on c.oid = a.attrelid and c.relreplident = 'f' where a.attnum > 0)
    union
    select p.whole, pg_catalog.unnest(case
        when t.typtype = 'd' then array[t.typbasetype]
        when t.typtype = 'r' then array[(select r.rngsubtype from pg_catalog.pg_range r where r.rngtypid = t.oid)]
        when t.typtype = 'm' then array[(select r.rngsubtype from pg_catalog.pg_range r
            where (pg_catalog.to_jsonb(r) ->> 'rngmultitypid')::oid = t.oid)]
        when t.typtype = 'c' then (select pg_catalog.array_agg(a.atttypid) from pg_catalog.pg_attribute a
            where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped)
        when t.typcategory = 'A' and t.typelem <> 0 then array[t.typelem] end)
    from parts p join pg_catalog.pg_type t on t.oid = p.part),
incomparable as (
    select distinct p.whole from parts p join pg_catalog.pg_type t on t.oid = p.part
    where t.typtype = 'b' and not (t.typcategory = 'A' and t.typelem <> 0)
        and t.oid not in (select opcintype from comparable)
        and not exists (select 1 from pg_catalog.pg_cast k where k.castsource = t.oid and k.castmethod = 'b'
            and k.castcontext = 'i' and k.casttarget in (select opcintype from comparable)))
"""
IDENTITY = f"""{INCOMPARABLE},
indexes as (
    select i.indrelid, pg_catalog.quote_ident(x.relname) as name, i.indisprimary, i.indisreplident,
        case when not i.indisvalid then 'is invalid' when not i.indimmediate then 'is deferrable'
            when i.indpred is not null then 'is partial' when i.indexprs is not null then 'is on an expression'
            when exists (select 1 from pg_catalog.pg_attribute a where a.attrelid = i.indrelid
                and a.attnum = any(i.indkey::int2[]) and not a.attnotnull) then 'takes nulls' end as unfit,
        exists (select 1 from pg_catalog.pg_attribute a where a.attrelid = i.indrelid
            and a.attnum = any(i.indkey::int2[]) and a.attgenerated <> '') as generated
    from pg_catalog.pg_index i join pg_catalog.pg_class x on x.oid = i.indexrelid where i.indisunique),
by_table as (
    select indrelid, pg_catalog.bool_or(indisprimary and unfit is null) as keyed,
        pg_catalog.bool_or(indisreplident and unfit is null) as identified,
        pg_catalog.bool_or(generated and (indisreplident or indisprimary)) as generated,
        pg_catalog.min(name) filter (where unfit is null and not generated and not indisprimary) as other,
        pg_catalog.string_agg(name || ' ' || unfit, ', ' order by name) as unfit
    from indexes group by indrelid)
select pg_catalog.format('%I.%I', n.nspname, c.relname) as name, c.relreplident::text as identity,
    coalesce(case c.relreplident when 'd' then b.keyed when 'i' then b.identified else c.relreplident = 'f' end, false)
        as found,
    coalesce(b.keyed, false) as keyed, b.other, b.unfit,
    coalesce(b.generated and c.relreplident in ('d', 'i'), false) as generated,
    case when c.relreplident = 'f' and not coalesce(b.keyed, false) then
        (select pg_catalog.string_agg(pg_catalog.quote_ident(a.attname) || ' ' ||
            pg_catalog.format_type(a.atttypid, null), ', ' order by a.attnum)
        from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            and a.attgenerated = '' and a.atttypid in (select whole from incomparable)) end as incomparable
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join by_table b on b.indrelid = c.oid
where {MOVED} order by 1
"""


class IdentityFacts(Asked):
    """Tables by name. `usable`: a unique index that could be the identity; `unfit`: indexes that can't, and why."""

    tables: int
    keyless: list[str]
    nothing: list[str]
    usable: dict[str, str]
    unfit: dict[str, str]
    incomparable: dict[str, str]
    generated: list[str]
    scanned: list[str]


async def read_identity(connection: Connection) -> IdentityFacts:
    """`scanned`: each change of theirs is found by reading the whole table."""
    facts = IdentityFacts(
        tables=0, keyless=[], nothing=[], usable={}, unfit={}, incomparable={}, generated=[], scanned=[]
    )
    rows = await all_rows(connection, IDENTITY)
    for name, identity, found, keyed, other, unfit, generated, incomparable in rows:
        if not found:
            (facts.nothing if identity == "n" else facts.keyless).append(name)
            if other:
                facts.usable[name] = other
            elif unfit:
                facts.unfit[name] = unfit
        if generated:
            facts.generated.append(name)
        if incomparable:
            facts.incomparable[name] = incomparable
        elif identity == "f" and not keyed:
            facts.scanned.append(name)
    return facts.model_copy(update={"tables": len(rows)})


def judge_identity(where: str, facts: IdentityFacts) -> list[Finding]:
    bare = facts.keyless + facts.nothing
    named = [
        f"{name} (REPLICA IDENTITY NOTHING)"
        if name in facts.nothing
        else f"{name} ({facts.unfit[name]})"
        if name in facts.unfit
        else name
        for name in bare
    ]
    slow = f"; {listed(facts.scanned)} is read whole for each change" if facts.scanned else ""
    mends = [f"ALTER TABLE {name} REPLICA IDENTITY USING INDEX {index}" for name, index in facts.usable.items()]
    if set(bare) - facts.usable.keys():
        mends.append("add a primary key, or ALTER TABLE ... REPLICA IDENTITY FULL")
    columns = listed([f"{name} ({found})" for name, found in facts.incomparable.items()])
    return [
        judged(
            "keys",
            where,
            f"{facts.tables} tables, each with a key or a full identity{slow}",
            wrong=f"no replica identity: every UPDATE and DELETE would fail once it is published: {listed(named)}"
            if named
            else "",
            mend="; ".join(mends[:6]),
        ),
        judged(
            "equality",
            where,
            "rows without a key can be compared",
            wrong=f"whole rows identify {columns}, of types that have no equality: applying an UPDATE fails"
            if facts.incomparable
            else "",
            mend="add a primary key, or another type (jsonb for json)",
        ),
        judged(
            "generated_keys",
            where,
            "no key holds a generated column",
            wrong=f"a generated column, which isn't sent, is part of the key of {listed(facts.generated)}"
            if facts.generated
            else "",
            mend="name a unique index of other columns: ALTER TABLE ... REPLICA IDENTITY USING INDEX",
        ),
    ]
