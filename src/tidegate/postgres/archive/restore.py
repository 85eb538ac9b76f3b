"""A backup brought into an empty database: every file proved first, every table afterwards."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from tidegate.errors import CheckFailed, LocalFault, Refused
from tidegate.postgres.archive.check import fetch_all
from tidegate.postgres.archive.hashes import TableHash, reading, sequence_positions, table_hashes
from tidegate.postgres.archive.key import Key
from tidegate.postgres.archive.manifest import Manifest, read_manifest
from tidegate.postgres.archive.progress import Progress, Report, watched
from tidegate.postgres.archive.target import claim, forget, note_restored, require_empty, restored, take_back
from tidegate.postgres.archive.vault import Vault
from tidegate.postgres.archive.workplace import clear, local, require_room, workplace
from tidegate.postgres.binaries import client, run_client
from tidegate.postgres.bookkeeping import Names
from tidegate.postgres.rights import give_back
from tidegate.postgres.schema import make_roles
from tidegate.postgres.server import Server
from tidegate.postgres.vacuum import vacuum_again

__all__ = ["RestoreReport", "TableVerdict", "compare_restored", "open_restored", "restore"]

SHOWN = 5


@dataclass(frozen=True, slots=True)
class TableVerdict:
    """`expected`: at the snapshot; `found`: on the target. None: it isn't there."""

    name: str
    expected: TableHash | None
    found: TableHash | None

    @property
    def verdict(self) -> Literal["equal", "different", "missing", "unexpected"]:
        if self.expected == self.found:
            return "equal"
        if self.found is None:
            return "missing"
        return "different" if self.expected else "unexpected"

    def document(self) -> dict[str, JsonValue]:
        return {
            "table": self.name,
            "rows": self.found.rows if self.found else None,
            "hash": self.found.hash if self.found else None,
            "verdict": self.verdict,
            "expected_rows": self.expected.rows if self.expected else None,
            "expected_hash": self.expected.hash if self.expected else None,
        }


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """`behind`: sequences that would give out again what the source has given out."""

    manifest: Manifest
    tables: tuple[TableVerdict, ...]
    behind: tuple[str, ...]

    @property
    def rows(self) -> int:
        return sum(table.found.rows for table in self.tables if table.found)

    @property
    def wrong(self) -> list[str]:
        tables = [f"{table.name} is {table.verdict}" for table in self.tables if table.verdict != "equal"]
        return tables + [f"{name} is behind the source" for name in self.behind]

    @property
    def equal(self) -> bool:
        return not self.wrong

    def document(self) -> dict[str, JsonValue]:
        return {
            "verdict": "equal" if self.equal else "different",
            "rows": self.rows,
            "tables": [table.document() for table in self.tables],
            "sequences_behind": list(self.behind),
        }

    def require_equal(self, where: str) -> None:
        """Raises CheckFailed, naming a few."""
        if self.wrong:
            raise CheckFailed(
                f"what was restored isn't what was backed up: {'; '.join(self.wrong[:SHOWN])}",
                where=where,
                mend="see who writes there, or take it back and restore again",
            )


async def restore(
    vault: Vault,
    server: Server,
    names: Names,
    key: Key,
    *,
    folder: Path,
    passwords: Mapping[str, str],
    expected: str = "",
    jobs: int = 2,
    note: Callable[[str], None],
    progress: Report,
) -> RestoreReport:
    """Into a database proved empty. One that was interrupted is begun again: what it had restored is dropped first.
    One that was complete isn't repeated: only compared.

    The roles are made without login, and `open_restored` or the switch opens them. `passwords`: role to reference.
    `expected`: the id of the one backup that will do; else any that is in the place. `folder`: where the dump stands,
    in plain text, until it is restored. Raises Unreachable, Refused, LocalFault;
    CheckFailed for files that aren't what was sent; InvalidMigration for another key.
    """
    manifest = await read_manifest(vault, key)
    if expected not in {"", manifest.backup}:
        raise Refused(
            f"it holds backup {manifest.backup}, and {expected} is expected",
            where=vault.where,
            mend="find out who has put it there",
        )
    await require_empty(server, names)
    if await restored(server) != manifest.backup:
        with workplace(folder / f"restore-{names.tag}") as place:
            await _restore(vault, server, names, key, manifest, place, passwords, jobs, note, progress)
            clear(place)
    return await compare_restored(server, manifest, jobs=jobs, note=note, progress=progress)


