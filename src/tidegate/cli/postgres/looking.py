"""What only looks: preflight, status, verify."""

from pathlib import Path
from typing import cast

import click
from pydantic import JsonValue
from rich.text import Text

from tidegate.cli.consoles import results
from tidegate.cli.notes import note
from tidegate.cli.options import json_option, print_json
from tidegate.cli.postgres.move import moves
from tidegate.cli.wording import size
from tidegate.errors import CheckFailed
from tidegate.postgres.database import DatabaseMove

__all__ = ["preflight", "status", "verify"]

VERDICTS = {"pass": "green", "fail": "bold red", "inconclusive": "yellow"}


@click.command()
@json_option
@moves
async def preflight(move: DatabaseMove, *, as_json: bool) -> None:
    """Find every reason why the move would fail, or lose something, before it starts. Changes nothing."""
    findings = (await move.facts()).findings
    if as_json:
        print_json([cast("JsonValue", finding.model_dump(exclude_none=True)) for finding in findings])
    else:
        console = results()
        for finding in findings:
            if finding.verdict != "pass":
                console.print(Text.assemble((finding.verdict, VERDICTS[finding.verdict]), f"  {finding.message}"))
        passed = sum(finding.verdict == "pass" for finding in findings)
        console.print(f"{passed} of {len(findings)} checks pass", highlight=False)
    if failed := [finding.check for finding in findings if finding.verdict == "fail"]:
        raise CheckFailed(f"the move would fail: {', '.join(failed)}", where="preflight")


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
