"""The steps of one database that goes over by backup: prepare, close, backup, transfer, restore."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tidegate.errors import CheckFailed, DeadlinePassed, Unreachable
from tidegate.postgres.archive.backup import backup, dump_size
from tidegate.postgres.archive.check import check
from tidegate.postgres.archive.key import open_key
from tidegate.postgres.archive.manifest import Begun, put_document, read_document, read_manifest
from tidegate.postgres.archive.progress import Lines
from tidegate.postgres.archive.restore import restore
from tidegate.postgres.archive.target import restored
from tidegate.postgres.archive.vault import Vault
from tidegate.postgres.archive.workplace import discard, local, require_room
from tidegate.postgres.restored import close_source, source_closed
from tidegate.postgres.schema import server_major
from tidegate.runbook.migration import Backup
from tidegate.runbook.step import Action, Context, Finding, NoFacts
from tidegate.steps.database import DatabaseStep
from tidegate.steps.vaults import open_vault

__all__ = ["DatabaseBackup", "DatabaseClose", "DatabasePrepare", "DatabaseRestore", "DatabaseTransfer"]

PROBE = "probe"
CLOSE_SECONDS = 60.0
TELL_EVERY = 5.0


class ArchiveStep(DatabaseStep):
    @property
    def backup(self) -> Backup:
        backup = self.database.spec.backup
        assert backup is not None, "the migration is valid"
        return backup

    def place(self, run: str) -> str:
        return f"{self.backup.place.rstrip('/')}/{run}-{self.store}"

    async def take_back(self, context: Context) -> None:
        """Nobody is served until AWS is open again: a target that doesn't answer isn't waited for."""
        gone = context.forced
        if not gone:
            try:
                await self.database.ping("azure")
            except Unreachable as silent:
                context.note(f"what stands there is left behind: {silent.brief}")
                gone = True
        await self.database.remove(target_gone=gone)

    def discard_dumps(self) -> None:
        """What an interrupted backup or restore has left in plain text."""
        for made in ("backup", "restore"):
            discard(Path(self.backup.folder) / f"{made}-{self.database.names.tag}")

    @asynccontextmanager
    async def vault(self, context: Context) -> AsyncGenerator[Vault]:
        vault = open_vault(self.place(context.run), self.backup.access)
        try:
            yield vault
        finally:
            await vault.close()


class DatabasePrepare(ArchiveStep):
    """Everything that a backup needs, tried before anybody is kept out for it."""

    uses: str = "database-prepare"

    def plan(self, facts: NoFacts) -> Sequence[Action]:
        detail = f"a small file in {self.backup.place}, sealed, read back and deleted"
        return [Action(verb="create", target="backup", detail=detail, undo="nothing to take back: it is deleted")]

    async def apply(self, context: Context, facts: NoFacts) -> None:
        """Raises InvalidMigration for a key, Unreachable or Refused for a place, LocalFault for too small a folder."""
        key = open_key(self.backup.key)
        folder = Path(self.backup.folder)
        with local(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        require_room(folder, await dump_size(self.database.aws))
        async with self.vault(context) as vault:
            sent = Begun(backup=PROBE, run=context.run, store=self.store)
            await put_document(vault, PROBE, key, sent)
            found = await read_document(vault, PROBE, key, Begun)
            await vault.delete(PROBE)
        context.remember("tried", found == sent)

    async def check(self, context: Context, facts: NoFacts) -> Sequence[Finding]:
        tried = context.recall("tried") is True
        message = f"{self.backup.place} gives back what is sent there" if tried else "the backup's place isn't tried"
        return [Finding(check=self.name, verdict="pass" if tried else "fail", message=message)]


class DatabaseClose(ArchiveStep):
    """What the backup will hold is all that there is."""

    uses: str = "database-close"

    def plan(self, facts: NoFacts) -> Sequence[Action]:
        return [
            Action(
                verb="change",
                target=f"aws:{self.store}",
                detail="logins closed, rights to write revoked, no autovacuum, until Azure owns the writes",
                undo="logins and rights exactly as they were",
            )
        ]

    async def apply(self, context: Context, facts: NoFacts) -> None:
        """Raises CheckFailed, with AWS open as before: users aren't kept away for what can't be closed."""
        try:
            await close_source(self.database.aws, self.database.names, time.monotonic() + CLOSE_SECONDS)
        except DeadlinePassed as late:
            raise CheckFailed(late.why, where=late.where, mend=late.mend) from None

    async def check(self, context: Context, facts: NoFacts) -> Sequence[Finding]:
        closed = await source_closed(self.database.aws, self.database.names)
        message = f"{self.store} takes no writes on AWS" if closed else f"{self.store} may be written to on AWS"
        return [Finding(check=self.name, verdict="pass" if closed else "fail", message=message)]

    async def undo(self, context: Context, facts: NoFacts) -> None:
        await self.take_back(context)


class DatabaseBackup(ArchiveStep):
    uses: str = "database-backup"

    def plan(self, facts: NoFacts) -> Sequence[Action]:
        detail = f"dump of {self.store} in {self.backup.folder}, in plain text; sealed, to {self.backup.place}"
        undo = "the plain text is deleted; what is sealed stays"
        return [Action(verb="create", target="backup", detail=detail, undo=undo)]

    async def apply(self, context: Context, facts: NoFacts) -> None:
        if context.stopping():
            raise CheckFailed("told to stop before the backup", where=self.name)
        async with self.vault(context) as vault:
            manifest = await backup(
                self.database.aws,
                self.database.names,
                vault,
                open_key(self.backup.key),
                folder=Path(self.backup.folder),
                major=await server_major(self.database.azure),
                jobs=self.backup.jobs,
                note=context.note,
                progress=Lines(context.note, seconds=TELL_EVERY),
            )
        context.remember("backup", manifest.backup)

    async def check(self, context: Context, facts: NoFacts) -> Sequence[Finding]:
        """Raises Refused if there is no complete one."""
        if context.recall("backup") is None:
            return [Finding(check=self.name, verdict="fail", message=f"{self.store} isn't backed up")]
        async with self.vault(context) as vault:
            manifest = await read_manifest(vault, open_key(self.backup.key))
        ours = manifest.backup == context.recall("backup")
        message = (
            f"{self.store}: {manifest.rows:,} rows in {len(manifest.tables)} tables are backed up"
            if ours
            else f"{vault.where} holds another backup"
        )
        return [Finding(check=self.name, verdict="pass" if ours else "fail", message=message)]

    async def undo(self, context: Context, facts: NoFacts) -> None:
        self.discard_dumps()


class DatabaseTransfer(ArchiveStep):
    """Every file read back from where it was sent to."""

    uses: str = "database-transfer"

    async def apply(self, context: Context, facts: NoFacts) -> None:
        async with self.vault(context) as vault:
            key = open_key(self.backup.key)
            report = await check(
                vault, key, jobs=self.backup.jobs, note=context.note, progress=Lines(context.note, seconds=TELL_EVERY)
            )
            report.require_whole(vault.where)
        context.remember("whole", len(report.manifest.files))

    async def check(self, context: Context, facts: NoFacts) -> Sequence[Finding]:
        """From what the journal keeps: reading all of it again would prove nothing about this one."""
        files = context.recall("whole")
        if not isinstance(files, int):
            return [Finding(check=self.name, verdict="fail", message=f"{self.store}'s backup hasn't been read back")]
        message = f"{self.store}: {files:,} files have arrived as they were sent"
        return [Finding(check=self.name, verdict="pass", message=message, observed=files)]


class DatabaseRestore(ArchiveStep):
    uses: str = "database-restore"

    def plan(self, facts: NoFacts) -> Sequence[Action]:
        return [
            Action(
                verb="create",
                target=f"azure:{self.store}",
                detail="schema, roles and rows from the backup, compared with it",
                undo="drop what was restored, and its roles",
            )
        ]

    async def apply(self, context: Context, facts: NoFacts) -> None:
        async with self.vault(context) as vault:
            report = await restore(
                vault,
                self.database.azure,
                self.database.names,
                open_key(self.backup.key),
                folder=Path(self.backup.folder),
                passwords=self.database.spec.passwords,
                jobs=self.backup.jobs,
                note=context.note,
                progress=Lines(context.note, seconds=TELL_EVERY),
            )
        report.require_equal(self.database.where("azure"))
        context.remember("equal", report.manifest.backup)

    async def check(self, context: Context, facts: NoFacts) -> Sequence[Finding]:
        there = await restored(self.database.azure)
        equal = there is not None and there == context.recall("equal")
        message = (
            f"{self.store} is restored from backup {there}" if equal else f"{self.store} isn't restored, or differs"
        )
        return [Finding(check=self.name, verdict="pass" if equal else "fail", message=message)]

    async def undo(self, context: Context, facts: NoFacts) -> None:
        await self.take_back(context)
        self.discard_dumps()
