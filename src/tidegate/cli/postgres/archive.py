"""The other model: a whole database kept as files, and made of them again: backup, check-backup, restore."""

import asyncio
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
from pydantic import JsonValue
from rich.text import Text

from tidegate.cli.consoles import results
from tidegate.cli.given import Given, given
from tidegate.cli.notes import note
from tidegate.cli.options import json_option, print_json
from tidegate.cli.postgres.compared import Compared
from tidegate.cli.postgres.place import PLACE, Place
from tidegate.cli.postgres.sides import NAME, ROLES, SOURCE, TARGET, role_passwords, server
from tidegate.cli.wording import duration, size
from tidegate.errors import CheckFailed, UsageError
from tidegate.postgres.archive.backup import backup as back_up
from tidegate.postgres.archive.check import ArchiveReport, check
from tidegate.postgres.archive.manifest import Manifest
from tidegate.postgres.archive.progress import Lines
from tidegate.postgres.archive.restore import RestoreReport, open_restored
from tidegate.postgres.archive.restore import restore as bring_back
from tidegate.postgres.binaries import client, version
from tidegate.postgres.bookkeeping import Names
from tidegate.postgres.server import Server

__all__ = ["backup", "check_backup", "restore"]

SHOWN = 5


@asynccontextmanager
async def _source(given: dict[str, Any]) -> AsyncGenerator[Server]:
    source = server("source", given)
    try:
        yield source
    finally:
        await source.close()


@asynccontextmanager
async def _target(given: dict[str, Any]) -> AsyncGenerator[Server]:
    target = server("target", given)
    given["passwords"] = role_passwords(given)
    try:
        yield target
    finally:
        await target.close()


jobs_option = click.option(
    "--jobs", type=click.IntRange(min=1), default=2, show_default=True, help="So many files, or tables, at once."
)


def _folder(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path:
    del parameter
    return value or context.find_root().params["store"] / "archive"


folder_option = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    callback=_folder,
    show_default="`archive` in the store",
    help="Where the dump stands meanwhile, in plain text.",
)


@click.command()
@click.option(
    "--target-version",
    "major",
    type=click.IntRange(min=10),
    metavar="MAJOR",
    help="The oldest PostgreSQL that it has to be restored to.",
    show_default="the source's",
)
@click.option(
    "--compression",
    type=click.IntRange(0, 9),
    default=1,
    show_default=True,
    help="gzip's level; 0 where the network is faster than a core.",
)
@jobs_option
@folder_option
@json_option
@given(Given((*SOURCE, *NAME), _source), PLACE)
async def backup(
    source: Server,
    place: Place,
    *,
    name: str,
    major: int | None,
    compression: int,
    jobs: int,
    folder: Path,
    as_json: bool,
) -> None:
    """Back up one snapshot of the source to PLACE: dumped, encrypted, sent, with the hash of every table.

    PLACE is a folder, s3://BUCKET/PREFIX or azure://ACCOUNT/CONTAINER/PREFIX, and takes one backup. Interrupted and
    given again, it goes on; a backup that is complete isn't made again.
    """
    _work_in(jobs)
    began = time.monotonic()
    manifest = await back_up(
        source,
        Names(name, f"{source.host}:{source.port}/{source.database}"),
        place.vault,
        place.key,
        folder=folder,
        major=await _major(source, major),
        jobs=jobs,
        compression=compression,
        note=note,
        progress=Lines(note),
    )
    seconds = time.monotonic() - began
    if as_json:
        print_json({"place": place.vault.where, **_document(manifest), "tables": _tables(manifest), "seconds": seconds})
    else:
        _say(f"{_summary(manifest)}, at {place.vault.where} after {duration(seconds)}")


@click.command("check-backup")
@jobs_option
@json_option
@given(PLACE)
async def check_backup(place: Place, *, jobs: int, as_json: bool) -> None:
    """Read a backup from PLACE, and prove that every file is what was sent. Restores nothing, changes nothing."""
    _work_in(jobs)
    found = await check(place.vault, place.key, jobs=jobs, note=note, progress=Lines(note))
    if as_json:
        print_json(
            {
                "place": place.vault.where,
                **_document(found.manifest),
                "tables": _tables(found.manifest),
                **_found(found),
            }
        )
    else:
        for damage in found.damages:
            _say(f"{damage.name} is {damage.what}", "bold red")
        for unexpected in found.unexpected:
            _say(f"{unexpected} isn't the backup's; it does no harm", "yellow")
        whole = len(found.manifest.files) - len(found.damages)
        _say(f"{whole} of {len(found.manifest.files)} files are what was sent; {_summary(found.manifest)}")
    found.require_whole(place.vault.where)


