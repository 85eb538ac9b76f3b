"""What a method costs: wall seconds, CPU seconds of client and servers, memory of the client."""

import statistics
import subprocess
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import cpu_seconds, run
from tidegate.lab.servers.postgres import Postgres

__all__ = ["Cost", "measure", "median", "servers"]


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
    used, process = run(argv, environment, done)
    after = [cpu_seconds(server.process.pid) for server in (source, target)]
    return Cost(used.wall, used.cpu, after[0] - before[0], after[1] - before[1], used.memory), process


def median(values: Sequence[Cost], of: Callable[[Cost], float]) -> float:
    return statistics.median(of(each) for each in values)
