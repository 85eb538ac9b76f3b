"""Two sorted listings side by side, a page at a time, in constant memory. No input or output of its own."""

from collections.abc import AsyncIterator
from typing import Generic, Protocol, TypeVar

__all__ = ["Keyed", "OutOfOrder", "Pair", "join", "sorted_pages"]

PAGE = 1000


class Keyed(Protocol):
    @property
    def key(self) -> str: ...


L = TypeVar("L", bound=Keyed)
R = TypeVar("R", bound=Keyed)
Pair = tuple[str, L | None, R | None]


class OutOfOrder(Exception):
    """A listing isn't in the order of its keys' UTF-8 bytes, which is that of their code points."""


class _Reader(Generic[L]):
    """The page of a listing that is being read, from `at` on."""

    def __init__(self, pages: AsyncIterator[list[L]]) -> None:
        self.pages = pages
        self.page: list[L] = []
        self.at = 0
        self.over = False
        self._last = ""

    async def fill(self) -> None:
        """`page` has an entry at `at`, unless it is over. Raises OutOfOrder."""
        while self.at == len(self.page) and not self.over:
            page = await anext(self.pages, None)
            if page is None:
                self.over, self.page, self.at = True, [], 0
                return
            last = self._last
            for entry in page:
                key = entry.key
                if key <= last:
                    raise OutOfOrder(key)
                last = key
            self._last, self.page, self.at = last, page, 0


async def join(left: AsyncIterator[list[L]], right: AsyncIterator[list[R]]) -> AsyncIterator[list[Pair[L, R]]]:
    """Every key of either, once, in order, with its entry on either side; in batches. Raises OutOfOrder."""
    here, there = _Reader(left), _Reader(right)
    while True:
        await here.fill()
        await there.fill()
        if here.over and there.over:
            return
        pairs: list[Pair[L, R]] = []
        if here.over or there.over:
            pairs += [(entry.key, entry, None) for entry in here.page[here.at :]]
            pairs += [(entry.key, None, entry) for entry in there.page[there.at :]]
            here.at, there.at = len(here.page), len(there.page)
        else:
            here.at, there.at = _merge(pairs, here.page, here.at, there.page, there.at)
        yield pairs


def _merge(pairs: list[Pair[L, R]], left: list[L], i: int, right: list[R], j: int) -> tuple[int, int]:
    """Until one page has been read. Returns where both have come to."""
    ends, other_ends = len(left), len(right)
    while i < ends and j < other_ends:
        entry, other = left[i], right[j]
        key, name = entry.key, other.key
        if key == name:
            pairs.append((key, entry, other))
            i, j = i + 1, j + 1
        elif key < name:
            pairs.append((key, entry, None))
            i += 1
        else:
            pairs.append((name, None, other))
            j += 1
    return i, j


async def sorted_pages(pages: AsyncIterator[list[L]]) -> AsyncIterator[list[L]]:
    """For a server with an order of its own: the whole listing in memory."""
    entries = sorted([entry async for page in pages for entry in page], key=lambda entry: entry.key)
    for start in range(0, len(entries), PAGE):
        yield entries[start : start + PAGE]
