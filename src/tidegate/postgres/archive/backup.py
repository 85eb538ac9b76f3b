"""A full backup of one snapshot: dumped here, sealed, sent piece by piece, and completed by its manifest."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from tidegate.errors import LocalFault, Refused
from tidegate.files import write
from tidegate.postgres.archive.cipher import sealed_size
from tidegate.postgres.archive.hashes import TableHash, reading, sequence_positions, table_hashes
from tidegate.postgres.archive.key import Key
from tidegate.postgres.archive.manifest import (
    BEGUN,
    MANIFEST,
    Begun,
    Manifest,
    Model,
    Piece,
    Taken,
    put_document,
    read_document,
)
from tidegate.postgres.archive.pieces import cut, is_there, send, spread
from tidegate.postgres.archive.progress import Count, Progress, Report, watched
from tidegate.postgres.archive.vault import Vault
from tidegate.postgres.archive.workplace import clear, local, require_room, workplace
from tidegate.postgres.binaries import client, run_client
from tidegate.postgres.bookkeeping import Names
from tidegate.postgres.catalog import Role, roles
from tidegate.postgres.server import Connection, Server
from tidegate.postgres.side_by_side import side_by_side

__all__ = ["backup", "dump_size"]

DUMP, STATE, SENT = "dump", "dump.json", "sent.jsonl"
NEEDED = """(select coalesce(pg_catalog.sum(pg_catalog.pg_table_size(c.oid)), 0)::int8 from pg_catalog.pg_class c
    where c.relkind = 'r' and (c.oid >= 16384 or c.relname = 'pg_largeobject'))"""
"""What has to be dumped, uncompressed and without indexes. Oids below 16384 are the system's own."""
FACTS = f"""
select pg_catalog.pg_export_snapshot(), current_setting('server_version_num')::int,
    (case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
        else pg_catalog.pg_current_wal_lsn() end)::text,
    pg_catalog.pg_database_size(current_database()), {NEEDED}"""


class _Dump(Model):
    """What is kept beside a complete dump: the manifest without files, and the files' sizes."""

    manifest: Manifest
    sizes: dict[str, int]


async def dump_size(server: Server) -> int:
    """Bytes that a dump takes at most, uncompressed. Raises Unreachable, Refused."""
    return int(await server.value(f"select {NEEDED}"))


async def backup(
    server: Server,
    names: Names,
    vault: Vault,
    key: Key,
    *,
    folder: Path,
    major: int,
    jobs: int = 2,
    compression: int = 1,
    note: Callable[[str], None],
    progress: Report,
) -> Manifest:
    """`names`: of the try. A complete backup of the same is returned as it is, an interrupted one is continued from
    its snapshot: whoever wants a later state, such as that of a new fence, gives another run and another place.

    `folder`: where the dump stands, in plain text, until all of it has been sent. `major`: of the server that it is
    for: its pg_dump, or a later one, is used. `compression`: gzip's level, which every build of PostgreSQL has; 0 where
    the network is faster than a core. Raises Unreachable, Refused, LocalFault, CheckFailed; InvalidMigration
    for a place that was begun with another key.
    """
    with workplace(folder / f"backup-{names.tag}") as place:
        begun = await _claimed(vault, key, names)
        if isinstance(begun, Manifest):
            clear(place)
            note(f"the backup is complete already, as of {begun.at:%Y-%m-%d %H:%M:%S %Z}")
            return begun
        dump = _read_dump(place, begun) if begun else None
        if dump is not None:
            note(f"going on with the dump as of {dump.manifest.at:%Y-%m-%d %H:%M:%S %Z}")
        else:
            clear(place)
            backup_id = secrets.token_hex(8)
            await _make_way(vault)
            await put_document(vault, BEGUN, key, Begun(backup=backup_id, run=names.run, store=names.store))
            dump = await _dump(server, names, backup_id, place, major, jobs, compression, note, progress)
        files = await _send(vault, key, dump, place, jobs, note, progress)
        manifest = dump.manifest.model_copy(update={"files": tuple(files)})
        await put_document(vault, MANIFEST, key, manifest)
        clear(place)
        note(f"backed up {len(manifest.tables)} tables, {manifest.rows:,} rows, in {manifest.size / 2**20:,.1f} MiB")
        return manifest


async def _claimed(vault: Vault, key: Key, names: Names) -> Begun | Manifest | None:
    """What is in the place, if it is this run's. Raises Refused if it is another's."""
    there = {stored.name async for stored in vault.list()}
    if not there:
        return None
    if BEGUN not in there:
        raise Refused("the place isn't empty", where=vault.where, mend="give an empty one, or another prefix")
    begun = await read_document(vault, BEGUN, key, Begun)
    if (begun.run, begun.store) != (names.run, names.store):
        raise Refused(
            f"it holds the backup of store {begun.store} in run {begun.run}",
            where=vault.where,
            mend="give another place; if that backup isn't needed any more, delete it by hand",
        )
    return await read_document(vault, MANIFEST, key, Manifest) if MANIFEST in there else begun


