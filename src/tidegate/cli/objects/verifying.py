"""`verify`: is every object the same on both sides?"""

import csv
from contextlib import ExitStack
from pathlib import Path

import click

from tidegate.cli.given import given
from tidegate.cli.notes import note
from tidegate.cli.objects.against import verify_against
from tidegate.cli.objects.sides import MOVE
from tidegate.cli.options import json_option, print_json
from tidegate.cli.wording import size
from tidegate.errors import CheckFailed, UsageError
from tidegate.objects.bucket import BucketMove
from tidegate.objects.verify import Difference, VerifyReport

__all__ = ["verify"]

SHOWN = 10


@click.command()
@click.option("--read", is_flag=True, help="Read every content on both sides, whatever their checksums say.")
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write all differences, as CSV."
)
@click.option(
    "--against",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    metavar="FILE",
    help="Compare both listings with a manifest that was exported earlier, instead of with each other.",
)
@json_option
@given(MOVE, fast=True)
async def verify(move: BucketMove, *, read: bool, report: Path | None, against: Path | None, as_json: bool) -> None:
    """Prove that every object's content is the same on both sides, and by what. Exits with 4 on any difference."""
    if against is not None:
        if read or report:
            raise UsageError(
                "a record is compared with the listings alone", where="--against", mend="leave the rest away"
            )
        await verify_against(against, move.aws, move.azure, as_json=as_json)
        return
    with ExitStack() as stack:
        rows = csv.writer(stack.enter_context(report.open("w", newline=""))) if report else None
        if rows:
            rows.writerow(["key", "verdict"])

        def told(difference: Difference) -> None:
            if rows:
                rows.writerow(difference)

        found = await move.compare(note, told, read=read)
    if as_json:
        print_json(
            {
                "objects": found.objects,
                "bytes": found.bytes,
                "rungs": dict(found.rungs),
                "missing": found.found["missing"],
                "extra": found.found["extra"],
                "different": found.found["different"],
                "first": [{"key": each.key, "verdict": each.verdict} for each in found.first[:SHOWN]],
            }
        )
    else:
        _print(found)
    if found.differences:
        raise CheckFailed(f"{found.differences:,} objects aren't the same", where=move.where("azure"))


def _print(found: VerifyReport) -> None:
    click.echo(f"{found.objects:,} objects, {size(found.bytes)}")
    for rung, count in found.rungs.most_common():
        click.echo(f"{count:>14,}  the same, by {rung}")
    for verdict, count in found.found.most_common():
        click.echo(f"{count:>14,}  {verdict}")
    for each in found.first[:SHOWN]:
        click.echo(f"{each.verdict:>14}  {each.key!r}")
    if found.differences > SHOWN:
        click.echo(f"{'':14}  and {found.differences - SHOWN:,} more")
