"""A container of Azure's Blob service."""

import base64
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree as ET

from tidegate.errors import Refused, TidegateError
from tidegate.objects.azure_chain import azure_credentials
from tidegate.objects.checksums import crc64, from_little_endian, little_endian, md5_in_base64
from tidegate.objects.http import Answer, Asker, Http, condition, refused
from tidegate.objects.listing import Page, blob_page
from tidegate.objects.names import (
    key_of,
    metadata_for_azure,
    metadata_from_azure,
    name_of,
    refused_by_blob,
    unfit_for_blob,
)
from tidegate.objects.paging import paged
from tidegate.objects.parts import sent_side_by_side
from tidegate.objects.side import (
    LARGE,
    STANDARD,
    Changed,
    Got,
    Left,
    Listed,
    Mismatch,
    Properties,
    Settle,
    Written,
)
from tidegate.objects.signing import Request, Streamed, encoded
from tidegate.objects.wire import Pool
from tidegate.runbook.migration import AzureContainer, Cloud

__all__ = ["BlobSide", "NotFromThere", "Upload"]

META = "x-ms-meta-"
CHANGED = {404, 409, 412}
BLOCKS_ON_THEIR_WAY = 3
CONTAINER = {"restype": "container"}
PAGE = "5000"
DAMAGED = {"Md5Mismatch", "Crc64Mismatch"}
KEPT = {"BlobArchived", "BlobImmutableDueToPolicy", "LeaseIdMissing", "SnapshotsPresent"}
"""Blob takes nothing in the place of what is there, or doesn't delete it, whoever asks."""
EXISTS = {"BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet"}
ARCHIVED = "it is archived: rehydrate it first"


class NotFromThere(Exception):
    """Azure didn't copy from a URL. `for_all`: it can't, whatever the object."""

    def __init__(self, why: str, *, for_all: bool = False) -> None:
        super().__init__(why)
        self.why, self.for_all = why, for_all


class Upload:
    """Names for blocks: nobody else's of the same blob get among ours."""

    def __init__(self) -> None:
        self._token = secrets.token_hex(6)

    def block(self, number: int) -> str:
        return base64.b64encode(f"{self._token}{number:06}".encode()).decode()


