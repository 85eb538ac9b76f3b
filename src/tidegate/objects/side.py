"""What both sides of a move can do with an object, and how an object is described."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple, Protocol

from tidegate.objects.signing import Streamed
from tidegate.runbook.migration import Cloud

__all__ = [
    "LARGE",
    "OF_S3",
    "STANDARD",
    "Changed",
    "Got",
    "Intend",
    "Left",
    "Listed",
    "Mismatch",
    "Properties",
    "Settle",
    "Side",
    "Written",
]

LARGE = 8 * 2**20
"""Objects up to so many bytes pass in one request; longer ones in parts of this size."""
STANDARD = ("content-type", "cache-control", "content-disposition", "content-encoding", "content-language")
OF_S3 = ("expires", "x-amz-website-redirect-location")
"""Blob has no such properties: there they stand among the metadata (names.py), and come back from there."""


Intend = Callable[[str, str], None]
"""Told the mark of a content (its MD5 in hex, or ALGORITHM:CHECKSUM), and the rung that proves it, before it counts."""
Settle = Callable[[], Awaitable[str]]
"""Called when all parts have passed, just before they count. Returns the MD5 of the whole, in hex; may raise."""


class Changed(Exception):
    """The object isn't (any more) the one that a condition named. `retried`: perhaps by an earlier try's write."""

    def __init__(self, *, retried: bool = False) -> None:
        super().__init__()
        self.retried = retried


class Mismatch(Exception):
    """The server has checked what it was sent: it isn't what the checksum says."""


class Left(Exception):
    """One object can't be read or written here, for a reason of its own: the others can."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Listed(NamedTuple):
    """`md5`: of the content, in hex, if the side claims to know it. An ETag is without its quotes."""

    key: str
    size: int
    etag: str
    md5: str | None = None
    archived: bool = False


@dataclass(slots=True)
class Properties:
    """`headers`: those of STANDARD and OF_S3 that are set. Metadata names are S3's."""

    headers: dict[str, str] = field(default_factory=dict[str, str])
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    tags: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def fingerprint(self) -> str:
        """Says whether anything of these has changed."""
        text = repr((sorted(self.headers.items()), sorted(self.metadata.items()), sorted(self.tags.items())))
        return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


class Got(NamedTuple):
    """`body` is None if it wasn't asked for, or is larger than LARGE.

    `md5`: of the content, in hex, if the side vouches for it. `checksums`: S3's own of the whole content, in base64, by
    algorithm in lower case. `parts`: in how many it was uploaded, where its ETag says so. `seen`: by the side's own
    clock, Unix seconds before which every change of it is in here; 0 if that isn't known. `unreadable`: why its content
    can't be read now; empty if it can.
    """

    etag: str
    size: int
    md5: str | None
    properties: Properties
    body: bytes | None
    seen: float = 0.0
    checksums: dict[str, str] = {}  # noqa: RUF012 - never changed
    parts: int = 0
    version: str = ""
    unreadable: str = ""


class Written(NamedTuple):
    """`md5`: in hex, of what was sent; the server has checked it, whole or part by part."""

    etag: str
    md5: str


class Side(Protocol):
    """A bucket or a container. Raises Unreachable and Refused; Left for an object that is refused for its own sake;
    Changed where `over` or `etag` isn't what is there.
    """

    cloud: Cloud
    where: str
    most_parts: int

    def refuses(self, key: str) -> str:
        """Why it can't hold this name; empty if it can."""
        ...

    def name(self, key: str) -> str:
        """What the object is called here."""
        ...

    def unfit(self, properties: Properties) -> str:
        """Why it can't carry these; empty if it can."""
        ...

    def pages(self, after: str = "") -> AsyncIterator[list[Listed]]:
        """Everything behind this key, in the order of the keys' UTF-8 bytes."""
        ...

    async def stat(self, key: str) -> Listed | None: ...

    async def look(self, key: str) -> Got | None:
        """All but the content. None only if the server says that this object isn't there."""
        ...

    async def get(self, key: str) -> Got | None:
        """The same with the content, unless it is larger than LARGE."""
        ...

    async def part(self, key: str, etag: str, start: int, size: int) -> bytes: ...

    async def first_part(self, key: str) -> int:
        """The bytes of the first of the parts in which the object was uploaded; 0 if that isn't known."""
        ...

    async def put(
        self, key: str, body: bytes | Streamed, md5: str, properties: Properties, over: str | None
    ) -> Written:
        """Over the object with this ETag; None: only where there is none. Raises Mismatch if this isn't its MD5."""
        ...

    async def put_parts(
        self, key: str, parts: AsyncIterator[bytes], properties: Properties, over: str | None, settle: Settle
    ) -> Written:
        """The same for a large one, in memory for few parts at a time. The server checks each part."""
        ...

    async def delete(self, key: str, etag: str) -> None:
        """It is gone then, also if it was already."""
        ...
