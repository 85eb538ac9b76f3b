"""Some objects looked at one by one: what only HEAD, the tags and the ACL tell."""

import asyncio
import time
from collections.abc import Sequence

from pydantic import Field

from tidegate.objects.preflight.check import Asked, Asks, elements, text, url_of
from tidegate.objects.preflight.listing import Entry
from tidegate.objects.signing import Request

__all__ = ["Looked", "SampleFacts", "grants", "read_sample"]

META = "x-amz-meta-"
ACLS = 20
"""Of the sample's objects, so many have their ACL read."""
MARKS = {
    "redirect": "x-amz-website-redirect-location",
    "expires": "expires",
    "lock": "x-amz-object-lock-mode",
    "hold": "x-amz-object-lock-legal-hold",
    "archive_status": "x-amz-archive-status",
    "missing": "x-amz-missing-meta",
}
UNSET = {"hold": "OFF", "missing": "0"}


class Looked(Asked):
    """An object. `answer`: ssec: only its own key reads it. denied: the login can't read it.

    `encrypted`: by KMS. `marks`: of MARKS, what it has. `tags`: None if they can't be read. `grants`: to others than
    its owner; None if its ACL wasn't looked at, or can't be.
    """

    key: str
    size: int
    answer: str = "ok"
    encrypted: bool = False
    readable: bool = True
    metadata: dict[str, str] = Field(default_factory=dict[str, str])
    marks: dict[str, str] = Field(default_factory=dict[str, str])
    tags: dict[str, str] | None = Field(default_factory=dict[str, str])
    grants: list[str] | None = None


class SampleFacts(Asked):
    """`requests_per_second`: of HEADs, so many `at_once`; 0 if there were none."""

    objects: list[Looked] = Field(default_factory=list[Looked])
    at_once: int = 1
    requests_per_second: float = 0.0
    acl_denied: bool = False

    def of(self, answer: str) -> list[Looked]:
        return [each for each in self.objects if each.answer == answer]


async def read_sample(aws: Asks, entries: Sequence[Entry], at_once: int) -> SampleFacts:
    """What was deleted since it was listed isn't in it."""
    places = asyncio.Semaphore(at_once)

    async def look(entry: Entry) -> Looked | None:
        async with places:
            return await _look(aws, entry)

    async def complete(place: int, looked: Looked) -> Looked:
        async with places:
            return await _complete(aws, looked, acl=place < ACLS, tags=place == 0 or "tags" in looked.marks)

    began = time.monotonic()
    heads = await asyncio.gather(*(look(entry) for entry in entries))
    took = time.monotonic() - began
    found = sorted((each for each in heads if each is not None), key=lambda each: not each.readable)
    there = await asyncio.gather(*(complete(place, each) for place, each in enumerate(found)))
    return SampleFacts(
        objects=there,
        at_once=at_once,
        requests_per_second=len(heads) / took if heads else 0.0,
        acl_denied=any(each.answer == "ok" and each.grants is None for each in there[:ACLS]),
    )


async def _look(aws: Asks, entry: Entry) -> Looked | None:
    headers = {"x-amz-checksum-mode": "ENABLED"}
    answer = await aws.ask(Request("HEAD", url_of(aws, entry.key), headers=headers), {200, 400, 403, 404})
    if answer.status == 404:
        return None
    if answer.status != 200:
        how = "ssec" if answer.status == 400 else "denied"
        return Looked(key=entry.key, size=entry.size, answer=how, readable=False)
    got = answer.headers
    marks = {name: got[header] for name, header in MARKS.items() if got.get(header, UNSET.get(name)) != UNSET.get(name)}
    if got.get("x-amz-tagging-count", "0") != "0":
        marks["tags"] = got["x-amz-tagging-count"]
    archived = "archive_status" in marks or got.get("x-amz-storage-class") in {"GLACIER", "DEEP_ARCHIVE"}
    return Looked(
        key=entry.key,
        size=entry.size,
        encrypted=got.get("x-amz-server-side-encryption", "AES256") != "AES256",
        readable=not archived or 'ongoing-request="false"' in got.get("x-amz-restore", ""),
        metadata={name.removeprefix(META): value for name, value in got.items() if name.startswith(META)},
        marks=marks,
    )


async def _complete(aws: Asks, looked: Looked, *, acl: bool, tags: bool) -> Looked:
    change: dict[str, object] = {}
    if tags and looked.answer == "ok":
        body = await _told(aws, looked.key, "tagging")
        found = elements(body or b"", "Tag")
        change["tags"] = None if body is None else {text(each, "Key"): text(each, "Value") for each in found}
    if acl and looked.answer == "ok":
        body = await _told(aws, looked.key, "acl")
        change["grants"] = None if body is None else grants(body)
    return looked.model_copy(update=change)


async def _told(aws: Asks, key: str, what: str) -> bytes | None:
    """None if the login may not know; empty if there is nothing to know: the object is gone, or the server has none."""
    answer = await aws.ask(Request("GET", url_of(aws, key), {what: ""}), {200, 403, 404, 501})
    if answer.status == 403 and answer.code != "InvalidObjectState":
        return None
    return answer.body or b"" if answer.status == 200 else b""


def grants(acl: bytes) -> list[str]:
    """What an ACL grants to others than the owner, such as `READ to AllUsers`."""
    owner = next((text(each, "ID") for each in elements(acl, "Owner")), "")
    found: list[str] = []
    for grant in elements(acl, "Grant"):
        who = grant.find("{*}Grantee")
        if who is None or (owner and text(who, "ID") == owner):
            continue
        name = text(who, "URI").rpartition("/")[2] or text(who, "EmailAddress") or f"account {text(who, 'ID')[:12]}"
        found.append(f"{text(grant, 'Permission')} to {name}")
    return sorted(set(found))
