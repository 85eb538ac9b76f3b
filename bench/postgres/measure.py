"""What a method costs: wall seconds, CPU seconds of client and servers, memory of the client; from /proc."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tidegate.lab.servers.postgres import Postgres

__all__ = ["Cost", "Options", "cpu_seconds", "measure", "median", "servers"]

TICKS = os.sysconf("SC_CLK_TCK")
LOOK = 0.1
"""Seconds between two looks at the client's memory."""


@dataclass(frozen=True)
class Options:
    """`times`: how often what has a median is measured. `scale`: of the data, 1 is about 1 GB."""

    times: int = 3
    scale: float = 1.0


@dataclass(frozen=True)
class Cost:
    """Seconds, and MiB at the peak."""

    wall: float
    client: float
    source: float
    target: float
    memory: float


@contextmanager
def servers(folder: Path) -> Generator[tuple[Postgres, Postgres]]:
    """PostgreSQL 16, and 18, in `folder`, which their user has to reach."""
    folder.chmod(0o755)
    source = Postgres(folder / "source", 16)
    try:
        target = Postgres(folder / "target", 18)
        try:
            yield source, target
        finally:
            target.stop()
    finally:
        source.stop()


def measure(
    argv: Sequence[str | Path], environment: dict[str, str], source: Postgres, target: Postgres, done: str = ""
) -> tuple[Cost, subprocess.Popen[str]]:
    """From the start of `argv` to its end, or until it prints the line `done`: it is left waiting then.

    Raises RuntimeError with what it complained about if it fails.
    """
    for server in (source, target):
        server.psql("postgres", "checkpoint")
    before = [cpu_seconds(server.process.pid) for server in (source, target)]
    began = time.perf_counter()
    process = subprocess.Popen(
        [str(each) for each in argv],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None, "it is a pipe"
    os.set_blocking(process.stdout.fileno(), False)
    output, peak, client = "", 0.0, 0.0
    while True:
        client = max(client, cpu_seconds(process.pid))
        peak = max(peak, _memory(process.pid))
        output += _printed(process.stdout)
        if done and done in output.splitlines():
            break
        # not reaped yet: what it used is still to be read
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            client = max(client, cpu_seconds(process.pid))
            output += _printed(process.stdout)
            if process.wait() or done:
                raise RuntimeError(f"{argv[0]} failed: {output[-2000:]}")
            break
        time.sleep(LOOK)
    wall = time.perf_counter() - began
    after = [cpu_seconds(server.process.pid) for server in (source, target)]
    return Cost(wall, client, after[0] - before[0], after[1] - before[1], peak), process


def _printed(stream: IO[str]) -> str:
    try:
        return stream.read() or ""
    except (BlockingIOError, TypeError):  # nothing yet
        return ""


def cpu_seconds(pid: int) -> float:
    """Of a process, its descendants that live, and those that have ended and were waited for."""
    return sum(_ticks(each) for each in _tree(pid)) / TICKS


def median(values: Sequence[Cost], of: Callable[[Cost], float]) -> float:
    return statistics.median(of(each) for each in values)


def _tree(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for each in os.scandir("/proc"):
        if each.name.isdigit() and (fields := _stat(int(each.name))):
            children.setdefault(int(fields[1]), []).append(int(each.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name; none if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _ticks(pid: int) -> int:
    """Its own in user and system mode, and its waited-for children's."""
    return sum(int(each) for each in _stat(pid)[11:15])


def _memory(pid: int) -> float:
    """Resident, what is shared counted in proportion, of the whole tree."""
    total = 0
    for each in _tree(pid):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024
