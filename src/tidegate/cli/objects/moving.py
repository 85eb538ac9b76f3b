"""What brings the objects over, and back: copy, sync."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, contextmanager
from typing import cast, get_args

import click
from pydantic import JsonValue

from tidegate.cli.given import given
from tidegate.cli.notes import note
from tidegate.cli.objects.sides import MOVE
from tidegate.cli.options import json_option, print_json
from tidegate.cli.wording import duration, size
from tidegate.errors import CheckFailed, InvalidMigration, LocalFault, TidegateError, Unreachable
from tidegate.objects.bucket import BucketMove
from tidegate.objects.from_url import How
from tidegate.objects.sync import Swept

__all__ = ["copy", "sync"]

EVERY = 5.0
"""Seconds between two lines about the lag."""
PAUSE = 1.0
"""Seconds before what failed is tried again."""
REMIND = 60.0
"""Seconds after which an error that is still the same is told again."""
AT_ONCE = 256

at_once = click.option(
    "--at-once",
    type=click.IntRange(1, 1000),
    default=AT_ONCE,
    show_default=True,
    help="Objects on their way at the same time.",
)


@click.command()
@click.option(
    "--how",
    type=click.Choice(get_args(How)),
    default="auto",
    show_default=True,
    help="Who moves the bytes: Azure by itself where it can (auto), this process (stream), Azure alone (server).",
)
@click.option("--dry-run", is_flag=True, help="Look at every object, and say what would be done.")
@click.option(
    "--store",
    metavar="DSN",
    envvar="TIDEGATE_QUEUE",
    show_envvar=True,
    help="Let `tidegate worker` processes do it, by this PostgreSQL: postgresql://USER@HOST:PORT/DATABASE.",
)
@click.option(
    "--store-password", metavar="REF", envvar="TIDEGATE_QUEUE_PASSWORD", show_envvar=True, help="env:NAME or file:PATH."
)
@at_once
@json_option
@given(MOVE, fast=True)
async def copy(
    move: BucketMove,
    *,
    how: How,
    dry_run: bool,
    store: str | None,
    store_password: str | None,
    at_once: int,
    as_json: bool,
) -> None:
    """Copy every object of a bucket, each proved as it goes. What the container has besides stays as it is; nothing is
    deleted.

    Interrupted, the same command goes on where it was. Exits with 4 if any object can't be copied: those are named.
    """
    began = time.monotonic()
    move.sync.at_once = at_once
    swept = Swept()
    with _resumable():
        if store and not dry_run and not await move.copied():
            swept = await _spread(move, store, store_password, how)
        rest = await move.add(note, how, dry=dry_run)  # also what has changed since it was listed
    swept.follow(rest)
    seconds = time.monotonic() - began
    if as_json:
        print_json(_document(move, swept, seconds))
    else:
        verb = "would be copied" if dry_run else "copied"
        there = swept.seen - swept.copied - swept.conflicts
        click.echo(
            f"{swept.copied:,} objects, {size(swept.bytes)} {verb} in {duration(seconds)} "
            f"({swept.copied / seconds:,.0f} objects/s, {swept.bytes / 2**20 / seconds:,.1f} MiB/s); "
            f"{there:,} were there{_deletions(move, swept)}; {move.http.retries:,} requests had to be tried again"
        )
        if swept.gone:
            click.echo(f"{swept.gone:,} that were copied before are gone at the source: only `sync` deletes them")
    _complain(move, swept)


@click.command()
@click.option("--events", metavar="URL", help="Of the SQS queue that hears of the bucket's changes.")
@click.option("--once", is_flag=True, help="End when all that has changed until now is applied.")
@click.option("--reverse", is_flag=True, help="From Blob to S3: what changed there since, by what is recorded.")
@click.option(
    "--max-deletions",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    metavar="N",
    help="Where more are gone, none is deleted; of those that events tell, so many a minute.",
)
@at_once
@json_option
@given(MOVE, fast=True)
async def sync(move: BucketMove, *, once: bool, reverse: bool, max_deletions: int, at_once: int, as_json: bool) -> None:
    """Copy what is missing, then apply every change, told by events or found by listing, until Ctrl-C.

    With --reverse the writes are taken to be at Blob: what has changed there goes back to S3, on the condition that S3
    still has what is recorded. Nothing is echoed.
    """
    began = time.monotonic()
    move.sync.at_once = at_once
    move.sync.deletions.most = max_deletions
    with _resumable():
        swept = await move.keep(note, "azure" if reverse else "aws")
        if not once:
            await _follow(move)
    seconds = time.monotonic() - began
    if as_json:
        print_json(_document(move, swept, seconds))
    else:
        click.echo(
            f"{swept.copied:,} objects, {size(swept.bytes)} copied in {duration(seconds)}{_deletions(move, swept)}; "
            f"{move.http.retries:,} requests had to be tried again"
        )
    _complain(move, swept)


async def _spread(move: BucketMove, store: str, password: str | None, how: How) -> Swept:
    from tidegate.cli.objects.spread import spread  # noqa: PLC0415 - dbos takes a second
    from tidegate.cli.worker import queue_server  # noqa: PLC0415

    server = queue_server(store, password)
    try:
        done = await spread(move, server, note, how)
    finally:
        await server.close()
    return Swept(copied=done.copied, bytes=done.bytes)


@contextmanager
def _resumable() -> Generator[None]:
    try:
        yield
    except asyncio.CancelledError:
        note("interrupted; the same command goes on")
        raise


async def _follow(move: BucketMove) -> None:
    """Until cancelled. Raises what trying again doesn't mend."""
    following = asyncio.create_task(_persist(move))
    try:
        while not (await asyncio.wait({following}, timeout=EVERY))[0]:
            note(await _behind(move))
        await following
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def _persist(move: BucketMove) -> None:
    """A server that doesn't answer, and an object that can't be copied, are told of, and tried again."""
    told, at = "", 0.0
    while True:
        try:
            try:
                await move.follow(note)
            except (Unreachable, InvalidMigration, LocalFault):
                raise
            except TidegateError as error:
                await _only_an_object(move, error)
                raise Unreachable(error.why, where=error.where, mend=error.mend) from None
        except Unreachable as error:
            if error.brief != told or time.monotonic() - at > REMIND:
                told, at = error.brief, time.monotonic()
                note(f"tried again until it works: {told}")
        await asyncio.sleep(PAUSE)


