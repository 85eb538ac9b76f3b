"""One HTTP/1.1 connection that is kept, with one request on it at a time; and a pool of them for each server.

The clouds' own SDKs reach 300 to 400 objects a second; most of that time goes into layers that a signed request with
a body in memory doesn't need. The answers are parsed by httptools, which is Node's parser.
"""

import asyncio
import fcntl
import socket
import ssl
import sys
import termios
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpResponseParser

__all__ = ["Broken", "Origin", "Pool", "Raw", "Wire"]

SILENT = 30.0
"""Seconds without a byte in either direction, after which a connection is given up."""
CONNECT = 10.0
WATERMARK = 2**20
"""Bytes of a streamed body that may wait in memory for the network."""


NAMES: dict[bytes, str] = {}
MOST_NAMES = 1000
"""The headers' names as they came, in lower case: the same few come all the time."""


class Broken(Exception):
    """The connection ended, or said what isn't HTTP, before the answer was whole. `clean`: no byte of it had come."""

    def __init__(self, why: str, *, clean: bool = False) -> None:
        super().__init__(why)
        self.clean = clean


class Raw:
    """Header names are in lower case. `body` is None if it is longer than what was asked for at most."""

    __slots__ = ("body", "headers", "status")

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body: bytes | None = b""


@dataclass(frozen=True, slots=True)
class Origin:
    """`host` as in the Host header: with the port, unless it is the scheme's own."""

    secure: bool
    address: str
    port: int
    host: str

    @classmethod
    def of(cls, url: str) -> "Origin":
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        own = 443 if secure else 80
        port = parts.port or own
        address = parts.hostname or ""
        shown = f"[{address}]" if ":" in address else address
        return cls(secure, address, port, shown if port == own else f"{shown}:{port}")


