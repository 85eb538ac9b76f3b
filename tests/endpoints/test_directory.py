import json
import time
from pathlib import Path

import pytest

from sample import sample_document
from tidegate.endpoints import Directory, Entry
from tidegate.errors import DeadlinePassed, LocalFault
from tidegate.runbook.migration import Migration


def directory_of(document: dict, tmp_path: Path) -> Directory:
    for name, component in document["components"].items():
        for cloud in ("aws", "azure"):
            component[cloud]["endpoints"] = str(tmp_path / "run" / f"{name}-{cloud}.json")
    return Directory(Migration.model_validate(document))


@pytest.fixture
def directory(tmp_path) -> Directory:
    return directory_of(sample_document(), tmp_path)


def document(directory: Directory, name: str, cloud: str) -> dict:
    component = directory.migration.components[name]
    return json.loads(Path(getattr(component, cloud).endpoints).read_text())


def acknowledge(directory: Directory, name: str, cloud: str, revision: int) -> None:
    folder = Path(f"{getattr(directory.migration.components[name], cloud).endpoints}.acks")
    folder.mkdir(exist_ok=True)
    (folder / "one").write_text(f"{revision}\n")


def test_an_instance_in_the_other_cloud_is_told_the_peer_address(directory):
    directory.write(directory.settled("aws"))
    assert document(directory, "shop", "aws")["stores"]["orders"]["dsn"] == "postgresql://shop_service@db:5432/shop"
    assert "@127.0.0.1:15432/" in document(directory, "shop", "azure")["stores"]["orders"]["dsn"]


def test_secrets_stay_references(directory):
    directory.write(directory.settled("azure"))
    assert document(directory, "shop", "aws")["stores"]["orders"]["password"] == "env:APP_PASSWORD"
    assert document(directory, "shop", "aws")["stores"]["receipts"]["key"] == "env:E"


@pytest.mark.parametrize(
    ("primary", "told"),
    [
        ("aws", {"kind": "s3", "region": "eu-west-1", "bucket": "receipts"}),
        ("azure", {"kind": "blob", "account": "receipts", "container": "receipts"}),
    ],
)
def test_an_instance_is_told_of_no_secret_that_the_migration_does_not_name(tmp_path, primary, told):
    migration = sample_document()
    receipts = migration["stores"]["receipts"]
    del receipts["aws"]["access_key"], receipts["aws"]["secret_key"], receipts["azure"]["key"]
    directory = directory_of(migration, tmp_path)
    directory.write(directory.settled(primary))
    assert document(directory, "shop", "aws")["stores"]["receipts"] == told


@pytest.mark.parametrize("primary", ["aws", "azure"])
def test_an_instance_is_told_below_which_prefix_its_objects_are(tmp_path, primary):
    migration = sample_document()
    migration["stores"]["receipts"][primary]["prefix"] = "shop/"
    directory = directory_of(migration, tmp_path)
    directory.write(directory.settled(primary))
    assert document(directory, "shop", "aws")["stores"]["receipts"]["prefix"] == "shop/"


def test_workers_are_active_in_one_cloud_and_services_in_both(directory):
    settled = directory.settled("azure")
    assert settled["settler", "aws"] == Entry("azure", active=False)
    assert settled["settler", "azure"] == Entry("azure", active=True)
    assert settled["shop", "aws"] == settled["shop", "azure"] == Entry("azure", active=True)


def test_what_says_the_same_keeps_its_revision(directory):
    directory.write(directory.settled("aws"))
    directory.write(directory.settled("aws"))
    assert document(directory, "shop", "aws")["revision"] == 1
    directory.write(directory.settled("azure"))
    assert document(directory, "shop", "aws")["revision"] == 2


def test_a_disk_that_is_full_is_named_and_what_was_written_stays(directory, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    directory.write(directory.settled("aws"))
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(LocalFault, match=r"shop-aws\.json: it can't be written: No space left on device"):
        directory.write(directory.settled("azure"))
    assert document(directory, "shop", "aws")["primary"] == "aws"


def test_a_folder_that_is_none_is_named(directory, tmp_path):
    (tmp_path / "run").write_text("no folder")
    with pytest.raises(LocalFault, match=r"shop-aws\.json: the endpoints file can't be read"):
        directory.write(directory.settled("aws"))


async def test_it_waits_until_every_instance_has_acknowledged_this_revision(directory):
    entries = {("shop", "aws"): Entry("aws", active=True), ("shop", "azure"): Entry("aws", active=True)}
    directory.write(entries)
    acknowledge(directory, "shop", "aws", 1)
    acknowledge(directory, "shop", "azure", 0)
    with pytest.raises(DeadlinePassed, match="shop on azure"):
        await directory.acknowledged(entries, time.monotonic())
    acknowledge(directory, "shop", "azure", 1)
    await directory.acknowledged(entries, time.monotonic())
