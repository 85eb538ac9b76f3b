"""Two listings side by side, in constant memory. No input or output of its own."""

from collections.abc import AsyncIterator, Callable
from typing import Generic, Protocol, TypeVar

__all__ = ["Keyed", "OutOfOrder", "Pair", "join", "sorted_listing"]


class Keyed(Protocol):
    @property
    def key(self) -> str: ...


L = TypeVar("L", bound=Keyed)
R = TypeVar("R", bound=Keyed)
Pair = tuple[str, L | None, R | None]


class OutOfOrder(Exception):
    """A listing isn't in the order of its keys' UTF-8 bytes."""


class _Head(Generic[L]):
    """The entry of a listing that comes next."""

    def __init__(self, listing: AsyncIterator[L]) -> None:
        self.listing = listing
        self.entry: L | None = None
        self.bytes = b""

    async def advance(self) -> None:
        self.entry = await anext(self.listing, None)
        if self.entry is not None:
            key = self.entry.key.encode()
            if key <= self.bytes and self.bytes:
                raise OutOfOrder(self.entry.key)
            self.bytes = key


async def join(left: AsyncIterator[L], right: AsyncIterator[R]) -> AsyncIterator[Pair[L, R]]:
    """Every key of either, once, in order, with its entry on either side. Raises OutOfOrder."""
    here, there = _Head(left), _Head(right)
    await here.advance()
    await there.advance()
    while here.entry is not None or there.entry is not None:
        entry, other = here.entry, there.entry
        if other is None or (entry is not None and here.bytes < there.bytes):
            assert entry is not None
            yield entry.key, entry, None
            await here.advance()
        elif entry is None or there.bytes < here.bytes:
            yield other.key, None, other
            await there.advance()
        else:
            yield entry.key, entry, other
            await here.advance()
            await there.advance()


async def sorted_listing(listing: Callable[[], AsyncIterator[L]]) -> AsyncIterator[L]:
    """For a server with an order of its own: the whole listing in memory."""
    for entry in sorted([entry async for entry in listing()], key=lambda entry: entry.key.encode()):
        yield entry
