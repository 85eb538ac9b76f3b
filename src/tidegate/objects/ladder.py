"""What proves that a copy is what the source holds: the verification ladder, from its cheapest rung to its dearest.

md5        the source vouches for an MD5: the target has checked it, or, of what it got in blocks, it was compared here
sha256, sha1, crc64nvme, crc32c, crc32   S3's checksum of the whole, compared with what was read; crc64nvme also with
           what Azure says that it has read
parts      S3's ETag of an object in parts, computed again from its parts' size
read       nothing of that is there: the source was read a second time, and gave the same

What was read is what the target holds: it has checked an MD5 or a CRC64 of everything it was sent. Size and time
prove nothing.
"""

import hashlib

from tidegate.objects.checksums import Digest, PartsEtag, digest
from tidegate.objects.side import Got

__all__ = ["Proof"]

STRONGEST = ("sha256", "sha1", "crc64nvme", "crc32c", "crc32")
"""First. By its length: so much is the chance that damage goes unseen. CRC32C tells more flipped bits than CRC32."""


class Proof:
    """Fed with a content as it comes from the source. `md5`: of all that was fed, in hex.

    `part_size`: of the parts in which the source's object was uploaded, in bytes; 0 if that isn't known.
    """

    def __init__(self, got: Got, part_size: int = 0) -> None:
        self.rung, self._expected = "read", ""
        self._digest: Digest | None = None
        algorithm = next((each for each in STRONGEST if each in got.checksums), "")
        if got.md5 is not None:
            self.rung, self._expected = "md5", got.md5
        elif algorithm:
            self.rung, self._expected, self._digest = algorithm, got.checksums[algorithm], digest(algorithm)
        elif got.parts and part_size:
            self.rung, self._expected, self._digest = "parts", got.etag, PartsEtag(part_size)
        self._md5 = hashlib.md5(usedforsecurity=False)

    def update(self, part: bytes) -> None:
        self._md5.update(part)
        if self._digest is not None:
            self._digest.update(part)

    @property
    def md5(self) -> str:
        return self._md5.hexdigest()

    @property
    def holds(self) -> bool:
        """What was fed is what the source says; on the rung `read` that is not said yet."""
        if self.rung == "read":
            return True
        return self._expected == (self._digest.text() if self._digest else self.md5)

    def step_down(self) -> None:
        """The parts may have been of different sizes: their ETag says nothing then."""
        self.rung = "read"
