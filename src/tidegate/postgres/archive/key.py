"""The key of an archive: 32 bytes by reference, never shown."""

import base64
import binascii
import hashlib

from tidegate.errors import InvalidMigration
from tidegate.secret import resolve

__all__ = ["Key", "open_key"]

SIZE = 32


class Key:
    """`id` names it in what it has sealed, and tells nothing of it."""

    def __init__(self, secret: bytes) -> None:
        assert len(secret) == SIZE, "open_key has counted"
        self.secret = secret
        self.id = hashlib.sha256(secret).digest()[:8]

    def __repr__(self) -> str:
        return f"Key({self.id.hex()})"


def open_key(reference: str) -> Key:
    """`env:NAME` or `file:PATH`, holding hex or base64. Raises InvalidMigration, without what was found."""
    text = "".join(resolve(reference).split())
    for decode in (bytes.fromhex, _base64):
        try:
            secret = decode(text)
        except (ValueError, binascii.Error):
            continue
        if len(secret) == SIZE:
            return Key(secret)
    raise InvalidMigration(
        f"the key isn't {SIZE} bytes in hex or base64", where=reference, mend="make one: openssl rand -hex 32"
    )


def _base64(text: str) -> bytes:
    return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
