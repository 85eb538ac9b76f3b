"""The whole content of both sides compared inside the servers, by hashed chunks, down to the rows that differ.

A chunk's rows' hashes are summed, so that order doesn't matter and duplicates count. Only chunks that differ are
looked into: see `hashes`, `chunks`, `drill`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tidegate.postgres.catalog import Table, published_tables
from tidegate.postgres.server import Connection, Server, statement
from tidegate.postgres.side_by_side import side_by_side
from tidegate.postgres.verify.chunks import Pages, chunk_step, content_of, whole_chunk
from tidegate.postgres.verify.comparison import TableReport, VerifyReport
from tidegate.postgres.verify.drill import Drained, Found, differing_rows
from tidegate.postgres.verify.extent import Extent, extents, parts
from tidegate.postgres.verify.hashes import Column, Relation, columns_of, relation
from tidegate.postgres.verify.large_objects import LARGE_OBJECTS
from tidegate.postgres.verify.pairs import Pair, one_moment, open_pairs
from tidegate.postgres.verify.progress import Meter, Progress
from tidegate.postgres.verify.uncompared import uncompared
from tidegate.runbook.migration import Cloud

__all__ = ["compare"]

SHOWN = 5
WHOLE: list[tuple[Pages | None, Pages | None]] = [(None, None)]
Chunks = dict[int, tuple[int, int]]
"""By number: rows, and the sum of their hashes."""


@dataclass(frozen=True, slots=True)
class Both:
    """One table on both sides: as the owner has it, and `others`, the follower's columns."""

    table: Table
    extent: Extent
    parts: Sequence[tuple[Pages | None, Pages | None]]
    columns: Sequence[Column]
    others: Sequence[Column]
    recoded: bool


