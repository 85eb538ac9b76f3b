"""`tidegate objects` as a user gives it, and what stands between it and the servers to disturb it."""

import asyncio
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest
from click.testing import CliRunner, Result

from tidegate.cli import main
from tidegate.lab.servers.azurite import ACCOUNT, KEY
from tidegate.lab.servers.process import quiet_environment
from tidegate.objects.blob import BlobSide
from tidegate.objects.http import Http
from tidegate.objects.manifest import Manifest
from tidegate.objects.s3 import S3Side
from tidegate.objects.side import Side
from tidegate.runbook.migration import AwsBucket, AzureContainer

T = TypeVar("T")
SOURCES = Path(__file__).parents[2] / "src"
SECRET = "do-not-show-this-secret-key"
KEYS = {"AWS_ACCESS_KEY_ID": "lab", "AWS_SECRET_ACCESS_KEY": SECRET, "AZURE_STORAGE_KEY": KEY}


@dataclass
class Commands:
    """For one bucket and one container. `folder` keeps the manifest."""

    folder: Path
    bucket: str
    container: str
    s3: str
    blob: str
    keys: dict[str, str] = field(default_factory=lambda: dict(KEYS))

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.sqlite"

    def words(self, verb: str, *options: str) -> list[str]:
        return [
            *("objects", verb, f"s3://{self.bucket}", f"azure://{ACCOUNT}/{self.container}", "--region", "us-east-1"),
            *("--source-endpoint", self.s3, "--target-endpoint", self.blob, "--manifest", str(self.manifest)),
            *options,
        ]

    @property
    def environment(self) -> dict[str, str]:
        own = {n: value for n, value in quiet_environment().items() if not n.startswith(("AWS_", "AZURE_"))}
        return own | {"HOME": str(self.folder), "PYTHONPATH": str(SOURCES)} | self.keys

    def begin(self, verb: str, *options: str, **how: object) -> subprocess.Popen[str]:
        """A process of its own."""
        piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how
        argv = [sys.executable, "-m", "tidegate", *self.words(verb, *options)]
        return subprocess.Popen(argv, env=self.environment, text=True, **piped)  # pyright: ignore[reportCallIssue]

    def run(self, verb: str, *options: str) -> Result:
        """In this process."""
        hidden = {name: None for name in os.environ if name.startswith(("AWS_", "AZURE_")) or "proxy" in name.lower()}
        given = {**hidden, "HOME": str(self.folder), **self.keys}
        return CliRunner().invoke(main, self.words(verb, *options), env=given)

    def killed(self, when: Callable[[], bool], verb: str, *options: str) -> bool:
        """With SIGKILL, as soon as this holds; False if it had ended by then."""
        with self.begin(verb, *options, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and not when():
                time.sleep(0.001)
            process.kill()
            _, said = process.communicate()
        assert process.returncode in {0, -signal.SIGKILL}, said
        return process.returncode != 0

    @property
    def recorded(self) -> tuple[int, int]:
        """Objects, and keys that are pending."""
        manifest = Manifest(self.manifest)
        try:
            return manifest.count(), len(manifest.pending)
        finally:
            manifest.close()

    def different(self) -> list[str]:
        """Every key at which the listings don't give the same size and MD5."""
        here, there = self.sides(listed)
        return sorted(key for key in here.keys() | there.keys() if here.get(key) != there.get(key))

    def sides(self, what: Callable[[Side], Coroutine[object, object, T]]) -> list[T]:
        """The same of the bucket and of the container."""
        own = {"access_key": "env:AWS_ACCESS_KEY_ID", "secret_key": "env:AWS_SECRET_ACCESS_KEY"}
        aws = {"bucket": self.bucket, "region": "us-east-1", "endpoint": self.s3} | own
        azure = {"account": ACCOUNT, "container": self.container, "endpoint": self.blob, "key": "env:AZURE_STORAGE_KEY"}

        async def both() -> list[T]:
            http = Http()
            try:
                s3 = S3Side("objects", AwsBucket.model_validate(aws), http)
                blob = BlobSide("objects", AzureContainer.model_validate(azure), http)
                return [await what(s3), await what(blob)]
            finally:
                await http.close()

        with pytest.MonkeyPatch.context() as patch:
            for name, value in KEYS.items():
                patch.setenv(name, value)
            return asyncio.run(both())


async def listed(side: Side) -> dict[str, tuple[int, str | None]]:
    return {each.key: (each.size, each.md5) async for page in side.pages() for each in page}


async def contents(side: Side) -> dict[str, bytes]:
    found = dict[str, bytes]()
    for key, (size, _) in (await listed(side)).items():
        stat = await side.stat(key)
        assert stat is not None
        found[key] = await side.part(key, stat.etag, 0, size) if size else b""
    return found


# between the command and a server


@dataclass(frozen=True)
class Asked:
    number: int
    method: str
    path: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Said:
    status: int
    headers: dict[str, str]
    body: bytes


Rule = Callable[[Asked], Said | None]
"""None: the server answers."""
Edit = Callable[[Asked, Said], Said]


def refusal(status: int, code: str, message: str = "no", **headers: str) -> Said:
    """As either cloud writes it."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Said(status, {"x-ms-error-code": code, "content-type": "application/xml"} | named, body)


class Between:
    """Passes requests on, but for those that `rule` answers; `edit` changes the server's answers."""

    def __init__(self, server: str) -> None:
        self.rule: Rule = lambda _: None
        self.edit: Edit = lambda _, said: said
        self.asked = 0
        self._path = "/" + server.split("/", 3)[3] if server.count("/") > 2 else ""
        address = server.split("/")[2]
        outer, kept, counting = self, threading.local(), threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            disable_nagle_algorithm = True

            def one(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                with counting:
                    outer.asked += 1
                    asked = Asked(
                        outer.asked, self.command, self.path, {n.lower(): value for n, value in self.headers.items()}
                    )
                said = outer.rule(asked) or outer.edit(asked, self.passed(asked, body))
                self.send_response_only(said.status)
                sized = {"content-length": str(len(said.body))} | {
                    n.lower(): value for n, value in said.headers.items()
                }
                for name, value in sized.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(said.body)
                self.wfile.flush()

            def passed(self, asked: Asked, body: bytes) -> Said:
                if not hasattr(kept, "to"):
                    kept.to = http.client.HTTPConnection(address, timeout=60)
                kept.to.request(asked.method, asked.path, body, asked.headers)
                answer = kept.to.getresponse()
                dropped = {"connection", "transfer-encoding", "keep-alive"}
                headers = {n: value for n, value in answer.getheaders() if n.lower() not in dropped}
                return Said(answer.status, headers, answer.read())

            def finish(self) -> None:
                with suppress(OSError):
                    super().finish()
                if hasattr(kept, "to"):
                    kept.to.close()

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:  # whoever asked has gone
                    self.close_connection = True

            def log_message(self, *_: Any, **named: Any) -> None:
                pass

        for verb in ("GET", "PUT", "POST", "HEAD", "DELETE"):
            setattr(Handler, f"do_{verb}", Handler.one)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{self._path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@dataclass
class Harm:
    """What becomes of a connection after so many bytes towards the client and from it. `how`: cut, reset or stall."""

    after: int
    how: str


class Link:
    """TCP from a port on loopback to a server. `harm` is asked at each connection; None: it is left alone.

    `slow`: bytes per second from the client, of all connections together.
    """

    def __init__(self, server: str, harm: Callable[[], Harm | None] = lambda: None, *, slow: int = 0) -> None:
        self._path = "/" + server.split("/", 3)[3] if server.count("/") > 2 else ""
        host, _, port = server.split("/")[2].partition(":")
        self._to, self.harm, self.slow = (host, int(port)), harm, slow
        self.passed = self.harmed = 0
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self._path}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._up.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._ended = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(task := asyncio.ensure_future(self._connection(reader, writer)))
            task.add_done_callback(tasks.discard)

        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        if self.slow:  # else the kernel takes a body whole
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**18)
        server = await asyncio.start_server(accept, sock=listening, limit=2**15)
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        await self._ended.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        harm = self.harm()
        left = harm.after if harm else 0
        there: asyncio.StreamWriter | None = None

        async def pump(source: asyncio.StreamReader, to: asyncio.StreamWriter, *, slowly: bool) -> None:
            nonlocal left
            while data := await source.read(2**14):
                if harm is not None and left < len(data):
                    to.write(data[:left])
                    with suppress(OSError):
                        await to.drain()
                    self.harmed += 1
                    if harm.how == "stall":
                        await asyncio.Event().wait()
                    return
                left -= len(data) if harm is not None else 0
                if slowly:
                    await asyncio.sleep(len(data) / self.slow)
                self.passed += len(data)
                to.write(data)
                await to.drain()

        try:
            back, there = await asyncio.open_connection(*self._to)
            ways = {
                asyncio.ensure_future(pump(reader, there, slowly=bool(self.slow))),
                asyncio.ensure_future(pump(back, writer, slowly=False)),
            }
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            for each in (writer, there):
                if each is not None:
                    if harm is not None and harm.how == "reset":
                        each.transport.abort()
                    else:
                        each.close()


def sometimes(share: float, ways: tuple[str, ...], most: int, seed: int = 1) -> Callable[[], Harm | None]:
    """So large a share of the connections is harmed, somewhere in their first `most` bytes."""
    chance = random.Random(seed)
    return lambda: Harm(chance.randrange(most), chance.choice(ways)) if chance.random() < share else None


@contextmanager
def given_up_after(seconds: float, monkeypatch) -> Iterator[None]:
    """Of silence."""
    with monkeypatch.context() as patch:
        patch.setattr("tidegate.objects.wire.SILENT", seconds)
        yield
