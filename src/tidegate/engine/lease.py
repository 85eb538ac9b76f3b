"""One process holds a run's lease: a lock on a file, which the kernel frees when that process dies."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager

from tidegate.engine.journal import Store
from tidegate.errors import LeaseHeld

__all__ = ["driver", "lease"]


@contextmanager
def lease(store: Store, run: str) -> Generator[int]:
    """The epoch under which the holder appends. Raises LeaseHeld, naming the process that has it."""
    path = store.folder / f"{run}.lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise LeaseHeld(
                f"process {file.read().strip()} drives this run already",
                where=run,
                mend="watch it with `tidegate status`, steer it with `pause`, `approve`, `abort`, `rollback`",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield store.take_over(run)


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
