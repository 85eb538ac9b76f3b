"""A disk that is full, a file that is none: what the manifest says then, and that it goes on afterwards."""

import os

import pytest

from tidegate.errors import LeaseHeld, LocalFault
from tidegate.objects.manifest import Manifest, Row


@pytest.fixture
def manifest(tmp_path):
    manifest = Manifest(tmp_path / "receipts.objects.sqlite")
    yield manifest
    manifest.close()


def row(key: str) -> Row:
    return Row(key, 1, "md5", "aws", "azure", "x" * 2000, ours=True)


def test_a_full_disk_is_named_with_the_file_and_what_to_do(manifest):
    manifest.set_state(phase="flow")
    [[pages]] = manifest._execute("pragma page_count")
    manifest._execute(f"pragma max_page_count = {pages}")
    keys = [f"{number:04}" for number in range(200)]
    with pytest.raises(LocalFault) as caught:
        manifest.record([row(key) for key in keys], [], [])
    assert str(caught.value) == (
        f"{manifest.path}: the record of its objects can't be used: database or disk is full\n"
        "  see to the disk's space and the file's permissions"
    )
    manifest._execute("pragma max_page_count = 100000")
    manifest.record([row(key) for key in keys], [], [])
    assert manifest.row(keys[-1]) == row(keys[-1])


def test_what_could_not_be_noted_is_not_taken_for_noted(manifest, monkeypatch):
    def fail(*_):
        raise LocalFault("full")

    manifest.pend({"one": ""}, "azure")
    monkeypatch.setattr(manifest, "_execute", fail)
    with pytest.raises(LocalFault):
        manifest.intend("one", "md5", "azure")
    assert manifest.sent("azure") == {"one": ()}


@pytest.mark.parametrize("spoil", ["folder", "text", "no folder"])
def test_a_file_that_is_no_manifest_is_named(manifest, spoil):
    if spoil == "folder":
        manifest.path.mkdir()
    elif spoil == "text":
        manifest.path.write_text("this is no database" * 100)
    else:
        manifest.path.parent.joinpath("file").touch()
        manifest.path = manifest.path.parent / "file" / "receipts.objects.sqlite"
    with pytest.raises(LocalFault, match="isn't a manifest" if spoil == "text" else "can't be used"):
        manifest.set_state(phase="flow")


def test_one_process_holds_it_until_it_closes_it(manifest):
    manifest.hold()
    manifest.hold()
    other = Manifest(manifest.path)
    assert other.held
    assert not manifest.held
    with pytest.raises(LeaseHeld, match=f"process {os.getpid()} works with it"):
        other.hold()
    manifest.close()
    assert not other.held
    other.hold()
    other.close()
