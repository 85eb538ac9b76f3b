"""What a container of Azurite holds, as Azure's own protocol tells it; signed with the account's key."""

import base64
import http.client
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from tidegate.lab.servers.azurite import ACCOUNT, KEY
from tidegate.objects.signing import AzureKey, Request, encoded

__all__ = ["Blob", "Blobs"]

META = "x-ms-meta-"


@dataclass(frozen=True)
class Blob:
    """`md5`: Content-MD5, in base64; empty if there is none."""

    body: bytes
    md5: str
    headers: dict[str, str]
    metadata: dict[str, str]
    tags: dict[str, str]


class Blobs:
    """Of the account at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._key = AzureKey(ACCOUNT, base64.b64decode(KEY))

    def held(self, container: str) -> dict[str, Blob]:
        """Empty if there is no such container."""
        status, _, body = self._ask(f"{self.url}/{container}", {"restype": "container", "comp": "list"})
        if status == 404:
            return {}
        names = [each.findtext("Name") or "" for each in ET.fromstring(body).iter("Blob")]
        return {name: self._blob(f"{self.url}/{container}/{encoded(name, '/')}") for name in names}

    def _blob(self, url: str) -> Blob:
        _, headers, body = self._ask(url, {})
        metadata = {name[len(META) :]: value for name, value in headers.items() if name.startswith(META)}
        tags = dict[str, str]()
        if "x-ms-tag-count" in headers:
            _, _, listed = self._ask(url, {"comp": "tags"})
            tags = {
                each.findtext("Key") or "": each.findtext("Value") or "" for each in ET.fromstring(listed).iter("Tag")
            }
        return Blob(body, headers.get("content-md5", ""), headers, metadata, tags)

    def _ask(self, url: str, query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        request = Request("GET", url, query)
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        target = request.full_url.partition(urlsplit(url).netloc)[2]
        connection.request("GET", target, headers=self._key.sign(request, datetime.now(UTC)))
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body
