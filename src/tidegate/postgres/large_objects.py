"""Large objects, which logical replication doesn't carry: copied, and brought up to date, as the source has them.

Both are one walk over both sides in the order of oids. Only the functions for large objects are used: none but a
superuser may read their pages.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from psycopg import sql

from tidegate.postgres.server import Connection, statement
from tidegate.postgres.side_by_side import side_by_side

__all__ = ["copy_large_objects", "drop_large_objects", "sync_large_objects"]

BATCH = 400
"""Large objects in one transaction: each that is dropped or granted takes a lock there."""
FIRST = 16 << 10
"""Bytes of each that come together with those of others: of a batch 6 MiB at most."""
PIECE = 1 << 20
"""Bytes of a larger one in memory at a time; and in one hash, as PostgreSQL builds no value over 1 GiB."""

Grant = tuple[str | None, str, bool]
"""To whom, None for everybody; the privilege; whether it may be passed on."""


@dataclass(frozen=True, slots=True)
class _LargeObject:
    """`digest`: of its content, None where nobody asked."""

    oid: int
    owner: str
    comment: str | None
    grants: tuple[Grant, ...]
    digest: bytes | None


LOOK = """
select m.oid::int8, pg_catalog.pg_get_userbyid(m.lomowner), pg_catalog.obj_description(m.oid, 'pg_largeobject'),
    coalesce((select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(
            case when a.grantee <> 0 then pg_catalog.pg_get_userbyid(a.grantee) end, a.privilege_type, a.is_grantable)
            order by a.grantee = 0, pg_catalog.pg_get_userbyid(a.grantee), a.privilege_type)
        from pg_catalog.aclexplode(coalesce(m.lomacl, pg_catalog.acldefault('L', m.lomowner))) a), '[]'), {digest}
