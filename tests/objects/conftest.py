import asyncio
import hashlib
import secrets
import sys
import uuid
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tidegate.lab.buckets import ACCESS_KEY, SECRET_KEY, Buckets
from tidegate.lab.sample import REGION
from tidegate.lab.servers.azurite import ACCOUNT, KEY
from tidegate.lab.servers.process import quiet_environment
from tidegate.objects.blob import BlobSide
from tidegate.objects.bucket import BucketMove
from tidegate.objects.http import Http
from tidegate.objects.s3 import S3Side
from tidegate.objects.side import Properties
from tidegate.objects.signing import Request, encoded
from tidegate.runbook.migration import Bucket

_buckets = cache(Buckets)
"""Its clients take a quarter of a second to be made."""


class Said(NamedTuple):
    """By a command, when it ended."""

    code: int
    out: str
    err: str


class Receipts:
    """A bucket on moto, perhaps with a queue, and a container on Azurite that isn't there yet."""

    def __init__(self, moto, azurite, folder: Path, *, events: bool) -> None:
        self.name = f"receipts-{uuid.uuid4().hex[:8]}"
        self.folder = folder
        buckets = _buckets(moto.url)
        buckets.create(self.name)
        self.s3: Any = buckets.s3
        self.spec = Bucket.model_validate(
            {
                "kind": "bucket",
                "aws": {
                    "bucket": self.name,
                    "region": REGION,
                    "access_key": "env:LAB_ACCESS_KEY",
                    "secret_key": "env:LAB_SECRET_KEY",
                    "endpoint": moto.url,
                    "events": buckets.announce(self.name) if events else None,
                },
                "azure": {
                    "account": ACCOUNT,
                    "container": self.name,
                    "key": "env:LAB_ACCOUNT_KEY",
                    "endpoint": azurite.url,
                },
            }
        )
        self.manifest = folder / "receipts.objects.sqlite"
        self.moves: list[BucketMove] = []
        self.http = Http()
        self.aws = S3Side("receipts", self.spec.aws, self.http)
        self.azure = BlobSide("receipts", self.spec.azure, self.http)

    def move(self, **change: Any) -> BucketMove:
        """As another process would open it. `change`: of the spec; of a side, only these fields."""
        document = self.spec.model_dump(mode="json")
        for side, fields in change.items():
            document[side] = document[side] | fields if isinstance(fields, dict) else fields
        move = BucketMove("receipts", Bucket.model_validate(document), self.manifest)
        self.moves.append(move)
        return move

    def put(self, key: str, body: bytes = b"receipt", **options: Any) -> None:
        self.s3.put_object(Bucket=self.name, Key=key, Body=body, **options)

    def put_in_parts(self, key: str, *parts: bytes, **options: Any) -> None:
        """As most tools upload what is large."""
        where = {"Bucket": self.name, "Key": key}
        where["UploadId"] = self.s3.create_multipart_upload(**where, **options)["UploadId"]
        sent = [
            {"PartNumber": i, "ETag": self.s3.upload_part(**where, PartNumber=i, Body=part)["ETag"]}
            for i, part in enumerate(parts, 1)
        ]
        self.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": sent})

    def delete(self, key: str) -> None:
        self.s3.delete_object(Bucket=self.name, Key=key)

    async def tidegate(self, verb: str, *options: str) -> Said:
        """`tidegate objects VERB`, in a process of its own."""
        aws, azure = self.spec.aws, self.spec.azure
        argv = (
            *(sys.executable, "-m", "tidegate", "objects", verb),
            *(f"s3://{aws.bucket}", f"azure://{azure.account}/{azure.container}"),
            *("--source-endpoint", str(aws.endpoint), "--target-endpoint", str(azure.endpoint)),
            *("--region", aws.region, "--manifest", str(self.manifest), *options),
        )
        own = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AZURE_STORAGE_KEY": KEY}
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(*argv, stdout=pipe, stderr=pipe, env=quiet_environment() | own)
        out, err = await child.communicate()
        return Said(child.returncode or 0, out.decode(), err.decode())

    async def put_on_azure(self, key: str, body: bytes, **properties: Any) -> None:
        """As the application would: over whatever is there."""
        there = await self.azure.stat(key)
        md5 = hashlib.md5(body).hexdigest()
        await self.azure.put(key, body, md5, Properties(**properties), there.etag if there else None)

    async def put_in_blocks(self, key: str, body: bytes) -> None:
        """As programs write on Azure that know no MD5."""
        url, block = f"{self.azure.url}/{encoded(key, '/')}", "YQ=="
        await self.azure.ask(Request("PUT", url, {"comp": "block", "blockid": block}, {}, body), {201})
        listed = f"<BlockList><Latest>{block}</Latest></BlockList>".encode()
        headers = {"x-ms-blob-content-type": "binary/octet-stream"}
        await self.azure.ask(Request("PUT", url, {"comp": "blocklist"}, headers, listed), {201})

    async def delete_on_azure(self, key: str) -> None:
        await self.azure.delete(key, (await self.azure.stat(key)).etag)

    async def on(self, cloud: str) -> dict[str, bytes]:
        """Everything that a side holds."""
        side = self.aws if cloud == "aws" else self.azure
        found = {}
        async for each in (each async for page in side.pages() for each in page):
            got = await side.get(each.key)
            if got is not None:  # or it has gone since
                whole = got.body is not None
                found[each.key] = got.body if whole else await side.part(each.key, got.etag, 0, got.size)
        return found

    async def close(self) -> None:
        for move in self.moves:
            await move.close()
        await self.http.close()


@pytest.fixture
async def make_receipts(moto, azurite, tmp_path, monkeypatch) -> AsyncIterator[Any]:
    for name, value in (("ACCESS_KEY", ACCESS_KEY), ("SECRET_KEY", SECRET_KEY), ("ACCOUNT_KEY", KEY)):
        monkeypatch.setenv(f"LAB_{name}", value)
    made = []

    def make(*, events: bool = True) -> Receipts:
        made.append(Receipts(moto, azurite, tmp_path / secrets.token_hex(4), events=events))
        return made[-1]

    yield make
    for receipts in made:
        await receipts.close()


@pytest.fixture
def receipts(make_receipts) -> Receipts:
    return make_receipts()


@pytest.fixture
def silent_receipts(make_receipts) -> Receipts:
    """Without a queue: changes are found by listing."""
    return make_receipts(events=False)
