"""A container of Azure's Blob service."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Mapping
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from tidegate.errors import InvalidMigration, TidegateError
from tidegate.objects.http import Answer, Asker, Http, refused
from tidegate.objects.names import metadata_for_azure, metadata_from_azure, refused_by_blob
from tidegate.objects.side import LARGE, STANDARD, Changed, Got, Intend, Listed, Properties, Written
from tidegate.objects.signing import AzureKey, Request, encoded
from tidegate.runbook.migration import AzureContainer, Cloud
from tidegate.secret import resolve

__all__ = ["BlobSide"]

META = "x-ms-meta-"
CHANGED = {404, 409, 412}
BLOCKS_ON_THEIR_WAY = 3
CONTAINER = {"restype": "container"}
PAGE = "1000"
"""As S3's: a service that lists 5,000 at once keeps others waiting meanwhile."""


class BlobSide:
    """Implements Side."""

    cloud: Cloud = "azure"

    def __init__(self, store: str, spec: AzureContainer, http: Http) -> None:
        self.where = f"{store} on azure (container {spec.container})"
        endpoint = (spec.endpoint or f"https://{spec.account}.blob.core.windows.net").rstrip("/")
        self.url = f"{endpoint}/{spec.container}"
        self._asker = Asker(http, self.where, lambda: _key(spec).sign)

    def refuses(self, key: str) -> str:
        return refused_by_blob(key)

    async def create(self) -> bool:
        """The container. False if it was there."""
        answer = await self._asker.ask(Request("PUT", self.url, CONTAINER), {201, 409})
        if answer.status == 409 and answer.code != "ContainerAlreadyExists":  # such as ContainerBeingDeleted
            raise refused(answer, self.where)
        return answer.status == 201

    async def exists(self) -> bool:
        answer = await self._asker.ask(Request("HEAD", self.url, CONTAINER), {200, 404})
        return answer.status == 200

    async def drop(self) -> None:
        """The container with all that is in it."""
        await self._asker.ask(Request("DELETE", self.url, CONTAINER), {202, 404})

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[Listed]:
        marker = ""
        while True:
            query = CONTAINER | {"comp": "list", "maxresults": PAGE} | ({"marker": marker} if marker else {})
            query |= {"prefix": prefix} if prefix else {}
            answer = await self._asker.ask(Request("GET", self.url, query), {200})
            try:
                root = ET.fromstring(answer.body or b"")  # noqa: S314 - from Azure itself
            except ET.ParseError as error:
                raise TidegateError(f"its listing can't be read: {error}", where=self.where) from None
            for each in root.iterfind("Blobs/Blob"):
                name = each.find("Name")
                properties = each.find("Properties")
                if name is None or properties is None:
                    continue
                key = name.text or ""
                key = unquote(key) if name.get("Encoded") == "true" else key
                if key.encode() <= after.encode() and after:
                    continue  # the service begins with the first
                etag = (properties.findtext("Etag") or "").strip('"')
                size = int(properties.findtext("Content-Length") or 0)
                archived = properties.findtext("AccessTier") == "Archive"
                yield Listed(key, size, etag, _hex(properties.findtext("Content-MD5")), archived)
            marker = root.findtext("NextMarker") or ""
            if not marker:
                return

    async def stat(self, key: str) -> Listed | None:
        answer = await self._asker.ask(Request("HEAD", self._url(key)), {200, 404})
        if answer.status == 404:
            return self._not_there(answer)
        return Listed(key, int(answer.headers["Content-Length"]), _etag(answer), _md5(answer.headers))

    async def get(self, key: str) -> Got | None:
        answer = await self._asker.ask(Request("GET", self._url(key)), {200, 404}, LARGE)
        if answer.status == 404:
            return self._not_there(answer)
        size = int(answer.headers.get("Content-Length", 0))
        return Got(_etag(answer), size, _md5(answer.headers), _properties(answer.headers), answer.body)

    async def part(self, key: str, etag: str, start: int, size: int) -> bytes:
        headers = {"if-match": f'"{etag}"', "x-ms-range": f"bytes={start}-{start + size - 1}"}
        answer = await self._asker.ask(Request("GET", self._url(key), headers=headers), {206, *CHANGED})
        if answer.status != 206:
            raise Changed
        return answer.body or b""

    async def put(self, key: str, body: bytes, properties: Properties, over: str | None, intend: Intend) -> Written:
        md5 = hashlib.md5(body, usedforsecurity=False).digest()
        intend(md5.hex())
        headers = _headers(properties) | _condition(over)
        headers |= {"x-ms-blob-type": "BlockBlob", "content-md5": base64.b64encode(md5).decode()}
        request = Request("PUT", self._url(key), headers=headers, body=body)
        return Written(_etag(await self._unless_changed(request)), md5.hex())

    async def put_parts(
        self, key: str, parts: AsyncIterator[bytes], properties: Properties, over: str | None, intend: Intend
    ) -> Written:
        url = self._url(key)
        whole, ids = hashlib.md5(usedforsecurity=False), list[str]()
        sending: set[asyncio.Task[Answer]] = set()
        try:
            async for part in parts:
                whole.update(part)
                ids.append(base64.b64encode(f"{len(ids):08}".encode()).decode())
                md5 = base64.b64encode(hashlib.md5(part, usedforsecurity=False).digest()).decode()
                block = Request("PUT", url, {"comp": "block", "blockid": ids[-1]}, {"content-md5": md5}, part)
                sending.add(asyncio.create_task(self._asker.ask(block, {201})))
                if len(sending) >= BLOCKS_ON_THEIR_WAY:
                    done, sending = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
            await asyncio.gather(*sending)
        finally:
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
        intend(whole.hexdigest())
        listed = "".join(f"<Latest>{each}</Latest>" for each in ids)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'.encode()
        headers = _headers(properties) | _condition(over)
        headers["x-ms-blob-content-md5"] = base64.b64encode(whole.digest()).decode()
        answer = await self._unless_changed(Request("PUT", url, {"comp": "blocklist"}, headers, body))
        return Written(_etag(answer), whole.hexdigest())

    async def delete(self, key: str, etag: str) -> None:
        request = Request("DELETE", self._url(key), headers={"if-match": f'"{etag}"'})
        answer = await self._asker.ask(request, {202, 404, 412})
        if answer.status == 412:
            raise Changed
        if answer.status == 404:
            self._not_there(answer)

    async def _unless_changed(self, request: Request) -> Answer:
        answer = await self._asker.ask(request, {201, *CHANGED})
        if answer.status == 201:
            return answer
        if answer.code in {"BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet"}:
            raise Changed(retried=answer.retried)
        raise refused(answer, self.where)

    def _not_there(self, answer: Answer) -> None:
        """A container that is gone says nothing about its blobs."""
        if answer.code != "BlobNotFound":
            raise refused(answer, self.where)

    def _url(self, key: str) -> str:
        return f"{self.url}/{encoded(key, '/')}"


