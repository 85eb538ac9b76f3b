"""Requests, and what proves who sends them. Pure: the clock is an argument.

AWS: Signature Version 4. Azure: Shared Key, "Authorize with Shared Key", for versions since 2015-02-21; a shared
access signature; a token of Entra ID.

A copy signs tens of thousands of requests a second: what holds for a second or a day is made once.
"""

import base64
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Protocol
from urllib.parse import quote

__all__ = [
    "ALGORITHM",
    "UNSIGNED",
    "VERSION",
    "AwsKeys",
    "AzureKey",
    "AzureSas",
    "AzureToken",
    "Request",
    "Signer",
    "Streamed",
    "azure_date",
    "encoded",
]

VERSION = "2023-11-03"
"""Of Azure's Blob service."""
SIGNED_BY_AZURE = (
    *("content-encoding", "content-language", "content-length", "content-md5", "content-type", "date"),
    *("if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"),
)
ABSENT = ("",) * len(SIGNED_BY_AZURE)
LENGTH = SIGNED_BY_AZURE.index("content-length")
ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
BLOCK = 64
"""Bytes of SHA-256's block."""


def encoded(text: str, also: str = "") -> str:
    """As both clouds want it: everything but A-Z a-z 0-9 - _ . ~ becomes %XX."""
    return text if text.isalnum() and text.isascii() else quote(text, safe=also)


@dataclass(frozen=True, slots=True)
class Streamed:
    """A body that is never whole in memory. `open` begins it anew for every try."""

    size: int
    open: Callable[[], AsyncIterator[bytes]]


@dataclass(slots=True)
class Request:
    """`url` has no query; its path is encoded already. Header names are in lower case. `stream` stands for `body`."""

    method: str
    url: str
    query: dict[str, str] = field(default_factory=dict[str, str])
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    stream: Streamed | None = None

    @property
    def size(self) -> int:
        return self.stream.size if self.stream else len(self.body)

    @property
    def full_url(self) -> str:
        return f"{self.url}?{self.query_text}" if self.query else self.url

    @property
    def query_text(self) -> str:
        return _query_text(self.query) if self.query else ""


class Signer(Protocol):
    @property
    def query(self) -> str:
        """What every URL ends with, such as a shared access signature; most have none."""
        ...

    def sign(self, request: Request, now: datetime) -> dict[str, str]:
        """The headers to send. `now` knows its time zone."""
        ...


class Hmac:
    """HMAC-SHA256 (RFC 2104). The key is hashed once: for a short text OpenSSL's own takes twice as long."""

    def __init__(self, key: bytes) -> None:
        block = (key if len(key) <= BLOCK else hashlib.sha256(key).digest()).ljust(BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def digest(self, text: str) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text.encode())
        outer.update(inner.digest())
        return outer.digest()


@dataclass(frozen=True, slots=True)
class Today:
    """What all of AWS's signatures of one second share: the time stamp, the scope, the day's key."""

    stamp: str
    scope: str
    key: Hmac = field(repr=False)

    def signature(self, request: Request, query: str, headers: dict[str, str], payload: str) -> tuple[str, str]:
        """The names of the signed headers, and the signature."""
        host, path = _host_and_path(request.url)
        signed = {**headers, "host": host}
        names = sorted(signed)
        lines = "".join([f"{name}:{_trimmed(signed[name])}\n" for name in names])
        listed = ";".join(names)
        canonical = f"{request.method}\n{path}\n{query}\n{lines}\n{listed}\n{payload}"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        return listed, self.key.digest(f"{ALGORITHM}\n{self.stamp}\n{self.scope}\n{digest}").hex()


