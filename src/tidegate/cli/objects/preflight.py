"""What only looks at a bucket before it is moved."""

from tidegate.cli.findings import show
from tidegate.objects.bucket import BucketMove

__all__ = ["preflight"]

FIGURES = ("contents", "verification", "time")


async def preflight(move: BucketMove, *, as_json: bool) -> None:
    """Find every reason why the move would fail, or lose something, before it starts. Changes nothing."""
    show((await move.facts(beside=True)).findings, as_json=as_json, figures=FIGURES)
