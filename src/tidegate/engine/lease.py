"""One process holds a run's lease: a lock on a file, which the kernel frees when that process dies."""

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from tidegate.engine.journal import Store
from tidegate.errors import LeaseHeld, LocalFault

__all__ = ["driver", "lease"]


ATTEMPTS, APART = 10, 0.05
"""Somebody who only looks (`driver`) holds the lock for a moment: that is no reason to give up. Seconds apart."""


@contextmanager
def lease(store: Store, run: str) -> Generator[int]:
    """The epoch under which the holder appends. Raises LeaseHeld, naming the process that has it."""
    path = store.folder / f"{run}.lock"
    with _opened(path) as file:
        _lock(file, run)
        try:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        except OSError as error:
            raise _unusable(path, error) from error
        yield store.take_over(run)


@contextmanager
def _opened(path: Path) -> Generator[TextIO]:
    try:
        file = path.open("a+")
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        yield file
    finally:
        with suppress(OSError):  # what a full disk didn't take is written once more
            file.close()


def _lock(file: TextIO, run: str) -> None:
    for attempt in range(ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt < ATTEMPTS - 1:
                time.sleep(APART)
        else:
            return
    file.seek(0)
    raise LeaseHeld(
        f"process {file.read().strip() or '(unknown)'} drives this run already",
        where=run,
        mend="watch it with `tidegate status`, steer it with `pause`, `approve`, `abort`, `rollback`",
    )


def _unusable(path: Path, error: OSError) -> LocalFault:
    return LocalFault(
        f"the run can't be taken over: {error.strerror}",
        where=str(path),
        mend="see to the disk's space and the folder's permissions, then `tidegate resume`",
    )


def driver(store: Store, run: str) -> int | None:
    """The process that drives this run now, if one does."""
    try:
        with (store.folder / f"{run}.lock").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read().strip() or 0) or None
    except FileNotFoundError:
        pass
    return None
