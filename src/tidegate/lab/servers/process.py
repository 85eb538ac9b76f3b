"""Starting, watching and ending the lab's processes: the one place that does."""

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tidegate.errors import TidegateError

__all__ = ["Process", "free_port", "listens"]

PR_SET_PDEATHSIG = 1
LOG_LINES = 12


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A child that dies with us. Its output goes to `log`."""

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
        parent = os.getpid()

        def die_with_parent() -> None:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it died before the line above
                os._exit(1)

        with log.open("ab") as output:
            try:
                self.child = subprocess.Popen(
                    [str(each) for each in argv],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    user=user,
                    group=user,
                    extra_groups=[] if user is not None else None,
                    start_new_session=True,
                    preexec_fn=die_with_parent,  # noqa: PLW1509 - nothing else runs threads between fork and exec here
                    env=_quiet_environment() | dict(env or {}),
                    cwd="/",
                )
            except OSError as error:
                raise TidegateError(f"it can't be started: {error}", where=name, mend="is the lab installed?") from None

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def alive(self) -> bool:
        return self.child.poll() is None

    def wait_until(self, ready: Callable[[], bool], seconds: float = 30) -> None:
        """Raises TidegateError with the end of its log if it dies or isn't ready in time."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.alive:
                raise self._failure(f"it ended at once, with exit code {self.child.returncode}")
            if time.monotonic() > deadline:
                raise self._failure(f"it isn't ready after {seconds:g} s")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGTERM, seconds: float = 10) -> None:
        """End it; with SIGKILL if it doesn't listen."""
        if self.alive:
            self.child.send_signal(how)
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL to it and to everything in its process group, as a dying machine would."""
        if self.alive:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()

    def _failure(self, why: str) -> TidegateError:
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return TidegateError("\n    ".join([f"{why}; its log ends:", *lines]), where=self.name, mend=f"see {self.log}")


def _quiet_environment() -> dict[str, str]:
    """No proxies: the lab talks to loopback alone."""
    proxies = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    return {key: value for key, value in os.environ.items() if key.lower() not in proxies}


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
