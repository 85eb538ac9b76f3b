"""Which bucket goes to which container, from the options that every command takes."""

import os
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from tidegate.cli.given import Given
from tidegate.errors import UsageError
from tidegate.objects.bucket import BucketMove
from tidegate.runbook.migration import Bucket

__all__ = ["MOVE", "bucket"]

S3 = re.compile(r"s3://(?P<bucket>[^/]+)/?(?P<prefix>.*)", re.DOTALL)
BLOB = re.compile(r"azure://(?P<account>[^/]+)/(?P<container>[^/]+)/?(?P<prefix>.*)", re.DOTALL)
OPTIONS = (
    click.argument("source", metavar="S3"),
    click.argument("target", metavar="BLOB"),
    click.option("--region", metavar="REGION", help="Of the bucket; else AWS's own settings tell."),
    click.option("--profile", metavar="NAME", help="Of AWS's configuration files."),
    click.option("--source-endpoint", metavar="URL", help="Of an S3 that isn't AWS's."),
    click.option("--target-endpoint", metavar="URL", help="Of a Blob service that isn't Azure's public one."),
    click.option("--source-peer", metavar="URL", help="The S3 endpoint as Azure reaches it, if otherwise."),
    click.option("--manifest", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
                 help="What is done; by default below .tidegate/objects/, by the names of both sides."),
    click.option("--map-names", is_flag=True,
                 help="Hold keys that Blob can't hold under a name that tells them, instead of leaving them."),
    click.option("--leave-tags", is_flag=True, help="Neither read nor write tags."),
)  # fmt: skip
ENVIRONMENT = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
FIELDS = {
    "region": "--region",
    "profile": "--profile",
    "endpoint": "--source-endpoint or --target-endpoint",
    "peer": "--source-peer",
    "events": "--events",
}


def bucket(given: dict[str, Any]) -> Bucket:
    """Its options are taken out of `given`. Raises UsageError, which names the option."""
    source, target = given.pop("source"), given.pop("target")
    s3, blob = S3.fullmatch(source), BLOB.fullmatch(target)
    if S3.fullmatch(target) and BLOB.fullmatch(source):
        raise UsageError(
            "the bucket comes first",
            where="S3 BLOB",
            mend="give s3://... azure://...; `tidegate objects sync --reverse` brings changes back to S3",
        )
    if s3 is None:
        raise UsageError("it isn't a bucket", where="S3", mend="give s3://BUCKET or s3://BUCKET/PREFIX")
    if blob is None:
        raise UsageError(
            "it isn't a container",
            where="BLOB",
            mend="give azure://ACCOUNT/CONTAINER or azure://ACCOUNT/CONTAINER/PREFIX",
        )
    aws = _folder(s3) | {name: given.pop(name) for name in ("profile",)}
    aws |= {"endpoint": given.pop("source_endpoint"), "peer": given.pop("source_peer")}
    aws |= {"events": given.pop("events", None), "region": given.pop("region") or _region(aws["profile"])}
    azure = _folder(blob) | {"endpoint": given.pop("target_endpoint")}
    if not aws["profile"] and os.environ.keys() >= ENVIRONMENT and "AWS_SESSION_TOKEN" not in os.environ:
        # where AWS's own chain begins; without loading it
        aws |= {"access_key": "env:AWS_ACCESS_KEY_ID", "secret_key": "env:AWS_SECRET_ACCESS_KEY"}
    names, tags = given.pop("map_names"), given.pop("leave_tags")
    try:
        return Bucket.model_validate(
            {
                "kind": "bucket",
                "aws": aws,
                "azure": azure | _key(),
                "names": "map" if names else "refuse",
                "tags": "leave" if tags else "copy",
            }
        )
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = str(first["loc"][-1]) if first["loc"] else ""
        raise UsageError(str(first["msg"]).removeprefix("Value error, "), where=FIELDS.get(field, field)) from None


def _folder(match: re.Match[str]) -> dict[str, str]:
    """`photos` is `photos/`: neither `photos2/a.jpg` is below it, nor `/a.jpg` a name in it."""
    prefix = match["prefix"]
    return match.groupdict() | {"prefix": f"{prefix}/" if prefix and not prefix.endswith("/") else prefix}


def _region(profile: str | None) -> str:
    from tidegate.objects.aws_chain import aws_region  # noqa: PLC0415 - botocore takes its time

    found = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or aws_region(profile)
    if not found:
        raise UsageError("the bucket's region isn't known", where="--region", mend="give it, or export AWS_REGION")
    return found


def _key() -> dict[str, str]:
    """References to what the environment has."""
    if os.environ.get("AZURE_STORAGE_KEY"):
        return {"key": "env:AZURE_STORAGE_KEY"}
    return {"sas": "env:AZURE_STORAGE_SAS_TOKEN"} if os.environ.get("AZURE_STORAGE_SAS_TOKEN") else {}


@asynccontextmanager
async def _move(given: dict[str, Any]) -> AsyncGenerator[BucketMove]:
    spec, manifest = bucket(given), given.pop("manifest")
    if manifest is None:
        parts = (spec.aws.bucket, spec.aws.prefix, spec.azure.account, spec.azure.container, spec.azure.prefix)
        name = "--".join(re.sub(r"[^\w.-]", "_", part) for part in parts if part)
        manifest = click.get_current_context().find_root().params["store"] / "objects" / f"{name}.sqlite"
    move = BucketMove("objects", spec, manifest)
    try:
        yield move
    finally:
        await move.close()


MOVE = Given(OPTIONS, _move)
