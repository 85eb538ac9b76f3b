"""What a server still does for a process that is dead."""

import asyncio
import secrets

import psycopg
import pytest

from tidegate.postgres.bookkeeping import ensure_bookkeeping, write_note
from tidegate.postgres.database import DatabaseMove
from tidegate.postgres.reset import schemas_now
from tidegate.postgres.store import read_ownership
from tidegate.runbook.migration import Database, DatabaseServer
from tidegate.switch.store import Ownership

WHILE = 0.3


@pytest.fixture
def move(postgres16, postgres18, closing) -> DatabaseMove:
    name = f"in_flight_{secrets.token_hex(4)}"
    sides = [
        DatabaseServer(dsn=server.create_database(name), password=server.password_ref)
        for server in (postgres16, postgres18)
    ]
    return DatabaseMove("orders", Database(kind="postgres", aws=sides[0], azure=sides[1]), "run")


async def connected(move: DatabaseMove, postgres18) -> psycopg.AsyncConnection:
    dsn = postgres18.full_dsn(move.azure.database)
    return await psycopg.AsyncConnection.connect(dsn, application_name="tidegate")


async def test_a_commit_that_is_on_its_way_is_seen(move, postgres18):
    await ensure_bookkeeping(move.azure, move.names)
    dead = await connected(move, postgres18)
    await dead.execute("insert into tidegate.ownership values ('run', 1, 'azure')")
    asking = asyncio.create_task(read_ownership(move.azure, "run"))
    await asyncio.sleep(WHILE)
    assert not asking.done()
    await dead.commit()
    assert await asking == Ownership("run", 1, "azure")
    await dead.close()


async def test_what_a_dead_process_still_restores_is_ended_before_it_is_taken_back(move, postgres18):
    for server in (move.aws, move.azure):
        await ensure_bookkeeping(server, move.names)
    async with move.azure.session() as connection:
        await write_note(connection, "empty", await schemas_now(connection))
    dead = await connected(move, postgres18)
    await dead.execute("create schema half")
    await move.remove()
    with pytest.raises(psycopg.OperationalError):
        await dead.commit()
    assert await move.azure.value("select to_regnamespace('half') is null")
