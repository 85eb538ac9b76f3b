"""One pass over all that the bucket lists: counts, sizes, storage classes, names, checksums, and a sample."""

import random
import re
from bisect import bisect_left
from collections.abc import AsyncIterator
from html import unescape
from typing import NamedTuple
from urllib.parse import unquote_plus

from tidegate.errors import TidegateError
from tidegate.objects.preflight.check import Asked, Asks, counted, judged, listed, size
from tidegate.objects.preflight.ladder import Ladder, LadderFacts
from tidegate.objects.preflight.names import NameFacts, Names
from tidegate.objects.signing import Request
from tidegate.runbook.step import Finding

__all__ = ["ARCHIVED", "Entry", "ListingFacts", "judge_listing", "read_listing"]

ARCHIVED = {"GLACIER", "DEEP_ARCHIVE"}
"""Storage classes of which nothing can be read before it is restored. GLACIER_IR answers at once."""
ONE_PUT = 5 * 2**30
"""S3 takes no more in one request."""
LARGEST = 50_000 * 4000 * 2**20
"""Blocks times their size: "Scalability and performance targets for Blob storage"."""
UP_TO = {
    "4 KiB": 4 * 2**10,
    "64 KiB": 64 * 2**10,
    "1 MiB": 2**20,
    "8 MiB": 8 * 2**20,
    "64 MiB": 64 * 2**20,
    "1 GiB": 2**30,
    "5 GiB": ONE_PUT,
    "5 TiB": 5 * 2**40,
    "50 TiB": 50 * 2**40,
}
SIZES = sorted(UP_TO.values())
ENTRY = re.compile(rb"<Contents>(.*?)</Contents>", re.DOTALL)
FIELD = re.compile(rb"<(\w+)>([^<]*)</")


class Entry(NamedTuple):
    """`restored`: of an archived one: a copy can be read, is being made, or neither (empty)."""

    key: str
    size: int
    etag: str
    storage_class: str
    algorithms: tuple[str, ...]
    whole: bool
    restored: str


class Held(NamedTuple):
    objects: int
    bytes: int


class ListingFacts(Asked):
    """`sizes`: objects by the size that they don't exceed; `classes`: by storage class.

    `unreadable`: archived, without a restored copy; `restoring`: of those, on their way.
    """

    objects: int
    bytes: int
    largest: int
    largest_key: str
    sizes: dict[str, Held]
    classes: dict[str, Held]
    restored: Held
    restoring: Held
    unreadable: Held
    over_one_put: int
    names: NameFacts
    ladder: LadderFacts


async def read_listing(aws: Asks, names: Names, sampled: int, seed: int) -> tuple[ListingFacts, list[Entry]]:
    """With `sampled` of its objects, each as likely as any other. Raises Refused if the bucket can't be listed."""
    chance = random.Random(seed)
    sample: list[Entry] = []
    counts: dict[tuple[int, str, str], list[int]] = {}
    """Objects and bytes, by size, storage class, and what restoring has come to."""
    ladder = Ladder()
    objects = largest = over = 0
    largest_key = ""
    async for each in _entries(aws):
        objects += 1
        if each.size > largest or not largest_key:
            largest, largest_key = each.size, each.key
        over += each.size > ONE_PUT
        state = (each.restored or "unreadable") if each.storage_class in ARCHIVED else ""
        count = counts.setdefault((bisect_left(SIZES, each.size), each.storage_class, state), [0, 0])
        count[0] += 1
        count[1] += each.size
        names.see(each.key)
        ladder.see(each.size, each.etag, each.algorithms, whole=each.whole)
        if len(sample) < sampled:
            sample.append(each)
        elif (place := int(chance.random() * objects)) < sampled:
            sample[place] = each

    def held(field: int, *values: int | str) -> Held:
        found = [count for group, count in counts.items() if group[field] in values]
        return Held(sum(count[0] for count in found), sum(count[1] for count in found))

    facts = ListingFacts(
        objects=objects,
        bytes=sum(count[1] for count in counts.values()),
        largest=largest,
        largest_key=largest_key,
        sizes={name: held(0, place) for place, name in enumerate(UP_TO) if held(0, place).objects},
        classes={name: held(1, name) for name in sorted({group[1] for group in counts})},
        restored=held(2, "restored"),
        restoring=held(2, "restoring"),
        unreadable=held(2, "restoring", "unreadable"),
        over_one_put=over,
        names=names.facts(),
        ladder=ladder.facts(),
    )
    return facts, sample


