"""Is every object the same on both sides? Proved while changes go on.

Both listings are laid side by side, in constant memory. Where S3's ETag is an MD5 and equals Blob's Content-MD5, the
contents are equal: Blob has checked the MD5 of what it received in one piece; of what came in blocks, it is what their
writer said. Where both ETags are still those under
which the manifest has recorded a proof, nothing has changed since. Everything else is looked at one by one: Blob's
content is read and held against what S3 vouches for; where that is nothing, both are read. A key that changed while it
was looked at is looked at again, after what changed was brought over; a difference counts when it was seen twice at
rest.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from tidegate.objects.difference import OutOfOrder, Pair, join, sorted_pages
from tidegate.objects.ladder import Proof
from tidegate.objects.manifest import Manifest
from tidegate.objects.parts import read_ahead, spans
from tidegate.objects.side import LARGE, Changed, Got, Left, Listed, Properties, Side

__all__ = ["CatchUp", "Difference", "VerifyReport", "compare"]

AT_ONCE = 8
TRIES = 40
"""How often a key that changes all the time is looked at."""
NEEDED = 2
TOGETHER = 1000
"""Keys that are looked at in one go."""
KEPT = 1000
"""Differences that are kept in memory."""

Verdict = Literal["missing", "extra", "different"]


class Difference(NamedTuple):
    """What the side lacks that doesn't own the writes; has besides; has wrong."""

    key: str
    verdict: Verdict


@dataclass(slots=True)
class VerifyReport:
    """`objects`: at the side that owns the writes. `rungs`: by what so many are proved. `first`: of the differences."""

    objects: int = 0
    bytes: int = 0
    rungs: Counter[str] = field(default_factory=Counter[str])
    found: Counter[str] = field(default_factory=Counter[str])
    first: list[Difference] = field(default_factory=list[Difference])

    @property
    def differences(self) -> int:
        return self.found.total()

    @property
    def equal(self) -> bool:
        return not self.found

    def keys(self, verdict: Verdict) -> list[str]:
        """The first of them."""
        return [each.key for each in self.first if each.verdict == verdict]

    def add(self, difference: Difference) -> None:
        self.found[difference.verdict] += 1
        if len(self.first) < KEPT:
            self.first.append(difference)


class _Seen(NamedTuple):
    """`verdict`: None if it changed meanwhile. `rung`: what proves that both are the same."""

    verdict: Verdict | Literal["same"] | None
    rung: str = ""


CatchUp = Callable[[Collection[str]], Awaitable[None]]
"""Brings the changes of these keys over, if there are any."""


async def compare(
    owner: Side,
    follower: Side,
    catch_up: CatchUp,
    note: Callable[[str], None],
    manifest: Manifest | None = None,
    told: Callable[[Difference], None] = lambda _: None,
    *,
    read: bool = False,
) -> VerifyReport:
    """`manifest`: its proofs count. `told` of every difference. `read`: whatever the listings and it say, all contents
    are read. Raises Unreachable, Refused.
    """
    try:
        listings = join(owner.pages(), follower.pages())
        return await _compared(listings, owner, follower, catch_up, note, manifest, told, read=read)
    except OutOfOrder:  # from the beginning, in memory
        listings = join(sorted_pages(owner.pages()), sorted_pages(follower.pages()))
        return await _compared(listings, owner, follower, catch_up, note, manifest, told, read=read)


async def _compared(
    listings: AsyncIterator[list[Pair[Listed, Listed]]],
    owner: Side,
    follower: Side,
    catch_up: CatchUp,
    note: Callable[[str], None],
    manifest: Manifest | None,
    told: Callable[[Difference], None],
    *,
    read: bool,
) -> VerifyReport:
    report, suspects, singly = VerifyReport(), list[str](), 0

    async def look_closer() -> None:
        nonlocal singly
        if not singly:
            note("some objects are compared one by one")
        singly += len(suspects)
        for key, seen in (await _looked_at(suspects, owner, follower, catch_up, read=read)).items():
            if seen.verdict == "same":
                report.rungs[seen.rung] += 1
            else:
                difference = Difference(key, seen.verdict or "different")
                report.add(difference)
                told(difference)
        suspects.clear()

    async for pairs in listings:
        vouched = objects = size = 0
        for key, here, there in pairs:
            if here is not None:
                objects += 1
                size += here.size
                if there is not None and not read:
                    if here.md5 is not None and here.md5 == there.md5 and here.size == there.size:
                        vouched += 1
                        continue
                    if rung := _recorded(manifest, owner, here, there):
                        report.rungs[rung] += 1
                        continue
            suspects.append(key)
            if len(suspects) >= TOGETHER:
                await look_closer()
        report.objects, report.bytes = report.objects + objects, report.bytes + size
        if vouched:
            report.rungs["the MD5s in both listings"] += vouched
    if suspects:
        await look_closer()
    return report