from pg_catalog.pg_largeobject_metadata m where m.oid > %s::int8::oid and m.oid <= %s::int8::oid order by m.oid"""
READ = 0x40000
"""The flag INV_READ of lo_open."""
DIGEST = f"""(select pg_catalog.sha256(coalesce(
    pg_catalog.string_agg(pg_catalog.sha256(pg_catalog.lo_get(m.oid, p.at, {PIECE})), '' order by p.at), ''))
    from (select pg_catalog.lo_lseek64(pg_catalog.lo_open(m.oid, {READ}), 0, 2) as size) s,
        pg_catalog.generate_series(0, s.size, {PIECE}) p (at))"""
LAST = 0xFFFFFFFF
"""The greatest oid."""


async def copy_large_objects(
    source: Connection, target: Connection, report: Callable[[int], None] | None = None
) -> int:
    """All that the session of `source` sees; the target should have none. How many; `report` is told so far, as each
    batch is there. Raises Unreachable, Refused.
    """
    return await _walk(source, target, compare=False, report=report)


async def sync_large_objects(source: Connection, target: Connection) -> int:
    """How many had changed, in content, owner, grants or comment, or were gone; contents are compared by hashes.

    Nobody may write them meanwhile. May be begun again at any time. Raises Unreachable, Refused.
    """
    return await _walk(source, target, compare=True, report=None)


async def drop_large_objects(target: Connection) -> None:
    """All of them."""
    while True:
        cursor = await target.execute(
            "select count(pg_catalog.lo_unlink(m.oid)) "
            "from (select oid from pg_catalog.pg_largeobject_metadata limit %s) m",
            (BATCH,),
        )
        if not (row := await cursor.fetchone()) or not row[0]:
            return


async def _walk(source: Connection, target: Connection, *, compare: bool, report: Callable[[int], None] | None) -> int:
    after = changed = 0
    while after < LAST:
        cursor = await source.execute(
            "select max(oid)::int8, count(*) from (select oid from pg_catalog.pg_largeobject_metadata "
            "where oid > %s::int8::oid order by oid limit %s) m",
            (after, BATCH),
        )
        row = await cursor.fetchone()
        # behind the source's last one there may be others on the target
        until = row[0] if row and row[1] == BATCH else LAST
        wanted, there = await side_by_side(
            _look(source, after, until, digest=compare), _look(target, after, until, digest=compare)
        )
        changed += await _bring(source, target, wanted, there, (after, until))
        after = until
        if report is not None and changed:
            report(changed)
    return changed


async def _look(connection: Connection, after: int, until: int, *, digest: bool) -> list[_LargeObject]:
    query = LOOK.format(digest=DIGEST if digest else "null")
    cursor = await connection.execute(statement(query), (after, until), binary=True)
    return [
        _LargeObject(oid, owner, comment, tuple((to, what, bool(on)) for to, what, on in grants), content)
        for oid, owner, comment, grants, content in await cursor.fetchall()
    ]


async def _bring(
    source: Connection,
    target: Connection,
    wanted: Sequence[_LargeObject],
    there: Sequence[_LargeObject],
    span: tuple[int, int],
) -> int:
    """One transaction on the target: what it has between the two oids is as at the source then."""
    if wanted == there and all(each.digest is not None for each in wanted):
        return 0
    before = {each.oid: each for each in there}
    kept = {each.oid for each in wanted}
    written = [each for each in wanted if each.oid not in before or each.digest != before[each.oid].digest]
    written += [each for each in wanted if each.oid in before and each.digest is None]
    changed = {each.oid for each in written} | (before.keys() - kept)
    async with target.transaction():
        if dropped := [oid for oid in changed if oid in before]:
            await target.execute("select pg_catalog.lo_unlink(o::oid) from unnest(%s::int8[]) o", (dropped,))
        for owner, group in groupby(sorted(written, key=lambda each: each.owner), key=lambda each: each.owner):
            await target.execute(sql.SQL("set local role {}").format(sql.Identifier(owner)))
            await _write(source, target, [each.oid for each in group])
            await target.execute("reset role")
        now = {each.oid: each for each in await _look(target, *span, digest=False)}
        mends = {each.oid: _mends(each, now[each.oid]) for each in wanted}
        if commands := [command for each in mends.values() for command in each]:
            await target.execute(sql.SQL("; ").join(commands))
    return len(changed | {oid for oid, commands in mends.items() if commands})


async def _write(source: Connection, target: Connection, oids: list[int]) -> None:
    """New on the target, as the role that is set there."""
    cursor = await source.execute(
        "select o, pg_catalog.lo_get(o::oid, 0, %s) from unnest(%s::int8[]) o", (FIRST, oids), binary=True
    )
    first: list[tuple[int, bytes]] = [(oid, content) for oid, content in await cursor.fetchall()]
    await target.execute(
        "select pg_catalog.lo_from_bytea(o::oid, b) from unnest(%s::int8[], %s::bytea[]) n (o, b)",
        ([oid for oid, _ in first], [content for _, content in first]),
    )
    for oid in [oid for oid, content in first if len(content) == FIRST]:
        offset = FIRST
        while piece := await _piece(source, oid, offset):
            await target.execute("select pg_catalog.lo_put(%s::int8::oid, %s, %b)", (oid, offset, piece))
            offset += len(piece)


async def _piece(source: Connection, oid: int, offset: int) -> bytes:
    """Empty behind the end."""
    cursor = await source.execute("select pg_catalog.lo_get(%s::int8::oid, %s, %s)", (oid, offset, PIECE), binary=True)
    row = await cursor.fetchone()
    return row[0] if row else b""


def _mends(wanted: _LargeObject, there: _LargeObject) -> list[sql.Composed]:
    """What gives it the owner, grants and comment that it should have. Pure."""
    which = sql.SQL("large object {}").format(wanted.oid)
    commands: list[sql.Composed] = []
    if wanted.owner != there.owner:
        commands.append(sql.SQL("alter {} owner to {}").format(which, sql.Identifier(wanted.owner)))
    if wanted.owner != there.owner or wanted.grants != there.grants:
        holders = dict.fromkeys([wanted.owner, *(grant[0] for grant in there.grants)])
        commands += [sql.SQL("revoke all on {} from {}").format(which, _role(each)) for each in holders]
        for to, privilege, passed_on in wanted.grants:
            option = sql.SQL(" with grant option") if passed_on else sql.SQL("")
            commands.append(sql.SQL("grant {} on {} to {}{}").format(statement(privilege), which, _role(to), option))
    if wanted.comment != there.comment:
        commands.append(sql.SQL("comment on {} is {}").format(which, sql.Literal(wanted.comment)))
    return commands


def _role(name: str | None) -> sql.Composable:
    return sql.SQL("public") if name is None else sql.Identifier(name)