async def _restore(
    vault: Vault,
    server: Server,
    names: Names,
    key: Key,
    manifest: Manifest,
    place: Path,
    passwords: Mapping[str, str],
    jobs: int,
    note: Callable[[str], None],
    progress: Report,
) -> None:
    version = int(await server.value("show server_version_num")) // 10_000
    if version < manifest.major:
        raise Refused(
            f"the backup was made for PostgreSQL {manifest.major}, this is {version}",
            where=server.where,
            mend="make a backup for this version, or give a later server",
        )
    program = client("pg_restore", version)
    dump = _kept(place, manifest)
    with local(place):
        there = sum(file.stat().st_blocks * 512 for file in dump.iterdir())
    require_room(place, max(0, manifest.size - there))
    await fetch_all(vault, key, manifest, dump, jobs, note, progress)
    await claim(server, names)
    await take_back(server, names)
    await make_roles(server, manifest.roles, passwords, {})
    if bare := [role.name for role in manifest.roles if role.login and role.name not in passwords]:
        note(f"no password is given for {', '.join(bare)}: a login that is new on {server.cloud} needs one set there")
    argv: list[str | Path] = [
        program,
        "--exit-on-error",
        "--no-tablespaces",
        "-j",
        str(jobs),
        "-d",
        server.database,
        dump,
    ]
    note("restoring")

    async def size() -> Progress:
        async with server.session() as connection:
            cursor = await connection.execute("select pg_catalog.pg_database_size(current_database())")
            row = await cursor.fetchone()
        return Progress("restore", row[0] if row else 0, manifest.bytes)

    async with watched(size, progress):
        await run_client(argv, server.client_environment(), server.where)
    async with server.session() as connection:
        rows = json.dumps([each.model_dump() for each in manifest.taken])
        await connection.execute(
            "insert into tidegate.fence select * from jsonb_to_recordset(%s::jsonb) "
            "as taken (kind text, subject text, before jsonb) on conflict do nothing",
            (rows,),
        )
        await vacuum_again(connection)
        note("analyzing")
        await connection.execute("analyze")
        await note_restored(connection, manifest.backup)
    note(f"restored {manifest.size / 2**20:,.1f} MiB")


def _kept(place: Path, manifest: Manifest) -> Path:
    """The folder of the dump's files; what is left of another backup goes. Raises LocalFault."""
    dump = place / manifest.backup
    with local(place):
        if not dump.is_dir():
            clear(place)
            dump.mkdir()
        if unknown := {file.name for file in dump.iterdir()} - {piece.file for piece in manifest.files}:
            raise LocalFault(
                f"files that aren't the backup's stand there: {', '.join(sorted(unknown)[:SHOWN])}",
                where=str(dump),
                mend="remove them",
            )
    return dump


async def compare_restored(
    server: Server, manifest: Manifest, *, jobs: int = 2, note: Callable[[str], None], progress: Report
) -> RestoreReport:
    """Every table as it is now with what it was at the snapshot. Raises Unreachable, Refused."""
    async with reading(server) as connection:
        positions = await sequence_positions(connection)
    note("comparing")
    found = await table_hashes(
        server, None, jobs, lambda done, total, rows: progress(Progress("compare", done, total, rows))
    )
    tables = tuple(
        TableVerdict(name, manifest.tables.get(name), found.get(name))
        for name in sorted(manifest.tables.keys() | found.keys())
    )
    behind = tuple(
        name
        for name, position in manifest.sequences.items()
        if name not in positions or positions[name].is_behind(position)
    )
    report = RestoreReport(manifest, tables, behind)
    note(f"compared {len(tables)} tables, {report.rows:,} rows")
    return report


async def open_restored(server: Server, names: Names) -> None:
    """Where no switch follows: the application's roles get their logins and rights, and tidegate's bookkeeping goes.

    From then on nothing drops what was restored. Raises Unreachable, Refused.
    """
    await require_empty(server, names)
    if await restored(server) is None:
        raise Refused("nothing was restored here to its end", where=server.where, mend="run the restore first")
    async with server.session() as connection, connection.transaction():
        await give_back(connection)
        await forget(connection)
