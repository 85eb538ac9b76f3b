"""Is every object the same on both sides? Proved while changes go on.

Both listings are laid side by side. Where S3's ETag is an MD5 and equals Blob's Content-MD5, the contents are
equal: Blob has checked the MD5 of what it received in one piece. Everything else is looked at one by one: unless
both sides vouch for the same MD5, both are read and hashed. A key that changed while it was looked at is
looked at again, after what changed was brought over; a difference counts when it was seen twice at rest.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import suppress
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
    owner: Side, follower: Side, catch_up: Callable[[Collection[str]], Awaitable[None]], note: Callable[[str], None]
) -> VerifyReport:
    """`catch_up` brings the changes of these keys over, if there are any. Raises Unreachable, Refused."""
    suspects: list[str] = []
    objects = 0
    async for key, here, there in _pairs(owner, follower):
        objects += here is not None
        if not (here and there and _vouched(here, there)):
            suspects.append(key)
    if suspects:
        note(f"{len(suspects):,} of {objects:,} objects are compared one by one")
    report = VerifyReport(objects)
    lists = {"missing": report.missing, "extra": report.extra, "different": report.different}
    for key, verdict in (await _verdicts(suspects, owner, follower, catch_up)).items():
        if verdict != "same":
            lists[verdict].append(key)
    return report


async def _verdicts(
    keys: list[str], owner: Side, follower: Side, catch_up: Callable[[Collection[str]], Awaitable[None]]
) -> dict[str, Verdict]:
    """Round by round, each after what changed was brought over; a difference counts when it was seen twice at rest."""
    places = asyncio.Semaphore(AT_ONCE)
    verdicts: dict[str, Verdict] = {}
    seen = dict.fromkeys(keys, 0)

    async def stat(key: str) -> Listed | None:
        async with places:
            return await owner.stat(key)

    async def judge(key: str, before: Listed | None) -> Verdict | None:
        async with places:
            return await _judge(key, before, owner, follower)

    for tried in range(TRIES):
        left = [key for key in keys if verdicts.get(key) != "same" and seen[key] < NEEDED]
        if not left:
            break
        befores = await asyncio.gather(*(stat(key) for key in left))
        if tried:
            await catch_up(left)
        judged = await asyncio.gather(*(judge(key, before) for key, before in zip(left, befores, strict=True)))
        for key, verdict in zip(left, judged, strict=True):
            verdicts[key] = verdict or verdicts.get(key, "different")
            seen[key] += tried > 0 and verdict not in (None, "same")
    return verdicts


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


async def _judge(key: str, before: Listed | None, owner: Side, follower: Side) -> Verdict | None:
    """None: it changed meanwhile. `before`: the owner's, from before what changed was brought over."""
    there = await follower.stat(key)
    after = await owner.stat(key)
    if there and any(here and _vouched(here, there) for here in (before, after)):
        return "same"
    if (before and before.etag) != (after and after.etag):
        return None
    with suppress(Changed):
        return await _verdict(key, owner, follower, after, there)
    return None


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