def _recorded(manifest: Manifest | None, owner: Side, here: Listed, there: Listed) -> str:
    """The rung on which both were proved the same, if neither has changed since."""
    row = manifest.row(here.key) if manifest else None
    if row is None or row.size != here.size:
        return ""
    aws, azure = (here, there) if owner.cloud == "aws" else (there, here)
    return row.rung if (row.aws, row.azure) == (aws.etag, azure.etag) else ""


async def _looked_at(
    keys: list[str], owner: Side, follower: Side, catch_up: CatchUp, *, read: bool
) -> dict[str, _Seen]:
    """Round by round, each after what changed was brought over; a difference counts when it was seen twice at rest."""
    places = asyncio.Semaphore(AT_ONCE)
    found: dict[str, _Seen] = {}
    seen = dict.fromkeys(keys, 0)

    async def stat(key: str) -> Listed | None:
        async with places:
            with suppress(Left):  # told by its judgement
                return await owner.stat(key)
        return None

    async def judge(key: str, before: Listed | None) -> _Seen:
        async with places:
            return await _judge(key, before, owner, follower, read=read)

    for tried in range(TRIES):
        left = [key for key in keys if seen[key] < NEEDED and (key not in found or found[key].verdict != "same")]
        if not left:
            break
        befores = await asyncio.gather(*(stat(key) for key in left))
        if tried:
            await catch_up(left)
        judged = await asyncio.gather(*(judge(key, before) for key, before in zip(left, befores, strict=True)))
        for key, each in zip(left, judged, strict=True):
            if each.verdict is not None or key not in found:
                found[key] = each
            seen[key] += tried > 0 and each.verdict not in (None, "same")
    return found


async def _judge(key: str, before: Listed | None, owner: Side, follower: Side, *, read: bool) -> _Seen:
    """`before`: the owner's, from before what changed was brought over."""
    try:
        there, after = await follower.stat(key), await owner.stat(key)
    except Left:  # a side doesn't give it to us: nothing proves that it is the same
        return _Seen("different")
    if there and not read and any(here and _vouched(here, there) for here in (before, after)):
        return _Seen("same", "the MD5s in both listings")
    if (before and before.etag) != (after and after.etag):
        return _Seen(None)
    with suppress(Changed):
        return await _verdict(key, owner, follower, after, there)
    return _Seen(None)


async def _verdict(key: str, owner: Side, follower: Side, here: Listed | None, there: Listed | None) -> _Seen:
    """Raises Changed if either isn't any more what was found a moment ago."""
    if here is None or there is None:
        return _Seen("missing" if here else "extra" if there else "same")
    if here.size != there.size:
        return _Seen("different")
    aws, azure = (owner, follower) if owner.cloud == "aws" else (follower, owner)
    at_aws, at_azure = (here, there) if owner.cloud == "aws" else (there, here)
    proof = await _proof(aws, key, at_aws)
    try:
        await _read(azure, key, at_azure, proof.update)
    except Left:
        return _Seen("different")
    if proof.rung != "read":
        if proof.holds:
            return _Seen("same", proof.rung)
        if proof.rung != "parts":  # an ETag of parts of different sizes says nothing
            return _Seen("different")
    again = hashlib.md5(usedforsecurity=False)
    try:
        await _read(aws, key, at_aws, again.update)
    except Left:
        return _Seen("different")
    return _Seen("same", "read") if again.hexdigest() == proof.md5 else _Seen("different")


async def _proof(aws: Side, key: str, listed: Listed) -> Proof:
    """Of what S3 vouches for. Raises Changed."""
    try:
        got = await aws.look(key)
    except Left:
        return Proof(Got(listed.etag, listed.size, None, Properties(), None))
    if got is None or got.etag != listed.etag:
        raise Changed
    in_parts = got.parts and got.md5 is None and not got.checksums
    return Proof(got, await aws.first_part(key) if in_parts else 0)


async def _read(side: Side, key: str, listed: Listed, update: Callable[[bytes], None]) -> None:
    async def part(start: int, size: int) -> bytes:
        return await side.part(key, listed.etag, start, size)

    async for each in read_ahead(spans(listed.size, LARGE, 1 << 40), part):
        await asyncio.to_thread(update, each)


def _vouched(here: Listed, there: Listed) -> bool:
    return here.size == there.size and here.md5 is not None and here.md5 == there.md5
