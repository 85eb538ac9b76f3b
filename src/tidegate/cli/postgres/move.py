"""Which database is moved, from the options that every command of a move takes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from tidegate.cli.postgres.given import Given, given
from tidegate.cli.postgres.sides import NAME, PEERS, ROLES, SOURCE, TARGET, role_passwords, spec
from tidegate.postgres.database import DatabaseMove
from tidegate.runbook.migration import Database

__all__ = ["moves"]


@asynccontextmanager
async def _move(given: dict[str, Any]) -> AsyncGenerator[DatabaseMove]:
    name: str = given.pop("name")
    sides = {"aws": spec("source", given), "azure": spec("target", given)}
    move = DatabaseMove(name, Database(kind="postgres", **sides, passwords=role_passwords(given)), name)
    try:
        yield move
    finally:
        await move.close()


moves = given(Given((*SOURCE, *TARGET, *PEERS, *ROLES, *NAME), _move))
