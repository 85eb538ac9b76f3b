"""From chunks that differ down to the rows that do, in bounded memory.

While changes stream, whatever differs is looked at again, each time after a marker: what didn't change at the owner
in between must be the same on the other side.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from tidegate.postgres.server import Connection
from tidegate.postgres.side_by_side import side_by_side
from tidegate.postgres.verify.chunks import Chunk, finer, finer_chunk, rows_of
from tidegate.postgres.verify.hashes import Method, Relation
from tidegate.postgres.verify.pairs import Pair

__all__ = ["Drained", "Found", "differing_rows"]

Drained = Callable[[], Awaitable[object]]
"""Returns when the follower has what the owner had when it was called."""
K = TypeVar("K")
V = TypeVar("V")

TRIES = 40
"""How often rows that differ are looked at again while changes stream."""
ENOUGH = 1_000
"""Rows that differ: past them no further chunk is looked into."""
ROWS_AT_ONCE = 10_000
CHUNKS_AT_ONCE = 128
LEAF_ROWS: dict[Method, int] = {"ranges": 500, "buckets": 8}
"""A chunk with no more is fetched row by row. A look into buckets reads the whole table: there should be few looks."""


@dataclass(slots=True)
class Found:
    """`keys`: (as text, place) of rows that differ. `unexplored`: chunks that differ and were not looked into."""

    keys: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    unexplored: int = 0


async def differing_rows(pair: Pair, relation: Relation, chunks: list[Chunk], drained: Drained | None) -> Found:
    """`drained`: None where nothing streams: the first difference counts."""
    found = Found()
    pending = sorted(chunks, reverse=True)
    while pending:
        if len(found.keys) >= ENOUGH:
            found.unexplored = len(pending)
            break
        if leaves := _leaves(pending, relation):
            found.keys |= await _rows(pair, relation, leaves, drained)
        else:
            pending += await _finer(pair, relation, _to_cut(pending, relation), drained)
    return found


def _leaves(pending: list[Chunk], relation: Relation) -> list[Chunk]:
    """Taken from the end: what is to be fetched row by row, at most ROWS_AT_ONCE; all that is pending if it fits."""
    fits = sum(chunk.rows for chunk in pending) <= ROWS_AT_ONCE
    taken: list[Chunk] = []
    rows = 0
    while pending and (fits or pending[-1].alike or pending[-1].rows <= LEAF_ROWS[relation.method]):
        rows += 1 if pending[-1].alike else pending[-1].rows
        if taken and (rows > ROWS_AT_ONCE or not _together(relation, taken[0], pending[-1])):
            break
        taken.append(pending.pop())
    return taken


def _to_cut(pending: list[Chunk], relation: Relation) -> list[Chunk]:
    """Taken from the end."""
    taken = [pending.pop()]
    while pending and len(taken) < CHUNKS_AT_ONCE and _together(relation, taken[0], pending[-1]):
        taken.append(pending.pop())
    return taken


def _together(relation: Relation, one: Chunk, another: Chunk) -> bool:
    """One pass over a table's buckets divides by one width."""
    return bool(relation.column) or one.width == another.width


async def _finer(pair: Pair, relation: Relation, chunks: list[Chunk], drained: Drained | None) -> list[Chunk]:
    before, other, after = await _look(pair, lambda connection: finer(connection, relation, chunks), drained)
    differ: list[Chunk] = []
    for each in before.keys() | other.keys() | after.keys():
        if other.get(each) not in (before.get(each), after.get(each)):
            seen = [side[each] for side in (before, other, after) if each in side]
            differ.append(finer_chunk(relation, chunks[each[0]], each[1], seen))
    return sorted(differ, reverse=True)


async def _rows(pair: Pair, relation: Relation, chunks: list[Chunk], drained: Drained | None) -> set[tuple[str, int]]:
    """Keys whose rows differ although they rested at the owner while the follower caught up; seen so twice.

    Once could be a row that changed and changed back in between.
    """
    suspects: dict[tuple[str, int], int] | None = None
    needed = 2 if drained else 1
    for _ in range(TRIES):
        before, other, after = await _look(pair, lambda connection: rows_of(connection, relation, chunks), drained)
        if suspects is None:
            keys = before.keys() | after.keys() | other.keys()
            suspects = {key: 0 for key in keys if other.get(key) != after.get(key) or before.get(key) != after.get(key)}
        for key in list(suspects):
            if other.get(key) in (before.get(key), after.get(key)):
                del suspects[key]  # a row that was equal once is the same row
            elif before.get(key) == after.get(key):
                suspects[key] += 1
        if all(seen >= needed for seen in suspects.values()):
            break
    return set(suspects or ())


async def _look(
    pair: Pair, ask: Callable[[Connection], Awaitable[dict[K, V]]], drained: Drained | None
) -> tuple[dict[K, V], dict[K, V], dict[K, V]]:
    """What the owner had, what its follower had after a marker, and what the owner had then."""

    async def of(connection: Connection) -> dict[K, V]:
        return await ask(connection)

    if drained is None:
        here, there = await side_by_side(of(pair.here), of(pair.there))
        return here, there, here
    before = await of(pair.here)
    await drained()
    other = await of(pair.there)
    return before, other, await of(pair.here)