@click.command()
@click.option(
    "--keep-closed", is_flag=True, help="Don't open the application's logins; given again without it, it does."
)
@jobs_option
@folder_option
@json_option
@given(Given((*TARGET, *ROLES, *NAME), _target), PLACE)
async def restore(
    target: Server,
    place: Place,
    *,
    name: str,
    passwords: dict[str, str],
    keep_closed: bool,
    jobs: int,
    folder: Path,
    as_json: bool,
) -> None:
    """Restore the backup in PLACE to an empty target, and compare every table with what was backed up.

    Every file is proved before the target is touched. Interrupted and given again, it begins anew with what has been
    fetched. The application's logins are opened once everything is equal.
    """
    _work_in(jobs)
    began, names = time.monotonic(), Names(name, name)
    report = await bring_back(
        place.vault,
        target,
        names,
        place.key,
        folder=folder,
        passwords=passwords,
        jobs=jobs,
        note=note,
        progress=Lines(note),
    )
    opens = report.equal and not keep_closed
    if opens:
        await open_restored(target, names)
    seconds = time.monotonic() - began
    if as_json:
        done: dict[str, JsonValue] = {"opened": opens, "seconds": seconds}
        print_json({"place": place.vault.where, **_document(report.manifest), **report.document(), **done})
    else:
        results().print(Compared(report))
        _say(f"the logins {'are open' if opens else 'stay closed'}, after {duration(seconds)}")
    if not report.equal:
        raise _differs(report, target.where)


def _work_in(threads: int) -> None:
    """Each keeps some MiB for itself, and asyncio would start more of them than there are files under way."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads))


async def _major(source: Server, wanted: int | None) -> int:
    """Of the server that the dump is for. What an older program can't read, it can't dump. Raises UsageError."""
    its = int(await source.value("show server_version_num")) // 10_000
    if wanted is None:
        return version(client("pg_dump", its))
    if wanted < its:
        raise UsageError(
            f"PostgreSQL {its} can't be dumped for {wanted}", where="--target-version", mend=f"give {its} or later"
        )
    return wanted


def _document(manifest: Manifest) -> dict[str, JsonValue]:
    return {
        "backup": manifest.backup,
        "at": manifest.at.isoformat(),
        "source": manifest.source,
        "source_version": manifest.version,
        "target_version": manifest.major,
        "lsn": manifest.lsn,
        "rows": manifest.rows,
        "files": len(manifest.files),
        "bytes": manifest.size,
    }


def _tables(manifest: Manifest) -> list[JsonValue]:
    return [{"table": name, "rows": each.rows, "hash": each.hash} for name, each in manifest.tables.items()]


def _found(report: ArchiveReport) -> dict[str, JsonValue]:
    return {
        "verdict": "whole" if report.whole else "damaged",
        "damages": [{"file": damage.name, "what": damage.what} for damage in report.damages],
        "unexpected": list(report.unexpected),
    }


def _summary(manifest: Manifest) -> str:
    return (
        f"backup {manifest.backup} of {manifest.source} as of {manifest.at:%Y-%m-%d %H:%M:%S %Z}: "
        f"{len(manifest.tables):,} tables, {manifest.rows:,} rows, {size(manifest.size)}, "
        f"for PostgreSQL {manifest.major} or later"
    )


def _differs(report: RestoreReport, where: str) -> CheckFailed:
    more = f"; and {len(report.wrong) - SHOWN} more" if len(report.wrong) > SHOWN else ""
    return CheckFailed(
        f"what was restored isn't what was backed up: {'; '.join(report.wrong[:SHOWN])}{more}",
        where=where,
        mend="see who writes there; to restore again, give an empty database",
    )


def _say(text: str, style: str = "") -> None:
    results().print(Text(text, style), soft_wrap=True)
