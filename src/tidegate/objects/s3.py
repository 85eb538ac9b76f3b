"""A bucket on S3."""

import asyncio
import base64
import hashlib
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree as ET

from tidegate.errors import TidegateError
from tidegate.objects.aws_chain import aws_credentials
from tidegate.objects.checksums import md5_in_base64
from tidegate.objects.http import Answer, Asker, Http, condition, refused
from tidegate.objects.listing import Page, s3_page
from tidegate.objects.names import refused_by_s3, unfit_for_s3
from tidegate.objects.paging import paged
from tidegate.objects.parts import sent_side_by_side
from tidegate.objects.side import (
    LARGE,
    OF_S3,
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
from tidegate.objects.signing import AwsKeys, Request, Streamed, encoded
from tidegate.objects.wire import Pool
from tidegate.runbook.migration import AwsBucket, Cloud

__all__ = ["S3Side"]

META = "x-amz-meta-"
CHANGED = {404, 409, 412}
DENIED = {400, 403}
MD5 = re.compile(r"[0-9a-f]{32}")
IN_PARTS = re.compile(r"[0-9a-f]{32}-(\d+)")
WITH_CHECKSUMS = {"x-amz-checksum-mode": "ENABLED"}
CHECKSUM = "x-amz-checksum-"
CHECKSUM_TYPE = "x-amz-checksum-type"
ALGORITHMS = ("crc64nvme", "crc32c", "crc32", "sha256", "sha1")
PARTS_ON_THEIR_WAY = 3
CLASSES = {"GLACIER", "DEEP_ARCHIVE"}
ARCHIVED = "it is archived: restore it first"


class S3Side:
    """Implements Side."""

    cloud: Cloud = "aws"
    most_parts = 10_000

    def __init__(self, store: str, spec: AwsBucket, http: Http, *, tags: bool = True) -> None:
        self.spec, self.prefix, self.tags = spec, spec.prefix, tags
        self.where = f"{store} on aws (bucket {spec.bucket})"
        if spec.endpoint:
            self.url = f"{spec.endpoint.rstrip('/')}/{spec.bucket}"
        elif "." in spec.bucket:  # AWS's certificates cover one label
            self.url = f"https://s3.{spec.region}.amazonaws.com/{spec.bucket}"
        else:
            self.url = f"https://{spec.bucket}.s3.{spec.region}.amazonaws.com"
        self.credentials = aws_credentials(spec, "s3", spec.region, self.where)
        self.http = http
        self._asker = Asker(http, self.url, self.where, self.credentials)

    def name(self, key: str) -> str:
        return key

    def unfit(self, properties: Properties) -> str:
        return unfit_for_s3(properties)

    @property
    def place(self) -> str:
        return f"{self.url}/{self.prefix}"

    def refuses(self, key: str) -> str:
        return refused_by_s3(self.prefix + key)

    async def pages(self, after: str = "") -> AsyncIterator[list[Listed]]:
        query = {"list-type": "2", "encoding-type": "url"} | ({"prefix": self.prefix} if self.prefix else {})
        query |= {"start-after": self.prefix + after} if after else {}
        pages = paged(lambda more: self._page(query | ({"continuation-token": more} if more else {})))
        async with aclosing(pages):
            async for entries in pages:
                yield entries

    async def _page(self, query: dict[str, str]) -> Page:
        answer = await self._asker.ask(Request("GET", self.url, query), {200})
        try:
            return s3_page(answer.body or b"", len(self.prefix))
        except ValueError as error:
            mend = "see whether this endpoint is the service itself, and no proxy's"
            raise TidegateError(f"its listing can't be read: {error}", where=self.where, mend=mend) from None

    async def stat(self, key: str) -> Listed | None:
        answer = await self._read_or_left(Request("HEAD", self._url(key)))
        if answer.status == 404:
            return None
        return Listed(key, int(answer.headers.get("content-length", 0)), answer.etag, _honest_md5(answer.headers))

    async def look(self, key: str) -> Got | None:
        return await self._read("HEAD", key)

    async def get(self, key: str) -> Got | None:
        return await self._read("GET", key)

    async def _read(self, method: str, key: str) -> Got | None:
        began = time.time()
        answer = await self._read_or_left(Request(method, self._url(key), headers=dict(WITH_CHECKSUMS)))
        if answer.status == 404:
            if method == "GET" and answer.code != "NoSuchKey":
                raise refused(answer, self.where)
            return None
        headers = answer.headers
        properties = _properties(headers)
        if self.tags and headers.get("x-amz-tagging-count", "0") != "0":
            properties = Properties(properties.headers, properties.metadata, await self._tags(key))
        parts = IN_PARTS.fullmatch(answer.etag)
        return Got(
            answer.etag,
            int(headers.get("content-length", 0)),
            _honest_md5(headers),
            properties,
            answer.body if method == "GET" else None,
            self.seen(headers, began),
            _checksums(headers),
            int(parts[1]) if parts else 0,
            headers.get("x-amz-version-id", ""),
            _unreadable(headers, archived=method == "HEAD" and _archived(headers)),
        )

    async def _read_or_left(self, request: Request) -> Answer:
        """200 or 404."""
        answer = await self._asker.ask(request, {200, *DENIED, 404}, LARGE)
        if answer.status not in DENIED:
            return answer
        if request.method == "HEAD":  # its answer has no body that says why
            first = Request("GET", request.url, headers={"range": "bytes=0-0"})
            answer = await self._asker.ask(first, {206, *DENIED, 404, 416}, LARGE)
            if answer.status not in DENIED:  # the credentials had expired, and are new now
                return await self._asker.ask(request, {200, 404})
        raise self._left(answer)

    def seen(self, headers: Mapping[str, str], began: float) -> float:
        """As of when an answer is, by its own clock; the request was made at `began`, by ours. Unix seconds."""
        return _date(headers.get("date", "")) - (time.time() - began) - 1  # its clock shows whole seconds

    def properties(self, headers: Mapping[str, str]) -> Properties:
        return _properties(headers)

    def checksum(self, headers: Mapping[str, str]) -> str:
        """S3's own of the whole, as ALGORITHM:BASE64; empty if there is none."""
        return next((f"{name}:{value}" for name, value in _checksums(headers).items()), "")

    @property
    def pool(self) -> Pool:
        return self._asker.http.pool(self.url)

    @property
    def path(self) -> str:
        """Of its URL."""
        return urlsplit(self.url).path

    def _left(self, answer: Answer) -> Exception:
        """Why this object alone can't be read; or that none can."""
        if answer.code == "InvalidObjectState":
            return Left(ARCHIVED)
        if answer.code == "InvalidRequest":
            return Left("a key of the customer's own encrypts it (SSE-C): S3 gives it to nobody else")
        if answer.code == "AccessDenied":
            return Left("it may not be read (AccessDenied): see its ACL, and the policies of the bucket and of its key")
        return refused(answer, self.where)

    async def _tags(self, key: str) -> dict[str, str]:
        answer = await self._asker.ask(Request("GET", self._url(key), {"tagging": ""}), {200, 404})
        if answer.status == 404:
            raise Changed
        root = ET.fromstring(answer.body or b"")  # noqa: S314 - from S3 itself
        return {each.findtext("{*}Key") or "": each.findtext("{*}Value") or "" for each in root.iterfind(".//{*}Tag")}

    async def part(self, key: str, etag: str, start: int, size: int) -> bytes:
        headers = {"if-match": f'"{etag}"', "range": f"bytes={start}-{start + size - 1}"}
        answer = await self._asker.ask(Request("GET", self._url(key), headers=headers), {206, *DENIED, *CHANGED})
        if answer.status in DENIED:
            raise self._left(answer)
        if answer.status != 206:
            raise Changed
        return answer.body or b""

    async def first_part(self, key: str) -> int:
        answer = await self._asker.ask(Request("HEAD", self._url(key), {"partNumber": "1"}), {200, 206, 404})
        return int(answer.headers.get("content-length", 0)) if answer.status != 404 else 0

    async def presigned(self, key: str, seconds: int, version: str = "") -> str:
        """A URL with which anybody can read it for so long, at the address at which Azure reaches the bucket."""
        url = self._url(key)
        if self.spec.peer:
            url = f"{self.spec.peer.rstrip('/')}/{self.spec.bucket}/{encoded(self.prefix + key, '/')}"
        signer = await self.credentials.signer()
        assert isinstance(signer, AwsKeys), "a bucket's credentials"
        return signer.presign(
            Request("GET", url, {"versionId": version} if version else {}), datetime.now(UTC), seconds
        )

    async def put(
        self, key: str, body: bytes | Streamed, md5: str, properties: Properties, over: str | None
    ) -> Written:
        headers = _headers(properties) | condition(over) | {"content-md5": md5_in_base64(md5)}
        request = Request("PUT", self._url(key), headers=headers)
        if isinstance(body, bytes):
            request.body = body
        else:
            request.stream = body
        return Written((await self._unless_changed(request)).etag, md5)

    async def put_parts(
        self, key: str, parts: AsyncIterator[bytes], properties: Properties, over: str | None, settle: Settle
    ) -> Written:
        url = self._url(key)
        begin = await self._asker.ask(Request("POST", url, {"uploads": ""}, _headers(properties)), {200})
        upload = ET.fromstring(begin.body or b"").findtext("{*}UploadId") or ""  # noqa: S314 - from S3 itself

        async def send(number: int, part: bytes) -> str:
            digest = await asyncio.to_thread(hashlib.md5, part, usedforsecurity=False)
            headers = {"content-md5": base64.b64encode(digest.digest()).decode()}
            query = {"partNumber": str(number + 1), "uploadId": upload}
            return (await self._asker.ask(Request("PUT", url, query, headers, part), {200})).etag

        try:
            etags = await sent_side_by_side(parts, send, PARTS_ON_THEIR_WAY)
            md5 = await settle()
            listed = "".join(
                f'<Part><PartNumber>{number}</PartNumber><ETag>"{etag}"</ETag></Part>'
                for number, etag in enumerate(etags, 1)
            )
            body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
            headers = condition(over) | {"content-type": "application/xml"}
            answer = await self._unless_changed(Request("POST", url, {"uploadId": upload}, headers, body))
        except (Exception, asyncio.CancelledError):
            with suppress(TidegateError):  # what went wrong before says more
                await self._asker.ask(Request("DELETE", url, {"uploadId": upload}), {204, 404})
            raise
        root = ET.fromstring(answer.body or b"")  # noqa: S314 - from S3 itself
        return Written((root.findtext("{*}ETag") or "").strip('"'), md5)

    async def delete(self, key: str, etag: str) -> None:
        request = Request("DELETE", self._url(key), headers={"if-match": f'"{etag}"'})
        answer = await self._asker.ask(request, {204, *CHANGED})
        if answer.status in {409, 412}:
            raise Changed
        if answer.status == 404 and answer.code != "NoSuchKey":
            raise refused(answer, self.where)

    async def ask(self, request: Request, fine: set[int], at_most: int | None = None) -> Answer:
        """What only the preflight asks for. Raises Unreachable, Refused."""
        return await self._asker.ask(request, fine, at_most)

    async def _unless_changed(self, request: Request) -> Answer:
        answer = await self._asker.ask(request, {200, 400, *CHANGED})
        if answer.status != 200:
            if answer.code in {"BadDigest", "InvalidDigest"}:
                raise Mismatch
            if answer.status == 400:
                raise refused(answer, self.where)
            lost = answer.code == "NoSuchUpload" and answer.retried  # the earlier try has put it together
            if answer.code in {"NoSuchBucket", "NoSuchUpload"} and not lost:
                raise refused(answer, self.where)
            raise Changed(retried=answer.retried)
        return answer

    def _url(self, key: str) -> str:
        return f"{self.url}/{encoded(self.prefix + key, '/')}"


def _headers(properties: Properties) -> dict[str, str]:
    headers = properties.headers | {f"{META}{name}": value for name, value in properties.metadata.items()}
    return headers | ({"x-amz-tagging": urlencode(properties.tags)} if properties.tags else {})


def _properties(headers: Mapping[str, str]) -> Properties:
    standard = {name: headers[name] for name in (*STANDARD, *OF_S3) if headers.get(name)}
    return Properties(standard, {name[len(META) :]: headers[name] for name in headers if name.startswith(META)})


def _checksums(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of the whole content: one that is composed of the parts' ends in their number."""
    if CHECKSUM_TYPE not in headers and not any(name.startswith(CHECKSUM) for name in headers):
        return {}
    if headers.get(CHECKSUM_TYPE, "FULL_OBJECT") != "FULL_OBJECT":
        return {}
    found = {name: headers[CHECKSUM + name] for name in ALGORITHMS if CHECKSUM + name in headers}
    return {name: value for name, value in found.items() if "-" not in value}


def _archived(headers: Mapping[str, str]) -> bool:
    """HEAD is answered for what is archived too. C: docs.aws.amazon.com, "HeadObject"."""
    archived = headers.get("x-amz-storage-class") in CLASSES or "x-amz-archive-status" in headers
    return archived and 'ongoing-request="false"' not in headers.get("x-amz-restore", "")


def _unreadable(headers: Mapping[str, str], *, archived: bool) -> str:
    """Why it can't be copied; empty if it can. C: docs.aws.amazon.com, "GetObject", x-amz-missing-meta."""
    if archived:
        return ARCHIVED
    missing = headers.get("x-amz-missing-meta", "0")
    return "" if missing == "0" else f"{missing} of its metadata can't be told by HTTP: rewrite them in ASCII"


@lru_cache(maxsize=16)
def _date(text: str) -> float:
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return 0.0


def _md5(etag: str) -> str | None:
    return etag if MD5.fullmatch(etag) else None


def _honest_md5(headers: Mapping[str, str]) -> str | None:
    """An ETag of an object that KMS or the customer's own key encrypts looks like an MD5 and isn't."""
    if headers.get("x-amz-server-side-encryption", "AES256") != "AES256":
        return None
    if "x-amz-server-side-encryption-customer-algorithm" in headers:
        return None
    return _md5(headers.get("etag", "").strip('"'))
