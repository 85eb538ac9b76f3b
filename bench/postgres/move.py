"""A whole move's copy in a process of its own, so that it can be measured: `python -m bench.postgres.move SPEC`.

SPEC is the JSON of a migration's database. Prints what the move notes; when a line comes on stdin, or its end, takes
everything back.
"""

import asyncio
import sys

from tidegate.postgres.database import DatabaseMove
from tidegate.runbook.migration import Database

__all__ = ["COPIED"]

COPIED = "copied; waits until changes stream"
"""Noted when the copy is complete, before the stream begins."""


async def _move(spec: str) -> None:
    move = DatabaseMove("bench", Database.model_validate_json(spec), "bench")
    try:
        await move.replicate(lambda text: print(text, flush=True))
        sys.stdin.readline()
    finally:
        await move.remove()
        await move.close()


if __name__ == "__main__":
    asyncio.run(_move(sys.argv[1]))
