"""How a check says its verdict, and how its facts are asked for."""

from collections.abc import Collection
from typing import Any

from pydantic import BaseModel, ConfigDict

from tidegate.postgres.server import Connection, statement
from tidegate.runbook.step import Finding, Verdict

__all__ = ["Asked", "all_rows", "judged", "listed", "one_row", "size"]

SHOWN = 12
"""Names in a message; the facts hold them all."""


class Asked(BaseModel):
    """What the servers have answered."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def judged(
    check: str, where: str, message: str, *, wrong: str = "", mend: str = "", verdict: Verdict = "fail"
) -> Finding:
    """A pass that says `message`; but if there is anything `wrong`, that, with its `mend`, as a `verdict`."""
    if wrong:
        return Finding(check=check, verdict=verdict, message=wrong, where=where, mend=mend)
    return Finding(check=check, verdict="pass", message=message, where=where)


def listed(names: Collection[str]) -> str:
    shown = ", ".join(sorted(names)[:SHOWN])
    return shown + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")


def size(count: float) -> str:
    """Of bytes."""
    for unit, power in (("GiB", 30), ("MiB", 20)):
        if count >= 2**power:
            return f"{count / 2**power:,.1f} {unit}"
    return f"{count / 2**10:,.0f} KiB"


async def all_rows(connection: Connection, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    return await (await connection.execute(statement(query), parameters or None)).fetchall()


async def one_row(connection: Connection, query: str, *parameters: object) -> dict[str, Any]:
    """By column, of a query that answers with exactly one row."""
    cursor = await connection.execute(statement(query), parameters or None)
    row = await cursor.fetchone()
    assert row is not None, "the query answers with one row"
    return {column.name: value for column, value in zip(cursor.description or (), row, strict=True)}
