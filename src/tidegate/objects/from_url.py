"""Copies that Azure makes by itself: it reads each object from a presigned URL, and no byte of it comes by here.

"Put Blob From URL" and "Put Block From URL" of the Blob service, versions since 2020-04-08. It needs Azure to reach the
bucket; where it doesn't (a private endpoint, a policy, an emulator that can't), the bytes go through this process.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

from tidegate.errors import Unreachable
from tidegate.objects.blob import BlobSide, NotFromThere, Upload
from tidegate.objects.checksums import big_endian, crc64_of_both
from tidegate.objects.parts import sent_side_by_side, spans
from tidegate.objects.s3 import S3Side
from tidegate.objects.side import Changed, Got, Intend, Left, Written

__all__ = ["FromUrl", "How"]

How = Literal["auto", "stream", "server"]
"""Who moves the bytes: Azure by itself where it can, this process, Azure alone."""

SMALL = 2**20
"""Below it, an object passes by here with less work, for both sides too, than it takes to tell Azure where it is."""
WHOLE = 256 * 2**20
"""Bytes up to which Azure is asked for the whole: it takes 5,000 MiB, but says nothing until it has read them."""
PART = 64 * 2**20
PARTS_ON_THEIR_WAY = 8
VALID = 3600
"""Seconds for which a URL opens an object: each is made just before its use."""
PAUSES = (0.1, 0.4, 0.8, 1.6)
"""Seconds between the tries, where nothing may pass by here."""
IN_A_ROW = 20
"""Failures without a success between them, after which it isn't the objects: a busy source refuses many at once."""


class FromUrl:
    """`least`: bytes from which it pays. `alone`: no content passes by here, of whatever size. `off`: why it is used
    no more; empty while it is.
    """

    def __init__(self, source: S3Side, target: BlobSide, least: int = SMALL, *, alone: bool = False) -> None:
        self.source, self.target, self.least, self.alone = source, target, least, alone
        self.off = ""
        self._failed = 0

    def wants(self, size: int) -> bool:
        """Whether an object of so many bytes is described to it first, without its content."""
        return self.alone or (not self.off and size >= self.least)

    async def send(self, key: str, got: Got, over: str | None, intend: Intend) -> Written | None:
        """None: it has to pass by here. Raises Changed for the target; Left if `alone`, and Azure couldn't."""
        if not got.size or not self.wants(got.size):
            return None
        why = self.off
        if not why and not _whole(got) and "crc64nvme" not in got.checksums:
            why = "without its bytes, nothing would prove that they have arrived"
        if not why:
            try:
                return await self._sent(key, got, over, intend)
            except Unreachable as error:  # also where Azure hasn't read it in time
                await self._unchanged(key, over)
                why, for_all = error.why, False
            except NotFromThere as error:
                why, for_all = error.why, error.for_all
            self._failed += 1
            if for_all or self._failed >= IN_A_ROW:
                self.off = why
        if self.alone:
            raise Left(f"Azure can't copy it by itself: {why}")
        return None

    async def _sent(self, key: str, got: Got, over: str | None, intend: Intend) -> Written:
        pauses = iter(PAUSES if self.alone else ())
        while True:
            try:
                written = await self._try(key, got, over, intend)
            except NotFromThere as error:
                pause = next(pauses, None)
                if error.for_all or pause is None:
                    raise
                self.source.http.retries += 1
                await asyncio.sleep(pause)
            else:
                self._failed = 0
                return written

    async def _try(self, key: str, got: Got, over: str | None, intend: Intend) -> Written:
        url = await self.source.presigned(key, VALID, got.version)
        if got.md5 is not None and _whole(got):
            intend(got.md5, "md5")
            return await self.target.put_from(key, url, got.md5, got.properties, over)
        intend(got.md5 or f"crc64nvme:{got.checksums['crc64nvme']}", "crc64nvme")
        return await self._in_blocks(key, url, got, over)

    async def _unchanged(self, key: str, over: str | None) -> None:
        """What was asked for without an answer hasn't been done. Raises Changed; Unreachable if nothing is answered."""
        there = await self.target.stat(key)
        if (there and there.etag) != over:
            raise Changed(retried=True)

    async def _in_blocks(self, key: str, url: str, got: Got, over: str | None) -> Written:
        upload, crcs = Upload(), dict[int, tuple[int, int]]()

        async def places() -> AsyncIterator[tuple[int, int]]:
            for place in spans(got.size, PART, self.target.most_parts):
                yield place

        async def send(number: int, place: tuple[int, int]) -> str:
            block = upload.block(number)
            crcs[number] = await self.target.block_from(key, block, url, *place), place[1]
            return block

        blocks = await sent_side_by_side(places(), send, PARTS_ON_THEIR_WAY)
        whole = 0
        for number in range(len(blocks)):
            whole = crc64_of_both(whole, *crcs[number])
        if big_endian(whole) != got.checksums["crc64nvme"]:
            raise NotFromThere("what Azure read isn't what S3's checksum says")
        return await self.target.commit(key, blocks, got.md5 or "", got.properties, over)


def _whole(got: Got) -> bool:
    """Its MD5 proves it, in one request."""
    return got.md5 is not None and got.size <= WHOLE
