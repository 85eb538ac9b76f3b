"""Keys, sealed files, and the folder that keeps them."""

import base64
import secrets
from io import BytesIO
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import InvalidMigration, LocalFault
from tidegate.postgres.archive import cipher
from tidegate.postgres.archive.cipher import Damaged, Opener, WrongKey, seal, sealed_size
from tidegate.postgres.archive.key import Key, open_key
from tidegate.postgres.archive.vault import Absent, FolderVault, Stored

KEY = Key(secrets.token_bytes(32))
SMALL = 16


@pytest.fixture(scope="module", autouse=True)
def small_chunks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cipher, "CHUNK", SMALL)
        yield


def sealed(content: bytes, context: str = "backup/file") -> bytes:
    return b"".join(seal(BytesIO(content).read, KEY, context))


def opened(content: bytes, *cuts: int, context: str = "backup/file", key: Key = KEY) -> bytes:
    """As it arrives, in pieces cut at these places."""
    opener, found = Opener(key, context, "file"), b""
    for start, end in pairwise([0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]):
        found += b"".join(opener.feed(content[start:end]))
    return found + opener.finish()


@given(st.binary(max_size=5 * SMALL), st.lists(st.integers(0, 300), max_size=5))
def test_what_was_sealed_opens_however_it_arrives(content, cuts):
    whole = sealed(content)
    assert len(whole) == sealed_size(len(content))
    assert opened(whole, *cuts) == content


@given(st.integers(0, 4 * SMALL), st.data())
def test_nothing_that_was_altered_opens(size, data):
    whole = sealed(secrets.token_bytes(size))
    at, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    altered = bytearray(whole)
    altered[at] ^= 1 << bit
    with pytest.raises((Damaged, WrongKey)) as caught:
        opened(bytes(altered))
    if not 16 <= at < 24:  # the key's id
        assert isinstance(caught.value, Damaged)


@given(st.integers(0, 4 * SMALL), st.data())
def test_nothing_that_was_cut_or_lengthened_opens(size, data):
    whole = sealed(secrets.token_bytes(size))
    with pytest.raises(Damaged):
        opened(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(Damaged):
        opened(whole + data.draw(st.binary(min_size=1, max_size=2 * SMALL)))


def test_a_cut_between_two_chunks_is_seen_as_one():
    whole = sealed(bytes(3 * SMALL))
    for chunks in (1, 2):
        with pytest.raises(Damaged, match="truncated"):
            opened(whole[: cipher.HEADER.size + chunks * (SMALL + cipher.TAG)])


def test_chunks_in_another_order_or_twice_do_not_open():
    whole, size = sealed(bytes(3 * SMALL)), SMALL + cipher.TAG
    header, chunks = (
        whole[: cipher.HEADER.size],
        [whole[i : i + size] for i in range(cipher.HEADER.size, len(whole), size)],
    )
    for order in ([1, 0, 2], [0, 0, 1, 2], [0, 2], [0, 1, 2, 2]):
        with pytest.raises(Damaged):
            opened(header + b"".join(chunks[i] for i in order))


def test_a_file_does_not_open_in_anothers_place_nor_with_another_key():
    with pytest.raises(Damaged, match="altered"):
        opened(sealed(b"content"), context="backup/other")
    with pytest.raises(WrongKey, match=f"key {KEY.id.hex()}"):
        opened(sealed(b"content"), key=Key(secrets.token_bytes(32)))


def test_the_same_content_never_looks_the_same():
    first, second = sealed(bytes(40)), sealed(bytes(40))
    assert first[24:] != second[24:]
    assert first[cipher.HEADER.size :] != second[cipher.HEADER.size :]


def test_a_key_is_read_in_hex_or_base64_and_never_shown(monkeypatch, tmp_path):
    secret = secrets.token_bytes(32)
    forms = (
        secret.hex(),
        secret.hex().upper(),
        base64.b64encode(secret).decode(),
        base64.urlsafe_b64encode(secret).decode(),
    )
    for text in forms:
        monkeypatch.setenv("ARCHIVE_KEY", text)
        assert open_key("env:ARCHIVE_KEY").secret == secret
        (tmp_path / "key").write_text(f"{text}\n")
        key = open_key(f"file:{tmp_path / 'key'}")
        assert key.secret == secret
        assert text not in repr(key)
    for wrong in ("", "short", secret.hex()[:-2], base64.b64encode(secret + b"x").decode(), "ü" * 44):
        monkeypatch.setenv("ARCHIVE_KEY", wrong)
        with pytest.raises(InvalidMigration, match="32 bytes") as caught:
            open_key("env:ARCHIVE_KEY")
        assert not wrong or wrong not in str(caught.value)


async def chunks(*parts: bytes):
    for part in parts:
        yield part


async def content(vault: FolderVault, name: str) -> bytes:
    return b"".join([part async for part in vault.get(name)])


async def test_a_folder_keeps_whole_files_only(tmp_path):
    vault = FolderVault(tmp_path / "some" / "where")
    assert [stored async for stored in vault.list()] == []
    await vault.put("file", chunks(b"ab", b"c"), 3)
    assert await content(vault, "file") == b"abc"

    async def breaks():
        yield b"new"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await vault.put("file", breaks(), 6)
    with pytest.raises(LocalFault, match="didn't arrive whole"):
        await vault.put("file", chunks(b"new"), 6)
    assert await content(vault, "file") == b"abc"
    await vault.put("file", chunks(b"other"), 5)
    assert [stored async for stored in vault.list()] == [Stored("file", 5)]
    for _ in range(2):
        await vault.delete("file")
    with pytest.raises(Absent):
        await content(vault, "file")


async def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LocalFault, match=r"file/vault: the folder can't be used"):
        await FolderVault(tmp_path / "file" / "vault").put("file", chunks(b"x"), 1)
