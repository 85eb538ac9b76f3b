"""Both sides compared with a manifest that was exported earlier, told as figures and the first keys that differ."""

from pathlib import Path
from typing import get_args

import click
from pydantic import JsonValue
from rich import box
from rich.table import Table

from tidegate.cli.consoles import results
from tidegate.cli.options import print_json
from tidegate.errors import CheckFailed
from tidegate.objects.audit import AuditReport, Verdict, audit
from tidegate.objects.side import Side

__all__ = ["verify_against"]

SHOWN = 5
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


async def verify_against(file: Path, aws: Side, azure: Side, *, as_json: bool) -> None:
    """`verify --against FILE`. Raises CheckFailed on any difference."""
    report = await audit(file, aws, azure)
    if as_json:
        print_json(_document(report))
    else:
        _print(report)
    if report.differences:
        raise CheckFailed(
            f"{report.differences:,} differences from the record",
            where=str(file),
            mend="if they are wanted, verify and export again",
        )


def _print(report: AuditReport) -> None:
    table = Table(box=box.SIMPLE_HEAD, expand=False, show_edge=False, pad_edge=False)
    table.add_column(f"{report.recorded:,} objects recorded")
    for cloud in report.counts:
        table.add_column(cloud, justify="right", no_wrap=True)
    for verdict in VERDICTS:
        table.add_row(verdict, *(f"{side.get(verdict, 0):,}" for side in report.counts.values()))
    results().print(table)
    for each in report.first[:SHOWN]:
        click.echo(f"{each.verdict} on {each.cloud}: {each.key!r}: {each.why}")
    if report.differences > SHOWN:
        click.echo(f"and {report.differences - SHOWN:,} more")


def _document(report: AuditReport) -> JsonValue:
    counts: dict[str, JsonValue] = {
        cloud: {verdict: side.get(verdict, 0) for verdict in VERDICTS} for cloud, side in report.counts.items()
    }
    first: list[JsonValue] = [
        {"key": each.key, "side": each.cloud, "verdict": each.verdict, "why": each.why} for each in report.first
    ]
    return {"recorded": report.recorded, **counts, "differences": report.differences, "first": first}
