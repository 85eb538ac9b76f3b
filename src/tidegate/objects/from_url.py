"""Copies that Azure makes by itself: it reads each object from a presigned URL, and no byte of it comes by here.

"Put Blob From URL" and "Put Block From URL" of the Blob service, versions since 2020-04-08. It needs Azure to reach the
bucket; where it doesn't (a private endpoint, a policy, an emulator that can't), the bytes go through this process.
"""

from collections.abc import AsyncIterator

from tidegate.objects.blob import BlobSide, NotFromThere, Upload
from tidegate.objects.checksums import big_endian, crc64_of_both
from tidegate.objects.parts import sent_side_by_side, spans
from tidegate.objects.s3 import S3Side
from tidegate.objects.side import Got, Intend, Written

__all__ = ["FromUrl"]

SMALL = 2**20
"""Below it, an object passes by here with less work, for both sides too, than it takes to tell Azure where it is."""
WHOLE = 5000 * 2**20
"""Bytes that Put Blob From URL takes."""
PART = 64 * 2**20
PARTS_ON_THEIR_WAY = 8
VALID = 3600
"""Seconds for which a URL opens an object: each is made just before its use."""
IN_A_ROW = 20
"""Failures without a success between them, after which it isn't the objects: a busy source refuses many at once."""


class FromUrl:
    """`least`: bytes from which it pays. `off`: why it is used no more; empty while it is."""

    def __init__(self, source: S3Side, target: BlobSide, least: int = SMALL) -> None:
        self.source, self.target, self.least = source, target, least
        self.off = ""
        self._failed = 0

    def wants(self, size: int) -> bool:
        """Whether an object of so many bytes is described to it first, without its content."""
        return not self.off and size >= self.least

    def takes(self, got: Got) -> bool:
        """Only what can be proved without reading it here."""
        if not self.wants(got.size) or not got.size:
            return False
        return (got.md5 is not None and got.size <= WHOLE) or "crc64nvme" in got.checksums

    async def send(self, key: str, got: Got, over: str | None, intend: Intend) -> Written | None:
        """None: Azure couldn't. Raises Changed for the target."""
        try:
            url = await self.source.presigned(key, VALID, got.version)
            if got.md5 is not None and got.size <= WHOLE:
                intend(got.md5, "md5")
                written = await self.target.put_from(key, url, got.md5, got.properties, over)
            else:
                intend(f"crc64nvme:{got.checksums['crc64nvme']}", "crc64nvme")
                written = await self._in_blocks(key, url, got, over)
        except NotFromThere as error:
            self._failed += 1
            if error.for_all or self._failed >= IN_A_ROW:
                self.off = error.why
            return None
        self._failed = 0
        return written

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
