"""Is every object the same on both sides? Proved while changes go on.

Both listings are laid side by side. Where S3's ETag is an MD5 and equals Blob's Content-MD5, the contents are
equal: Blob has checked the MD5 of what it received in one piece. Everything else is looked at one by one: unless
both sides vouch for the same MD5, both are read and hashed. A key that changed while it was looked at is
looked at again, after what changed was brought over; a difference counts when it was seen twice at rest.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from tidegate.objects.difference import OutOfOrder, Pair, join, sorted_listing
from tidegate.objects.side import LARGE, Changed, Listed, Side

__all__ = ["VerifyReport", "compare"]

AT_ONCE = 8
TRIES = 40
"""How often a key that changes all the time is looked at."""
NEEDED = 2

Verdict = Literal["same", "missing", "extra", "different"]


@dataclass(slots=True)
class VerifyReport:
    """`objects`: at the side that owns the writes. Keys: what the other side lacks, has besides, has wrong."""

    objects: int = 0
    missing: list[str] = field(default_factory=list[str])
    extra: list[str] = field(default_factory=list[str])
    different: list[str] = field(default_factory=list[str])

    @property
    def equal(self) -> bool:
        return not (self.missing or self.extra or self.different)


async def compare(
    owner: Side, follower: Side, catch_up: Callable[[str], Awaitable[None]], note: Callable[[str], None]
) -> VerifyReport:
    """`catch_up` brings one key's change over, if there is one. Raises Unreachable, Refused."""
    suspects: list[str] = []
    objects = 0
    async for key, here, there in _pairs(owner, follower):
        objects += here is not None
        if not (here and there and _vouched(here, there)):
            suspects.append(key)
    if suspects:
        note(f"{len(suspects):,} of {objects:,} objects are compared one by one")
    report = VerifyReport(objects)
    places = asyncio.Semaphore(AT_ONCE)

    async def judge(key: str) -> tuple[str, Verdict]:
        async with places:
            return key, await _judge(key, owner, follower, catch_up)

    lists = {"missing": report.missing, "extra": report.extra, "different": report.different}
    for key, verdict in await asyncio.gather(*(judge(key) for key in suspects)):
        if verdict != "same":
            lists[verdict].append(key)
    return report


async def _pairs(owner: Side, follower: Side) -> AsyncIterator[Pair[Listed, Listed]]:
    seen = ""
    try:
        async for pair in join(owner.list(), follower.list()):
            seen = pair[0]
            yield pair
    except OutOfOrder:
        async for pair in join(sorted_listing(owner.list), sorted_listing(follower.list)):
            if pair[0].encode() > seen.encode():
                yield pair


async def _judge(key: str, owner: Side, follower: Side, catch_up: Callable[[str], Awaitable[None]]) -> Verdict:
    verdict: Verdict = "different"
    seen = 0
    for tried in range(TRIES):
        before = await owner.stat(key)
        if tried:
            await catch_up(key)
        there = await follower.stat(key)
        after = await owner.stat(key)
        if there and any(here and _vouched(here, there) for here in (before, after)):
            return "same"
        if (before and before.etag) != (after and after.etag):
            continue
        try:
            verdict = await _verdict(key, owner, follower, after, there)
        except Changed:
            continue
        if verdict == "same":
            return "same"
        seen += tried > 0
        if seen == NEEDED:
            break
    return verdict


async def _verdict(key: str, owner: Side, follower: Side, here: Listed | None, there: Listed | None) -> Verdict:
    """Raises Changed if either isn't any more what was found a moment ago."""
    if here is None or there is None:
        return "missing" if here else "extra" if there else "same"
    if here.size != there.size:
        return "different"
    return "same" if await _hash(owner, key, here) == await _hash(follower, key, there) else "different"


def _vouched(here: Listed, there: Listed) -> bool:
    return here.size == there.size and here.md5 is not None and here.md5 == there.md5


async def _hash(side: Side, key: str, listed: Listed) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for start in range(0, listed.size, LARGE):
        digest.update(await side.part(key, listed.etag, start, min(LARGE, listed.size - start)))
    return digest.hexdigest()
