"""What arrives unchanged, with both tools: objects that are hard to copy, from moto to Azurite, and what is there then.

rclone copies twice, into a container each: with `--checksum` alone, and with all its options that carry more. An object
is the same if a blob of its name has its content, its Content-MD5, headers, metadata and tags, as S3 tells them; S3's
headers that Blob doesn't have count as kept where they can be found among the metadata. Looked at with Azure's own
answers, by neither tool.
"""

import base64
import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.measure import Options, say
from bench.objects.blobs import Blob, Blobs
from bench.objects.commands import RCLONE, Places, environment, remotes
from tidegate.lab.buckets import Buckets
from tidegate.lab.sample import REGION
from tidegate.lab.servers.azurite import ACCOUNT, Azurite
from tidegate.lab.servers.moto import Moto

__all__ = ["main"]

PLAIN = ("--checksum",)
ALL = (*PLAIN, "--metadata", "--s3-directory-markers", "--azureblob-directory-markers", "--create-empty-src-dirs")
PART = 5 * 2**20
HEADERS = ("content-type", "cache-control", "content-disposition", "content-encoding", "content-language")
OF_S3 = ("expires", "x-amz-website-redirect-location")

Put = Callable[[Any, str], None]
"""Given S3's client and a bucket."""


@dataclass(frozen=True)
class Case:
    """`then`: a change after the first copy; the same command is given again."""

    name: str
    put: Put
    then: Put | None = None


def main(options: Options) -> None:
    """`options` say nothing here: one outcome is enough."""
    del options
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        folder = Path(name)
        moto = Moto(folder / "moto")
        try:
            azurite = Azurite(folder / "azurite")
            try:
                _print(moto.url, azurite.url, folder)
            finally:
                azurite.kill()
        finally:
            moto.kill()


def _print(s3: str, blob: str, folder: Path) -> None:
    print(f"rclone: `copy {' '.join(PLAIN)}`; with all: `copy {' '.join(ALL)}`. 0, 4: the exit code\n")
    print("| case | rclone | rclone with all | tidegate |\n|---|---|---|---|")
    buckets, blobs = Buckets(s3), Blobs(blob)
    for number, case in enumerate(CASES):
        bucket = f"case-{number}"
        buckets.create(bucket)
        case.put(buckets.s3, bucket)
        commands: dict[str, tuple[list[str | Path], Mapping[str, str]]] = {}
        for column, flags in (("plain", PLAIN), ("all", ALL)):
            argv = [RCLONE, "copy", f"source:{bucket}", f"target:{bucket}-{column}", *flags, "--retries", "1"]
            commands[f"{bucket}-{column}"] = argv, remotes(Places(folder, s3, blob))
        commands[f"{bucket}-tidegate"] = _tidegate(bucket, f"{bucket}-tidegate", Places(folder, s3, blob))
        ran = {container: _run(*command) for container, command in commands.items()}
        if case.then is not None:
            case.then(buckets.s3, bucket)
            ran = {container: _run(*command) for container, command in commands.items()}
        expected = _expected(buckets.s3, bucket)
        told = [f"{code}: {_outcome(expected, blobs.held(container), said)}" for container, (code, said) in ran.items()]
        print(f"| {case.name} | {' | '.join(told)} |", flush=True)
        say(f"  {case.name}: {told}")


def _tidegate(bucket: str, container: str, places: Places) -> tuple[list[str | Path], Mapping[str, str]]:
    argv: list[str | Path] = [
        *(sys.executable, "-m", "tidegate", "objects", "copy", f"s3://{bucket}", f"azure://{ACCOUNT}/{container}"),
        *("--source-endpoint", places.s3, "--target-endpoint", places.blob, "--region", REGION),
        *("--manifest", places.folder / f"{container}.sqlite"),
    ]
    return argv, environment(places)


