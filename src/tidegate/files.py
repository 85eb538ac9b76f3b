"""Files that others read, or that have to outlive a crash: whole or not there at all."""

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tidegate.errors import LocalFault

__all__ = ["replacing", "write"]

SPACE = "see to the disk's space and the folder's permissions"


def write(path: Path, text: str, *, parents: bool = False, mend: str = SPACE) -> None:
    """After a crash or a power cut too it holds the old text or the new. Raises LocalFault.

    `parents`: make its folder, if that isn't there.
    """
    with replacing(path, parents=parents, mend=mend) as file:
        file.write(text.encode())


@contextmanager
def replacing(path: Path, *, parents: bool = False, mend: str = SPACE) -> Generator[BinaryIO]:
    """As `write`, for what is written bit by bit: it takes the path's place if the block ends without an error."""
    new: Path | None = None
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():  # nothing takes the place of a pipe or a device
            with path.open("wb") as file:
                yield file
            return
        path = path.resolve()  # a link goes on to lead to it
        new = path.with_name(f".{path.name}.{os.getpid()}")
        with new.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException as error:
        if new is not None:
            with suppress(OSError):
                new.unlink()
        if isinstance(error, OSError):
            raise LocalFault(f"it can't be written: {error.strerror}", where=str(path), mend=mend) from None
        raise
