"""What the sampled objects carry beside their content: held by Blob as it is, left behind, or not to be read at all."""

from collections.abc import Callable, Sequence
from typing import Any

from tidegate.objects.names import unfit_for_blob
from tidegate.objects.preflight.check import judged, listed
from tidegate.objects.preflight.sample import Looked, SampleFacts
from tidegate.objects.side import Properties
from tidegate.runbook.step import Finding

__all__ = ["judge_carried"]

PLACES = {"redirect": "x-amz-website-redirect-location", "expires": "expires"}
"""What only S3 has as a header goes among the metadata."""


def judge_carried(where: str, sample: SampleFacts, *, tags: bool, hierarchical: bool | None) -> list[Finding]:
    """One finding for each thing that an object may carry. `tags`: they are to be copied. Pure."""
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
    misfit = [each for each in seen if tags and _tags_refused(each)]
    tagged = [each for each in seen if each.tags]
    heavy = [each for each in seen if _metadata_refused(each)]
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
            wrong=told(misfit, "have tags that Blob can't hold", _tags_refused),
            mend="change these tags on AWS",
        ),
        judged(
            "tags.read",
            where,
            "tags can be read, and held on azure" if tags else "tags aren't to be copied",
            wrong=""
            if not tags
            else "tags can't be read"
            if untold
            else "index tags aren't available in a hierarchical namespace: they stay behind"
            if hierarchical and tagged
            else "",
            mend="grant s3:GetObjectTagging"
            if untold
            else "take an account without one, or leave them (tags: leave, --leave-tags)",
            verdict="inconclusive",
        ),
        judged(
            "metadata",
            where,
            f"the metadata {among} fit",
            wrong=told(heavy, "have metadata that Blob can't hold", _metadata_refused),
            mend="shorten it, or take characters other than letters, digits and _ out of its names",
        ),
        marked(
            "metadata.missing",
            "missing",
            "has metadata that HTTP can't express",
            "have metadata that S3 can't tell over HTTP: they are left as they are",
            "rewrite it on AWS, in ASCII",
            verdict="inconclusive",
        ),
        marked(
            "redirects",
            "redirect",
            "redirects",
            "redirect, for a website: Blob keeps that among the metadata, and doesn't redirect",
            "rules of Azure Front Door",
            verdict="inconclusive",
        ),
        marked(
            "expires",
            "expires",
            "has an Expires header",
            "have an Expires header: Blob keeps it among the metadata, and doesn't send it",
            "Cache-Control: max-age, which Blob sends",
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


def _tags_refused(looked: Looked) -> str:
    return unfit_for_blob(Properties(tags=looked.tags or {}))


def _metadata_refused(looked: Looked) -> str:
    own = {name: looked.marks[mark] for mark, name in PLACES.items() if mark in looked.marks}
    return unfit_for_blob(Properties(own, looked.metadata))
