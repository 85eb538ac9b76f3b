"""What a program costs: wall seconds, CPU seconds and memory of it and all that descends from it; from /proc."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

__all__ = ["Options", "Used", "cpu_seconds", "run", "say"]

TICKS = os.sysconf("SC_CLK_TCK")
LOOK = 0.1
"""Seconds between two looks at the memory."""


@dataclass(frozen=True)
class Options:
    """`times`: how often what has a median is measured. `scale`: of the data."""

    times: int = 3
    scale: float = 1.0


@dataclass(frozen=True)
class Used:
    """Seconds, and MiB at the peak."""

    wall: float
    cpu: float
    memory: float


def run(
    argv: Sequence[str | Path], environment: Mapping[str, str], done: str = ""
) -> tuple[Used, subprocess.Popen[str]]:
    """From the start of `argv` to its end, or until it prints the line `done`: it is left waiting then.

    Raises RuntimeError with what it complained about if it fails.
    """
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
    output, peak, cpu = "", 0.0, 0.0
    while True:
        cpu = max(cpu, cpu_seconds(process.pid))
        peak = max(peak, _memory(process.pid))
        output += _printed(process.stdout)
        if done and done in output.splitlines():
            break
        # not reaped yet: what it used is still to be read
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            cpu = max(cpu, cpu_seconds(process.pid))
            output += _printed(process.stdout)
            if process.wait() or done:
                raise RuntimeError(f"{argv[0]} failed: {output[-2000:]}")
            break
        time.sleep(LOOK)
    return Used(time.perf_counter() - began, cpu, peak), process


def cpu_seconds(pid: int) -> float:
    """Of a process, its descendants that live, and those that have ended and were waited for."""
    return sum(_ticks(each) for each in _tree(pid)) / TICKS


def say(text: str) -> None:
    """Progress, to stderr."""
    print(text, file=sys.stderr, flush=True)


def _printed(stream: IO[str]) -> str:
    try:
        return stream.read() or ""
    except (BlockingIOError, TypeError):  # nothing yet
        return ""


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
    """Resident, what is shared counted in proportion, of the whole tree; at least the first one's own peak so far."""
    total = 0
    for each in _tree(pid):
        total += _kib(each, "smaps_rollup", "Pss:")
    return max(total, _kib(pid, "status", "VmHWM:")) / 1024


def _kib(pid: int, file: str, field: str) -> int:
    """Zero if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(field))