def _run(argv: list[str | Path], env: Mapping[str, str]) -> tuple[int, str]:
    """The exit code, and all that was said."""
    done = subprocess.run(
        [str(each) for each in argv], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, done.stdout


def _expected(s3: Any, bucket: str) -> dict[str, Blob]:
    """What S3 holds, as a blob that is the same would have it."""
    found: dict[str, Blob] = {}
    for listed in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
        key = str(listed["Key"])
        try:
            got = s3.get_object(Bucket=bucket, Key=key)
        except s3.exceptions.ClientError:  # archived
            found[key] = Blob(b"", "", {}, {}, {})
            continue
        body = got["Body"].read()
        raw: dict[str, str] = got["ResponseMetadata"]["HTTPHeaders"]
        tags = s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
        found[key] = Blob(
            body,
            base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode(),
            {name: raw[name] for name in (*HEADERS, *OF_S3) if raw.get(name)},
            dict(got["Metadata"]),
            {each["Key"]: each["Value"] for each in tags},
        )
    return found


def _outcome(expected: Mapping[str, Blob], held: Mapping[str, Blob], said: str) -> str:
    told: list[str] = []
    for key, blob in expected.items():
        if key not in held:
            told.append("left, and named" if key in said or ascii(key)[1:-1] in said else "not there")
            continue
        there, wrong = held[key], list[str]()
        if there.body != blob.body:
            wrong.append("another content")
        if not there.md5:
            wrong.append("no Content-MD5")
        elif there.md5 != blob.md5:
            wrong.append("another Content-MD5")
        wrong += [f"no {name}" for name, value in blob.headers.items() if not _has(there, name, value)]
        wrong += [
            f"no metadata {name}" for name, value in blob.metadata.items() if value not in there.metadata.values()
        ]
        if blob.tags != there.tags:
            wrong.append("no tags" if not there.tags else "other tags")
        told += wrong
    besides = [f"`{key}` besides" for key in held if key not in expected]
    return "; ".join([*dict.fromkeys(told), *besides]) or "the same"


def _has(there: Blob, name: str, value: str) -> bool:
    return there.headers.get(name) == value or (name in OF_S3 and value in there.metadata.values())


def _object(key: str, body: bytes = b"content", **more: Any) -> Put:
    def put(s3: Any, bucket: str) -> None:
        s3.put_object(Bucket=bucket, Key=key, Body=body, **more)

    return put


def _in_parts(s3: Any, bucket: str) -> None:
    where = {"Bucket": bucket, "Key": "parts"}
    where["UploadId"] = s3.create_multipart_upload(**where)["UploadId"]
    sent = [
        {"PartNumber": i, "ETag": s3.upload_part(**where, PartNumber=i, Body=body)["ETag"]}
        for i, body in enumerate((bytes(PART), b"the end"), 1)
    ]
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": sent})


CASES = (
    Case("an empty object `dir/`", _object("dir/", b"")),
    Case("an object `dir/` with content", _object("dir/")),
    Case("a name `a//b`", _object("a//b")),
    Case("a name `/lead`", _object("/lead")),
    Case("a name `bs\\z`", _object("bs\\z")),
    Case("a name `dot.`", _object("dot.")),
    Case("a name `dir./x`", _object("dir./x")),
    Case("a name with a control character", _object("bell\x07")),
    Case("a name of 1,024 bytes", _object("é" * 512)),
    Case("user metadata", _object("receipt", Metadata={"order": "7"})),
    Case("user metadata with a hyphen", _object("receipt", Metadata={"order-id": "7"})),
    Case("Cache-Control", _object("receipt", CacheControl="max-age=60")),
    Case("Content-Encoding", _object("receipt", ContentEncoding="gzip")),
    Case("Content-Disposition", _object("receipt", ContentDisposition="attachment")),
    Case("Content-Language", _object("receipt", ContentLanguage="sv")),
    Case("Expires", _object("receipt", Expires=datetime(2030, 1, 1, tzinfo=UTC))),
    Case("website redirect", _object("receipt", WebsiteRedirectLocation="/b")),
    Case("tags", _object("receipt", Tagging="kind=receipt")),
    Case("a tag that Blob can't hold", _object("receipt", Tagging="mail=a%40b")),
    Case("uploaded in parts", _in_parts),
    Case("overwritten with the same size, and copied again", _object("receipt", b"1"), _object("receipt", b"2")),
    Case(
        "metadata changed alone, and copied again",
        _object("receipt", Metadata={"n": "1"}),
        _object("receipt", Metadata={"n": "2"}),
    ),
    Case("in GLACIER, not restored", _object("receipt", StorageClass="GLACIER")),
)