async def _only_an_object(move: BucketMove, error: TidegateError) -> None:
    """Raises what either side, or the queue, says that refuses everything."""
    if not await move.azure.exists():
        raise error
    for side in move.sides.values():
        async with aclosing(cast("AsyncGenerator[object]", side.pages())) as pages:
            await anext(pages, None)
    if move.events is not None:
        await move.events.depth()


async def _behind(move: BucketMove) -> str:
    try:
        waiting = await move.lag()
    except TidegateError as error:
        return f"how much waits isn't known: {error.brief}"
    late, wait = move.lag_seconds(), f"{waiting:,} changes wait"
    if late is None:
        return wait if waiting else "up to date"
    if move.sync.oldest is None:  # only a listing tells
        return f"listed {late:.1f} s ago; {wait}"
    return f"the oldest change that isn't applied is {late:.1f} s old; {wait}"


def _deletions(move: BucketMove, swept: Swept) -> str:
    withheld = move.sync.deletions.withheld
    text = f"; {swept.deleted:,} deleted" if swept.deleted else ""
    return text + (f"; {withheld:,} deletions withheld" if withheld else "")


def _document(move: BucketMove, swept: Swept, seconds: float) -> JsonValue:
    return {
        "objects": swept.seen,
        "copied": swept.copied,
        "bytes": swept.bytes,
        "deleted": swept.deleted,
        "gone": swept.gone,
        "withheld_deletions": move.sync.deletions.withheld,
        "conflicts": swept.conflicts,
        "first_conflicts": [{"key": each.key, "why": each.conflict} for each in swept.first],
        "retries": move.http.retries,
        "seconds": round(seconds, 3),
    }


def _complain(move: BucketMove, swept: Swept) -> None:
    """Raises CheckFailed if anything was left."""
    withheld = move.sync.deletions.withheld
    if swept.conflicts:
        raise CheckFailed(
            f"{swept.conflicts:,} objects were left as they are",
            where=move.where("azure"),
            mend="`tidegate objects manifest` names them, with the reasons",
        )
    if withheld:
        raise CheckFailed(
            f"{withheld:,} objects are gone at the source, and weren't deleted",
            where=move.where("azure"),
            mend="see whether that is wanted, then give --max-deletions",
        )
