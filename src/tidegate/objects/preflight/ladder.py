"""How the copies will be proved equal: on which rung of the verification ladder the bytes stand.

The ladder itself is objects/ladder.py; here it is foretold from what a listing says. An ETag is the content's MD5
unless the object came in parts, or KMS or a customer's key encrypts it ("Common response headers",
docs.aws.amazon.com).
"""

import re
from collections import Counter
from typing import Literal, get_args

from pydantic import Field

from tidegate.objects.preflight.check import Asked, judged, size
from tidegate.runbook.step import Finding

__all__ = ["Ladder", "LadderFacts", "Rung", "judge_ladder", "rung"]

Rung = Literal["md5", "crc64nvme", "checksum", "parts", "read"]
SAYS: dict[Rung, str] = {
    "md5": "the ETag is the MD5",
    "crc64nvme": "S3 has the CRC64 that Blob computes",
    "checksum": "another checksum of S3's is computed again",
    "parts": "the ETag is computed again from the parts",
    "read": "the source is read twice",
}
MD5 = re.compile(r"[0-9a-f]{32}(-\d+)?")
ONE = "0" * 32
MANY = f"{ONE}-2"
"""Each stands for all ETags of its shape."""


def rung(etag: str, algorithms: tuple[str, ...], *, whole: bool, encrypted: bool) -> Rung:
    """The highest that there is. `whole`: the checksum is the whole object's. `encrypted`: by KMS, or SSE-C."""
    found = None if encrypted else MD5.fullmatch(etag)
    if found and not found[1]:
        return "md5"
    if whole and algorithms:
        return "crc64nvme" if "CRC64NVME" in algorithms else "checksum"
    return "parts" if found else "read"


class LadderFacts(Asked):
    """Bytes by rung, if no ETag is of an encrypted object, and if all are."""

    plain: dict[Rung, int] = Field(default_factory=dict[Rung, int])
    encrypted: dict[Rung, int] = Field(default_factory=dict[Rung, int])


class Ladder:
    """Counts bytes by what decides about the rung; a million objects differ in few of these."""

    def __init__(self) -> None:
        self._bytes: Counter[tuple[str, tuple[str, ...], bool]] = Counter()

    def see(self, count: int, etag: str, algorithms: tuple[str, ...], *, whole: bool) -> None:
        """An object of so many bytes, as it is listed."""
        shape = (ONE if len(etag) == len(ONE) else MANY) if MD5.fullmatch(etag) else ""
        self._bytes[shape, algorithms, whole] += count

    def facts(self) -> LadderFacts:
        plain: Counter[Rung] = Counter()
        encrypted: Counter[Rung] = Counter()
        for (etag, algorithms, whole), count in self._bytes.items():
            plain[rung(etag, algorithms, whole=whole, encrypted=False)] += count
            encrypted[rung(etag, algorithms, whole=whole, encrypted=True)] += count
        return LadderFacts(plain=dict(plain), encrypted=dict(encrypted))


def judge_ladder(where: str, facts: LadderFacts, encrypted: float | None) -> Finding:
    """`encrypted`: by KMS, as a share of the sample's bytes; None if nothing could be looked at."""
    part = encrypted or 0.0
    total = sum(facts.plain.values()) or 1
    shares: dict[Rung, float] = {
        each: ((1 - part) * facts.plain.get(each, 0) + part * facts.encrypted.get(each, 0)) / total
        for each in get_args(Rung)
    }
    said = ", ".join(f"{share:.0%} {SAYS[each]}" for each, share in shares.items() if share > 0)
    read = shares["read"] * total
    return judged(
        "verification",
        where,
        f"how each byte is proved: {said}" if said else "there is no byte to prove",
        wrong=f"S3 has no checksum for {size(read)}, about: {said}" if read else "",
        mend="nothing, if the copy may take longer; or copy those objects onto themselves first, with "
        "--checksum-algorithm CRC64NVME",
        verdict="inconclusive",
    )
