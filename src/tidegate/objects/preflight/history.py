"""What the bucket remembers of its objects beside their current content: versions, delete markers, locks."""

from collections.abc import Mapping
from urllib.parse import unquote_plus

from pydantic import Field

from tidegate.objects.preflight.check import Asked, Asks, Setting, elements, judged, text
from tidegate.objects.signing import Request
from tidegate.runbook.step import Finding

__all__ = ["HistoryFacts", "judge_history", "read_history"]

PAGES = 10
"""Of 1,000 versions, of the many that there may be."""


class HistoryFacts(Asked):
    """`versioning`: Enabled or Suspended; empty if it never was. The counts go as far as `PAGES` do.

    `denied`: rights that are missing to know.
    """

    versioning: str = ""
    noncurrent: int = 0
    markers: int = 0
    complete: bool = True
    lock: str = ""
    denied: list[str] = Field(default_factory=list[str])


async def read_history(aws: Asks, settings: Mapping[str, Setting]) -> HistoryFacts:
    """`settings`: of the bucket, by name; `versioning` and `object-lock` are among them."""
    rights = {"versioning": "s3:GetBucketVersioning", "object-lock": "s3:GetBucketObjectLockConfiguration"}
    denied = [right for name, right in rights.items() if settings[name].state == "denied"]
    versioning = "".join(each.text or "" for each in elements(settings["versioning"].body, "Status"))
    facts = HistoryFacts(versioning=versioning, lock=_lock(settings["object-lock"]), denied=denied)
    return await _counted(aws, facts) if versioning else facts


def _lock(setting: Setting) -> str:
    if setting.state != "set":
        return ""
    rules = elements(setting.body, "DefaultRetention")
    kept = [f"{text(each, 'Mode')} for {text(each, 'Days') or text(each, 'Years')} "
            f"{'days' if text(each, 'Days') else 'years'}" for each in rules]  # fmt: skip
    return "every new object is kept: " + ", ".join(kept) if kept else "no default retention"


async def _counted(aws: Asks, facts: HistoryFacts) -> HistoryFacts:
    query = {"versions": "", "encoding-type": "url"} | ({"prefix": aws.prefix} if aws.prefix else {})
    noncurrent = markers = 0
    more = True
    for _ in range(PAGES):
        answer = await aws.ask(Request("GET", aws.url, dict(query)), {200, 403})
        if answer.status == 403:
            return facts.model_copy(update={"denied": [*facts.denied, "s3:ListBucketVersions"], "complete": False})
        body = answer.body or b""
        noncurrent += sum(text(each, "IsLatest") != "true" for each in elements(body, "Version"))
        markers += len(elements(body, "DeleteMarker"))
        marks = {
            name: "".join(each.text or "" for each in elements(body, f"Next{element}"))
            for name, element in (("key-marker", "KeyMarker"), ("version-id-marker", "VersionIdMarker"))
        }
        more = any(each.text == "true" for each in elements(body, "IsTruncated"))
        query |= {name: unquote_plus(value) for name, value in marks.items() if value}
        if not more:
            break
    return facts.model_copy(update={"noncurrent": noncurrent, "markers": markers, "complete": not more})


def judge_history(where: str, facts: HistoryFacts) -> list[Finding]:
    least = "" if facts.complete else "at least "
    seen = f"{least}{facts.noncurrent:,} of them, and {facts.markers:,} delete markers, were seen"
    untold = {right: f"can't be known without {right}" for right in facts.denied}
    kept = f"versioning is {facts.versioning.lower()}: current versions go over, older ones stay on AWS ({seen})"
    listing = untold.get("s3:ListBucketVersions")
    kept = (
        f"versioning is {facts.versioning.lower()}; how many older versions stay on AWS {listing}" if listing else kept
    )
    lock = untold.get("s3:GetBucketObjectLockConfiguration")
    return [
        judged(
            "versions",
            where,
            "the bucket keeps no versions",
            wrong=kept
            if facts.versioning
            else f"whether older versions stay behind {untold['s3:GetBucketVersioning']}"
            if "s3:GetBucketVersioning" in untold
            else "",
            mend=f"grant {', '.join(facts.denied)}"
            if listing or not facts.versioning
            else "keep the bucket for as long as they are needed; on Azure, versioning of blobs keeps what changes",
            verdict="inconclusive",
        ),
        judged(
            "lock",
            where,
            "no Object Lock",
            wrong=f"the bucket has an Object Lock ({facts.lock}), which isn't carried"
            if facts.lock
            else f"whether there is an Object Lock {lock}"
            if lock
            else "",
            mend="an immutability policy on the container, locked after the copy"
            if facts.lock
            else "grant s3:GetBucketObjectLockConfiguration",
            verdict="inconclusive",
        ),
    ]