class Wire(asyncio.Protocol):
    """Made by a Pool."""

    def __init__(self) -> None:
        self.usable = True
        self.raw = Raw()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: HttpResponseParser | None = None
        self._answer: asyncio.Future[Raw] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._chunks: list[bytes] = []
        self._head_only = False
        self._at_most: int | None = None
        self._left = 0
        """Bytes of a body of known length that haven't come yet, once its beginning has."""
        self._heard = 0.0
        self._unsent = 0
        self._watch: asyncio.TimerHandle | None = None

    async def ask(
        self, head: bytes, body: bytes | AsyncIterator[bytes], *, head_only: bool, at_most: int | None
    ) -> Raw:
        """Raises Broken, TimeoutError; what the body's iterator raises."""
        assert self._transport is not None, "connected"
        self._answer = self._loop.create_future()
        self.raw, self._chunks, self._parser = Raw(), [], HttpResponseParser(self)
        self._head_only, self._at_most, self._left = head_only, at_most, 0
        self._heard = self._loop.time()
        if self._watch is None:
            self._watch = self._loop.call_later(SILENT, self._look)
        try:
            if isinstance(body, bytes):
                if len(body) > 65536:
                    self._transport.writelines((head, body))
                else:
                    self._transport.write(head + body)
            else:
                self._transport.write(head)
                await self._stream(body)
            raw = await self._answer
        except BaseException:
            self._answer.cancel()
            self.close()
            raise
        if self._transport.get_write_buffer_size():  # answered before all of it was sent
            self.usable = False
        return raw

    async def _stream(self, body: AsyncIterator[bytes]) -> None:
        assert self._transport is not None and self._answer is not None, "asked"  # noqa: PT018 - one state
        try:
            async for chunk in body:
                if self._answer.done():  # refused before it was whole
                    self.usable = False
                    return
                self._heard = self._loop.time()
                self._transport.write(chunk)
                if self._writable is not None:
                    await asyncio.wait((self._writable, self._answer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if isinstance(body, AsyncGenerator):
                await body.aclose()

    def close(self) -> None:
        self.usable = False
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._transport is not None:
            self._transport.abort()

    def _look(self) -> None:
        """One timer for all requests: it is set again when it finds that something has come."""
        self._watch = None
        if self._answer is None or not self.usable or self._transport is None:
            return
        unsent = _unsent(self._transport)
        if unsent != self._unsent:  # a large body on a slow network: it goes on, and nothing comes yet
            self._unsent, self._heard = unsent, self._loop.time()
        if (left := self._heard + SILENT - self._loop.time()) > 0:
            self._watch = self._loop.call_later(left, self._look)
            return
        if not self._answer.done():
            self._answer.set_exception(TimeoutError(f"nothing came for {SILENT:.0f} s"))
        self.close()

    # what the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is none of its subclasses
        self._transport = transport
        transport.set_write_buffer_limits(WATERMARK)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._answer is None:  # nobody asked
            self.close()
            return
        self._heard = self._loop.time()
        if self._left:
            self._rest(data)
            return
        try:
            self._parser.feed_data(data)
            if self.raw.status >= 200 and not self._answer.done() and "transfer-encoding" not in self.raw.headers:
                self._left = max(0, self._announced - sum(map(len, self._chunks)))
        except HttpParserError as error:
            if not self._answer.done():
                self._answer.set_exception(Broken(f"what came isn't HTTP: {error}"))
            self.close()

    def _rest(self, data: bytes) -> None:
        """More of a body whose length is known: there is nothing to be parsed in it."""
        self._chunks.append(data)
        self._left -= len(data)
        if self._left < 0:
            self._chunks[-1] = data[: self._left]
            self._left = 0
            self.usable = False  # what follows is nobody's answer
        if not self._left:
            self.on_message_complete()

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        self._heard = self._loop.time()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self.resume_writing()
        if self._answer is not None and not self._answer.done():
            why = str(exc) if exc else "the connection was closed"
            self._answer.set_exception(Broken(why, clean=not self.raw.status))

    # what the parser tells

    def on_header(self, name: bytes, value: bytes) -> None:
        known = NAMES.get(name)
        if known is None:
            known = name.decode("latin-1").lower()
            if len(NAMES) < MOST_NAMES:
                NAMES[name] = known
        self.raw.headers[known] = value.decode("utf-8", "surrogateescape")

    def on_headers_complete(self) -> None:
        assert self._parser is not None, "it is what tells this"
        raw = self.raw
        raw.status = self._parser.get_status_code()
        if raw.status < 200:  # the real answer follows
            return
        if not self._parser.should_keep_alive():
            self.usable = False
        if self._head_only or raw.status in {204, 304}:
            self._end()
        elif self._at_most is not None and raw.status < 300 and self._announced > self._at_most:
            raw.body = None
            self._end()
            self.close()

    @property
    def _announced(self) -> int:
        """Bytes; -1 if the body's length isn't told in advance."""
        length = self.raw.headers.get("content-length", "")
        return int(length) if length.isdigit() else -1

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        if self.raw.status < 200:
            self.raw = Raw()
            return
        if self._answer is None or self._answer.done():
            return
        self.raw.body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._end()

    def _end(self) -> None:
        self._chunks = []
        self._parser = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self.raw)
            self.raw = Raw()  # what may still come is nobody's


def _unsent(transport: asyncio.Transport) -> int:
    """Bytes that the other side hasn't acknowledged; those in the kernel where it tells."""
    unsent = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    with suppress(OSError):
        unsent += int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    return unsent


class Pool:
    """Connections to one origin."""

    def __init__(self, origin: Origin, context: ssl.SSLContext | None) -> None:
        self.origin, self._context = origin, context
        self._idle: list[Wire] = []

    async def ask(
        self,
        head: bytes,
        body: bytes | AsyncIterator[bytes] = b"",
        *,
        head_only: bool = False,
        at_most: int | None = None,
        fresh: bool = False,
    ) -> Raw:
        """`fresh`: not on a connection that may have been closed meanwhile. Raises Broken, OSError, TimeoutError."""
        wire = None if fresh else self._kept()
        if wire is None:
            wire = await self._connect()
        raw = await wire.ask(head, body, head_only=head_only, at_most=at_most)
        if wire.usable:
            self._idle.append(wire)
        else:
            wire.close()
        return raw

    def _kept(self) -> Wire | None:
        while self._idle:
            wire = self._idle.pop()
            if wire.usable:
                return wire
        return None

    async def _connect(self) -> Wire:
        origin = self.origin
        async with asyncio.timeout(CONNECT):
            _, wire = await asyncio.get_running_loop().create_connection(
                Wire, origin.address, origin.port, ssl=self._context
            )
        return wire

    def close(self) -> None:
        for wire in self._idle:
            wire.close()
        self._idle.clear()
