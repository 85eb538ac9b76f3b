"""Files that others read, or that have to outlive a crash: whole or not there at all."""

import os
from contextlib import suppress
from pathlib import Path

from tidegate.errors import LocalFault

__all__ = ["write"]

SPACE = "see to the disk's space and the folder's permissions"


def write(path: Path, text: str, *, parents: bool = False, mend: str = SPACE) -> None:
    """After a crash or a power cut too it holds the old text or the new. Raises LocalFault.

    `parents`: make its folder, if that isn't there.
    """
    new: Path | None = None
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():  # nothing takes the place of a pipe or a device
            path.write_text(text, encoding="utf-8")
            return
        path = path.resolve()  # a link goes on to lead to it
        new = path.with_name(f".{path.name}.{os.getpid()}")
        with new.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        if new is not None:
            with suppress(OSError):
                new.unlink()
        raise LocalFault(f"it can't be written: {error.strerror}", where=str(path), mend=mend) from None
