"""What only looks: preflight, status, verify."""

from pathlib import Path

import click

from tidegate.cli.findings import show
from tidegate.cli.notes import note
from tidegate.cli.options import json_option, print_json
from tidegate.cli.postgres.move import moves
from tidegate.cli.wording import size
from tidegate.errors import CheckFailed
from tidegate.postgres.database import DatabaseMove

__all__ = ["preflight", "status", "verify"]


@click.command()
@json_option
@moves
async def preflight(move: DatabaseMove, *, as_json: bool) -> None:
    """Find every reason why the move would fail, or lose something, before it starts. Changes nothing."""
    show((await move.facts()).findings, as_json=as_json)


@click.command()
@json_option
@moves
async def status(move: DatabaseMove, *, as_json: bool) -> None:
    """Show who owns the writes, whether changes stream, and how far behind the other side is."""
    ownership = await move.ownership()
    owner = ownership.owner if ownership else "aws"
    streams = await move.streams()
    streaming = streams and await move.streaming()
    lag = await move.lag() if streams else None
    if as_json:
        epoch = ownership.epoch if ownership else 0
        print_json({"owner": owner, "epoch": epoch, "streams": streams, "streaming": streaming, "lag_bytes": lag})
        return
    state = "changes stream" if streaming else "changes don't stream now" if streams else "nothing streams"
    behind = f"; the other side is {size(lag)} behind" if lag is not None else ""
    click.echo(f"{owner} owns the writes; {state}{behind}")


@click.command()
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), help="Write table, rows, hash, verdict there."
)
@json_option
@moves
async def verify(move: DatabaseMove, *, report: Path | None, as_json: bool) -> None:
    """Compare the whole content of both sides, while changes stream too; down to the rows that differ."""
    found = await move.verify(note)
    if report:
        found.write(report)
    if as_json:
        print_json(found.document())
    else:
        for line in found.lines():
            click.echo(line)
    if wrong := found.mismatched:
        raise CheckFailed(f"{len(wrong)} of {len(found.tables)} tables differ", where=move.where("azure"))
