"""What a copy is completed by when all rows are there, as of one point; each part may be done again."""

from collections.abc import Callable, Collection
from pathlib import Path

from tidegate.postgres.copy import JOBS
from tidegate.postgres.schema import restore_rest
from tidegate.postgres.sequences import set_sequences
from tidegate.postgres.server import Server
from tidegate.postgres.statistics import bring_statistics
from tidegate.postgres.views import refresh_views

__all__ = ["finish"]


async def finish(
    source: Server, target: Server, dump: Path, built: Collection[tuple[int, int]], note: Callable[[str], None]
) -> None:
    """`dump` by `dump_schema`, without the indexes that are `built`. Raises Unreachable, Refused."""
    note("adding what stands on rows: foreign keys, triggers, grants")
    await restore_rest(target, dump, JOBS, built)
    await refresh_views(source, target, note)
    await bring_statistics(target, dump, note)
    async with source.session() as here, target.session() as there:
        await set_sequences(here, there)
