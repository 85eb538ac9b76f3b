import os

import pytest

from tidegate.errors import LocalFault
from tidegate.files import write


def test_what_was_there_is_replaced_and_nothing_else_is_left(tmp_path):
    file = tmp_path / "new" / "figures.json"
    write(file, "old", parents=True)
    write(file, "Å")
    assert file.read_text(encoding="utf-8") == "Å"
    assert [*file.parent.iterdir()] == [file]


def test_what_can_not_be_written_names_the_place_and_the_mend_and_leaves_the_old_text(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    file = tmp_path / "figures.json"
    write(file, "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LocalFault) as caught:
        write(file, "new")
    assert str(caught.value) == (
        f"{file}: it can't be written: No space left on device\n  see to the disk's space and the folder's permissions"
    )
    assert [*tmp_path.iterdir()] == [file]
    assert file.read_text() == "old"


@pytest.mark.parametrize("name", ["nowhere/figures.json", "folder"])
def test_a_folder_is_no_file_and_is_not_made_unasked(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(LocalFault, match="it can't be written"):
        write(tmp_path / name, "new", mend="choose another place")
    assert [*tmp_path.iterdir()] == [tmp_path / "folder"]


def test_a_link_still_leads_to_the_file(tmp_path):
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(file)
    write(link, "new")
    assert link.is_symlink()
    assert file.read_text() == "new"


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write(pipe, "new")
        assert os.read(reader, 10) == b"new"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
