"""Encoding, locale and collations of both databases, and the versions of the libraries that sort by them.

Indexes are built anew on azure and are right there. What another order changes: what ORDER BY and ranges answer, to
which partition a text belongs, and, under a collation that isn't deterministic, which texts are equal and so whether
a unique constraint holds. Where the source's library is newer than the one its indexes were built by, they may have
let duplicates in, which azure will refuse. C, POSIX and C.UTF-8 sort by bytes, everywhere and always.
"""

from tidegate.postgres.catalog import MOVED, OURS
from tidegate.postgres.preflight.check import Asked, all_rows, judged, listed, one_row
from tidegate.postgres.server import Connection
from tidegate.runbook.step import Finding

__all__ = ["Collation", "CollationFacts", "LocaleFacts", "judge_collations", "read_collations"]

LOCALE = """
select pg_catalog.pg_encoding_to_char(d.encoding)::text as encoding, d.datcollate::text as collate,
    d.datctype::text as ctype, coalesce(pg_catalog.to_jsonb(d) ->> 'datlocprovider', 'c') as provider,
    coalesce(pg_catalog.to_jsonb(d) ->> 'datlocale', pg_catalog.to_jsonb(d) ->> 'daticulocale') as locale,
    pg_catalog.to_jsonb(d) ->> 'datcollversion' as recorded, {} as actual,
    exists (select 1 from pg_catalog.pg_collation where collprovider = 'i') as icu
from pg_catalog.pg_database d where d.datname = current_database()
"""
ACTUAL = {
    15: "pg_catalog.pg_database_collation_actual_version(d.oid)",
    12: "(select pg_catalog.max(pg_catalog.pg_collation_actual_version(c.oid)) from pg_catalog.pg_collation c "
    "where c.collcollate = d.datcollate)",
}
COLUMNS = """
select pg_catalog.format('%I.%I', n.nspname, c.collname) as name, n.nspname = 'pg_catalog' as built_in,
    c.collprovider::text as provider,
    coalesce(pg_catalog.to_jsonb(c) ->> 'colllocale', pg_catalog.to_jsonb(c) ->> 'colliculocale',
        c.collcollate) as locale,
    c.collisdeterministic as deterministic, c.collversion as recorded,
    pg_catalog.pg_collation_actual_version(c.oid) as actual
from pg_catalog.pg_collation c join pg_catalog.pg_namespace n on n.oid = c.collnamespace
"""
IN_USE = f"""{COLUMNS}
where c.oid in (
    select a.attcollation from pg_catalog.pg_attribute a where a.attrelid >= 16384
    union select t.typcollation from pg_catalog.pg_type t where t.oid >= 16384)
    and c.collprovider <> 'd' order by 1
"""
TEXTS = f"""
select exists (select 1 from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where a.attcollation = 100 and a.attnum > 0 and not a.attisdropped and {MOVED}) as sorts,
    array(select pg_catalog.format('%I.%I', n.nspname, c.relname) from pg_catalog.pg_partitioned_table p
        join pg_catalog.pg_class c on c.oid = p.partrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where p.partstrat = 'r' and {OURS} and exists (select 1 from pg_catalog.unnest(p.partcollation) k
            join pg_catalog.pg_collation o on o.oid = k where o.collname not in ('C', 'POSIX'))) as partitioned
"""
"""100: the default collation."""

BY_BYTES = frozenset(["c", "posix", "cutf8"])


class LocaleFacts(Asked):
    """Of one database. `recorded`, `actual`: versions of the library, then and now; None where there is none."""

    encoding: str
    collate: str
    ctype: str
    provider: str
    locale: str | None
    recorded: str | None
    actual: str | None
    icu: bool

    @property
    def order(self) -> tuple[str, ...]:
        """By what texts are sorted, and what is a letter; equal where both are the same on any system."""
        if self.provider == "i":
            return ("icu", self.locale or "")
        collate, ctype = (self.locale or "",) * 2 if self.provider == "b" else (self.collate, self.ctype)
        return ("bytes" if _plain(collate) in BY_BYTES else _plain(collate), _plain(ctype))


class Collation(Asked):
    name: str
    built_in: bool
    provider: str
    locale: str | None
    deterministic: bool
    recorded: str | None
    actual: str | None


class CollationFacts(Asked):
    """`used`: by name, but for the default, on aws. `sorts`: a column has the default; `partitioned`: by text."""

    aws: LocaleFacts
    azure: LocaleFacts
    used: list[Collation]
    azures: list[Collation]
    sorts: bool
    partitioned: list[str]


async def read_collations(here: Connection, there: Connection, versions: tuple[int, int]) -> CollationFacts:
    """`versions`: PostgreSQL's, of aws and of azure."""
    ours, theirs = (LOCALE.format(ACTUAL[15 if version >= 15 else 12]) for version in versions)
    used = await _collations(here, IN_USE)
    return CollationFacts(
        aws=LocaleFacts(**await one_row(here, ours)),
        azure=LocaleFacts(**await one_row(there, theirs)),
        used=used,
        azures=await _collations(there, f"{COLUMNS} where c.collprovider <> 'd'") if used else [],
        **await one_row(here, TEXTS),
    )


