"""Large objects pass in parts: read ahead of their use, sent side by side, in memory for few at a time."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

__all__ = ["read_ahead", "sent_side_by_side", "spans"]

P = TypeVar("P")
AHEAD = 3
"""Parts on their way from the source."""


def spans(size: int, least: int, most_parts: int) -> list[tuple[int, int]]:
    """(start, bytes) of parts of at least so many bytes, at most so many parts."""
    step = max(least, -(-size // most_parts))
    return [(start, min(step, size - start)) for start in range(0, size, step)]


async def read_ahead(
    places: list[tuple[int, int]], read: Callable[[int, int], Awaitable[bytes]]
) -> AsyncIterator[bytes]:
    """The parts at these (start, bytes), in order."""
    coming: deque[asyncio.Future[bytes]] = deque()
    left = iter(places)

    def order() -> None:
        if place := next(left, None):
            coming.append(asyncio.ensure_future(read(*place)))

    try:
        for _ in range(AHEAD):
            order()
        while coming:
            part = await coming[0]
            coming.popleft()
            order()
            yield part
    finally:
        for each in coming:
            each.cancel()
        await asyncio.gather(*coming, return_exceptions=True)


async def sent_side_by_side(
    parts: AsyncIterator[P], send: Callable[[int, P], Awaitable[str]], at_once: int
) -> list[str]:
    """What `send` returned for each part, by the parts' order. Raises what it raises, when nothing is on its way."""
    sent: list[asyncio.Future[str]] = []
    busy: set[asyncio.Future[str]] = set()
    try:
        async for part in parts:
            sent.append(asyncio.ensure_future(send(len(sent), part)))
            busy.add(sent[-1])
            if len(busy) >= at_once:
                done, busy = await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    each.result()
        return list(await asyncio.gather(*sent))
    finally:
        for each in busy:
            each.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
