"""`manifest`: what a copy or a sync knows of its objects, summed up or written out as a file."""

import sys
from pathlib import Path
from typing import get_args

import click
from pydantic import JsonValue

from tidegate.cli.notes import note
from tidegate.cli.options import json_option, print_json
from tidegate.cli.wording import size
from tidegate.errors import UsageError
from tidegate.objects.export import Snapshot, Summary, export, export_to
from tidegate.objects.formats import Kind, kind_of

__all__ = ["manifest"]

STDOUT = Path("-")


@click.command()
@click.option(
    "--manifest", "path", type=click.Path(path_type=Path), required=True, help="The file that copy or sync keeps."
)
@click.option(
    "--export",
    "out",
    type=click.Path(path_type=Path),
    metavar="OUT.parquet|OUT.csv",
    help="Write every object's record there, in the order of the keys; - is stdout.",
)
@click.option(
    "--format", "kind", type=click.Choice(get_args(Kind)), help="Of the export, if its name's ending doesn't tell."
)
@json_option
def manifest(path: Path, out: Path | None, kind: Kind | None, *, as_json: bool) -> None:
    """Show what a copy or a sync knows of its objects, or export it. Only reads, also while a copy goes on.

    An exported file is audited later by `tidegate objects verify --against FILE`.
    """
    if out is None and kind is not None:
        raise UsageError("there is nothing to be written in it", where="--format", mend="give --export too")
    with Snapshot.open(path) as snapshot:
        if out is None:
            summary = snapshot.summary()
            if as_json:
                print_json(_document(summary))
            else:
                _print(path, summary)
        elif out == STDOUT:
            _to_stdout(snapshot, kind, as_json=as_json)
        else:
            count = export(snapshot, out, kind or kind_of(out))
            note(f"{count:,} records are in {out}")
            if as_json:
                print_json({"exported": str(out), "records": count})


def _to_stdout(snapshot: Snapshot, kind: Kind | None, *, as_json: bool) -> None:
    if kind != "csv":
        raise UsageError("only CSV goes to stdout", where="--export -", mend="add --format csv")
    if as_json:
        raise UsageError("stdout is the export's", where="--json", mend="export to a file, or leave --json out")
    export_to(sys.stdout.buffer, snapshot, kind)
    sys.stdout.buffer.flush()


def _print(path: Path, summary: Summary) -> None:
    click.echo(f"{path}: {summary.objects:,} objects, {size(summary.bytes)}")
    for name, where in (("from", summary.aws), ("to", summary.azure)):
        if where:
            click.echo(f"  {name:4}  {where}")
    click.echo(f"  {summary.owner or 'aws'} owns the writes; phase: {summary.phase or 'not begun'}")
    for rung, count in summary.rungs.items():
        click.echo(f"  {count:>12,}  {rung or 'without a proof'}")
    click.echo(f"  {summary.pending:>12,}  pending")
    click.echo(f"  {summary.conflict_count:>12,}  conflicts")
    for key, why in summary.conflicts.items():
        click.echo(f"  {'':12}  {key!r}: {why}")
    if summary.conflict_count > len(summary.conflicts):
        click.echo(f"  {'':12}  and more: --export has them all")


def _document(summary: Summary) -> JsonValue:
    return {
        "objects": summary.objects,
        "bytes": summary.bytes,
        "rungs": dict[str, JsonValue](summary.rungs),
        "pending": summary.pending,
        "conflicts": summary.conflict_count,
        "first_conflicts": [{"key": key, "why": why} for key, why in summary.conflicts.items()],
        "owner": summary.owner or "aws",
        "phase": summary.phase or None,
        "aws": summary.aws or None,
        "azure": summary.azure or None,
    }