class BlobSide:
    """Implements Side."""

    cloud: Cloud = "azure"
    most_parts = 50_000

    def __init__(self, store: str, spec: AzureContainer, http: Http, *, tags: bool = True, maps: bool = False) -> None:
        self.spec, self.prefix, self.tags, self.maps = spec, spec.prefix, tags, maps
        self.to_be_made = False
        """Of the container, where nothing is written: what would be in it?"""
        self.where = f"{store} on azure (container {spec.container})"
        endpoint = (spec.endpoint or f"https://{spec.account}.blob.core.windows.net").rstrip("/")
        self.url = f"{endpoint}/{spec.container}"
        self.credentials = azure_credentials(spec, self.where)
        self._asker = Asker(http, self.url, self.where, self.credentials)

    def unfit(self, properties: Properties) -> str:
        return unfit_for_blob(properties)

    @property
    def place(self) -> str:
        return f"{self.url}/{self.prefix}"

    def described(self, properties: Properties) -> dict[str, str]:
        """As headers of a request."""
        return _headers(properties)

    @property
    def pool(self) -> Pool:
        return self._asker.http.pool(self.url)

    @property
    def path(self) -> str:
        """Of its URL."""
        return urlsplit(self.url).path

    def refuses(self, key: str) -> str:
        return refused_by_blob(self.prefix + (name_of(key) if self.maps else key))

    def name(self, key: str) -> str:
        """What the object is called here, where that isn't its key."""
        return name_of(key) if self.maps else key

    async def create(self) -> bool:
        """The container. False if it was there."""
        answer = await self._asker.ask(Request("PUT", self.url, CONTAINER), {201, 409})
        if answer.status == 409 and answer.code != "ContainerAlreadyExists":  # such as ContainerBeingDeleted
            raise refused(answer, self.where)
        return answer.status == 201

    async def exists(self) -> bool:
        answer = await self._asker.ask(Request("HEAD", self.url, CONTAINER), {200, 404})
        return answer.status == 200

    async def holds_anything(self) -> bool:
        query = CONTAINER | {"comp": "list", "maxresults": "1"} | ({"prefix": self.prefix} if self.prefix else {})
        while True:  # a page may be empty, and not the last
            page = await self._page(query)
            if page.entries or not page.more:
                return bool(page.entries)
            query["marker"] = page.more

    async def drop(self) -> None:
        """The container with all that is in it."""
        await self._asker.ask(Request("DELETE", self.url, CONTAINER), {202, 404})

    async def pages(self, after: str = "") -> AsyncIterator[list[Listed]]:
        query = CONTAINER | {"comp": "list", "maxresults": PAGE} | ({"prefix": self.prefix} if self.prefix else {})
        pages = paged(lambda more: self._page(query | ({"marker": more} if more else {})))
        async with aclosing(pages):
            async for page in pages:
                entries = [self._keyed(each) for each in page] if self.maps else page
                yield [each for each in entries if each.key > after] if after else entries

    def _keyed(self, blob: Listed) -> Listed:
        key = key_of(blob.key)
        if name_of(key) != blob.key:
            raise Refused(
                f"no key is mapped to the name {blob.key!r}: it can't be told from another's",
                where=self.where,
                mend="rename that blob",
            )
        return blob._replace(key=key)

    async def _page(self, query: dict[str, str]) -> Page:
        answer = await self._asker.ask(Request("GET", self.url, query), {200})
        try:
            return blob_page(answer.body or b"", len(self.prefix))
        except ValueError as error:
            mend = "see whether this endpoint is the service itself, and no proxy's"
            raise TidegateError(f"its listing can't be read: {error}", where=self.where, mend=mend) from None

    async def stat(self, key: str) -> Listed | None:
        answer = await self._asker.ask(Request("HEAD", self._url(key)), {200, 404})
        if answer.status == 404:
            return self._not_there(answer)
        return Listed(key, int(answer.headers["content-length"]), answer.etag, _md5(answer.headers))

    async def look(self, key: str) -> Got | None:
        return await self._read("HEAD", key)

    async def get(self, key: str) -> Got | None:
        return await self._read("GET", key)

    async def _read(self, method: str, key: str) -> Got | None:
        answer = await self._asker.ask(Request(method, self._url(key)), {200, 404, 409}, LARGE)
        if answer.status == 404:
            return self._not_there(answer)
        if answer.status == 409:
            if answer.code == "BlobArchived":
                raise Left(ARCHIVED)
            raise refused(answer, self.where)
        headers = answer.headers
        properties = _properties(headers)
        if self.tags and headers.get("x-ms-tag-count", "0") != "0":
            properties = Properties(properties.headers, properties.metadata, await self._tags(key))
        body = answer.body if method == "GET" else None
        unreadable = ARCHIVED if headers.get("x-ms-access-tier") == "Archive" else ""
        size = int(headers.get("content-length", 0))
        return Got(answer.etag, size, _md5(headers), properties, body, unreadable=unreadable)

    async def _tags(self, key: str) -> dict[str, str]:
        answer = await self._asker.ask(Request("GET", self._url(key), {"comp": "tags"}), {200, 404})
        if answer.status == 404:
            raise Changed
        root = ET.fromstring(answer.body or b"")  # noqa: S314 - from Azure itself
        return {each.findtext("Key") or "": each.findtext("Value") or "" for each in root.iterfind(".//Tag")}

    async def part(self, key: str, etag: str, start: int, size: int) -> bytes:
        headers = {"if-match": f'"{etag}"', "range": f"bytes={start}-{start + size - 1}"}
        answer = await self._asker.ask(Request("GET", self._url(key), headers=headers), {206, *CHANGED})
        if answer.code == "BlobArchived":
            raise Left(ARCHIVED)
        if answer.status != 206:
            raise Changed
        return answer.body or b""

    async def first_part(self, key: str) -> int:
        """Blob forgets in which parts it was sent."""
        return 0

    async def put(
        self, key: str, body: bytes | Streamed, md5: str, properties: Properties, over: str | None
    ) -> Written:
        headers = (
            _headers(properties) | condition(over) | {"x-ms-blob-type": "BlockBlob", "content-md5": md5_in_base64(md5)}
        )
        request = Request("PUT", self._url(key), headers=headers)
        if isinstance(body, bytes):
            request.body = body
        else:
            request.stream = body
        return Written((await self._unless_changed(request)).etag, md5)

    async def put_parts(
        self, key: str, parts: AsyncIterator[bytes], properties: Properties, over: str | None, settle: Settle
    ) -> Written:
        url, upload = self._url(key), Upload()

        async def send(number: int, part: bytes) -> str:
            block = upload.block(number)
            headers = {"x-ms-content-crc64": little_endian(crc64(part))}
            request = Request("PUT", url, {"comp": "block", "blockid": block}, headers, part)
            answer = await self._asker.ask(request, {201, 400})
            if answer.code == "InvalidBlobOrBlock":  # all names of a blob's blocks have one length
                raise Left("another program has begun to write it in blocks: end that, or wait a week")
            if answer.status != 201:
                raise refused(answer, self.where)
            return block

        blocks = await sent_side_by_side(parts, send, BLOCKS_ON_THEIR_WAY)
        return await self.commit(key, blocks, await settle(), properties, over)

    async def commit(
        self, key: str, blocks: Sequence[str], md5: str, properties: Properties, over: str | None
    ) -> Written:
        """Makes a blob of blocks that Azure has. `md5` in hex is kept with it, unless it is empty."""
        listed = "".join(f"<Latest>{each}</Latest>" for each in blocks)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'.encode()
        headers = _headers(properties) | condition(over)
        if md5:
            headers["x-ms-blob-content-md5"] = md5_in_base64(md5)
        request = Request("PUT", self._url(key), {"comp": "blocklist"}, headers, body)
        return Written((await self._unless_changed(request)).etag, md5)

    async def put_from(self, key: str, url: str, md5: str, properties: Properties, over: str | None) -> Written:
        """Azure reads the whole from there, checks the MD5 itself, and keeps it. Raises NotFromThere."""
        headers = _headers(properties) | condition(over)
        headers |= {"x-ms-blob-type": "BlockBlob", "x-ms-copy-source": url}
        headers |= dict.fromkeys(("x-ms-source-content-md5", "x-ms-blob-content-md5"), md5_in_base64(md5))
        answer = await self._from_there(Request("PUT", self._url(key), headers=headers))
        return Written(answer.etag, md5)

    async def block_from(self, key: str, block: str, url: str, start: int, size: int) -> int:
        """One block of what is there. Returns the CRC64 of what Azure has read. Raises NotFromThere."""
        headers = {"x-ms-copy-source": url, "x-ms-source-range": f"bytes={start}-{start + size - 1}"}
        request = Request("PUT", self._url(key), {"comp": "block", "blockid": block}, headers)
        answer = await self._from_there(request)
        if "x-ms-content-crc64" not in answer.headers:
            raise NotFromThere("it doesn't say what it has read", for_all=True)
        return from_little_endian(answer.headers["x-ms-content-crc64"])

    async def _from_there(self, request: Request) -> Answer:
        answer = await self._asker.ask(request, {201, 400, 401, 403, *CHANGED, 500, 501, 503})
        if answer.status == 201:
            return answer
        if answer.code in EXISTS:
            raise Changed(retried=answer.retried)
        raise NotFromThere(f"{answer.status} {answer.code}", for_all=answer.status == 501)

    async def delete(self, key: str, etag: str) -> None:
        request = Request("DELETE", self._url(key), headers={"if-match": f'"{etag}"'})
        answer = await self._asker.ask(request, {202, *CHANGED})
        self._not_kept(answer)
        if answer.status == 409:
            raise refused(answer, self.where)
        if answer.status == 412:
            raise Changed
        if answer.status == 404:
            self._not_there(answer)

    async def ask(self, request: Request, fine: set[int], at_most: int | None = None) -> Answer:
        """What only the preflight asks for. Raises Unreachable, Refused."""
        return await self._asker.ask(request, fine, at_most)

    async def _unless_changed(self, request: Request) -> Answer:
        answer = await self._asker.ask(request, {201, 400, *CHANGED})
        if answer.status == 201:
            return answer
        # whoever wrote the blob meanwhile has done away with our blocks
        if answer.code in {*EXISTS, "InvalidBlockList"}:
            raise Changed(retried=answer.retried)
        if answer.code in DAMAGED:
            raise Mismatch
        self._not_kept(answer)
        raise refused(answer, self.where)

    def _not_kept(self, answer: Answer) -> None:
        if answer.code in KEPT:
            raise Left(f"Blob keeps what is there ({answer.code})")

    def _not_there(self, answer: Answer) -> None:
        """A container that is gone says nothing about its blobs; one that isn't made yet does."""
        if answer.code != "BlobNotFound" and not self.to_be_made:
            raise refused(answer, self.where)

    def _url(self, key: str) -> str:
        return f"{self.url}/{encoded(self.prefix + self.name(key), '/')}"


def _headers(properties: Properties) -> dict[str, str]:
    found = {f"x-ms-blob-{name}": value for name, value in properties.headers.items() if name in STANDARD}
    found |= {f"{META}{name}": value for name, value in metadata_for_azure(properties).items()}
    return found | ({"x-ms-tags": urlencode(properties.tags)} if properties.tags else {})


def _properties(headers: Mapping[str, str]) -> Properties:
    standard = {name: headers[name] for name in STANDARD if headers.get(name)}
    own, metadata = metadata_from_azure({n[len(META) :]: headers[n] for n in headers if n.startswith(META)})
    return Properties(standard | own, metadata)


def _md5(headers: Mapping[str, str]) -> str | None:
    return _hex(headers.get("content-md5"))


def _hex(text: str | None) -> str | None:
    return base64.b64decode(text).hex() if text else None
