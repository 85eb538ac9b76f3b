"""What a backup consists of, and what it must be like once restored. Sealed like every other file of it.

In the vault: `begun`, put before anything else, says whose place it is; then the dump's files, in pieces; `manifest` is
the last. Where there is none, there is no backup.
"""

from collections.abc import AsyncGenerator
from datetime import datetime
from io import BytesIO
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from tidegate.errors import CheckFailed, Refused
from tidegate.postgres.archive.cipher import Damaged, Opener, seal
from tidegate.postgres.archive.hashes import Position, TableHash
from tidegate.postgres.archive.key import Key
from tidegate.postgres.archive.vault import Absent, Vault
from tidegate.postgres.catalog import Role

__all__ = ["BEGUN", "MANIFEST", "Begun", "Manifest", "Piece", "Taken", "put_document", "read_document", "read_manifest"]

BEGUN, MANIFEST = "begun", "manifest"


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Begun(Model):
    backup: str
    run: str
    store: str


class Piece(Model):
    """`size` bytes of the dump's `file`, from `offset`; `stored` bytes under `name` in the vault.

    `plain`, `sealed`: SHA-256 in hex, of the content and of what is stored.
    """

    name: str
    file: str
    offset: int
    size: int
    plain: str = ""
    stored: int = 0
    sealed: str = ""

    def context(self, backup: str) -> str:
        return f"{backup}/{self.name}"


class Taken(Model):
    """A row of the source's tidegate.fence: what it would have if it weren't fenced."""

    kind: str
    subject: str
    before: dict[str, Any]


class Manifest(Model):
    """`version`: of the source, as server_version_num; `major`: of the server for which it was dumped, or later.

    `lsn`: where the source's log was when the snapshot had been taken. `bytes`: size of the database, with indexes.
    `tables`: by quoted, qualified name, and the large objects. `sequences`: before the dump read them.
    """

    format: Literal[1] = 1
    backup: str
    run: str
    store: str
    at: datetime
    source: str
    version: int
    major: int
    lsn: str
    bytes: int
    roles: tuple[Role, ...]
    taken: tuple[Taken, ...]
    tables: dict[str, TableHash]
    sequences: dict[str, Position]
    files: tuple[Piece, ...] = ()

    @property
    def size(self) -> int:
        """Of the dump's files, in bytes."""
        return sum(piece.size for piece in self.files)

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())


M = TypeVar("M", bound=Model)


async def read_manifest(vault: Vault, key: Key) -> Manifest:
    """Raises CheckFailed, Refused if there is none, InvalidMigration for another key."""
    try:
        return await read_document(vault, MANIFEST, key, Manifest)
    except Absent:
        raise Refused(
            "there is no complete backup", where=vault.where, mend="correct the place, or run the backup to its end"
        ) from None


async def read_document(vault: Vault, name: str, key: Key, kind: type[M]) -> M:
    """Raises Absent, CheckFailed, InvalidMigration for another key."""
    opener = Opener(key, name, f"{name} in {vault.where}")
    text = bytearray()
    try:
        async for part in vault.get(name):
            for chunk in opener.feed(part):
                text += chunk
        text += opener.finish()
    except Damaged as damaged:
        raise CheckFailed(
            f"{name} is {damaged.what}", where=vault.where, mend="make another backup; this one proves nothing"
        ) from None
    return kind.model_validate_json(bytes(text))


async def put_document(vault: Vault, name: str, key: Key, document: Model) -> None:
    sealed = list(seal(BytesIO(document.model_dump_json().encode()).read, key, name))

    async def chunks() -> AsyncGenerator[bytes]:
        for chunk in sealed:
            yield chunk

    await vault.put(name, chunks(), sum(len(chunk) for chunk in sealed))