def _key(spec: AzureContainer) -> AzureKey:
    try:
        return AzureKey(spec.account, base64.b64decode(resolve(spec.key), validate=True))
    except ValueError:
        raise InvalidMigration(
            "the account's key isn't base64", where=spec.key, mend="copy it again from the portal"
        ) from None


def _condition(over: str | None) -> dict[str, str]:
    return {"if-none-match": "*"} if over is None else {"if-match": f'"{over}"'}


def _headers(properties: Properties) -> dict[str, str]:
    standard = {f"x-ms-blob-{name}": value for name, value in properties.headers.items()}
    return standard | {f"{META}{name}": value for name, value in metadata_for_azure(properties.metadata).items()}


def _properties(headers: Mapping[str, str]) -> Properties:
    standard = {name: headers[name] for name in STANDARD if headers.get(name)}
    metadata = {name[len(META) :]: headers[name] for name in headers if name.lower().startswith(META)}
    return Properties(standard, metadata_from_azure(metadata))


def _etag(answer: Answer) -> str:
    return answer.headers.get("ETag", "").strip('"')


def _md5(headers: Mapping[str, str]) -> str | None:
    return _hex(headers.get("Content-MD5"))


def _hex(text: str | None) -> str | None:
    return base64.b64decode(text).hex() if text else None