async def compare(
    owner: Server,
    follower: Server,
    drained: Drained | None,
    note: Callable[[str], None],
    snapshots: Mapping[Cloud, str] | None = None,
    *,
    jobs: int = 1,
    large_objects: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> VerifyReport:
    """`drained`: awaited before what differs is looked at again; it returns when the follower has what the owner had.

    None: nothing streams, and the first difference counts. So it does with `snapshots`, which sessions on both sides
    have exported at the same point of the stream and hold until this returns. `jobs`: sessions on each side; each
    keeps a core busy. Large objects aren't replicated: of them the first difference counts, always.
    Raises Unreachable, Refused.
    """
    held = snapshots is not None
    async with open_pairs(owner, follower, snapshots, jobs) as pairs:
        first = pairs[0]
        report = VerifyReport(uncompared=await uncompared(first.here, large_objects=large_objects))
        tables, one_sided = await _tables(first)
        meter = Meter(len(tables), sum(both.extent.rows for both in tables), note, progress)
        found: dict[str, TableReport] = {}

        async def one(among: Sequence[Pair], both: Both) -> None:
            found[both.table.name] = await _compare(among, both, None if held else drained, meter, held=held)
            meter.count(0, tables=1)

        for both in tables:
            if len(both.parts) > 1:
                await one(pairs, both)
        small = [both for both in reversed(tables) if len(both.parts) == 1]

        async def work(pair: Pair) -> None:
            while small:
                await one([pair], small.pop())

        await side_by_side(*(work(pair) for pair in pairs))
        report.tables += [TableReport(name, 0, 0, (), "the table is on one side only", 1) for name in one_sided]
        report.tables += [found[both.table.name] for both in tables]
        if large_objects:
            note("comparing large objects")
            report.tables.append(await _compare_relation([first], LARGE_OBJECTS, 0, WHOLE, None, None, held=True))
        return report


async def _tables(pair: Pair) -> tuple[list[Both], list[str]]:
    """Those on both sides, the largest first; the names of the others."""
    ours = {table.name: table for table in await published_tables(pair.here)}
    theirs = {table.name: table for table in await published_tables(pair.there)}
    common = [name for name in ours if name in theirs]
    here = await extents(pair.here, [ours[name].oid for name in common])
    there = await extents(pair.there, [theirs[name].oid for name in common])
    columns = await columns_of(pair.here, [ours[name] for name in common])
    others = await columns_of(pair.there, [theirs[name] for name in common])
    recoded = await _encoding(pair.here) != await _encoding(pair.there)
    tables: list[Both] = []
    for name in common:
        table, other = ours[name], theirs[name]
        extent = here[table.oid]
        split = parts(extent, there[other.oid])
        tables.append(Both(table, extent, split, columns[table.oid], others[other.oid], recoded))
    return tables, sorted(ours.keys() ^ theirs.keys())


async def _encoding(connection: Connection) -> str:
    row = await (await connection.execute("select pg_catalog.current_setting('server_encoding')")).fetchone()
    return row[0] if row else ""


async def _compare(
    pairs: Sequence[Pair], both: Both, drained: Drained | None, meter: Meter, *, held: bool
) -> TableReport:
    if difference := _columns_difference(both.columns, both.others):
        return TableReport(both.table.name, 0, 0, (), difference, 1)
    if not both.columns:
        return await _count(pairs[0], both, meter)
    shared = [
        replace(ours, deterministic=ours.deterministic and theirs.deterministic)
        for ours, theirs in zip(both.columns, both.others, strict=True)
    ]
    rows = relation(both.table, both.extent.source, shared, recoded=both.recoded)
    return await _compare_relation(pairs, rows, both.extent.rows, both.parts, drained, meter, held=held)


def _columns_difference(ours: Sequence[Column], theirs: Sequence[Column]) -> str:
    here, there = [(each.name, each.type) for each in ours], [(each.name, each.type) for each in theirs]
    if here == there:
        return ""
    apart = [
        f"{name} {kind}" for name, kind in dict.fromkeys([*here, *there]) if (here + there).count((name, kind)) < 2
    ]
    return f"its columns differ: {', '.join(apart[:SHOWN]) or 'they are in another order'}"


async def _compare_relation(
    pairs: Sequence[Pair],
    rows: Relation,
    estimated: int,
    pages: Sequence[tuple[Pages | None, Pages | None]],
    drained: Drained | None,
    meter: Meter | None,
    *,
    held: bool,
) -> TableReport:
    first = pairs[0]
    step = await chunk_step((first.here, first.there), rows, estimated)
    if len(pages) > 1 and not held:
        async with one_moment(pairs):
            ours, theirs = await _content(pairs, rows, step, pages, meter)
    else:
        ours, theirs = await _content(pairs, rows, step, pages, meter)
    bad = [
        whole_chunk(rows, number, step, max(ours.get(number, (0, 0))[0], theirs.get(number, (0, 0))[0]))
        for number in ours.keys() | theirs.keys()
        if ours.get(number) != theirs.get(number)
    ]
    found = await differing_rows(first, rows, bad, drained) if bad else Found()
    keys = sorted(key for key, _ in found.keys)[:SHOWN]
    return TableReport(
        rows.name,
        sum(count for count, _ in ours.values()),
        len(ours.keys() | theirs.keys()),
        tuple(keys),
        _difference(found, keys),
        len(found.keys),
        found.unexplored,
        rows.method,
        sum(content for _, content in ours.values()),
    )


def _difference(found: Found, keys: Sequence[str]) -> str:
    if not found.keys:
        return ""
    text = f"{len(found.keys)} rows differ: {', '.join(keys)}"
    if not found.unexplored:
        return text
    return f"at least {text}; {found.unexplored} more chunks that differ were not looked into"


async def _content(
    pairs: Sequence[Pair],
    rows: Relation,
    step: int,
    pages: Sequence[tuple[Pages | None, Pages | None]],
    meter: Meter | None,
) -> tuple[Chunks, Chunks]:
    ours: Chunks = {}
    theirs: Chunks = {}
    queue = list(reversed(pages))

    async def work(pair: Pair) -> None:
        while queue:
            here, there = queue.pop()
            mine, other = await side_by_side(
                content_of(pair.here, rows, step, here), content_of(pair.there, rows, step, there)
            )
            _add(ours, mine)
            _add(theirs, other)
            if meter is not None:
                meter.count(sum(count for count, _ in mine.values()))

    await side_by_side(*(work(pair) for pair in pairs))
    return ours, theirs


def _add(chunks: Chunks, more: Chunks) -> None:
    for number, (rows, content) in more.items():
        before = chunks.get(number, (0, 0))
        chunks[number] = (before[0] + rows, before[1] + content)


async def _count(pair: Pair, both: Both, meter: Meter) -> TableReport:
    """Of a table without columns there is nothing else."""

    async def of(connection: Connection) -> int:
        query = f"select pg_catalog.count(*) from {both.extent.source}"
        row = await (await connection.execute(statement(query))).fetchone()
        return row[0] if row else 0

    ours, theirs = await side_by_side(of(pair.here), of(pair.there))
    meter.count(ours)
    difference = "" if ours == theirs else "the number of rows differs"
    return TableReport(both.table.name, ours, 1, (), difference, abs(ours - theirs))