async def _entries(aws: Asks) -> AsyncIterator[Entry]:
    query = {"list-type": "2", "encoding-type": "url"} | ({"prefix": aws.prefix} if aws.prefix else {})
    headers = {"x-amz-optional-object-attributes": "RestoreStatus"}
    while True:
        body = (await aws.ask(Request("GET", aws.url, dict(query), headers), {200})).body or b""
        found = ENTRY.findall(body)
        if len(found) != body.count(b"<Contents") or b"ListBucketResult>" not in body[-40:]:
            raise TidegateError(
                "its listing can't be read", where=aws.where, mend="see whether it is an S3 that answers"
            )
        for each in found:
            entry = _entry(each, len(aws.prefix))
            if entry.key:  # else it is the prefix itself, which is nobody's name on azure
                yield entry
        page = dict(FIELD.findall(body[body.rfind(b"</Contents>") :] + body[: body.find(b"<Contents>")]))
        if page.get(b"IsTruncated") != b"true":
            return
        query["continuation-token"] = unescape(page[b"NextContinuationToken"].decode())


def _entry(body: bytes, cut: int) -> Entry:
    """A regular expression reads what S3 writes several times as fast as a parser of XML: names are URL-encoded."""
    pairs = FIELD.findall(body)
    fields = dict(pairs)
    etag = fields.get(b"ETag", b"").decode().replace("&quot;", "").replace("&#34;", "").strip('"')
    coming = fields.get(b"IsRestoreInProgress")
    return Entry(
        key=unquote_plus(fields[b"Key"].decode())[cut:],
        size=int(fields.get(b"Size") or 0),
        etag=etag,
        storage_class=fields.get(b"StorageClass", b"").decode() or "STANDARD",
        algorithms=tuple(value.decode() for name, value in pairs if name == b"ChecksumAlgorithm"),
        whole=fields.get(b"ChecksumType", b"COMPOSITE" if "-" in etag else b"FULL_OBJECT") == b"FULL_OBJECT",
        restored="" if coming is None else "restoring" if coming == b"true" else "restored",
    )


def judge_listing(where: str, facts: ListingFacts) -> list[Finding]:
    sizes = ", ".join(f"{held.objects:,} up to {name}" for name, held in facts.sizes.items())
    classes = ", ".join(f"{held.objects:,} {name} ({size(held.bytes)})" for name, held in facts.classes.items())
    cut = f"; {facts.over_one_put:,} above 5 GiB go in blocks, and home in parts" if facts.over_one_put else ""
    coming = f", {facts.restoring.objects:,} of them on their way" if facts.restoring.objects else ""
    archived = counted(facts.unreadable.objects, "object")
    return [
        judged(
            "contents",
            where,
            f"{counted(facts.objects, 'object')}, {size(facts.bytes)}: {sizes}",
            wrong="" if facts.objects else "there is no object in the bucket, or none under the prefix",
            mend="see whether bucket and prefix are the right ones, or go on with none",
            verdict="inconclusive",
        ),
        judged(
            "sizes",
            where,
            f"the largest object has {size(facts.largest)}{cut}",
            wrong=f"{facts.largest_key!r} has {size(facts.largest)}; a blob holds {size(LARGEST)}"
            if facts.largest > LARGEST
            else "",
            mend="split it",
        ),
        judged(
            "archived",
            where,
            f"every object can be read without being restored ({classes})"
            if not facts.restored.objects
            else f"{counted(facts.restored.objects, 'archived object')} of {size(facts.restored.bytes)} are restored: "
            "copy them before that expires",
            wrong=f"{archived} of {size(facts.unreadable.bytes)} can't be read before being restored{coming} "
            f"({listed([name for name in facts.classes if name in ARCHIVED])})"
            if facts.unreadable.objects
            else "",
            mend="restore them (S3 Batch Operations, or restore-object), for as many days as the copy takes; "
            "on Azure set the tier Archive or Cold afterwards",
        ),
    ]
