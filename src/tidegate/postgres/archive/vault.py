"""Where an archive is kept: files by name. A folder here; the clouds' object stores implement the same elsewhere."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tidegate.errors import LocalFault

__all__ = ["Absent", "FolderVault", "Stored", "Vault"]

PART = 2**20
UNFINISHED = ".unfinished"


class Absent(Exception):
    """The vault answers, and has nothing of this name."""


@dataclass(frozen=True, slots=True)
class Stored:
    name: str
    size: int


class Vault(Protocol):
    """A name is ASCII letters, digits, `.`, `_`, `-`. Raises Unreachable, Refused, LocalFault."""

    where: str

    async def put(self, name: str, chunks: AsyncIterator[bytes], size: int) -> None:
        """Whole or not at all, in place of what has the name; durable on return. `size`: bytes of all chunks."""
        ...

    def get(self, name: str) -> AsyncGenerator[bytes]:
        """In pieces of some MiB at most. Raises Absent."""
        ...

    def list(self) -> AsyncIterator[Stored]: ...

    async def delete(self, name: str) -> None:
        """It is gone then, also if it was already."""
        ...

    async def close(self) -> None: ...


class FolderVault:
    """Implements Vault. The folder is made by the first `put`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.where = str(folder)

    async def put(self, name: str, chunks: AsyncIterator[bytes], size: int) -> None:
        new = self.folder / f"{name}{UNFINISHED}"
        with self._explained():
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                with new.open("wb") as file:
                    async for chunk in chunks:
                        await asyncio.to_thread(file.write, chunk)
                    file.flush()
                    await asyncio.to_thread(os.fsync, file.fileno())
                if new.stat().st_size != size:
                    raise LocalFault(f"{name} didn't arrive whole", where=self.where, mend="try again")
                new.replace(self.folder / name)
                await asyncio.to_thread(_settle, self.folder)
            finally:
                with suppress(OSError):
                    new.unlink()

    async def get(self, name: str) -> AsyncGenerator[bytes]:
        with self._explained():
            try:
                file = (self.folder / name).open("rb")
            except FileNotFoundError:
                raise Absent(name) from None
            with file:
                while part := await asyncio.to_thread(file.read, PART):
                    yield part

    async def list(self) -> AsyncGenerator[Stored]:
        with self._explained():
            if self.folder.exists():
                for entry in sorted(self.folder.iterdir()):
                    if not entry.name.endswith(UNFINISHED):
                        yield Stored(entry.name, entry.stat().st_size)

    async def delete(self, name: str) -> None:
        with self._explained():
            (self.folder / name).unlink(missing_ok=True)

    async def close(self) -> None:
        pass

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise LocalFault(
                f"the folder can't be used: {error.strerror}",
                where=error.filename or self.where,
                mend="see to the disk's space and the folder's permissions",
            ) from None


def _settle(folder: Path) -> None:
    """A new name, too, has to outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
