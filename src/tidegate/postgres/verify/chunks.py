"""A relation's rows put into chunks, of which each side tells number and sum of hashes; and a chunk into finer ones.

Rows lie on a line of 64-bit places, which is the primary key itself where that is one integer, and otherwise the key's
hash. A chunk is a stretch of it. So their number depends on nothing that only the planner may know, and a chunk that
holds far too many rows, because keys are skewed, can always be cut again where its rows are.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tidegate.postgres.server import Connection, statement
from tidegate.postgres.side_by_side import side_by_side
from tidegate.postgres.verify.hashes import Relation

__all__ = ["Chunk", "Counted", "Pages", "chunk_step", "content_of", "finer", "finer_chunk", "rows_of", "whole_chunk"]

CHUNK_ROWS = 20_000
FEWEST, MOST = 256, 16_384
"""Chunks of a table: a few also where the planner knows no number of rows, and no more than a client's memory bears."""
FAN = 64
"""Into so many finer ones a chunk is cut."""
LEAST, GREATEST = -(2**63), 2**63 - 1


class Counted(NamedTuple):
    """Of one side's chunk. `content`: the sum of its rows' hashes. `low`, `high`: the places of its outermost rows."""

    rows: int
    content: int
    low: int
    high: int


class Chunk(NamedTuple):
    """The places from `low` to `high`, with about `rows` rows; `alike`: all at one place, which nothing divides."""

    low: int
    high: int
    rows: int
    alike: bool = False

    @property
    def width(self) -> int:
        return self.high - self.low + 1

    @property
    def step(self) -> int:
        """Places of each of the finer ones."""
        return -(-self.width // FAN)


class Pages(NamedTuple):
    """A part of a table's file: from the first to before the last page; None: to the end, however far it grows."""

    first: int
    end: int | None

    @property
    def condition(self) -> str:
        upper = "" if self.end is None else f" and ctid < '({self.end},0)'::pg_catalog.tid"
        return f"where ctid >= '({self.first},0)'::pg_catalog.tid{upper}"


async def chunk_step(connections: Sequence[Connection], relation: Relation, estimated: int) -> int:
    """How many places each chunk takes: the same on both sides, also where their keys differ."""
    chunks = min(max(estimated // CHUNK_ROWS, FEWEST), MOST)
    if not relation.column:
        return 2**63 // chunks
    query = f"select pg_catalog.min({relation.column}), pg_catalog.max({relation.column}) from {relation.keys}"
    found = await side_by_side(*(_fetch(connection, query) for connection in connections))
    ends = [end for rows in found for end in rows[0] if end is not None]
    return -(-(max(ends) - min(ends) + 1) // chunks) if ends else 1


async def content_of(
    connection: Connection, relation: Relation, step: int, pages: Pages | None = None
) -> dict[int, tuple[int, int]]:
    """By the chunk's number: its rows and the sum of their hashes, in one pass over the table, or over some pages."""
    query = (
        f"select {relation.place} / {step}::int8, pg_catalog.count(*), pg_catalog.sum({relation.content})"
        f" from {relation.source} {pages.condition if pages else ''} group by 1"
    )
    return {number: (rows, int(content)) for number, rows, content in await _fetch(connection, query)}


def whole_chunk(relation: Relation, number: int, step: int, rows: int) -> Chunk:
    """Of this number, by which the server's division rounds towards zero."""
    low = number * step if number > 0 or not relation.column else number * step - step + 1
    high = number * step if number < 0 else number * step + step - 1
    if relation.column:
        low, high = max(low, LEAST), min(high, GREATEST)
    return Chunk(low, high, rows)


def finer_chunk(relation: Relation, parent: Chunk, number: int, seen: Sequence[Counted]) -> Chunk:
    """`seen`: of it, on both sides. A range shrinks to the rows that are there; buckets stay of one width."""
    rows, low, high = max(c.rows for c in seen), min(c.low for c in seen), max(c.high for c in seen)
    if relation.column:
        return Chunk(low, high, rows, low == high)
    return Chunk(number * parent.step, number * parent.step + parent.step - 1, rows, low == high)


async def finer(connection: Connection, relation: Relation, chunks: Sequence[Chunk]) -> dict[tuple[int, int], Counted]:
    """The chunks' rows in finer chunks, by (which of `chunks`, number).

    Buckets, which have to be of one width, are counted in one pass: which of them a finer one was in isn't told (0).
    """
    figures = (
        f"pg_catalog.count(*), pg_catalog.sum({relation.content}), "
        f"pg_catalog.min({relation.place}), pg_catalog.max({relation.place})"
    )
    if relation.column:
        query = f"""select tidegate_chunk.n - 1, inside.* from {_listed(chunks)} cross join lateral (
            select {relation.place} / tidegate_chunk.step, {figures}
            from {relation.source} where {_inside(relation)} group by 1) inside"""
    else:
        query = f"""select 0, {relation.place} / {chunks[0].step}::int8, {figures}
            from {relation.source} where {_among(relation, chunks)} group by 2"""
    return {
        (n, number): Counted(rows, int(content), low, high)
        for n, number, rows, content, low, high in await _fetch(connection, query)
    }


async def rows_of(
    connection: Connection, relation: Relation, chunks: Sequence[Chunk]
) -> dict[tuple[str, int], frozenset[tuple[int, int]]]:
    """By (key as text, place): the hashes of the rows that have it, each with how many are alike."""
    figures = f"{relation.key}, {relation.place}, {relation.content}, pg_catalog.count(*)"
    if relation.column:
        query = f"""select inside.* from {_listed(chunks)} cross join lateral (
            select {figures} from {relation.source} where {_inside(relation)} group by 1, 2, 3) inside"""
    else:
        query = f"select {figures} from {relation.source} where {_among(relation, chunks)} group by 1, 2, 3"
    rows: dict[tuple[str, int], set[tuple[int, int]]] = {}
    for key, place, content, count in await _fetch(connection, query):
        rows.setdefault((key, place), set()).add((content, count))
    return {identity: frozenset(contents) for identity, contents in rows.items()}


def _listed(chunks: Sequence[Chunk]) -> str:
    """Parameters would need every % in an identifier doubled."""
    columns = [[c.low for c in chunks], [c.high for c in chunks], [c.step for c in chunks]]
    arrays = ", ".join(_array(column) for column in columns)
    return f"unnest({arrays}) with ordinality as tidegate_chunk(low, high, step, n)"


def _inside(relation: Relation) -> str:
    return f"{relation.column} between tidegate_chunk.low and tidegate_chunk.high"


def _among(relation: Relation, chunks: Sequence[Chunk]) -> str:
    width = chunks[0].width
    return f"{relation.place} / {width}::int8 = any({_array([chunk.low // width for chunk in chunks])})"


def _array(numbers: Sequence[int]) -> str:
    return f"'{{{','.join(str(number) for number in numbers)}}}'::int8[]"


async def _fetch(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return await (await connection.execute(statement(query))).fetchall()
