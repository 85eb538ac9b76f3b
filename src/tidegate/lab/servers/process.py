"""Starting, watching and ending the lab's processes: the one place that does."""

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tidegate.errors import TidegateError

__all__ = ["Process", "answers", "free_port", "listens", "quiet_environment"]

LAUNCH = Path(__file__).with_name("launch.py")
LOG_LINES = 12
PORTS = range(20_000, 32_000)
"""Below the range from which Linux serves outgoing connections: a port picked here isn't taken a moment later."""


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Process:
    """A child that dies with the thread that made it. Its output is appended to `log`, its environment has no proxies.

    Raises TidegateError if it can't be started; a program that is not there shows in `wait_until`.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        log: Path,
        *,
        user: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.log = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        launch = [sys.executable, "-I", "-S", LAUNCH, str(os.getpid()), "-" if user is None else str(user)]
        with log.open("ab") as output:
            try:
                self.child = subprocess.Popen(
                    [str(each) for each in (*launch, *argv)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=quiet_environment() if env is None else env,
                    cwd="/",
                )
            except OSError as error:
                raise TidegateError(f"it can't be started: {error.strerror}", where=name) from None

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def alive(self) -> bool:
        return self.child.poll() is None

    def wait_until(self, ready: Callable[[], bool], seconds: float = 30) -> None:
        """Raises TidegateError with the end of its log if it dies or isn't ready in time; it's ended then."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.alive:
                raise self.failure(f"it ended at once, with exit code {self.child.returncode}")
            if time.monotonic() > deadline:
                self.kill()
                raise self.failure(f"it isn't ready after {seconds:g} s")
            time.sleep(0.02)

    def wait(self, seconds: float) -> int:
        """Its exit code. Raises TidegateError if it hasn't ended by then."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise self.failure(f"it still runs after {seconds:g} s") from None

    def stop(self, how: signal.Signals = signal.SIGTERM, seconds: float = 10) -> None:
        """End it; with SIGKILL if it doesn't listen."""
        if self.alive:
            self.child.send_signal(how)
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL to it and to all that descends from it, as a dying machine would."""
        if not self.alive:
            return
        self.child.send_signal(signal.SIGSTOP)  # makes no more children while they are counted
        for pid in (*_descendants(self.pid), self.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.child.wait()

    def failure(self, why: str) -> TidegateError:
        """An error that shows the end of its log."""
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return TidegateError("\n    ".join([f"{why}; its log ends:", *lines]), where=self.name, mend=f"see {self.log}")


def quiet_environment() -> dict[str, str]:
    """No proxies: the lab talks to loopback alone."""
    proxies = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    return {key: value for key, value in os.environ.items() if key.lower() not in proxies}


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(port: int, path: str) -> bool:
    """With 200, over HTTP."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _descendants(root: int) -> list[int]:
    """PostgreSQL's backends have process groups of their own: only /proc knows them all."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = stat.read_text(errors="replace").rpartition(")")[2].split()[1]
        except OSError:  # it has just ended
            continue
        children.setdefault(int(parent), []).append(int(stat.parent.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]
