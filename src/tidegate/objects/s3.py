"""A bucket on S3."""

import asyncio
import base64
import hashlib
import re
import time
from collections.abc import AsyncIterator, Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

from tidegate.errors import TidegateError
from tidegate.objects.http import Answer, Asker, Http, refused
from tidegate.objects.names import refused_by_s3
from tidegate.objects.side import LARGE, STANDARD, Changed, Got, Intend, Listed, Properties, Written
from tidegate.objects.signing import AwsKeys, Request, encoded
from tidegate.runbook.migration import AwsBucket, Cloud
from tidegate.secret import resolve

__all__ = ["S3Side"]

META = "x-amz-meta-"
ARCHIVED = {"GLACIER", "DEEP_ARCHIVE"}
CHANGED = {404, 409, 412}
MD5 = re.compile(r"[0-9a-f]{32}")


class S3Side:
    """Implements Side."""

    cloud: Cloud = "aws"

    def __init__(self, store: str, spec: AwsBucket, http: Http) -> None:
        self.spec = spec
        self.where = f"{store} on aws (bucket {spec.bucket})"
        if spec.endpoint:
            self.url = f"{spec.endpoint.rstrip('/')}/{spec.bucket}"
        elif "." in spec.bucket:  # AWS's certificates cover one label
            self.url = f"https://s3.{spec.region}.amazonaws.com/{spec.bucket}"
        else:
            self.url = f"https://{spec.bucket}.s3.{spec.region}.amazonaws.com"
        self._asker = Asker(http, self.where, lambda: _keys(spec).sign)

    def refuses(self, key: str) -> str:
        return refused_by_s3(key)

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[Listed]:
        token = ""
        while True:
            query = {"list-type": "2", "encoding-type": "url"} | ({"continuation-token": token} if token else {})
            query |= {"prefix": prefix} if prefix else {}
            query |= {"start-after": after} if after else {}
            root = await self._xml(query)
            for each in root.iterfind("{*}Contents"):
                key = unquote_plus(each.findtext("{*}Key") or "")
                etag = (each.findtext("{*}ETag") or "").strip('"')
                size = int(each.findtext("{*}Size") or 0)
                archived = each.findtext("{*}StorageClass") in ARCHIVED
                yield Listed(key, size, etag, _md5(etag), archived)
            token = root.findtext("{*}NextContinuationToken") or ""
            if root.findtext("{*}IsTruncated") != "true":
                return

    async def stat(self, key: str) -> Listed | None:
        answer = await self._asker.ask(Request("HEAD", self._url(key)), {200, 404})
        if answer.status == 404:
            return None
        etag, size = _etag(answer), int(answer.headers.get("Content-Length", 0))
        return Listed(key, size, etag, _honest_md5(answer.headers))

    async def get(self, key: str) -> Got | None:
        began = time.monotonic()
        answer = await self._asker.ask(Request("GET", self._url(key)), {200, 404}, LARGE)
        if answer.status == 404:
            if answer.code != "NoSuchKey":
                raise refused(answer, self.where)
            return None
        size = int(answer.headers.get("Content-Length", 0))
        seen = _date(answer) - (time.monotonic() - began) - 1  # its clock shows whole seconds
        return Got(_etag(answer), size, _honest_md5(answer.headers), _properties(answer.headers), answer.body, seen)

    async def part(self, key: str, etag: str, start: int, size: int) -> bytes:
        headers = {"if-match": f'"{etag}"', "range": f"bytes={start}-{start + size - 1}"}
        answer = await self._asker.ask(Request("GET", self._url(key), headers=headers), {206, *CHANGED})
        if answer.status != 206:
            raise Changed
        return answer.body or b""

    async def put(self, key: str, body: bytes, properties: Properties, over: str | None, intend: Intend) -> Written:
        md5 = hashlib.md5(body, usedforsecurity=False).digest()
        intend(md5.hex())
        headers = _headers(properties) | _condition(over) | {"content-md5": base64.b64encode(md5).decode()}
        request = Request("PUT", self._url(key), headers=headers, body=body)
        return Written(_etag(await self._unless_changed(request)), md5.hex())

    async def put_parts(
        self, key: str, parts: AsyncIterator[bytes], properties: Properties, over: str | None, intend: Intend
    ) -> Written:
        url = self._url(key)
        begin = await self._asker.ask(Request("POST", url, {"uploads": ""}, _headers(properties)), {200})
        upload = ET.fromstring(begin.body or b"").findtext("{*}UploadId") or ""  # noqa: S314 - from S3 itself
        try:
            whole, etags = hashlib.md5(usedforsecurity=False), list[str]()
            async for part in parts:
                whole.update(part)
                md5 = base64.b64encode(hashlib.md5(part, usedforsecurity=False).digest()).decode()
                query = {"partNumber": str(len(etags) + 1), "uploadId": upload}
                etags.append(
                    _etag(await self._asker.ask(Request("PUT", url, query, {"content-md5": md5}, part), {200}))
                )
            intend(whole.hexdigest())
            listed = "".join(
                f'<Part><PartNumber>{number}</PartNumber><ETag>"{etag}"</ETag></Part>'
                for number, etag in enumerate(etags, 1)
            )
            body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
            headers = _condition(over) | {"content-type": "application/xml"}
            answer = await self._unless_changed(Request("POST", url, {"uploadId": upload}, headers, body))
        except (Exception, asyncio.CancelledError):
            await self._asker.ask(Request("DELETE", url, {"uploadId": upload}), {204, 404})
            raise
        root = ET.fromstring(answer.body or b"")  # noqa: S314 - from S3 itself
        if root.tag.endswith("Error"):  # S3 may say so after having answered 200
            raise refused(answer, self.where)
        return Written((root.findtext("{*}ETag") or "").strip('"'), whole.hexdigest())

    async def delete(self, key: str, etag: str) -> None:
        request = Request("DELETE", self._url(key), headers={"if-match": f'"{etag}"'})
        answer = await self._asker.ask(request, {204, *CHANGED})
        if answer.status in {409, 412}:
            raise Changed
        if answer.status == 404 and answer.code != "NoSuchKey":
            raise refused(answer, self.where)

    async def setting(self, name: str) -> ET.Element | None:
        """A setting of the bucket (`versioning`, `encryption`); None if it isn't set, or may not be read."""
        answer = await self._asker.ask(Request("GET", self.url, {name: ""}), {200, 403, 404, 501})
        if answer.code == "NoSuchBucket":
            raise refused(answer, self.where)
        return ET.fromstring(answer.body or b"") if answer.status == 200 else None  # noqa: S314 - from S3 itself

    async def _unless_changed(self, request: Request) -> Answer:
        answer = await self._asker.ask(request, {200, *CHANGED})
        if answer.status != 200:
            if answer.code in {"NoSuchBucket", "NoSuchUpload"}:
                raise refused(answer, self.where)
            raise Changed(retried=answer.retried)
        return answer

    async def _xml(self, query: dict[str, str]) -> ET.Element:
        answer = await self._asker.ask(Request("GET", f"{self.url}", query), {200})
        try:
            return ET.fromstring(answer.body or b"")  # noqa: S314 - from S3 itself
        except ET.ParseError as error:
            raise TidegateError(f"its listing can't be read: {error}", where=self.where) from None

    def _url(self, key: str) -> str:
        return f"{self.url}/{encoded(key, '/')}"


def _keys(spec: AwsBucket) -> AwsKeys:
    return AwsKeys(resolve(spec.access_key), resolve(spec.secret_key), spec.region, "s3")


def _condition(over: str | None) -> dict[str, str]:
    return {"if-none-match": "*"} if over is None else {"if-match": f'"{over}"'}


def _headers(properties: Properties) -> dict[str, str]:
    return properties.headers | {f"{META}{name}": value for name, value in properties.metadata.items()}


def _properties(headers: Mapping[str, str]) -> Properties:
    standard = {name: headers[name] for name in STANDARD if headers.get(name)}
    names = [name for name in headers if name.lower().startswith(META)]
    return Properties(standard, {name[len(META) :].lower(): headers[name] for name in names})


def _etag(answer: Answer) -> str:
    return answer.headers.get("ETag", "").strip('"')


def _date(answer: Answer) -> float:
    try:
        return parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
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
    return _md5(headers.get("ETag", "").strip('"'))
