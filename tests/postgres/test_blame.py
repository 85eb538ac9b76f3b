"""An error names the server that it came from, whichever else was at work."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from tidegate.errors import Refused, Unreachable
from tidegate.lab.servers.postgres import Postgres
from tidegate.postgres import database
from tidegate.postgres.schema import restore_schema
from tidegate.runbook.migration import Database

BIG = """create table big (id int primary key, what text);
insert into big select i, repeat(md5(i::text), 8) from generate_series(1, 600000) i"""
COPYING = "select count(*) from pg_stat_progress_copy where tuples_processed > 1000"

END_SESSIONS = """select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
and application_name = 'tidegate' and backend_type = 'client backend'"""


def quiet(text: str, **_: object) -> None:
    pass


@pytest.fixture
def mortal(server_folder) -> Iterator[dict[str, Postgres]]:
    """Servers of this test's own: one of them dies."""
    servers = {
        "aws": Postgres(server_folder / "mortal16", 16, "mortal-16"),
        "azure": Postgres(server_folder / "mortal18", 18, "mortal-18"),
    }
    yield servers
    for server in servers.values():
        server.destroy()


@pytest.mark.parametrize("victim", ["aws", "azure"])
async def test_the_server_that_dies_while_rows_are_copied_is_the_one_that_is_named(mortal, victim):
    sides = {
        cloud: {"dsn": server.create_database("big"), "password": server.password_ref}
        for cloud, server in mortal.items()
    }
    mortal["aws"].psql("big", BIG)
    move = database.DatabaseMove("orders", Database.model_validate({"kind": "postgres", **sides}), "run-1")
    copying = asyncio.create_task(move.replicate(quiet))
    while mortal["azure"].psql("big", COPYING).strip() == "0":
        assert not copying.done()
        await asyncio.sleep(0.01)
    mortal[victim].kill()
    with pytest.raises(Unreachable) as caught:
        await copying
    assert caught.value.where.startswith(f"orders on {victim} ")


async def test_rows_that_azure_does_not_take_are_azures_error(shop, monkeypatch):
    async def stricter(target, *how):
        await restore_schema(target, *how)
        if "pre-data" in how:
            shop.query("azure", "alter table sales.customers add constraint no_room check (id < 1000)")

    monkeypatch.setattr(database, "restore_schema", stricter)
    with pytest.raises(Refused, match=r"no_room") as caught:
        await shop.move().replicate(quiet)
    assert caught.value.where.startswith("orders on azure ")


@pytest.mark.parametrize("victim", ["aws", "azure"])
async def test_a_session_that_ends_during_the_switch_or_the_comparison_is_named(shop, victim):
    move = shop.move()
    await move.replicate(quiet)
    store = move.store("aws", 1)
    for work in (store.drain, store.seal):
        await store.arm()
        shop.query(victim, END_SESSIONS)
        with pytest.raises(Unreachable) as caught:
            await work(time.monotonic() + 10)
        assert caught.value.where.startswith(f"orders on {victim} ")
    await store.reopen()
    await store.close()
    with pytest.raises(Unreachable) as caught:
        await move.verify(lambda text: shop.query(victim, END_SESSIONS))
    assert caught.value.where.startswith(f"orders on {victim} ")
