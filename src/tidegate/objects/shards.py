"""A bucket's copy in shares: ranges of keys that any process, on any machine, copies by itself.

A range needs nothing but the two sides. One that is copied twice does no harm: the target is written create-only, and
an object that is there already with the same MD5 is the same.
"""

import base64
import json
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from pydantic import JsonValue

from tidegate.errors import InvalidMigration, LocalFault, Refused, TidegateError, Unreachable
from tidegate.objects.bucket import BucketMove
from tidegate.objects.from_url import How
from tidegate.objects.manifest import Manifest, Row
from tidegate.objects.side import Listed, Side
from tidegate.runbook.migration import Bucket

__all__ = ["OBJECTS", "Segment", "Shard", "merge", "run_shard", "shards"]

OBJECTS = 2000
"""In a shard: seconds of work, which is what a killed worker does in vain."""
BYTES = 4 * 2**30
AT_ONCE = 64
"""Objects on their way, of each of the shards that a worker has under way."""
FEW = 20
"""Objects of a shard that fail, each by itself: with more it isn't the objects."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The keys in (after, until], in the order of their UTF-8 bytes; until "" is the open end.

    `objects` and `bytes`: what a listing found there.
    """

    after: str = ""
    until: str = ""
    objects: int = 0
    bytes: int = 0

    def __contains__(self, key: str) -> bool:
        return self.after < key and (not self.until or key <= self.until)

    def as_json(self) -> dict[str, JsonValue]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: JsonValue) -> "Shard":
        return cls(**cast("dict[str, Any]", document))


async def shards(source: Side, objects: int = OBJECTS, size: int = BYTES, after: str = "") -> AsyncIterator[Shard]:
    """Ranges that together hold every key above `after`, cut by one listing at so many objects or bytes.

    Raises Refused if the source has an order of its own: its ranges would hold other keys.
    """
    count = total = 0
    last = after
    async for page in source.pages(after):
        for listed in page:
            if listed.key <= last:
                raise Refused(
                    f"it lists {listed.key!r} after {last!r}: its keys can't be divided into ranges",
                    where=source.where,
                    mend="copy it on one machine, without --store",
                )
            if count >= objects or total >= size:
                yield Shard(after, last, count, total)
                after, count, total = last, 0, 0
            count, total, last = count + 1, total + listed.size, listed.key
    yield Shard(after, "", count, total)


@dataclass(slots=True)
class Segment:
    """What became of a shard: a part of the manifest, and the keys that were left as they are, with the reason."""

    rows: list[Row] = field(default_factory=list[Row])
    conflicts: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    copied: int = 0
    bytes: int = 0
    """Copied: less than what the rows say, if objects were there already."""

    def as_json(self) -> dict[str, JsonValue]:
        """Its rows are one compressed text: about 60 bytes an object."""
        rows = json.dumps([list(row) for row in self.rows], separators=(",", ":"))
        return {
            "rows": base64.b64encode(zlib.compress(rows.encode())).decode(),
            "conflicts": [list(conflict) for conflict in self.conflicts],
            "copied": self.copied,
            "bytes": self.bytes,
        }

    @classmethod
    def from_json(cls, document: JsonValue) -> "Segment":
        """Raises LocalFault if it isn't one."""
        found = cast("dict[str, Any]", document)
        try:
            rows = json.loads(zlib.decompress(base64.b64decode(found["rows"])))
            conflicts = [(key, why) for key, why in found["conflicts"]]
            return cls([Row(*row) for row in rows], conflicts, found["copied"], found["bytes"])
        except (KeyError, TypeError, ValueError, zlib.error) as error:
            raise LocalFault(
                f"what a worker has sent can't be read: {type(error).__name__}",
                where="the manifest's segment",
                mend="run the same tidegate everywhere",
            ) from None


def merge(manifest: Manifest, segment: Segment) -> None:
    """May be done again."""
    keys = [row.key for row in segment.rows] + [key for key, _ in segment.conflicts]
    manifest.record(segment.rows, [], keys, dict(segment.conflicts))


async def run_shard(name: str, spec: Bucket, how: How, shard: Shard, note: Callable[[str], None]) -> Segment:
    """Copy what is in this range of the S3 bucket now. A few objects that can't be copied are conflicts, and hold up
    no other.

    `name`: of the copy, for errors. Raises Unreachable, Refused, InvalidMigration, LocalFault, and the error of more
    than a few objects; then none of it counts. What was copied is found at the target when it is run again.
    """
    with TemporaryDirectory(prefix="tidegate-shard-") as folder:
        move = BucketMove(name, spec, Path(folder) / "manifest.sqlite")
        move.sync.at_once = AT_ONCE
        try:
            segment = await _copied(move, how, shard)
        finally:
            await move.close()
    seen = len(segment.rows) + len(segment.conflicts)
    note(f"{seen:,} objects above {shard.after!r}: {segment.copied:,} copied, {segment.bytes / 2**20:,.1f} MiB")
    return segment


async def _copied(move: BucketMove, how: How, shard: Shard) -> Segment:
    failed: dict[str, str] = {}
    try:
        swept = await move.share(how, shard.after, shard.until)
        copied, size = swept.copied, swept.bytes
    except (Unreachable, InvalidMigration, LocalFault):
        raise
    except TidegateError as error:
        failed = await _one_by_one(move, how, shard, error)
        ours = [row.size async for page in move.manifest.pages() for row in page if row.ours]
        copied, size = len(ours), sum(ours)
    rows = [row async for page in move.manifest.pages() for row in page]
    conflicts = move.manifest.conflicts() | failed
    return Segment(rows, list(conflicts.items()), copied, size)


async def _one_by_one(move: BucketMove, how: How, shard: Shard, error: TidegateError) -> dict[str, str]:
    """What is left after this error: once more, each object by itself. Those that fail again, with the reason.

    Raises the error if it isn't that of a few objects. The range is listed again: it may have been its listing's.
    """
    done = {row.key async for page in move.manifest.pages() for row in page}
    done.update(move.manifest.conflicts())
    left: list[tuple[str, str]] = []
    before = shard.after
    async with aclosing(_keys(move.aws, shard)) as keys:
        async for key in keys:
            if key not in done:
                left.append((before, key))
                if len(left) > FEW:
                    raise error
            before = key
    if not left:
        raise error
    failed: dict[str, str] = {}
    for before, key in left:
        try:
            await move.share(how, before, key)
        except (Unreachable, InvalidMigration, LocalFault):
            raise
        except TidegateError as again:
            failed[key] = again.brief
    return failed


async def _keys(source: Side, shard: Shard) -> AsyncGenerator[str]:
    async with aclosing(cast("AsyncGenerator[list[Listed]]", source.pages(shard.after))) as pages:
        async for page in pages:
            for listed in page:
                if listed.key not in shard:
                    return
                yield listed.key
