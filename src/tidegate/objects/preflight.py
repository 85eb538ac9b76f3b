"""What would make the move fail, looked for before it starts. Reads facts; judges them without the servers."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from tidegate.errors import Refused
from tidegate.objects.blob import BlobSide
from tidegate.objects.events import Events
from tidegate.objects.names import refused_by_blob
from tidegate.objects.s3 import S3Side
from tidegate.runbook.step import Finding

__all__ = ["BucketFacts", "judge", "read_facts"]

SHOWN = 5


class BucketFacts(BaseModel):
    """`unnameable`: a few keys that Blob can't hold, with the reason. `readable`: empty, or why objects aren't."""

    model_config = ConfigDict(frozen=True)

    objects: int
    bytes: int
    readable: str
    unnameable: list[str]
    unnameable_count: int
    archived: int
    versioned: bool
    kms: bool
    locked: bool
    target: Literal["absent", "empty", "ours", "full"]
    events: bool
    findings: list[Finding] = []


async def read_facts(aws: S3Side, azure: BlobSide, events: Events | None, *, begun: bool) -> BucketFacts:
    """`begun`: the run has proved the container empty before. Raises Unreachable or Refused, naming the side."""
    target: Literal["absent", "empty", "ours", "full"] = "absent"
    if await azure.exists():
        target = "ours" if begun else "empty"
        if not begun:
            target = "full" if await azure.holds_anything() else "empty"
    objects = size = archived = 0
    unnameable: list[str] = []
    count, first = 0, ""
    async for each in (each async for page in aws.pages() for each in page):
        objects, size, archived = objects + 1, size + each.size, archived + each.archived
        first = first or ("" if each.archived else each.key)
        if why := refused_by_blob(each.key):
            count += 1
            unnameable += [f"{each.key!r} ({why})"] if count <= SHOWN else []
    versioning = await aws.setting("versioning")
    encryption = await aws.setting("encryption")
    lock = await aws.setting("object-lock")
    if events is not None:
        await events.depth()
    facts = BucketFacts(
        objects=objects,
        bytes=size,
        readable=await _readable(aws, first),
        unnameable=unnameable,
        unnameable_count=count,
        archived=archived,
        versioned=versioning is not None and versioning.findtext("{*}Status") is not None,
        kms=encryption is not None and any("kms" in (each.text or "") for each in encryption.iter()),
        locked=lock is not None,
        target=target,
        events=events is not None,
    )
    return facts.model_copy(update={"findings": judge(facts)})


def judge(facts: BucketFacts) -> list[Finding]:
    """One observation per check. Pure."""
    found: list[Finding] = []

    def check(name: str, message: str, wrong: str = "") -> None:
        found.append(Finding(check=name, verdict="fail" if wrong else "pass", message=wrong or message))

    check("readable", f"{facts.objects:,} objects, {facts.bytes / 2**20:,.1f} MiB, can be read", facts.readable)
    names = f"azure can't hold {facts.unnameable_count:,} names: {', '.join(facts.unnameable)}; rename them on AWS"
    check("names", "azure can hold every name", names if facts.unnameable_count else "")
    archived = f"{facts.archived:,} objects are archived; restore them first"
    check("archived", "no object is archived", archived if facts.archived else "")
    full = "the container on azure isn't empty; give an empty one, or none"
    state = {"absent": "the container will be made", "empty": "the container is empty", "ours": "the run has begun it"}
    check("empty", state.get(facts.target, ""), full if facts.target == "full" else "")
    versions = "the bucket has versions: the current ones are copied, older ones stay on AWS"
    check("versions", versions if facts.versioned else "the bucket keeps no versions")
    kms = "KMS encrypts: azure encrypts by its own keys, and contents are compared by reading both sides"
    check("encryption", kms if facts.kms else "no key of KMS is needed")
    locked = "the bucket has an Object Lock: set a policy of azure's on the container, the lock isn't copied"
    check("lock", locked if facts.locked else "no Object Lock")
    queue = "changes are told by events" if facts.events else "no events: changes are found by listing again and again"
    check("events", queue)
    return found


async def _readable(aws: S3Side, key: str) -> str:
    if not key:
        return ""
    try:
        await aws.get(key)
    except Refused as error:
        return f"objects can't be read: {error.why}"
    return ""
