"""How an archive's files are sealed: AES-256-GCM, in chunks, so that no file has to fit into memory.

    header   56 bytes: "TIDEGATE", version (1 byte), 3 bytes of zeros, chunk size (4), key id (8), salt (32)
    chunk    ciphertext of as many bytes as the chunk size says, then the tag (16); the last may be shorter, or empty

Numbers are big-endian. Each file has a key of its own: HKDF-SHA256 of the archive's key, with the file's salt and
INFO. The nonce of a chunk is its number from 0 (11 bytes) and 1 if it is the last one, 0 if not (1 byte): chunks that
are missing, repeated or in another order don't open, nor does a file that ends early. What is authenticated besides is
the header and the file's context (the backup and the name in it): a file that takes another's place doesn't open.

The construction is STREAM: Hoang, Reyhanitabar, Rogaway, Vizár, "Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance", 2015.
"""

import secrets
import struct
from collections.abc import Callable, Iterator
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tidegate.errors import InvalidMigration
from tidegate.postgres.archive.key import Key

__all__ = ["Damaged", "Opener", "WrongKey", "seal", "sealed_size"]

HEADER = struct.Struct(">8sB3xI8s32s")
MAGIC, VERSION = b"TIDEGATE", 1
INFO = b"tidegate archive file"
CHUNK = 2**20
LARGEST_CHUNK = 2**24
"""An altered header mustn't fill the memory."""
TAG = 16


class Damaged(Exception):
    """It isn't what was sealed."""

    def __init__(self, what: Literal["altered", "truncated"]) -> None:
        super().__init__(what)
        self.what: Literal["altered", "truncated"] = what


class WrongKey(InvalidMigration):
    pass


def seal(read: Callable[[int], bytes], key: Key, context: str) -> Iterator[bytes]:
    """`read(n)`: the next n bytes, fewer only at the end. Yields the header, then chunk by chunk."""
    header = HEADER.pack(MAGIC, VERSION, CHUNK, key.id, salt := secrets.token_bytes(32))
    cipher, bound = _cipher(key, salt), header + context.encode()
    yield header
    number, chunk = 0, read(CHUNK)
    while True:
        following = read(CHUNK)
        yield cipher.encrypt(_nonce(number, last=not following), chunk, bound)
        if not following:
            return
        number, chunk = number + 1, following


def sealed_size(size: int) -> int:
    """Bytes that `size` bytes become."""
    return HEADER.size + size + TAG * max(1, -(-size // CHUNK))


class Opener:
    """Takes what was sealed as it arrives; gives what it was. Nothing of a chunk that doesn't open is given."""

    def __init__(self, key: Key, context: str, where: str) -> None:
        self._key, self._context, self._where = key, context, where
        self._buffer = bytearray()
        self._cipher: AESGCM | None = None
        self._bound = b""
        self._chunk = self._number = 0

    def feed(self, arrived: bytes) -> Iterator[bytes]:
        """Raises Damaged, WrongKey."""
        self._buffer += arrived
        if self._cipher is None and len(self._buffer) >= HEADER.size:
            self._begin(bytes(self._buffer[: HEADER.size]))
            del self._buffer[: HEADER.size]
        # a chunk after which nothing follows is the last one: only `finish` knows
        while self._cipher is not None and len(self._buffer) > self._chunk + TAG:
            chunk = bytes(self._buffer[: self._chunk + TAG])
            del self._buffer[: self._chunk + TAG]
            yield self._open(chunk, last=False)
            self._number += 1

    def finish(self) -> bytes:
        """The last chunk. Raises Damaged."""
        if self._cipher is None or len(self._buffer) < TAG:
            raise Damaged("truncated")
        try:
            return self._open(bytes(self._buffer), last=True)
        except Damaged:
            self._open(bytes(self._buffer), last=False)  # or raises: altered
            raise Damaged("truncated") from None

    def _begin(self, header: bytes) -> None:
        magic, version, chunk, key_id, salt = HEADER.unpack(header)
        if magic != MAGIC or version != VERSION or not 0 < chunk <= LARGEST_CHUNK:
            raise Damaged("altered")
        if key_id != self._key.id:
            raise WrongKey(
                f"it was sealed with key {key_id.hex()}, and {self._key.id.hex()} was given",
                where=self._where,
                mend="give the key that the backup was made with",
            )
        self._chunk, self._bound = chunk, header + self._context.encode()
        self._cipher = _cipher(self._key, salt)

    def _open(self, chunk: bytes, *, last: bool) -> bytes:
        assert self._cipher is not None, "the header comes first"
        try:
            return self._cipher.decrypt(_nonce(self._number, last=last), chunk, self._bound)
        except InvalidTag:
            raise Damaged("altered") from None


def _cipher(key: Key, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, salt, INFO).derive(key.secret))


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
