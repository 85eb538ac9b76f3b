"""Which database is moved, from the options that every command of a move takes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from tidegate.cli.given import Given, given
from tidegate.cli.postgres.sides import NAME, PEERS, ROLES, SOURCE, TARGET, role_passwords, spec
from tidegate.postgres.database import DatabaseMove
from tidegate.runbook.migration import Database

__all__ = ["moves"]


@asynccontextmanager
async def _move(given: dict[str, Any]) -> AsyncGenerator[DatabaseMove]:
    name: str = given.pop("name")
    aws, azure = spec("source", given), spec("target", given)
    database = Database(kind="postgres", aws=aws, azure=azure, passwords=role_passwords(given))
    move = DatabaseMove(name, database, name)
    try:
        yield move
    finally:
        await move.close()


moves = given(Given((*SOURCE, *TARGET, *PEERS, *ROLES, *NAME), _move))
