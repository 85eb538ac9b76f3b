"""Checksums as both clouds write them, and what they say of a whole of parts. Pure.

S3's CRC64NVME and Azure's CRC64 are the same function; S3 writes it big-endian, Azure little-endian, both in base64.
"""

import base64
import hashlib
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

__all__ = [
    "Digest",
    "PartsEtag",
    "big_endian",
    "crc64",
    "crc64_of_both",
    "digest",
    "from_little_endian",
    "little_endian",
    "md5_in_base64",
]


def crc64(part: bytes, before: int = 0) -> int:
    """Of what came before, whose CRC64 is given, and this behind it."""
    return int(_crt().crc64nvme(part, before))


def crc64_of_both(first: int, second: int, size: int) -> int:
    """Of a whole, from those of its two parts; `size` of the second, in bytes."""
    return int(_crt().combine_crc64nvme(first, second, size))


def md5_in_base64(md5: str) -> str:
    """As both clouds write it, from hex."""
    return base64.b64encode(bytes.fromhex(md5)).decode()


def big_endian(crc64: int) -> str:
    """As S3 writes it."""
    return base64.b64encode(crc64.to_bytes(8, "big")).decode()


def little_endian(crc64: int) -> str:
    """As Azure writes it."""
    return base64.b64encode(crc64.to_bytes(8, "little")).decode()


def from_little_endian(text: str) -> int:
    return int.from_bytes(base64.b64decode(text), "little")


def _crc32c(part: bytes, before: int = 0) -> int:
    return int(_crt().crc32c(part, before))


@cache
def _crt() -> Any:
    """AWS's own library, which most copies don't need: its import takes a tenth of a second."""
    from awscrt import checksums  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]

    return checksums


class Digest(Protocol):
    """Fed with a content, it says S3's checksum of it, in base64."""

    def update(self, part: bytes) -> None: ...

    def text(self) -> str: ...


class _Hash:
    def __init__(self, name: str) -> None:
        self._hash = hashlib.new(name, usedforsecurity=False)

    def update(self, part: bytes) -> None:
        self._hash.update(part)

    def text(self) -> str:
        return base64.b64encode(self._hash.digest()).decode()


class _Crc:
    def __init__(self, function: Callable[[bytes, int], int], size: int) -> None:
        self._function, self._size, self._value = function, size, 0

    def update(self, part: bytes) -> None:
        self._value = self._function(part, self._value)

    def text(self) -> str:
        return base64.b64encode(self._value.to_bytes(self._size, "big")).decode()


def digest(algorithm: str) -> Digest:
    """By S3's name in lower case: crc64nvme, crc32c, crc32, sha256, sha1."""
    crcs = {"crc64nvme": (crc64, 8), "crc32c": (_crc32c, 4), "crc32": (zlib.crc32, 4)}
    return _Crc(*crcs[algorithm]) if algorithm in crcs else _Hash(algorithm)


class PartsEtag:
    """The ETag that S3 gives to an object which was uploaded in parts of this size, in bytes."""

    def __init__(self, size: int) -> None:
        self._size, self._left = size, size
        self._part = hashlib.md5(usedforsecurity=False)
        self._parts: list[bytes] = []

    def update(self, part: bytes) -> None:
        rest = memoryview(part)
        while rest:
            self._part.update(rest[: self._left])
            taken = min(self._left, len(rest))
            rest, self._left = rest[taken:], self._left - taken
            if not self._left:
                self._close()

    def _close(self) -> None:
        self._parts.append(self._part.digest())
        self._part, self._left = hashlib.md5(usedforsecurity=False), self._size

    def text(self) -> str:
        if self._left < self._size or not self._parts:
            self._close()
        return f"{hashlib.md5(b''.join(self._parts), usedforsecurity=False).hexdigest()}-{len(self._parts)}"