async def _make_way(vault: Vault) -> None:
    """What this run had sent of an earlier snapshot is of no use. `begun` stays until it is replaced."""
    for name in [stored.name async for stored in vault.list()]:
        if name != BEGUN:
            await vault.delete(name)


def _read_dump(place: Path, begun: Begun) -> _Dump | None:
    """The dump of an earlier try, if it is complete and whole."""
    with local(place):
        try:
            dump = _Dump.model_validate_json((place / STATE).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValidationError):
            return None
        whole = (place / DUMP).is_dir() and dump.sizes == _sizes(place / DUMP)
    return dump if whole and dump.manifest.backup == begun.backup else None


async def _dump(
    server: Server,
    names: Names,
    backup_id: str,
    place: Path,
    major: int,
    jobs: int,
    compression: int,
    note: Callable[[str], None],
    progress: Report,
) -> _Dump:
    program = client("pg_dump", major)
    async with reading(server) as connection:
        cursor = await connection.execute(FACTS)
        row = await cursor.fetchone()
        assert row is not None, "the query always finds its facts"
        snapshot, version, lsn, size, needed = row
        require_room(place, needed)
        taken = await _taken(connection)
        found = await roles(connection)
        positions = await sequence_positions(connection)
        note(f"dumping {size / 2**20:,.1f} MiB of tables and indexes")
        argv: list[str | Path] = [
            *(program, "-Fd", "-j", str(jobs), "-Z", str(compression), "--snapshot", snapshot),
            *("--exclude-schema", "tidegate", "--no-publications", "--no-subscriptions", "-f", place / DUMP),
        ]

        async def written() -> Progress:
            return Progress("dump", sum(_sizes(place / DUMP).values()), None)

        async def run() -> None:
            async with watched(written, progress):
                await _run(argv, server, place, needed)

        async def hashed() -> dict[str, TableHash]:
            return await table_hashes(
                server, snapshot, jobs, lambda done, total, rows: progress(Progress("hash", done, total, rows))
            )

        _, hashes = await side_by_side(run(), hashed())
    assert hashes is not None, "the second one's"
    manifest = Manifest(
        backup=backup_id,
        run=names.run,
        store=names.store,
        at=datetime.now(UTC),
        source=server.where,
        version=version,
        major=major,
        lsn=lsn,
        bytes=size,
        roles=tuple(_as_unfenced(found, taken)),
        taken=tuple(taken),
        tables=hashes,
        sequences=positions,
    )
    with local(place):
        dump = _Dump(manifest=manifest, sizes=_sizes(place / DUMP))
    write(place / STATE, dump.model_dump_json())
    return dump


async def _run(argv: list[str | Path], server: Server, place: Path, needed: int) -> None:
    try:
        await run_client(argv, server.client_environment(), server.where)
    except Refused as refused:
        if "No space left on device" not in refused.why:
            raise
        raise LocalFault(
            f"the disk is full; the dump needs up to {needed / 2**20:,.1f} MiB",
            where=str(place),
            mend="make room, or give a folder on another disk",
        ) from None


async def _taken(connection: Connection) -> list[Taken]:
    cursor = await connection.execute("select to_regclass('tidegate.fence') is not null")
    row = await cursor.fetchone()
    if not row or not row[0]:
        return []
    cursor = await connection.execute("select kind, subject, before from tidegate.fence order by 1, 2")
    return [Taken(kind=kind, subject=subject, before=before) for kind, subject, before in await cursor.fetchall()]


def _as_unfenced(found: list[Role], taken: list[Taken]) -> list[Role]:
    """A fence lets nobody log in: that isn't how the roles are."""
    closed = {each.subject for each in taken if each.kind == "role"}
    return [Role(role.name, role.login or role.name in closed, role.member_of) for role in found]


def _sizes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in folder.iterdir()}


async def _send(
    vault: Vault, key: Key, dump: _Dump, place: Path, jobs: int, note: Callable[[str], None], progress: Report
) -> list[Piece]:
    pieces = cut(dump.sizes)
    count = Count("send", sum(sealed_size(piece.size) for piece in pieces), progress)
    earlier, sent = _read_sent(place / SENT), dict[str, Piece]()

    async def one(piece: Piece) -> None:
        known = earlier.get(piece.name)
        if known is not None and await is_there(vault, known):
            count.add(known.stored)
        else:
            with local(place):
                known = await send(vault, key, dump.manifest.backup, place / DUMP, piece, count.add)
                with (place / SENT).open("a", encoding="utf-8") as file:
                    file.write(f"{known.model_dump_json()}\n")
        sent[piece.name] = known

    note(f"sending {len(pieces)} files, {count.total / 2**20:,.1f} MiB")
    await spread(pieces, jobs, one)
    return [sent[piece.name] for piece in pieces]


def _read_sent(file: Path) -> dict[str, Piece]:
    """A line that a crash has cut off says nothing."""
    found: dict[str, Piece] = {}
    with suppress(FileNotFoundError):
        for line in file.read_text(encoding="utf-8").splitlines():
            with suppress(ValidationError):
                piece = Piece.model_validate_json(line)
                found[piece.name] = piece
    return found
