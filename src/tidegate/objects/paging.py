"""A listing page by page, the next one asked for while this one is used."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from tidegate.objects.listing import Page
from tidegate.objects.side import Listed

__all__ = ["paged"]


async def paged(ask: Callable[[str], Awaitable[Page]]) -> AsyncGenerator[list[Listed]]:
    """`ask` for the page at a token; the first one's is empty. Raises what it raises."""
    coming = asyncio.ensure_future(ask(""))
    try:
        while True:
            page = await coming
            if page.more:
                coming = asyncio.ensure_future(ask(page.more))
            yield page.entries
            if not page.more:
                return
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
