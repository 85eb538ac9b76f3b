"""What both sides of a move can do with an object, and how an object is described."""

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, field
from typing import Protocol

from tidegate.runbook.migration import Cloud

__all__ = ["LARGE", "STANDARD", "Changed", "Got", "Intend", "Listed", "Properties", "Side", "Written"]

LARGE = 8 * 2**20
"""Objects up to so many bytes pass in one request; longer ones in parts of this size."""
STANDARD = ("content-type", "cache-control", "content-disposition", "content-encoding", "content-language")


Intend = Callable[[str], None]
"""Told the MD5 of what is about to be written, in hex, just before it counts."""


class Changed(Exception):
    """The object isn't (any more) the one that a condition named. `retried`: perhaps by an earlier try's write."""

    def __init__(self, *, retried: bool = False) -> None:
        super().__init__()
        self.retried = retried


@dataclass(frozen=True, slots=True)
class Listed:
    """`md5`: of the content, in hex, if the side claims to know it. An ETag is without its quotes."""

    key: str
    size: int
    etag: str
    md5: str | None = None
    archived: bool = False


@dataclass(frozen=True, slots=True)
class Properties:
    """`headers`: those of STANDARD that are set. Metadata names are S3's."""

    headers: dict[str, str] = field(default_factory=dict[str, str])
    metadata: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Got:
    """`body` is None if the object is larger than LARGE.

    `seen`: by the side's own clock, Unix seconds before which every change of it is in here; 0 if that isn't known.
    """

    etag: str
    size: int
    md5: str | None
    properties: Properties
    body: bytes | None
    seen: float = 0.0


@dataclass(frozen=True, slots=True)
class Written:
    """`md5`: in hex, of what was sent; the server has checked it, whole or part by part."""

    etag: str
    md5: str


class Side(Protocol):
    """A bucket or a container. Raises Unreachable and Refused; Changed where `over` or `etag` isn't what is there."""

    cloud: Cloud
    where: str

    def refuses(self, key: str) -> str:
        """Why it can't hold this name; empty if it can."""
        ...

    def list(self, prefix: str = "", after: str = "") -> AsyncIterator[Listed]:
        """`after`: only keys above it."""
        ...

    async def stat(self, key: str) -> Listed | None: ...

    async def get(self, key: str) -> Got | None:
        """None only if the server says that this object isn't there."""
        ...

    async def part(self, key: str, etag: str, start: int, size: int) -> bytes: ...

    async def put(self, key: str, body: bytes, properties: Properties, over: str | None, intend: Intend) -> Written:
        """Over the object with this ETag; None: only where there is none."""
        ...

    async def put_parts(
        self, key: str, parts: AsyncIterator[bytes], properties: Properties, over: str | None, intend: Intend
    ) -> Written:
        """The same for a large one, in memory for few parts at a time."""
        ...

    async def delete(self, key: str, etag: str) -> None:
        """It is gone then, also if it was already."""
        ...
