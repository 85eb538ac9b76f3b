"""`tidegate objects sync` as a person starts it, and what it makes of the words that name its sides."""

import asyncio
import os
import signal
import sys

import pytest

from objects.conftest import Receipts
from objects.running import Asked, Between, Said, refusal
from tidegate.cli.objects.sides import bucket
from tidegate.lab.buckets import ACCESS_KEY, SECRET_KEY
from tidegate.lab.sample import REGION
from tidegate.lab.servers.azurite import KEY
from tidegate.lab.servers.process import quiet_environment

PATIENCE = 60
HASTY = """
from tidegate.cli import main
from tidegate.cli.objects import moving
from tidegate.objects import bucket, http
moving.EVERY = bucket.LOOK = moving.PAUSE = 0.2
http.PAUSES, http.LONGER = (0.01,) * len(http.PAUSES), (0.01,) * len(http.LONGER)
main()
"""
SECRETS = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AZURE_STORAGE_KEY": KEY,
    "LAB_ACCESS_KEY": ACCESS_KEY,
    "LAB_SECRET_KEY": SECRET_KEY,
    "LAB_ACCOUNT_KEY": KEY,
}
NOT_GIVEN = ("profile", "source_endpoint", "source_peer", "target_endpoint", "map_names", "leave_tags")


@pytest.fixture
async def receipts(moto, azurite, tmp_path, monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    receipts = Receipts(moto, azurite, tmp_path, events=False)
    yield receipts
    await receipts.close()


@pytest.mark.parametrize(
    ("given", "taken"), [("", ""), ("/", ""), ("/photos", "photos/"), ("/photos/", "photos/"), ("/a/b", "a/b/")]
)
def test_a_prefix_is_a_folder(given, taken, monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_KEY", raising=False)
    words = {"source": f"s3://b{given}", "target": f"azure://a/c{given}", "region": REGION}
    spec = bucket(words | dict.fromkeys(NOT_GIVEN))
    assert (spec.aws.prefix, spec.azure.prefix) == (taken, taken)


async def until(child: asyncio.subprocess.Process, text: str) -> None:
    said = []
    async with asyncio.timeout(PATIENCE):
        while line := (await child.stderr.readline()).decode():
            said.append(line)
            if text in line:
                return
    raise AssertionError(f"it never said {text!r}: {''.join(said)}")


async def test_sync_outlives_a_server_that_is_silent_and_an_object_that_is_refused_but_not_its_container(receipts):
    refused = Said(403, {"x-ms-error-code": "AuthorizationPermissionMismatch"}, b"")

    def rule(asked: Asked) -> Said | None:
        return refused if asked.method == "PUT" and asked.path.endswith("/bad") else None

    receipts.put("first")
    aws, azure = receipts.spec.aws, receipts.spec.azure
    with Between(str(azure.endpoint)) as target:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", HASTY, "objects", "sync", f"s3://{aws.bucket}"),
            *(f"azure://{azure.account}/{azure.container}", "--region", REGION),
            *("--source-endpoint", str(aws.endpoint), "--target-endpoint", target.url),
            *("--manifest", str(receipts.manifest)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=quiet_environment() | SECRETS,
        )
        try:
            await until(child, "listed ")
            target.rule = rule
            receipts.put("bad")
            await until(child, "tried again until it works")
            receipts.put("good")
            await until(child, "s ago; 1 changes wait")
            target.rule = lambda _: refusal(503, "ServerBusy")
            await until(child, "the server doesn't answer")
            target.rule = lambda _: None
            await until(child, "s ago; 0 changes wait")
            assert (await receipts.on("azure")).keys() == {"first", "bad", "good"}
            await receipts.azure.drop()
            receipts.put("last")
            await until(child, "ContainerNotFound")
            assert await child.wait() == 1
        finally:
            if child.returncode is None:
                os.kill(child.pid, signal.SIGKILL)
            await child.communicate()
