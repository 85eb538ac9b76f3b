"""The ways in which one object's content gets from the source to the target, each with its proof."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from tidegate.errors import TidegateError
from tidegate.objects.from_url import FromUrl
from tidegate.objects.ladder import Proof
from tidegate.objects.parts import read_ahead, spans
from tidegate.objects.side import LARGE, Changed, Got, Intend, Mismatch, Side, Written
from tidegate.objects.signing import Streamed

__all__ = ["Damaged", "Moved", "Sending"]

WHOLE = 256 * 2**20
"""Up to so many bytes an object with an MD5 goes in one request: the target checks it, no byte is hashed here."""
THREADED = 2**18
"""Bytes from which hashing is left to another thread."""


class Moved(Exception):
    """Overwritten or deleted at the source while it was read."""


class Damaged(TidegateError):
    """What came isn't what the source says that it holds: on its way, or there."""

    def __init__(self, why: str, source: Side) -> None:
        super().__init__(why, where=source.where, mend="see whether its storage, or a proxy on the way, changes it")


@dataclass(frozen=True, slots=True)
class Sending:
    source: Side
    target: Side
    server: FromUrl | None = None

    async def send(self, key: str, got: Got, over: str | None, intend: Intend) -> Written:
        """Raises Changed for the target, Moved for the source; Damaged, Unreachable, Refused, Left."""
        if got.body is None and self.server is not None:
            written = await self.server.send(key, got, over, intend)
            if written is not None:
                return written
        if got.body is None and got.size <= LARGE:
            got = await self._again(key, got)
        if got.body is not None:
            return await self._small(key, got, got.body, over, intend)
        if got.md5 is not None and got.size <= WHOLE:
            return await self._whole(key, got, got.md5, over, intend)
        return await self._in_parts(key, got, over, intend)

    async def _again(self, key: str, before: Got) -> Got:
        got = await self.source.get(key)
        if got is None or got.etag != before.etag or got.body is None:
            raise Moved
        return got

    async def _small(self, key: str, got: Got, body: bytes, over: str | None, intend: Intend) -> Written:
        if len(body) != got.size:
            raise self._not_whole(key)
        if got.md5 is not None:
            intend(got.md5, "md5")
            try:
                return await self.target.put(key, body, got.md5, got.properties, over)
            except Mismatch:  # it came damaged, or is damaged on its way: told apart below
                pass
        proof = Proof(got, await self._part_size(key, got))
        await _hashed(proof, body)
        rung = await self._proved(key, got, proof)
        intend(proof.md5, rung)
        try:
            return await self.target.put(key, body, proof.md5, got.properties, over)
        except Mismatch:
            raise self._not_whole(key) from None

    async def _whole(self, key: str, got: Got, md5: str, over: str | None, intend: Intend) -> Written:
        intend(md5, "md5")
        stream = Streamed(got.size, lambda: self._parts(key, got))
        try:
            return await self.target.put(key, stream, md5, got.properties, over)
        except Mismatch:
            raise self._not_whole(key) from None

    async def _in_parts(self, key: str, got: Got, over: str | None, intend: Intend) -> Written:
        proof = Proof(got, await self._part_size(key, got))

        async def hashed() -> AsyncIterator[bytes]:
            async for part in self._parts(key, got):
                await _hashed(proof, part)
                yield part

        async def settle() -> str:
            intend(proof.md5, await self._proved(key, got, proof))
            return proof.md5

        return await self.target.put_parts(key, hashed(), got.properties, over, settle)

    async def _proved(self, key: str, got: Got, proof: Proof) -> str:
        """The rung. Raises if what was read isn't what the source holds."""
        if not proof.holds:
            if proof.rung != "parts":
                raise self._not_whole(key)
            proof.step_down()
        if proof.rung == "read":
            again = hashlib.md5(usedforsecurity=False)
            async for part in self._parts(key, got):
                await _hashed(again, part)
            if again.hexdigest() != proof.md5:
                raise self._not_whole(key)
        return proof.rung

    async def _part_size(self, key: str, got: Got) -> int:
        if got.md5 is not None or got.checksums or not got.parts:
            return 0
        if got.parts == 1:
            return max(got.size, 1)
        return await self.source.first_part(key)

    def _parts(self, key: str, got: Got) -> AsyncIterator[bytes]:
        async def read(start: int, size: int) -> bytes:
            try:
                part = await self.source.part(key, got.etag, start, size)
            except Changed:
                raise Moved from None
            if len(part) != size:
                raise self._not_whole(key)
            return part

        return read_ahead(spans(got.size, LARGE, self.target.most_parts), read)

    def _not_whole(self, key: str) -> Damaged:
        return Damaged(f"{key} didn't arrive as its checksum says", self.source)


class _Fed(Protocol):
    def update(self, part: bytes, /) -> None: ...


async def _hashed(digest: _Fed, part: bytes) -> None:
    if len(part) < THREADED:
        digest.update(part)
    else:
        await asyncio.to_thread(digest.update, part)
