"""What brings the rows over: copy, replicate."""

import asyncio
import time

import click

from tidegate.cli.notes import note
from tidegate.cli.options import json_option, print_json
from tidegate.cli.postgres.move import moves
from tidegate.cli.wording import size
from tidegate.postgres.database import DatabaseMove

__all__ = ["copy", "replicate"]

EVERY = 2.0
"""Seconds between two lines about the lag."""
LOOK = 0.2


@click.command()
@json_option
@moves
async def copy(move: DatabaseMove, *, as_json: bool) -> None:
    """Copy one snapshot of the source to an empty target: schema, rows, indexes, constraints, sequences, large objects,
    statistics, comments, grants, roles. Nothing is followed: what is written later is not in it.
    """
    began = time.monotonic()
    await move.copy(note)
    if as_json:
        print_json({"copied": True, "seconds": round(time.monotonic() - began, 3)})


@click.command()
@click.option("--until-caught-up", is_flag=True, help="End once the target is at most --lag behind.")
@click.option("--lag", type=click.IntRange(min=0), default=2**20, show_default=True, metavar="BYTES")
@json_option
@moves
async def replicate(move: DatabaseMove, *, until_caught_up: bool, lag: int, as_json: bool) -> None:
    """Copy, then stream every change to the target. The servers stream by themselves: Ctrl-C ends only the watching."""
    await move.replicate(note)
    told, trouble = 0.0, ""
    while True:
        behind, late = await move.lag(), await move.lag_seconds()
        if (now := await move.trouble() or "") != trouble:
            trouble = now
            note(trouble or "the stream goes on")
        if until_caught_up and behind <= lag and not trouble:
            break
        if time.monotonic() - told > EVERY:
            told = time.monotonic()
            note(f"the target is {size(behind)} behind" + (f", {late:.1f} s" if late is not None else ""))
        await asyncio.sleep(LOOK)
    if as_json:
        print_json({"streams": True, "lag_bytes": behind, "lag_seconds": late})
