"""What only looks at a bucket before it is moved."""

import click

from tidegate.cli.findings import show
from tidegate.cli.given import given
from tidegate.cli.objects.moving import at_once
from tidegate.cli.objects.sides import MOVE
from tidegate.cli.options import json_option
from tidegate.objects.bucket import BucketMove
from tidegate.objects.preflight import SAMPLED

__all__ = ["preflight"]

FIGURES = ("contents", "verification", "time")


@click.command()
@click.option("--events", metavar="URL", help="Of the SQS queue that hears of the bucket's changes.")
@click.option(
    "--sample",
    "sampled",
    type=click.IntRange(min=1),
    default=SAMPLED,
    show_default=True,
    metavar="N",
    help="Objects that are looked at one by one.",
)
@at_once
@json_option
@given(MOVE, fast=True)
async def preflight(move: BucketMove, *, sampled: int, at_once: int, as_json: bool) -> None:
    """Find every reason why the copy would fail, or lose something, and how long it takes. Writes nothing."""
    move.sync.at_once = at_once
    show((await move.facts(beside=True, sampled=sampled)).findings, as_json=as_json, figures=FIGURES)
