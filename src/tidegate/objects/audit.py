"""Are both sides still what a record says? One pass over the record and both listings, without reading an object.

A listing doesn't show all: S3 keeps an object's ETag when only its metadata are written anew. Blob changes it.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, starmap
from pathlib import Path
from typing import Literal, NamedTuple

from tidegate.objects.difference import OutOfOrder, join, sorted_pages
from tidegate.objects.formats import Record, read
from tidegate.objects.side import Listed, Side
from tidegate.runbook.migration import Cloud

__all__ = ["AuditReport", "Audited", "Verdict", "audit", "compare"]

SHOWN = 100
PAGE = 1000

Verdict = Literal["same", "changed", "missing", "new", "unproved"]
"""unproved: the record itself says nothing of the object there, as it was pending or a conflict.
changed: another ETag or size than recorded. new: the record doesn't have it.
"""


class Audited(NamedTuple):
    """One object on one side. `why` is empty if it is the same."""

    key: str
    cloud: Cloud
    verdict: Verdict
    why: str


@dataclass(slots=True)
class AuditReport:
    """`counts`: by side and verdict. `first`: the first SHOWN that aren't the same, in the order in which they came."""

    recorded: int = 0
    counts: dict[Cloud, dict[Verdict, int]] = field(default_factory=lambda: {"aws": {}, "azure": {}})
    first: list[Audited] = field(default_factory=list[Audited])

    @property
    def differences(self) -> int:
        return sum(count for side in self.counts.values() for verdict, count in side.items() if verdict != "same")

    def add(self, each: Audited) -> None:
        side = self.counts[each.cloud]
        side[each.verdict] = side.get(each.verdict, 0) + 1
        if each.verdict != "same" and len(self.first) < SHOWN:
            self.first.append(each)


class _Known(NamedTuple):
    key: str
    record: Record | None
    here: Listed | None


async def audit(file: Path, aws: Side, azure: Side) -> AuditReport:
    """Raises UsageError if the file is no whole record; Unreachable, Refused, LocalFault."""
    renamed = {record.name: record for record in read(file) if record.name}  # few: only what Blob can't hold
    try:
        return await _audit(file, aws.pages(), azure.pages(), renamed)
    except OutOfOrder:  # a server with an order of its own, such as one with a hierarchical namespace
        return await _audit(file, sorted_pages(aws.pages()), sorted_pages(azure.pages()), renamed)


async def _audit(
    file: Path,
    here: AsyncIterator[list[Listed]],
    there: AsyncIterator[list[Listed]],
    renamed: Mapping[str, Record],
) -> AuditReport:
    report = AuditReport()

    async def recorded() -> AsyncIterator[list[Record]]:
        records = read(file)
        while page := list(islice(records, PAGE)):
            report.recorded += len(page)
            yield page

    async for batch in compare(recorded(), here, there, renamed):
        for each in batch:
            report.add(each)
    return report


async def compare(
    recorded: AsyncIterator[list[Record]],
    here: AsyncIterator[list[Listed]],
    there: AsyncIterator[list[Listed]],
    renamed: Mapping[str, Record],
) -> AsyncIterator[list[Audited]]:
    """Every recorded object on both sides, and every other on the side where it is. `here` is S3, `there` Blob.

    `renamed`: by the blob's name, the records of which it isn't the key; Blob can't hold that key, so a listing has the
    name, or the key if the side tells that. All three in the order of the keys' UTF-8 bytes, else raises OutOfOrder. No
    input or output of its own.
    """
    waiting = dict(renamed)
    async for pairs in join(_known(recorded, here), there):
        found: list[Audited] = []
        for key, known, blob in pairs:
            record = known.record if known else None
            if known:
                found.append(_judge(key, "aws", record, known.here))
            if record and (blob or not record.name):
                waiting.pop(record.name, None)
                found.append(_judge(key, "azure", record, blob))
            elif blob:
                other = waiting.pop(key, None)
                found.append(_judge(other.key if other else key, "azure", other, blob))
        yield found
    yield [_judge(record.key, "azure", record, None) for record in waiting.values()]


async def _known(
    recorded: AsyncIterator[list[Record]], here: AsyncIterator[list[Listed]]
) -> AsyncIterator[list[_Known]]:
    async for pairs in join(recorded, here):
        yield list(starmap(_Known, pairs))


def _judge(key: str, cloud: Cloud, record: Record | None, listed: Listed | None) -> Audited:
    if record is None:
        return Audited(key, cloud, "new", "not in the record")
    etag = record.etag(cloud)
    if not etag:
        was = f"{record.state} when the record was made"
        return Audited(key, cloud, "unproved", f"{was}: {record.note}" if record.note else was)
    if listed is None:
        return Audited(key, cloud, "missing", "it was there")
    if listed.size != record.size:
        return Audited(key, cloud, "changed", f"{listed.size:,} bytes, recorded: {record.size or 0:,}")
    if listed.etag != etag:
        same = " (the MD5 is the recorded one)" if listed.md5 and listed.md5 == record.md5 else ""
        return Audited(key, cloud, "changed", f"ETag {listed.etag}, recorded: {etag}{same}")
    return Audited(key, cloud, "same", "")