@dataclass(frozen=True, slots=True)
class AwsKeys:
    """`token`: of a session, where the keys are temporary."""

    access_key: str
    secret_key: str = field(repr=False)
    region: str
    service: str
    token: str = field(default="", repr=False)

    @property
    def query(self) -> str:
        return ""

    def sign(self, request: Request, now: datetime) -> dict[str, str]:
        today = self.today(int(now.timestamp()))
        # TLS guards an object on its way, its MD5 at either end; other services want the body's own hash
        payload = UNSIGNED if self.service == "s3" else hashlib.sha256(request.body).hexdigest()
        headers = {**request.headers, "x-amz-date": today.stamp, "x-amz-content-sha256": payload}
        if self.token:
            headers["x-amz-security-token"] = self.token
        names, signature = today.signature(request, request.query_text, headers, payload)
        headers["authorization"] = (
            f"{ALGORITHM} Credential={self.access_key}/{today.scope}, SignedHeaders={names}, Signature={signature}"
        )
        return headers

    def presign(self, request: Request, now: datetime, seconds: int) -> str:
        """A URL that lets anybody do this for so long (at most 604,800); it needs the request's headers, if any."""
        today = self.today(int(now.timestamp()))
        query = {
            **request.query,
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{self.access_key}/{today.scope}",
            "X-Amz-Date": today.stamp,
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": ";".join(sorted({*request.headers, "host"})),
        }
        if self.token:
            query["X-Amz-Security-Token"] = self.token
        text = _query_text(query)
        _, signature = today.signature(request, text, request.headers, UNSIGNED)
        return f"{request.url}?{text}&X-Amz-Signature={signature}"

    def today(self, second: int) -> "Today":
        """`second`: Unix time."""
        return _today(self.secret_key, self.region, self.service, second)


@dataclass(frozen=True, slots=True)
class AzureKey:
    account: str
    key: bytes = field(repr=False)

    @property
    def query(self) -> str:
        return ""

    def sign(self, request: Request, now: datetime) -> dict[str, str]:
        headers = {**request.headers, **_of_azure(int(now.timestamp()))}
        standard = list(map(headers.get, SIGNED_BY_AZURE, ABSENT))
        if request.size:
            standard[LENGTH] = str(request.size)
        own = "".join([f"{name}:{headers[name].strip()}\n" for name in sorted(headers) if name.startswith("x-ms-")])
        resource = f"/{self.account}{_host_and_path(request.url)[1]}"
        if request.query:
            resource += "".join([f"\n{name}:{value}" for name, value in sorted(request.query.items())])
        headers["authorization"] = self.authorization("\n".join((request.method, *standard, own + resource)))
        return headers

    def authorization(self, text: str) -> str:
        """Of a request, from what is to be signed of it."""
        return f"SharedKey {self.account}:{base64.b64encode(_key(self.key).digest(text)).decode()}"


@dataclass(frozen=True, slots=True)
class AzureSas:
    """`query`: the shared access signature, which is as good as a key."""

    query: str = field(repr=False)

    def sign(self, request: Request, now: datetime) -> dict[str, str]:
        return {**request.headers, **_of_azure(int(now.timestamp()))}


@dataclass(frozen=True, slots=True)
class AzureToken:
    token: str = field(repr=False)

    @property
    def query(self) -> str:
        return ""

    def sign(self, request: Request, now: datetime) -> dict[str, str]:
        return {**request.headers, **_of_azure(int(now.timestamp())), "authorization": f"Bearer {self.token}"}


def _query_text(query: dict[str, str]) -> str:
    pairs = sorted([(encoded(name), encoded(value)) for name, value in query.items()])
    return "&".join([f"{name}={value}" for name, value in pairs])


def _trimmed(value: str) -> str:
    """As AWS signs it: no space around it, and one where there are several."""
    return value if " " not in value and value.isprintable() else " ".join(value.split())


def _host_and_path(url: str) -> tuple[str, str]:
    host, _, path = url.partition("://")[2].partition("/")
    return host, f"/{path}"


@lru_cache(maxsize=64)
def _today(secret: str, region: str, service: str, second: int) -> Today:
    stamp = datetime.fromtimestamp(second, UTC).strftime("%Y%m%dT%H%M%SZ")
    key = _key_of_day(secret, stamp[:8], region, service)
    return Today(stamp, f"{stamp[:8]}/{region}/{service}/aws4_request", key)


@lru_cache(maxsize=16)
def _key_of_day(secret: str, day: str, region: str, service: str) -> Hmac:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = Hmac(key).digest(part)
    return Hmac(key)


@lru_cache(maxsize=16)
def _key(key: bytes) -> Hmac:
    return Hmac(key)


@lru_cache(maxsize=64)
def _of_azure(second: int) -> dict[str, str]:
    """The headers that every request has."""
    return {"x-ms-date": azure_date(second), "x-ms-version": VERSION}


def azure_date(second: int) -> str:
    """Unix time, as Azure's headers have it."""
    return format_datetime(datetime.fromtimestamp(second, UTC), usegmt=True)
