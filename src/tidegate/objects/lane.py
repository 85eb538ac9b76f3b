"""The short way for most objects: small, with an MD5 for an ETag, new at the target. One GET, one conditional PUT.

It does what the errand does (transfer.py) in half of the CPU time: its two requests have one form each, and nothing
that can happen with other objects is thought of. Whatever isn't exactly as expected is left to the errand, which asks
again and knows what it means.
"""

import binascii
import re
import time
from typing import NamedTuple

from tidegate.objects.blob import BlobSide
from tidegate.objects.http import TRY_AGAIN
from tidegate.objects.manifest import Row
from tidegate.objects.s3 import S3Side
from tidegate.objects.shorthand import ShortGet, ShortPut
from tidegate.objects.side import LARGE, OF_S3, STANDARD, Listed
from tidegate.objects.signing import AwsKeys, encoded
from tidegate.objects.wire import Broken, Raw

__all__ = ["Lane", "Tried"]

UNUSUAL = {"x-amz-server-side-encryption-customer-algorithm", "x-amz-tagging-count", "x-amz-missing-meta", *OF_S3}
MD5 = re.compile(r"[0-9a-f]{32}")
MOST_KEPT = 1000


class Tried(NamedTuple):
    """`row`: the object is over. None: the errand has to look; `sent`: and the target may have it already."""

    row: Row | None
    sent: bool = False


class _Described(NamedTuple):
    """How an object is described: as Azure's headers, and its fingerprint."""

    headers: dict[str, str]
    fingerprint: str


NOTHING = Tried(None)


class Lane:
    """From one bucket to one container."""

    def __init__(self, source: S3Side, target: BlobSide) -> None:
        self.source, self.target = source, target
        self._gets, self._puts = source.pool, target.pool
        self._from, self._to = f"{source.path}/", f"{target.path}/"
        self._get: ShortGet | None = None
        self._put: ShortPut | None = None
        self._described: dict[tuple[str | None, ...], _Described] = {}

    def takes(self, listed: Listed) -> bool:
        return listed.size <= LARGE and not listed.archived and MD5.fullmatch(listed.md5 or "") is not None

    async def copy(self, listed: Listed) -> Tried:
        """Raises what keeps credentials from being had."""
        key, md5 = listed.key, listed.md5 or ""
        if self.target.refuses(key):
            return NOTHING
        get, put = await self._signed()
        began = time.time()
        try:
            head = get.head(self._from + encoded(self.source.prefix + key, "/"), int(began))
            raw = await self._gets.ask(head, at_most=LARGE)  # it may have grown since it was listed
        except (Broken, OSError, TimeoutError):
            return self._again(NOTHING)
        if raw.status in TRY_AGAIN:
            return self._again(NOTHING)
        body, described = raw.body, self._as_expected(raw, listed)
        if body is None or described is None:
            return NOTHING
        name = self.target.name(key)
        path = self._to + encoded(self.target.prefix + name, "/")
        base64 = binascii.b2a_base64(bytes.fromhex(md5), newline=False).decode()
        try:
            head = put.head(path, base64, listed.size, described.headers, int(time.time()))
            answer = await self._puts.ask(head, body)
        except (Broken, OSError, TimeoutError):
            return self._again(Tried(None, sent=True))
        if answer.status in TRY_AGAIN:
            return self._again(Tried(None, sent=answer.status >= 500))
        if answer.status != 201:  # what was refused is whoever's wrote it
            return NOTHING
        headers = raw.headers
        return Tried(
            Row(
                *(key, listed.size, md5, md5, answer.headers["etag"].strip('"'), described.fingerprint, True),
                *(self.source.seen(headers, began), "md5", self.source.checksum(headers)),
                *(headers.get("x-amz-version-id", ""), "" if name == key else name),
            )
        )

    def _again(self, tried: Tried) -> Tried:
        """The errand asks once more."""
        self.source.http.retries += 1
        return tried

    def _as_expected(self, raw: Raw, listed: Listed) -> _Described | None:
        headers = raw.headers
        if raw.status != 200 or raw.body is None or len(raw.body) != listed.size:
            return None
        if headers.get("etag", "")[1:-1] != listed.md5 or not UNUSUAL.isdisjoint(headers):
            return None
        if headers.get("x-amz-server-side-encryption", "AES256") != "AES256":
            return None
        if any(name.startswith("x-amz-meta-") for name in headers):
            return self._describe(headers)
        kind = tuple([headers.get(name) for name in STANDARD])
        found = self._described.get(kind)
        if found is None:
            found = self._describe(headers)
            if found is not None and len(self._described) < MOST_KEPT:
                self._described[kind] = found
        return found

    def _describe(self, headers: dict[str, str]) -> _Described | None:
        properties = self.source.properties(headers)
        if self.target.unfit(properties):
            return None
        described = self.target.described(properties) | {"x-ms-blob-type": "BlockBlob"}
        if any(not value.isprintable() or not value.isascii() for value in described.values()):
            return None
        return _Described(dict(sorted(described.items())), properties.fingerprint)

    async def _signed(self) -> tuple[ShortGet, ShortPut]:
        mine, theirs = await self.source.credentials.signer(), await self.target.credentials.signer()
        assert isinstance(mine, AwsKeys), "a bucket's credentials"
        if self._get is None or self._get.keys is not mine:
            self._get = ShortGet(mine, self._gets.origin.host)
        if self._put is None or self._put.signer is not theirs:
            self._put = ShortPut(theirs, self._puts.origin.host)
        return self._get, self._put
