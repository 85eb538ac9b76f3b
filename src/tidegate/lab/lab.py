"""A lab as its user sees it: start one, find one again, tell it what to do, end it."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tidegate.errors import TidegateError, Unreachable, UsageError
from tidegate.lab.book import AddressBook, Options
from tidegate.lab.control import call, revived
from tidegate.lab.servers.process import quiet_environment

__all__ = ["Lab", "checked"]

ENDS_WITHIN = 30
"""Seconds after which a supervisor is killed."""

Progress = Callable[[dict[str, Any]], None]
"""Gets the supervisor's status while it starts."""


class Lab:
    def __init__(self, folder: Path, book: AddressBook, supervisor: subprocess.Popen[bytes] | None = None) -> None:
        self.folder, self.book, self.supervisor = folder, book, supervisor

    @classmethod
    def start(
        cls, folder: Path | None = None, options: Options | None = None, progress: Progress | None = None
    ) -> "Lab":
        """Return when it is ready. If that fails, or is interrupted, everything started is ended first.

        `folder` is new or empty; PostgreSQL's own user must be able to enter it. Raises UsageError, TidegateError.
        """
        options = checked(options or Options())
        folder = _new_folder(folder)
        (folder / "options.json").write_text(options.model_dump_json())
        with (folder / "supervisor.log").open("wb") as log:
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "tidegate.lab.supervisor", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=quiet_environment(),
                cwd="/",
            )
        try:
            while (status := _status(folder)) is None or status["state"] != "ready":
                _must_live(supervisor, folder)
                if status is not None and progress is not None:
                    progress(status)
                time.sleep(0.05)
            return cls(folder, _book(folder), supervisor)
        except BaseException as error:
            _end(folder, supervisor)
            if isinstance(error, KeyboardInterrupt):  # any other says where to look
                shutil.rmtree(folder, ignore_errors=True)
            raise

    @classmethod
    def attach(cls, folder: Path) -> "Lab":
        """One that runs. Raises Unreachable."""
        try:
            call(folder / "control", "ping")
        except Unreachable:
            raise Unreachable(
                "no lab runs here", where=str(folder), mend="start one with `tidegate rehearse`"
            ) from None
        return cls(folder, _book(folder))

    def call(self, verb: str, **arguments: Any) -> Any:
        """What the supervisor answers; its verbs stand in supervisor.py. Raises Unreachable, TidegateError."""
        return call(self.folder / "control", verb, **arguments)

    def stop(self) -> None:
        """Return when nothing of it runs any more. What isn't a database's stays in its folder. Idempotent."""
        _end(self.folder, self.supervisor)

    def discard(self) -> None:
        """As `stop`; and nothing stays."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def checked(options: Options) -> Options:
    """With absolute paths. Raises UsageError for what isn't there."""
    if options.database is not None and not options.database.is_file():
        raise UsageError("there is no such dump", where=str(options.database), mend="name a file written by pg_dump")
    if options.objects is not None and not options.objects.is_dir():
        raise UsageError("there is no such folder", where=str(options.objects), mend="name a folder of files")
    paths = {
        name: path and path.resolve() for name, path in (("database", options.database), ("objects", options.objects))
    }
    return options.model_copy(update=paths)


def _new_folder(folder: Path | None) -> Path:
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="tidegate-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        if any(folder.iterdir()):
            raise UsageError("a lab needs an empty folder", where=str(folder), mend="choose another one")
    except OSError as error:
        raise UsageError(f"it can't be a lab's folder: {error.strerror}", where=str(folder)) from None
    return folder.resolve()


def _status(folder: Path) -> dict[str, Any] | None:
    try:
        return call(folder / "control", "status", timeout=10)
    except Unreachable:
        return None


def _book(folder: Path) -> AddressBook:
    return AddressBook.model_validate_json((folder / "book.json").read_text())


def _must_live(supervisor: subprocess.Popen[bytes], folder: Path) -> None:
    """Raises the error with which it ended."""
    if supervisor.poll() is None:
        return
    try:
        failure = json.loads((folder / "failure.json").read_text())
    except OSError:
        raise TidegateError("it ended while it started", where="lab", mend=f"see {folder}/supervisor.log") from None
    raise revived(failure)


def _end(folder: Path, supervisor: subprocess.Popen[bytes] | None) -> None:
    try:
        call(folder / "control", "stop")
    except Unreachable:  # it has ended, or doesn't listen yet
        if supervisor is not None:
            supervisor.terminate()
    deadline = time.monotonic() + ENDS_WITHIN
    while _runs(folder, supervisor):
        if time.monotonic() > deadline:
            os.kill(int((folder / "lock").read_text()), signal.SIGKILL)  # what it started dies with it
        time.sleep(0.02)


def _runs(folder: Path, supervisor: subprocess.Popen[bytes] | None) -> bool:
    if supervisor is not None:
        return supervisor.poll() is None
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
