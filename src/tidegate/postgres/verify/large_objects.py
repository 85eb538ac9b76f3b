"""Large objects as rows that can be compared: each with its oid, its length and the hash of its content.

Nothing replicates them. They are read by the server's own functions, a piece at a time: the catalog that holds them is
a superuser's, and may keep the same content in different pages.
"""

from tidegate.postgres.verify.hashes import Relation

__all__ = ["LARGE_OBJECTS"]

PIECE = 2**18

_PIECE = f"pg_catalog.lo_get(m.oid, {{}} * {PIECE}::int8, {PIECE})"
_SOURCE = f"""(select m.oid::int8 as oid, whole.length, whole.content
    from pg_catalog.pg_largeobject_metadata m cross join lateral (
        with recursive piece(number, data) as (
            select 0::int8, {_PIECE.format("0")}
            union all
            select number + 1, {_PIECE.format("(number + 1)")} from piece
            where pg_catalog.octet_length(data) = {PIECE})
        select pg_catalog.sum(pg_catalog.octet_length(data)) as length,
            pg_catalog.sum(pg_catalog.hash_record_extended(row(data), number)) as content from piece) whole) large"""

LARGE_OBJECTS = Relation(
    "large objects",
    _SOURCE,
    "oid::pg_catalog.text",
    "oid",
    "pg_catalog.hash_record_extended(row(length, content), oid)",
    column="oid",
    keys="(select oid::int8 as oid from pg_catalog.pg_largeobject_metadata) large",
)
