"""A backup kept in a bucket on S3 (moto) and in a container of Blob (Azurite). Evidence: S."""

import hashlib
import secrets
import uuid
from collections.abc import AsyncIterator

import pytest

from tidegate.errors import InvalidMigration, Refused, UsageError
from tidegate.lab.buckets import ACCESS_KEY, SECRET_KEY, Buckets
from tidegate.lab.sample import REGION
from tidegate.lab.servers.azurite import ACCOUNT, KEY
from tidegate.objects.blob import BlobSide
from tidegate.objects.http import Http
from tidegate.objects.side import LARGE, Changed
from tidegate.postgres.archive.backup import backup
from tidegate.postgres.archive.check import check
from tidegate.postgres.archive.key import Key
from tidegate.postgres.archive.restore import restore
from tidegate.postgres.archive.vault import Absent, FolderVault, Stored
from tidegate.runbook.migration import AzureContainer
from tidegate.steps.vaults import ObjectVault, VaultAccess, open_vault


def quiet(*_: object) -> None:
    pass


SILENT = {"note": quiet, "progress": quiet}


@pytest.fixture
def place(monkeypatch) -> str:
    """A bucket's or a container's name."""
    for name, value in (("ACCESS_KEY", ACCESS_KEY), ("SECRET_KEY", SECRET_KEY), ("ACCOUNT_KEY", KEY)):
        monkeypatch.setenv(f"LAB_{name}", value)
    return f"backups-{uuid.uuid4().hex[:8]}"


@pytest.fixture
async def s3(moto, place) -> AsyncIterator[ObjectVault]:
    Buckets(moto.url).create(place)
    access = VaultAccess(
        region=REGION, access_key="env:LAB_ACCESS_KEY", secret_key="env:LAB_SECRET_KEY", endpoint=moto.url
    )
    vault = open_vault(f"s3://{place}/nightly/one", access)
    assert isinstance(vault, ObjectVault)
    yield vault
    await vault.close()


@pytest.fixture
async def azure(azurite, place) -> AsyncIterator[ObjectVault]:
    http = Http()
    spec = AzureContainer(account=ACCOUNT, container=place, key="env:LAB_ACCOUNT_KEY", endpoint=azurite.url)
    await BlobSide("backups", spec, http).create()
    await http.close()
    vault = open_vault(
        f"azure://{ACCOUNT}/{place}/nightly/one", VaultAccess(key="env:LAB_ACCOUNT_KEY", endpoint=azurite.url)
    )
    assert isinstance(vault, ObjectVault)
    yield vault
    await vault.close()


@pytest.fixture(params=["s3", "azure"])
def vault(request) -> ObjectVault:
    return request.getfixturevalue(request.param)


async def chunks(content: bytes, size: int):
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def digest(vault: ObjectVault, name: str) -> str:
    found = hashlib.sha256()
    async for part in vault.get(name):
        assert len(part) <= LARGE
        found.update(part)
    return found.hexdigest()


async def test_objects_of_any_size_come_back_and_stay_below_their_prefix(vault):
    contents = {
        "empty": b"",
        "small": b"abc",
        "large": secrets.token_bytes(2 * LARGE + 12345),
        "even": bytes(LARGE * 2),
    }
    spec = vault.side.spec.model_copy(update={"prefix": "nightly/one-more/"})
    http = Http()
    other = ObjectVault(type(vault.side)("the backup", spec, http), http, "elsewhere")
    await other.put("not-ours", chunks(b"x", 1), 1)
    for name, content in contents.items():
        await vault.put(name, chunks(content, 2**20 + 72), len(content))
        assert await digest(vault, name) == hashlib.sha256(content).hexdigest()
    await vault.put("small", chunks(b"in its place", 5), 12)
    assert await digest(vault, "small") == hashlib.sha256(b"in its place").hexdigest()
    listed = {stored.name: stored.size async for stored in vault.list()}
    assert listed == {name: len(content) for name, content in contents.items()} | {"small": 12}
    for _ in range(2):
        await vault.delete("large")
    with pytest.raises(Absent):
        await digest(vault, "large")
    assert [stored async for stored in other.list()] == [Stored("not-ours", 1)]
    await other.close()


async def test_what_somebody_else_writes_meanwhile_is_not_written_over(vault, monkeypatch):
    async def changed(*_: object):
        raise Changed

    await vault.put("file", chunks(b"theirs", 6), 6)
    monkeypatch.setattr(vault.side, "put", changed)
    with pytest.raises(Refused, match="written by somebody else"):
        await vault.put("file", chunks(b"ours", 4), 4)


async def test_a_write_whose_answer_was_lost_counts(vault, monkeypatch):
    put = vault.side.put

    async def loses_its_answer(*arguments):
        await put(*arguments)
        raise Changed(retried=True)

    monkeypatch.setattr(vault.side, "put", loses_its_answer)
    await vault.put("file", chunks(b"ours", 4), 4)
    assert await digest(vault, "file") == hashlib.sha256(b"ours").hexdigest()


async def test_a_database_goes_through_it_and_comes_back(vault, shop, tmp_path):
    move, key = shop.move(), Key(secrets.token_bytes(32))
    manifest = await backup(move.aws, move.names, vault, key, folder=tmp_path, major=18, **SILENT)
    assert (await check(vault, key, **SILENT)).whole
    lost = manifest.files[0].name
    content = b"".join([part async for part in vault.get(lost)])
    await vault.delete(lost)
    assert [(damage.name, damage.what) for damage in (await check(vault, key, **SILENT)).damages] == [(lost, "missing")]
    await vault.put(lost, chunks(content[:-1], 2**20), len(content) - 1)
    assert [damage.what for damage in (await check(vault, key, **SILENT)).damages] == ["truncated"]
    await vault.put(lost, chunks(content, 2**20), len(content))
    report = await restore(vault, move.azure, move.names, key, folder=tmp_path, passwords={}, **SILENT)
    assert (report.wrong, report.rows) == ([], 10_000)


async def test_a_place_is_a_folder_a_bucket_or_a_container(tmp_path):
    assert isinstance(open_vault(str(tmp_path)), FolderVault)
    for url in ("", "s3://", "s3://bucket/prefix", "azure://account", "azure:///container", "https://a/b", "gs://a/b"):
        with pytest.raises(UsageError, match=r"isn't a place|needed"):
            open_vault(url)


async def test_a_place_that_is_not_there_or_a_secret_that_is_missing_is_named(moto, place, monkeypatch):
    access = VaultAccess(
        region=REGION, access_key="env:LAB_ACCESS_KEY", secret_key="env:LAB_SECRET_KEY", endpoint=moto.url
    )
    vault = open_vault(f"s3://{place}-absent/x", access)
    with pytest.raises(Refused, match="NoSuchBucket"):
        await vault.put("file", chunks(b"x", 1), 1)
    await vault.close()
    monkeypatch.delenv("LAB_SECRET_KEY")
    vault = open_vault(f"s3://{place}/x", access)
    with pytest.raises(InvalidMigration, match="LAB_SECRET_KEY is not set"):
        await vault.put("file", chunks(b"x", 1), 1)
    await vault.close()
