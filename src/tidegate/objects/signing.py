"""Requests, and the two signatures that prove who sends them. Pure: the clock is an argument.

AWS: Signature Version 4. Azure: Shared Key, "Authorize with Shared Key", for versions since 2015-02-21.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from urllib.parse import quote, urlsplit

__all__ = ["AwsKeys", "AzureKey", "Request", "encoded"]

VERSION = "2023-11-03"
"""Of Azure's Blob service."""
SIGNED_BY_AZURE = (
    *("content-encoding", "content-language", "content-length", "content-md5", "content-type", "date"),
    *("if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"),
)


def encoded(text: str, also: str = "") -> str:
    """As both clouds want it: everything but A-Z a-z 0-9 - _ . ~ becomes %XX."""
    return quote(text, safe=also)


@dataclass(slots=True)
class Request:
    """`url` has no query; its path is encoded already. Header names are in lower case."""

    method: str
    url: str
    query: dict[str, str] = field(default_factory=dict[str, str])
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""

    @property
    def full_url(self) -> str:
        return f"{self.url}?{self.query_text}" if self.query else self.url

    @property
    def query_text(self) -> str:
        pairs = sorted((encoded(name), encoded(value)) for name, value in self.query.items())
        return "&".join(f"{name}={value}" for name, value in pairs)


@dataclass(frozen=True, slots=True)
class AwsKeys:
    access_key: str
    secret_key: str = field(repr=False)
    region: str
    service: str

    def sign(self, request: Request, now: datetime) -> dict[str, str]:
        """The headers to send. `now` is in UTC."""
        parts = urlsplit(request.url)
        stamp = now.strftime("%Y%m%dT%H%M%SZ")
        # TLS guards an object on its way, its MD5 at either end; other services want the body's own hash
        payload = "UNSIGNED-PAYLOAD" if self.service == "s3" else hashlib.sha256(request.body).hexdigest()
        headers = request.headers | {"x-amz-date": stamp, "x-amz-content-sha256": payload}
        signed = {name: " ".join(value.split()) for name, value in headers.items()} | {"host": parts.netloc}
        names = sorted(signed)
        lines = "".join(f"{name}:{signed[name]}\n" for name in names)
        canonical = "\n".join((request.method, parts.path or "/", request.query_text, lines, ";".join(names), payload))
        scope = f"{stamp[:8]}/{self.region}/{self.service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = _key_of_day(self.secret_key, stamp[:8], self.region, self.service)
        signature = _hmac(key, text).hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, "
            f"SignedHeaders={';'.join(names)}, Signature={signature}"
        )
        return headers


@dataclass(frozen=True, slots=True)
class AzureKey:
    account: str
    key: bytes = field(repr=False)

    def sign(self, request: Request, now: datetime) -> dict[str, str]:
        """The headers to send. `now` is in UTC."""
        headers = request.headers | {"x-ms-date": format_datetime(now, usegmt=True), "x-ms-version": VERSION}
        length = {"content-length": str(len(request.body))} if request.body else {}
        standard = [(headers | length).get(name, "") for name in SIGNED_BY_AZURE]
        own = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers) if name.startswith("x-ms-"))
        resource = f"/{self.account}{urlsplit(request.url).path}"
        resource += "".join(f"\n{name}:{value}" for name, value in sorted(request.query.items()))
        text = "\n".join((request.method, *standard, own + resource))
        signature = base64.b64encode(_hmac(self.key, text)).decode()
        return headers | {"authorization": f"SharedKey {self.account}:{signature}"}


@lru_cache(maxsize=16)
def _key_of_day(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
