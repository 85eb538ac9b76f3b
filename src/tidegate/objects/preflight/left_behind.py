"""What is set on the bucket and not on Azure: told, with what does the same there. Nothing of it is carried."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

from pydantic import Field

from tidegate.objects.preflight.check import Asked, Setting, elements, judged, listed, text
from tidegate.objects.preflight.sample import grants
from tidegate.runbook.step import Finding

__all__ = ["LEFT", "LeftBehind", "judge_left_behind", "tell_left_behind"]


def _policy(body: bytes) -> str:
    try:
        statements = json.loads(body).get("Statement", [])
    except (ValueError, AttributeError):
        return "a policy that can't be read"
    statements = cast("list[dict[str, Any]]", statements if isinstance(statements, list) else [statements])
    everybody = sum(
        each.get("Effect") == "Allow" and each.get("Principal") in ("*", {"AWS": "*"}) for each in statements
    )
    return f"{len(statements)} statements" + (f", {everybody} of them allow everybody something" if everybody else "")


def _acl(body: bytes) -> str:
    return listed(grants(body))


def _named_rules(body: bytes) -> str:
    rules = elements(body, "Rule")
    return f"{len(rules)} rules: {listed([text(each, 'ID') or 'unnamed' for each in rules])}" if rules else ""


def _cors(body: bytes) -> str:
    origins = sorted({each.text or "" for each in elements(body, "AllowedOrigin")})
    return f"for {listed(origins)}" if origins else ""


def _website(body: bytes) -> str:
    index = [each.text or "" for each in elements(body, "Suffix")]
    hosts = [each.text or "" for each in elements(body, "HostName")]
    return f"index {listed(index)}" if index else f"redirects to {listed(hosts)}" if hosts else ""


def _logging(body: bytes) -> str:
    return listed([f"to {each.text}" for each in elements(body, "TargetBucket")])


def _tags(body: bytes) -> str:
    return listed([text(each, "Key") for each in elements(body, "Tag")])


def _kms(body: bytes) -> str:
    return listed(sorted({each.text or "" for each in elements(body, "SSEAlgorithm") if each.text != "AES256"}))


def _payer(body: bytes) -> str:
    return "who asks pays" if any(each.text == "Requester" for each in elements(body, "Payer")) else ""


def _accelerated(body: bytes) -> str:
    return "enabled" if any(each.text == "Enabled" for each in elements(body, "Status")) else ""


class Left(NamedTuple):
    """`name`: of the sub-resource. `says`: what is set, from its body; empty if nothing is. `mend`: what Azure has."""

    name: str
    right: str
    what: str
    says: Callable[[bytes], str]
    mend: str


LEFT = (
    Left("policy", "s3:GetBucketPolicy", "bucket policy", _policy,
         "role assignments on the container, or a SAS with a stored access policy"),
    Left("acl", "s3:GetBucketAcl", "ACL for others than the owner", _acl,
         "role assignments; for everybody, the container's public access level"),
    Left("lifecycle", "s3:GetLifecycleConfiguration", "lifecycle", _named_rules,
         "a lifecycle management policy on the storage account, made after the copy: its clock starts anew"),
    Left("replication", "s3:GetReplicationConfiguration", "replication", _named_rules,
         "object replication between two storage accounts, or a geo-redundant account"),
    Left("cors", "s3:GetBucketCORS", "CORS", _cors, "CORS rules of the account's Blob service, for all containers"),
    Left("website", "s3:GetBucketWebsite", "website", _website,
         "the account's static website ($web), with Front Door for redirects"),
    Left("logging", "s3:GetBucketLogging", "access log", _logging, "diagnostic settings of the account's Blob service"),
    Left("tagging", "s3:GetBucketTagging", "tags of the bucket", _tags,
         "tags of the storage account, or metadata of the container"),
    Left("encryption", "s3:GetEncryptionConfiguration", "encryption by KMS", _kms,
         "nothing, if Azure's own keys do; else a customer-managed key, as the container's encryption scope"),
    Left("requestPayment", "s3:GetBucketRequestPayment", "requester pays", _payer,
         "nothing like it: the account's owner pays; Azure Data Share, or a copy for each reader"),
    Left("accelerate", "s3:GetAccelerateConfiguration", "transfer acceleration", _accelerated,
         "Azure Front Door, or an account near those who write"),
)  # fmt: skip


class LeftBehind(Asked):
    """`set`: what is, by name. `denied`: names of what the login may not read."""

    set: dict[str, str] = Field(default_factory=dict[str, str])
    denied: list[str] = Field(default_factory=list[str])


def tell_left_behind(settings: Mapping[str, Setting]) -> LeftBehind:
    """Pure. `settings`: by name, as the bucket answers."""
    says = {each.name: each.says(settings[each.name].body) for each in LEFT if settings[each.name].state == "set"}
    return LeftBehind(
        set={name: said for name, said in says.items() if said},
        denied=[each.name for each in LEFT if settings[each.name].state == "denied"],
    )


def judge_left_behind(where: str, facts: LeftBehind) -> list[Finding]:
    return [
        judged(
            f"bucket.{each.name}",
            where,
            f"no {each.what}",
            wrong=f"{each.what}, not carried: {facts.set[each.name]}"
            if each.name in facts.set
            else f"whether there is {each.what} can't be known without {each.right}"
            if each.name in facts.denied
            else "",
            mend=f"on Azure: {each.mend}" if each.name in facts.set else f"grant {each.right}",
            verdict="inconclusive",
        )
        for each in LEFT
    ]
