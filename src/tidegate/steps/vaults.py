"""Where a database's backup is kept: a folder, a bucket on S3, a container of Blob: through the objects' plane."""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

from tidegate.errors import Refused, UsageError
from tidegate.objects.blob import BlobSide
from tidegate.objects.http import Http
from tidegate.objects.s3 import S3Side
from tidegate.objects.side import Changed, Got, Left, Mismatch, Properties
from tidegate.postgres.archive.vault import Absent, FolderVault, Stored, Vault
from tidegate.runbook.migration import AwsBucket, AzureContainer, VaultAccess

__all__ = ["ObjectVault", "VaultAccess", "open_vault"]

PART = 2 * 2**20
"""Bytes that pass in one request. Blob has three of them on their way at once."""
LEAST_OF_S3 = 5 * 2**20
"""But for the last part, it takes no smaller ones."""
SEALED = Properties({"content-type": "application/octet-stream"})
CLOUD = re.compile(r"(s3|azure)://(.*)")


def open_vault(url: str, access: VaultAccess | None = None) -> Vault:
    """A folder's path, `s3://BUCKET[/PREFIX]` or `azure://ACCOUNT/CONTAINER[/PREFIX]`; to be closed. Raises UsageError.

    Nothing is asked of the cloud yet, and no secret is looked up.
    """
    access = access or VaultAccess()
    match = CLOUD.fullmatch(url)
    if match is None:
        if not url or "://" in url:
            raise UsageError(
                "it isn't a place for a backup",
                where=url,
                mend="give a folder's path, s3://BUCKET/PREFIX or azure://ACCOUNT/CONTAINER/PREFIX",
            )
        return FolderVault(Path(url).expanduser())
    http = Http()
    if match[1] == "s3":
        bucket, _, prefix = match[2].partition("/")
        if not bucket or access.region is None:
            raise UsageError(
                "a bucket and its region are needed", where=url, mend="give s3://BUCKET/PREFIX, and the region"
            )
        spec = AwsBucket(
            bucket=bucket,
            prefix=_folder(prefix),
            region=access.region,
            access_key=access.access_key,
            secret_key=access.secret_key,
            endpoint=access.endpoint,
        )
        return ObjectVault(S3Side("the backup", spec, http), http, url)
    account, _, rest = match[2].partition("/")
    container, _, prefix = rest.partition("/")
    if not account or not container:
        raise UsageError(
            "an account and a container are needed", where=url, mend="give azure://ACCOUNT/CONTAINER/PREFIX"
        )
    blob = AzureContainer(
        account=account, container=container, prefix=_folder(prefix), key=access.key, endpoint=access.endpoint
    )
    return ObjectVault(BlobSide("the backup", blob, http), http, url)


class ObjectVault:
    """Implements Vault: objects below a prefix, which is nobody else's. The bucket has to be there."""

    def __init__(self, side: S3Side | BlobSide, http: Http, where: str) -> None:
        self.side, self.where = side, where
        self._part = LEAST_OF_S3 if side.cloud == "aws" else PART
        self._http = http

    async def put(self, name: str, chunks: AsyncIterator[bytes], size: int) -> None:
        there = await self.side.stat(name)
        over = there.etag if there else None
        sent = ""
        try:
            if size <= self._part:
                body = b"".join([chunk async for chunk in chunks])
                sent = hashlib.md5(body, usedforsecurity=False).hexdigest()
                await self.side.put(name, body, sent, SEALED, over)
            else:
                whole = hashlib.md5(usedforsecurity=False)

                async def hashed() -> AsyncGenerator[bytes]:
                    async for part in _parts(chunks, self._part):
                        await asyncio.to_thread(whole.update, part)
                        yield part

                async def settle() -> str:
                    nonlocal sent
                    sent = whole.hexdigest()
                    return sent

                await self.side.put_parts(name, hashed(), SEALED, over, settle)
        except Changed as changed:
            found = await self.side.stat(name)
            # the answer to a write of our own may have been lost; an object in parts has no MD5 on S3
            ours = found and changed.retried and found.size == size and found.md5 in {None, sent}
            if not ours:
                raise self._others(name) from None
        except Left as left:
            raise Refused(f"{name}: {left.why}", where=self.where, mend="give a place of its own") from None
        except Mismatch:
            raise Refused(
                f"{name} didn't arrive as it was sent", where=self.where, mend="give the command again"
            ) from None

    async def get(self, name: str) -> AsyncGenerator[bytes]:
        try:
            got = await self.side.get(name)
        except Left as left:
            raise Refused(f"{name}: {left.why}", where=self.where, mend="restore it first") from None
        if got is None:
            raise Absent(name)
        if got.body is not None:
            yield got.body
            return
        async for part in self._parts_of(name, got):
            yield part

    async def list(self) -> AsyncGenerator[Stored]:
        async for page in self.side.pages():
            for listed in page:
                yield Stored(listed.key, listed.size)

    async def delete(self, name: str) -> None:
        there = await self.side.stat(name)
        if there is None:
            return
        try:
            await self.side.delete(name, there.etag)
        except Changed:
            raise self._others(name) from None

    async def close(self) -> None:
        await self._http.close()

    async def _parts_of(self, name: str, got: Got) -> AsyncGenerator[bytes]:
        for start in range(0, got.size, PART):
            try:
                yield await self.side.part(name, got.etag, start, min(PART, got.size - start))
            except Changed:
                raise self._others(name) from None

    def _others(self, name: str) -> Refused:
        return Refused(
            f"{name} was written by somebody else meanwhile", where=self.where, mend="give a place of its own"
        )


def _folder(prefix: str) -> str:
    return f"{prefix.strip('/')}/" if prefix.strip("/") else ""


async def _parts(chunks: AsyncIterator[bytes], least: int) -> AsyncGenerator[bytes]:
    """As large as they have to be at least, except for the last."""
    part: list[bytes] = []
    async for chunk in chunks:
        part.append(chunk)
        if sum(len(each) for each in part) >= least:
            yield b"".join(part)
            part.clear()
    if part:
        yield b"".join(part)
