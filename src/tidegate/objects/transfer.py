"""One object brought from the side that owns it to the other, on the condition of what is known of that."""

import hashlib
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from tidegate.errors import TidegateError
from tidegate.objects.manifest import Row
from tidegate.objects.side import LARGE, Changed, Got, Intend, Listed, Side, Written

__all__ = ["Errand", "Outcome", "Way"]

TRIES = 5
MOST_PARTS = 10_000
"""S3 takes no more; Blob 50,000 blocks."""

Way = Literal["follow", "late", "home"]
"""follow: all that changed at the source is done at the target.
late: the target owns the writes; what came to the source too late is added, nothing is taken away.
home: the source owned the writes and is given up; nothing is taken away at the target.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`row` is what is known now; None: neither side has it. `conflict`: why nothing was done."""

    key: str
    row: Row | None
    conflict: str = ""
    copied: int | None = None
    """Bytes, if it was."""


class _Moved(Exception):
    """Overwritten at the source while it was read."""


@dataclass(frozen=True, slots=True)
class Errand:
    """`row`: what is known of the key. `half_done`: MD5s of what earlier tries may have written."""

    key: str
    source: Side
    target: Side
    row: Row | None
    way: Way
    half_done: Collection[str]
    intend: Callable[[str, str], None]
    """Keeps the key and the MD5 of what is about to be written."""

    async def run(self) -> Outcome:
        """Raises Unreachable, Refused."""
        for _ in range(TRIES):
            with suppress(_Moved, Changed):
                return await self._look()
        raise TidegateError(f"{self.key} changes faster than it can be read", where=self.source.where)

    async def _look(self) -> Outcome:
        got = await self.source.get(self.key)
        if got is None:
            return await self._gone()
        if self._known(got):
            return Outcome(self.key, self.row)
        if why := self.target.refuses(self.key):
            return Outcome(self.key, self.row, f"{self.target.cloud} can't hold its name: {why}")
        return await self._write(got)

    def _known(self, got: Got) -> bool:
        """S3's ETag stays the same when only the metadata change."""
        if self.row is None or self.half_done:
            return False
        return (self.row.etag(self.source.cloud), self.row.properties) == (got.etag, got.properties.fingerprint)

    @property
    def _known_there(self) -> str | None:
        return self.row.etag(self.target.cloud) if self.row else None

    async def _gone(self) -> Outcome:
        if self.way != "follow":
            return Outcome(self.key, self.row)
        etag = self._known_there
        if self.half_done:  # what is there may be this run's although its ETag was never recorded
            there = await self.target.stat(self.key)
            if there and await self._md5(there) in self.half_done:
                etag = there.etag
        if etag is not None:
            try:
                await self.target.delete(self.key, etag)
            except Changed:
                return Outcome(self.key, self.row, f"deleted, but changed on {self.target.cloud}")
        return Outcome(self.key, None)

    async def _write(self, got: Got) -> Outcome:
        over, sent = self._known_there, ""

        def intend(md5: str) -> None:
            nonlocal sent
            sent = md5
            self.intend(self.key, md5)

        for _ in range(TRIES):
            try:
                written = await self._send(got, over, intend)
            except Changed as changed:
                there = await self.target.stat(self.key)
                if there is None:
                    if self.way == "late":
                        return Outcome(self.key, self.row, f"came late, and was deleted on {self.target.cloud}")
                    over = None
                    continue
                md5 = await self._md5(there)
                half_done = md5 in self.half_done
                if md5 == sent:
                    ours = half_done or changed.retried or bool(self.row and self.row.ours)
                    return Outcome(self.key, self._row(got, Written(there.etag, sent), ours=ours))
                if not half_done or self.way == "late":
                    return Outcome(self.key, self.row, f"it was written on {self.target.cloud} by somebody else")
                over = there.etag
            else:
                row = self._row(got, written, ours=self.target.cloud == "azure")
                return Outcome(self.key, row, copied=got.size)
        raise TidegateError(f"{self.key} is written by somebody else all the time", where=self.target.where)

    async def _send(self, got: Got, over: str | None, intend: Intend) -> Written:
        def proved(md5: str) -> None:
            if got.md5 not in {None, md5}:
                raise self._not_whole()
            intend(md5)

        if got.body is None:
            return await self.target.put_parts(self.key, self._parts(got), got.properties, over, proved)
        if len(got.body) != got.size:
            raise self._not_whole()
        return await self.target.put(self.key, got.body, got.properties, over, proved)

    async def _md5(self, there: Listed) -> str:
        """Of what the target holds; read and hashed if it can't say."""
        if there.md5 is not None:
            return there.md5
        digest = hashlib.md5(usedforsecurity=False)
        for start in range(0, there.size, LARGE):
            digest.update(await self.target.part(self.key, there.etag, start, min(LARGE, there.size - start)))
        return digest.hexdigest()

    async def _parts(self, got: Got) -> AsyncIterator[bytes]:
        size = max(LARGE, -(-got.size // MOST_PARTS))
        for start in range(0, got.size, size):
            wanted = min(size, got.size - start)
            try:
                part = await self.source.part(self.key, got.etag, start, wanted)
            except Changed:
                raise _Moved from None
            if len(part) != wanted:
                raise self._not_whole()
            yield part

    def _not_whole(self) -> TidegateError:
        return TidegateError(f"{self.key} didn't arrive as its MD5 says", where=self.source.where)

    def _row(self, got: Got, written: Written, *, ours: bool) -> Row:
        aws, azure = (got.etag, written.etag) if self.source.cloud == "aws" else (written.etag, got.etag)
        seen = got.seen if self.source.cloud == "aws" else 0.0
        return Row(self.key, got.size, written.md5, aws, azure, got.properties.fingerprint, ours, seen)
