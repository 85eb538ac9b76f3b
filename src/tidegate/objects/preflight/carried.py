"""What the sampled objects carry beside their content: held by Blob as it is, left behind, or not to be read at all.

Blob's limits: "Set Blob Tags" and "Naming and Referencing Containers, Blobs, and Metadata", learn.microsoft.com.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from tidegate.objects.names import metadata_for_azure
from tidegate.objects.preflight.check import judged, listed, size
from tidegate.objects.preflight.sample import Looked, SampleFacts
from tidegate.runbook.step import Finding

__all__ = ["judge_carried", "metadata_refused", "tags_refused"]

MOST_TAGS = 10
TAG_KEY, TAG_VALUE = 128, 256
"""Characters."""
OF_A_TAG = re.compile(r"[A-Za-z0-9 +\-./:=_]*")
METADATA = 8 * 2**10
"""Bytes, names and values together."""


def tags_refused(tags: dict[str, str]) -> str:
    """Why Blob can't hold them as index tags; empty if it can."""
    if len(tags) > MOST_TAGS:
        return f"more than {MOST_TAGS} tags"
    for key, value in tags.items():
        if not 0 < len(key) <= TAG_KEY or len(value) > TAG_VALUE:
            return f"the tag {key!r} is too long"
        if not OF_A_TAG.fullmatch(key) or not OF_A_TAG.fullmatch(value):
            return f"the tag {key!r} has other characters than letters, digits, space and + - . / : = _"
    return ""


def metadata_refused(metadata: dict[str, str]) -> str:
    """Why Blob can't hold it, names written as identifiers; empty if it can."""
    count = sum(len(name.encode()) + len(value.encode()) for name, value in metadata_for_azure(metadata).items())
    return (
        f"{size(count)} of metadata, as Blob has to name it, are more than {size(METADATA)}" if count > METADATA else ""
    )


def judge_carried(where: str, sample: SampleFacts, *, hierarchical: bool | None) -> list[Finding]:
    """One finding for each thing that an object may carry. Pure."""
    seen = sample.of("ok")
    among = f"of {len(sample.objects):,} sampled objects"

    def told(found: Sequence[Looked], what: str, why: Callable[[Looked], str] | None = None) -> str:
        names = [f"{each.key!r}" + (f" ({why(each)})" if why else "") for each in found]
        return f"{len(found):,} {among} {what}: {listed(names)}" if found else ""

    def marked(check: str, mark: str, message: str, what: str, mend: str, **how: Any) -> Finding:
        found = [each for each in seen if mark in each.marks]
        wrong = told(found, what, lambda each: each.marks[mark])
        return judged(check, where, f"none {among} {message}", wrong=wrong, mend=mend, **how)

    ssec, denied = sample.of("ssec"), sample.of("denied")
    kms = [each for each in seen if each.encrypted]
    untold = [each for each in seen if each.tags is None]
    misfit = [each for each in seen if each.tags and tags_refused(each.tags)]
    tagged = [each for each in seen if each.tags]
    heavy = [each for each in seen if metadata_refused(each.metadata)]
    public = [each for each in seen if each.grants]
    return [
        judged(
            "readable",
            where,
            f"{len(seen):,} {among} can be looked at",
            wrong=told(denied, "may not be read by this login"),
            mend="grant s3:GetObject on them; where KMS encrypts them, kms:Decrypt on the key too",
        ),
        judged(
            "customer_keys",
            where,
            f"none {among} is encrypted with a key of the customer's (SSE-C)",
            wrong=told(
                ssec, "can't be read: HEAD answers 400, as for those encrypted with a customer's own key (SSE-C)"
            ),
            mend="copy them onto themselves with SSE-S3 or SSE-KMS first; on Azure a customer-provided key can be "
            "given to each request again",
        ),
        judged(
            "kms",
            where,
            f"none {among} is encrypted by KMS",
            wrong=told(kms, "are encrypted by KMS: who may use the key isn't carried, and their ETag is no MD5"),
            mend="nothing, if Azure's own keys do; else a customer-managed key in a Key Vault, as an encryption scope",
            verdict="inconclusive",
        ),
        judged(
            "tags",
            where,
            f"the tags {among} fit ({len(tagged):,} have any)",
            wrong=told(misfit, "have tags that Blob can't hold", lambda each: tags_refused(each.tags or {})),
            mend="change these tags on AWS",
        ),
        judged(
            "tags.read",
            where,
            "tags can be read, and written on azure",
            wrong="tags can't be read"
            if untold
            else "index tags aren't available in a hierarchical namespace: they stay behind"
            if hierarchical and tagged
            else "",
            mend="grant s3:GetObjectTagging" if untold else "take an account without one, or go on without tags",
            verdict="inconclusive",
        ),
        judged(
            "metadata",
            where,
            f"the metadata {among} fit",
            wrong=told(heavy, "have metadata that Blob can't hold", lambda each: metadata_refused(each.metadata)),
            mend="shorten it, or take characters other than letters, digits and _ out of its names",
        ),
        marked(
            "metadata.missing",
            "missing",
            "has metadata that HTTP can't express",
            "have metadata that S3 can't tell over HTTP, so it would be lost",
            "rewrite it on AWS, in ASCII",
            verdict="inconclusive",
        ),
        marked(
            "redirects",
            "redirect",
            "redirects",
            "redirect, for a website; Blob has no redirects",
            "rules of Azure Front Door",
            verdict="inconclusive",
        ),
        marked(
            "expires",
            "expires",
            "has an Expires header",
            "have an Expires header, which Blob doesn't keep",
            "Cache-Control: max-age, which is carried",
            verdict="inconclusive",
        ),
        marked(
            "archived.tiers",
            "archive_status",
            "has been moved to an archive by Intelligent-Tiering",
            "lie in an archive of Intelligent-Tiering, and must be restored before they can be read",
            "restore them, and end the archive configuration",
        ),
        marked(
            "retention",
            "lock",
            "is under retention",
            "are under retention, which isn't carried",
            "an immutability policy on the container (version-level), set after the copy",
            verdict="inconclusive",
        ),
        marked(
            "legal_holds",
            "hold",
            "is under a legal hold",
            "are under a legal hold, which isn't carried",
            "a legal hold on the container or on each blob version, set after the copy",
            verdict="inconclusive",
        ),
        judged(
            "object_acls",
            where,
            "the ACLs of the sampled objects grant nothing to others",
            wrong=told(
                public,
                "grant rights to others by their ACL, which isn't carried",
                lambda one: ", ".join(one.grants or []),
            )
            or ("the ACLs of objects can't be read" if sample.acl_denied else ""),
            mend="a role assignment, a SAS, or a container of public blobs" if public else "grant s3:GetObjectAcl",
            verdict="inconclusive",
        ),
    ]
