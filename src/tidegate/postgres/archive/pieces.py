"""A dump's files cut into pieces, sealed and sent; fetched, opened and proved to be what was sent."""

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from tidegate.postgres.archive.cipher import Damaged, Opener, seal, sealed_size
from tidegate.postgres.archive.key import Key
from tidegate.postgres.archive.manifest import Piece
from tidegate.postgres.archive.vault import Absent, Vault
from tidegate.postgres.side_by_side import side_by_side

__all__ = ["PIECE", "cut", "fetch", "is_here", "is_there", "send", "spread"]

PIECE = 2**30
"""Bytes. What an interruption costs at most, per job; small enough for any object store's limits."""
PART = 2**20

T = TypeVar("T")


def cut(sizes: dict[str, int]) -> list[Piece]:
    """`sizes`: of each file, by name. The largest files come first; an empty one is a piece too."""
    return [
        Piece(name=f"{file}.{number:05}", file=file, offset=offset, size=min(PIECE, size - offset))
        for file, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
        for number, offset in enumerate(range(0, max(1, size), PIECE))
    ]


async def spread(items: Iterable[T], jobs: int, work: Callable[[T], Awaitable[None]]) -> None:
    """`work` on each, so many at once. The first error ends all."""
    waiting = iter(items)

    async def job() -> None:
        for item in waiting:
            await work(item)

    await side_by_side(*(job() for _ in range(max(1, jobs))))


async def send(vault: Vault, key: Key, backup: str, folder: Path, piece: Piece, moved: Callable[[int], None]) -> Piece:
    """The piece with its hashes. `moved`: told of the bytes as they leave.

    Raises what the vault raises; OSError for the file here.
    """
    plain, sealed = hashlib.sha256(), hashlib.sha256()
    stored = sealed_size(piece.size)

    def blocks() -> Iterator[bytes]:
        with (folder / piece.file).open("rb") as file:
            file.seek(piece.offset)
            left = piece.size

            def read(size: int) -> bytes:
                nonlocal left
                chunk = file.read(min(size, left))
                left -= len(chunk)
                plain.update(chunk)
                return chunk

            for block in seal(read, key, piece.context(backup)):
                sealed.update(block)
                yield block

    await vault.put(piece.name, _threaded(blocks(), moved), stored)
    return piece.model_copy(update={"plain": plain.hexdigest(), "sealed": sealed.hexdigest(), "stored": stored})


async def _threaded(blocks: Iterator[bytes], moved: Callable[[int], None]) -> AsyncGenerator[bytes]:
    """Hashing and sealing leave the interpreter to others: each block is made in a thread."""
    while (block := await asyncio.to_thread(next, blocks, None)) is not None:
        yield block
        moved(len(block))


async def fetch(
    vault: Vault, key: Key, backup: str, piece: Piece, folder: Path | None, moved: Callable[[int], None]
) -> None:
    """Read back, opened, hashes compared; written below `folder` if one is given.

    Raises Absent, Damaged; what the vault raises; OSError for the file here.
    """
    plain, sealed = hashlib.sha256(), hashlib.sha256()
    opener = Opener(key, piece.context(backup), f"{piece.name} in {vault.where}")
    stored = 0
    target = os.open(folder / piece.file, os.O_WRONLY | os.O_CREAT, 0o600) if folder else None
    try:
        at = piece.offset

        def take(chunks: Iterable[bytes]) -> None:
            nonlocal at
            for chunk in chunks:
                plain.update(chunk)
                if target is not None:
                    at += os.pwrite(target, chunk, at)

        def arrived(part: bytes) -> None:
            sealed.update(part)
            take(opener.feed(part))

        async for part in vault.get(piece.name):
            stored += len(part)
            await asyncio.to_thread(arrived, part)
            moved(len(part))
        if stored < piece.stored:
            raise Damaged("truncated")
        await asyncio.to_thread(lambda: take([opener.finish()]))
        if (plain.hexdigest(), sealed.hexdigest()) != (piece.plain, piece.sealed):
            raise Damaged("altered")
    finally:
        if target is not None:
            os.close(target)


async def is_there(vault: Vault, piece: Piece) -> bool:
    """What the vault has under its name is what was sent."""
    sealed = hashlib.sha256()
    try:
        async for part in vault.get(piece.name):
            sealed.update(part)
    except Absent:
        return False
    return sealed.hexdigest() == piece.sealed


def is_here(folder: Path, piece: Piece) -> bool:
    """An earlier try has fetched it."""
    plain, left = hashlib.sha256(), piece.size
    try:
        with (folder / piece.file).open("rb") as file:
            file.seek(piece.offset)
            while left and (part := file.read(min(PART, left))):
                plain.update(part)
                left -= len(part)
    except FileNotFoundError:
        return False
    return not left and plain.hexdigest() == piece.plain
