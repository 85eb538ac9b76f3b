"""Where copies are measured: a source and a target, started and filled for one measurement, gone after it."""

import random
import shutil
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.measure import run
from bench.objects.certificates import certify
from bench.objects.commands import BUCKET, CONTAINER, RCLONE, Places, remotes
from bench.objects.fastcloud import Fastcloud
from bench.objects.terminator import Terminator
from tidegate.lab.servers.azurite import Azurite
from tidegate.lab.servers.process import Process, free_port, listens

__all__ = ["Data", "OpenSite", "Site", "azurite", "plain", "tls"]


@dataclass(frozen=True)
class Data:
    """`count` objects of `size` bytes."""

    count: int
    size: int

    def scaled(self, scale: float) -> "Data":
        return Data(max(1, round(self.count * scale)), self.size)

    def __str__(self) -> str:
        size = f"{self.size // 2**20} MiB" if self.size >= 2**20 else f"{self.size // 2**10} KiB"
        return f"{self.count:,} x {size}"


@dataclass(frozen=True)
class Site:
    """`places`: as the clients see it. `s3`, `blob`: the same without TLS. `cloud`: None if it's others that serve."""

    places: Places
    s3: str
    blob: str
    cloud: Fastcloud | None = None

    def requests(self) -> int | None:
        """So far, with this question; None if nobody counts."""
        return None if self.cloud is None else self.cloud.served().requests


class OpenSite(Protocol):
    def __call__(self, folder: Path, data: Data, latency: float, /) -> AbstractContextManager[Site]:
        """In an empty `folder`, which goes too; the source holds `data`. `latency` in seconds, for every request."""
        ...


@contextmanager
def plain(folder: Path, data: Data, latency: float) -> Generator[Site]:
    """Fastcloud. A new one for each measurement: what it held would only make it slower."""
    with _fresh(folder), Fastcloud(folder) as cloud:
        cloud.seed(BUCKET, data.count, data.size)
        cloud.delay(latency)
        yield Site(Places(folder, cloud.s3_url, cloud.blob_url), cloud.s3_url, cloud.blob_url, cloud)


@contextmanager
def tls(folder: Path, data: Data, latency: float) -> Generator[Site]:
    """Fastcloud, which speaks TLS as S3; as Blob it has Envoy before it. Both tools trust the authority made here."""
    with _fresh(folder):
        authority = certify(folder)
        with Fastcloud(folder, tls=folder) as cloud:
            terminator = Terminator(folder / "envoy", folder, cloud.blob_port)
            try:
                cloud.seed(BUCKET, data.count, data.size)
                cloud.delay(latency)
                blob = cloud.blob_url.replace(f"http://127.0.0.1:{cloud.blob_port}", terminator.url)
                yield Site(Places(folder, cloud.tls_url, blob, authority), cloud.s3_url, cloud.blob_url, cloud)
            finally:
                terminator.stop()


@contextmanager
def azurite(folder: Path, data: Data, latency: float) -> Generator[Site]:
    """`rclone serve s3` on the disk, and Azurite, which keeps in memory. Its container can be read by anybody."""
    assert not latency, "these two can't delay"
    with _fresh(folder):
        _fill(folder / "served" / BUCKET, data)
        port = free_port()
        argv = [RCLONE, "serve", "s3", folder / "served", "--addr", f"127.0.0.1:{port}", "--vfs-cache-mode", "off"]
        served = Process("rclone serve s3", argv, folder / "serve.log")
        try:
            served.wait_until(lambda: listens(port))
            target = Azurite(folder / "azurite")
            try:
                places = Places(folder, f"http://127.0.0.1:{port}", target.url)
                argv = [RCLONE, "mkdir", f"target:{CONTAINER}", "--azureblob-public-access", "container"]
                run(argv, remotes(places))
                yield Site(places, places.s3, places.blob)
            finally:
                target.kill()
        finally:
            served.kill()


@contextmanager
def _fresh(folder: Path) -> Generator[None]:
    folder.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(folder)


def _fill(folder: Path, data: Data) -> None:
    """As fastcloud names its objects; the content is random, the same each time."""
    source = random.Random(7)
    for number in range(data.count):
        file = folder / f"p{number % 16:02x}" / f"obj-{number:07}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(source.randbytes(data.size))
