"""A folder on this machine for a dump in plain text: nobody else's to read, and one process's at a time."""

import fcntl
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tidegate.errors import LocalFault

__all__ = ["clear", "discard", "local", "require_room", "workplace"]


@contextmanager
def workplace(folder: Path) -> Generator[Path]:
    """It stays when this ends, for the next try; `clear` empties it. Raises LocalFault."""
    with local(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        with local(folder):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LocalFault("another process works here", where=str(folder), mend="wait for its end") from None
        yield folder
    finally:
        os.close(descriptor)


def clear(folder: Path) -> None:
    """Raises LocalFault."""
    with local(folder):
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def discard(folder: Path) -> None:
    """A workplace, and the dump in it. Raises LocalFault."""
    with local(folder):
        if folder.is_dir():
            shutil.rmtree(folder)


def require_room(folder: Path, needed: int) -> None:
    """Raises LocalFault, naming how many bytes are needed."""
    with local(folder):
        free = shutil.disk_usage(folder).free
    if free < needed:
        raise LocalFault(
            f"the dump needs up to {needed / 2**20:,.1f} MiB, and {free / 2**20:,.1f} MiB are free",
            where=str(folder),
            mend="make room, or give a folder on another disk",
        )


@contextmanager
def local(folder: Path) -> Generator[None]:
    """Around work on files below `folder`. Raises LocalFault."""
    try:
        yield
    except OSError as error:
        raise LocalFault(
            f"it can't be used: {error.strerror}",
            where=str(error.filename or folder),
            mend="see to the disk's space and the folder's permissions",
        ) from None
