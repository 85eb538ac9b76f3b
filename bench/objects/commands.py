"""The command lines that are measured: tidegate's, and rclone's with its best honest settings.

rclone has: 64 transfers and 64 checkers; no question whether the bucket and the container exist; `--checksum`, so that
it asks no object for a modification time; no buffer that reads ahead, which saves a few CPU seconds in a hundred; no
configuration file. Its other settings are its defaults, because nothing else was faster on 10,000 x 4 KiB,
1,000 x 1 MiB and 4 x 256 MiB: --fast-list with --no-traverse costs a fourth request for each object;
--use-server-modtime, --s3-no-head-object and --s3-no-system-metadata save none of the three (read, write, look at what
was written: that last one is how it verifies); fewer transfers, larger blocks, other concurrency, --use-mmap and
--multi-thread-streams change its memory, not its CPU seconds.

What it verifies: the MD5 that is S3's ETag goes with the blob (x-ms-blob-content-md5), and is compared with the one
that Azure shows afterwards. An object of up to one block (4 MiB) is verified so: on Put Blob the servers here check
that MD5 against the content. Of a larger one they keep the MD5 as they were told; its blocks are checked as rclone sent
them, never against the source.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tidegate.lab.servers.azurite import ACCOUNT, KEY
from tidegate.lab.servers.process import quiet_environment

__all__ = ["BUCKET", "CONTAINER", "RCLONE", "Command", "Places", "environment", "rclone", "remotes", "tidegate"]

BUCKET = CONTAINER = "bench"
REGION = "us-east-1"
ACCESS_KEY, SECRET_KEY = "bench", "bench-secret"
PROJECT = Path(__file__).parents[2]
RCLONE = Path(sys.executable).with_name("rclone")
TUNED = (
    *("--transfers", "64", "--checkers", "64", "--checksum", "--buffer-size", "0"),
    *("--s3-no-check-bucket", "--azureblob-no-check-container"),
)


@dataclass(frozen=True)
class Places:
    """Endpoints: of S3, of the Blob account. `ca`: the file of the authority that signed their certificates.

    `folder` is fresh for each measurement: it holds what a client keeps.
    """

    folder: Path
    s3: str
    blob: str
    ca: Path | None = None

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.sqlite"


@dataclass(frozen=True)
class Command:
    argv: tuple[str | Path, ...]
    environment: dict[str, str]


def tidegate(places: Places, verb: str, *options: str, store: str | None = None) -> Command:
    """`tidegate objects VERB`, with the bucket and the container. `store`: the DSN where workers find their shares."""
    argv = (
        *(sys.executable, "-m", "tidegate", "objects", verb, f"s3://{BUCKET}", f"azure://{ACCOUNT}/{CONTAINER}"),
        *("--source-endpoint", places.s3, "--target-endpoint", places.blob, "--region", REGION),
        *("--manifest", str(places.manifest), *options),
        *(() if store is None else ("--store", store)),
    )
    return Command(argv, environment(places))


def environment(places: Places) -> dict[str, str]:
    """Of tidegate: without whatever the user's own configuration says of the clouds."""
    found = {name: value for name, value in quiet_environment().items() if not name.startswith(("AWS_", "AZURE_"))}
    found |= {
        "HOME": str(places.folder),
        "PYTHONPATH": str(PROJECT / "src"),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AZURE_STORAGE_KEY": KEY,
    }
    return found if places.ca is None else found | {"SSL_CERT_FILE": str(places.ca)}


def rclone(places: Places, verb: str, *options: str) -> Command:
    """`rclone VERB`, with the bucket and the container."""
    argv = (RCLONE, verb, f"source:{BUCKET}", f"target:{CONTAINER}", *TUNED, *options)
    return Command(argv if places.ca is None else (*argv, "--ca-cert", places.ca), remotes(places))


def remotes(places: Places) -> dict[str, str]:
    """rclone's environment, in which `source:` is S3 and `target:` is the account."""
    settings = {
        "source": {
            "type": "s3",
            "provider": "AWS",
            "access_key_id": ACCESS_KEY,
            "secret_access_key": SECRET_KEY,
            "region": REGION,
            "endpoint": places.s3,
        },
        "target": {"type": "azureblob", "account": ACCOUNT, "key": KEY, "endpoint": places.blob},
    }
    found = {"HOME": str(places.folder), "PATH": os.environ["PATH"], "RCLONE_CONFIG": ""}
    for remote, fields in settings.items():
        found |= {f"RCLONE_CONFIG_{remote}_{name}".upper(): value for name, value in fields.items()}
    return found
