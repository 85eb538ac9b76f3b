"""What either login may do, proved by requests that can't have an effect.

A write on the condition that an object which isn't there has a certain ETag is refused for that (404 or 412); but only
if it would have been done otherwise (RFC 9110, 13.2.1): a login that may not write is refused as such (403).
"""

import secrets

from tidegate.errors import TidegateError
from tidegate.objects.blob import BlobSide
from tidegate.objects.preflight.check import Asked, Asks, judged, url_of
from tidegate.objects.s3 import S3Side
from tidegate.objects.signing import Request
from tidegate.runbook.step import Finding

__all__ = ["RightsFacts", "judge_rights", "prove_aws", "prove_azure"]

NOWHERE = '"0x0"'
"""An ETag that no object has."""
PUT, DELETE = {200, 201, 400, 403, 404, 409, 412}, {202, 204, 403, 404, 412}


class RightsFacts(Asked):
    """`put`, `tag`, `delete`: whether the login may; None if that isn't known. `probe`: the name that was asked for.

    `heeded`: a condition was; or the probe was written, and `left` says if it couldn't be deleted again.
    """

    put: bool | None = None
    tag: bool | None = None
    delete: bool | None = None
    probe: str = ""
    heeded: bool = True
    left: bool = False
    why: str = ""
    """Why something isn't known."""


async def prove_azure(azure: BlobSide, *, there: bool) -> RightsFacts:
    """`there`: the container is; else only an account's key says all."""
    if not there:
        if azure.spec.key is not None:
            return RightsFacts(put=True, tag=True, delete=True)
        return RightsFacts(why="the container isn't there yet; whether this login may make it shows when it does")
    return await _prove(azure, {"x-ms-blob-type": "BlockBlob"}, "x-ms-tags")


async def prove_aws(aws: S3Side, *, versioned: bool, locked: bool) -> RightsFacts:
    """Where a server that heeds no condition would keep a delete marker, or a locked object, that isn't tried."""
    if locked:
        return RightsFacts(why="the bucket has an Object Lock, in which the right to write isn't tried")
    return await _prove(aws, {}, "x-amz-tagging", may_delete=not versioned)


async def _prove(
    side: BlobSide | S3Side, headers: dict[str, str], tags: str, *, may_delete: bool = True
) -> RightsFacts:
    name = f"tidegate-preflight-{secrets.token_hex(8)}"
    url, condition = url_of(side, name), {"if-match": NOWHERE}
    deleted = (await side.ask(Request("DELETE", url, headers=condition), DELETE)).status if may_delete else 0
    facts = RightsFacts(probe=side.prefix + name, delete=deleted != 403 if deleted else None)
    if not deleted:
        facts = facts.model_copy(update={"why": "the bucket has versions, in which the right to delete isn't tried"})
    for tag in ({tags: "tidegate=preflight"}, {}):
        status = (await side.ask(Request("PUT", url, headers=headers | condition | tag), PUT)).status
        if status in {200, 201}:
            return facts.model_copy(
                update={"put": True, "tag": bool(tag), "heeded": False, "left": not await _cleared(side, url)}
            )
        if status not in {400, 403}:  # 400: tags aren't to be had, as in a hierarchical namespace
            return facts.model_copy(update={"put": True, "tag": bool(tag)})
    if status == 400:
        return facts.model_copy(update={"why": "a write is refused as such, so that the right to it isn't shown"})
    return facts.model_copy(update={"put": False, "tag": False})


async def _cleared(side: Asks, url: str) -> bool:
    try:
        return (await side.ask(Request("DELETE", url), DELETE)).status != 403
    except TidegateError:
        return False


def judge_rights(aws_where: str, azure_where: str, aws: RightsFacts, azure: RightsFacts) -> list[Finding]:
    """On azure, without which nothing can be copied; on aws, without which nothing can come home."""
    there = "the login may write, tag and delete blobs"
    home = "the login may bring changes home: write, tag and delete objects"
    found = [
        judged(
            "azure.rights",
            azure_where,
            there,
            wrong=_lacking(azure, "blobs") or azure.why,
            mend="the role Storage Blob Data Owner on the container (to tag, too), or a SAS with racwdlt",
            verdict="fail" if azure.put is False else "inconclusive",
        ),
        judged(
            "aws.rights",
            aws_where,
            home,
            wrong=f"nothing can come home (sync --reverse, a rollback): {lacking}"
            if (lacking := _lacking(aws, "objects"))
            else aws.why,
            mend="grant s3:PutObject, s3:PutObjectTagging and s3:DeleteObject, or go without a way back",
            verdict="inconclusive",
        ),
    ]
    for name, where, facts in (("azure", azure_where, azure), ("aws", aws_where, aws)):
        left = f"; {facts.probe!r} was written, and couldn't be deleted" if facts.left else ""
        found.append(
            judged(
                f"{name}.conditions",
                where,
                "a write on a condition that isn't met is refused" if facts.probe else "nothing was written to see it",
                wrong="" if facts.heeded else f"a write was done although its condition wasn't met{left}",
                mend="use a server that heeds If-Match; else what others write meanwhile would be overwritten"
                + (f"; delete {facts.probe!r}" if facts.left else ""),
            )
        )
    return found


def _lacking(facts: RightsFacts, what: str) -> str:
    rights = {"write": facts.put, "tag": facts.tag, "delete": facts.delete}
    lacking = [name for name, may in rights.items() if may is False]
    return f"the login may not {' or '.join(lacking)} {what}" if lacking else ""
