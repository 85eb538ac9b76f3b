"""What has arrived is what was sent: every file of a backup read back, opened, and its hashes compared."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tidegate.errors import CheckFailed
from tidegate.postgres.archive.cipher import Damaged
from tidegate.postgres.archive.key import Key
from tidegate.postgres.archive.manifest import BEGUN, MANIFEST, Manifest, Piece, read_manifest
from tidegate.postgres.archive.pieces import fetch, is_here, spread
from tidegate.postgres.archive.progress import Count, Phase, Report
from tidegate.postgres.archive.vault import Absent, Vault
from tidegate.postgres.archive.workplace import local

__all__ = ["ArchiveReport", "Damage", "check", "fetch_all"]

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Damage:
    name: str
    what: Literal["missing", "altered", "truncated"]


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """`unexpected`: names in the vault that the backup doesn't have; they do it no harm."""

    manifest: Manifest
    damages: tuple[Damage, ...]
    unexpected: tuple[str, ...]

    @property
    def whole(self) -> bool:
        return not self.damages

    def require_whole(self, where: str) -> None:
        """Raises CheckFailed, with the names of a few files."""
        if self.damages:
            shown = ", ".join(f"{damage.name} is {damage.what}" for damage in self.damages[:SHOWN])
            raise CheckFailed(
                f"{len(self.damages)} of {len(self.manifest.files)} files aren't what was sent: {shown}",
                where=where,
                mend="make another backup; nothing can be restored from this one",
            )


async def check(
    vault: Vault, key: Key, *, jobs: int = 2, note: Callable[[str], None], progress: Report
) -> ArchiveReport:
    """Raises CheckFailed if the manifest itself is damaged; Refused if there is none; Unreachable, LocalFault;
    InvalidMigration for another key.
    """
    manifest = await read_manifest(vault, key)
    damages = await _each(vault, key, manifest, None, jobs, note, progress, "check")
    expected = {BEGUN, MANIFEST} | {piece.name for piece in manifest.files}
    unexpected = sorted([stored.name async for stored in vault.list() if stored.name not in expected])
    return ArchiveReport(manifest, tuple(damages), tuple(unexpected))


async def fetch_all(
    vault: Vault, key: Key, manifest: Manifest, folder: Path, jobs: int, note: Callable[[str], None], progress: Report
) -> None:
    """To `folder`, each checked. Raises CheckFailed; what `check` raises."""
    damages = await _each(vault, key, manifest, folder, jobs, note, progress, "fetch")
    ArchiveReport(manifest, tuple(damages), ()).require_whole(vault.where)


async def _each(
    vault: Vault,
    key: Key,
    manifest: Manifest,
    folder: Path | None,
    jobs: int,
    note: Callable[[str], None],
    progress: Report,
    phase: Phase,
) -> list[Damage]:
    damages: list[Damage] = []
    count = Count(phase, sum(piece.stored for piece in manifest.files), progress)

    async def one(piece: Piece) -> None:
        try:
            if folder is None:
                await fetch(vault, key, manifest.backup, piece, None, count.add)
            else:
                with local(folder):
                    if await asyncio.to_thread(is_here, folder, piece):
                        count.add(piece.stored)
                    else:
                        await fetch(vault, key, manifest.backup, piece, folder, count.add)
        except Absent:
            damages.append(Damage(piece.name, "missing"))
        except Damaged as damaged:
            damages.append(Damage(piece.name, damaged.what))

    note(f"{phase}ing {len(manifest.files)} files, {count.total / 2**20:,.1f} MiB")
    await spread(manifest.files, jobs, one)
    return sorted(damages, key=lambda damage: damage.name)