async def _collations(connection: Connection, query: str) -> list[Collation]:
    return [
        Collation(**dict(zip(Collation.model_fields, row, strict=True))) for row in await all_rows(connection, query)
    ]


def judge_collations(where: str, facts: CollationFacts) -> list[Finding]:
    here, there = facts.aws, facts.azure
    partitioned = f"; these are partitioned by its order: {listed(facts.partitioned)}" if facts.partitioned else ""
    locales = f"{_told(here)} on aws, {_told(there)} on azure"
    apart = here.order != there.order and facts.sorts
    changed = _changed(facts)
    lacking = [each.name for each in facts.used if not _exists(each, facts)]
    stale = [
        *(["the database's"] if here.recorded and here.actual and here.recorded != here.actual else []),
        *(each.name for each in facts.used if each.recorded and each.actual and each.recorded != each.actual),
    ]
    create = "CREATE DATABASE ... TEMPLATE template0"
    return [
        judged(
            "encoding",
            where,
            f"the encoding is {here.encoding} on both sides",
            wrong=f"the encoding is {here.encoding} on aws, {there.encoding} on azure: texts may not fit, and contents "
            "can't be proved equal"
            if here.encoding != there.encoding
            else "",
            mend=f"make the database on azure again: {create} ENCODING '{here.encoding}'",
        ),
        judged(
            "locale",
            where,
            f"texts are sorted alike: {_told(here)}",
            wrong=f"texts are sorted otherwise: {locales}{partitioned}" if apart else "",
            mend=f"make the database on azure again: {create} {_options(here)}; or approve another order",
            verdict="inconclusive",
        ),
        judged(
            "collation_versions",
            where,
            "the libraries sort by the same version on both sides",
            wrong=f"the libraries that sort differ in version: {listed(changed)}{partitioned}" if changed else "",
            mend="compare what ORDER BY and text ranges give, then approve; unique constraints on collations that "
            "aren't deterministic are checked when their indexes are built",
            verdict="inconclusive",
        ),
        judged(
            "collations",
            where,
            "every collation in use is known on azure",
            wrong=f"collations that azure doesn't know: {listed(lacking)}" if lacking else "",
            mend="use one that both have: ALTER TABLE ... ALTER COLUMN ... TYPE ... COLLATE",
        ),
        judged(
            "stale_collations",
            where,
            "indexes on aws were built by the library that is there",
            wrong=f"the library on aws sorts by another version than indexes were built by, under {listed(stale)}; "
            "unique ones may hold duplicates, which azure refuses"
            if stale
            else "",
            mend="REINDEX on aws, then ALTER DATABASE (or COLLATION) ... REFRESH COLLATION VERSION",
            verdict="inconclusive",
        ),
    ]


def _changed(facts: CollationFacts) -> list[str]:
    """With both versions; one that can't be told proves nothing."""
    azures = {each.name: each for each in facts.azures}
    pairs = [
        (each.name, each.actual, azures[each.name].actual)
        for each in facts.used
        if each.name in azures and _plain(each.locale or "") not in BY_BYTES
    ]
    here, there = facts.aws, facts.azure
    if facts.sorts and here.order == there.order and here.order[0] != "bytes":
        pairs.append((_told(here), here.actual, there.actual))
    return [
        f"{name} ({ours or 'unknown'}; azure: {theirs or 'unknown'})"
        for name, ours, theirs in pairs
        if ours != theirs or ours is None
    ]


def _exists(each: Collation, facts: CollationFacts) -> bool:
    """A user's own is made by the copy, if azure knows its locale; what comes with the server has to be there."""
    if each.built_in:
        return each.name in {other.name for other in facts.azures}
    if each.provider == "i":
        return facts.azure.icu
    locale = _plain(each.locale or "")
    known = {_plain(other.locale or "") for other in facts.azures if other.provider == each.provider}
    return locale in known | {_plain(facts.azure.collate)} | BY_BYTES


def _plain(locale: str) -> str:
    """Systems spell a locale differently: en_US.UTF-8, en_US.utf8."""
    return locale.lower().replace("-", "").replace(".", "")


def _told(locale: LocaleFacts) -> str:
    if locale.provider == "i":
        return f"{locale.locale} (icu)"
    if locale.provider == "b":
        return f"{locale.locale} (builtin)"
    return locale.collate if locale.collate == locale.ctype else f"{locale.collate} with LC_CTYPE {locale.ctype}"


def _options(locale: LocaleFacts) -> str:
    if locale.provider == "i":
        return f"LOCALE_PROVIDER icu ICU_LOCALE '{locale.locale}'"
    if locale.provider == "b":
        return f"LOCALE_PROVIDER builtin BUILTIN_LOCALE '{locale.locale}'"
    return f"LC_COLLATE '{locale.collate}' LC_CTYPE '{locale.ctype}'"
