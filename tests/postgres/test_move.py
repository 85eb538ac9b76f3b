import asyncio
import threading
import time
from typing import Self

import psycopg
import pytest

from tidegate.errors import Refused, Unreachable
from tidegate.postgres.bookkeeping import SCHEMA
from tidegate.postgres.database import DatabaseMove
from tidegate.postgres.rights import give_back
from tidegate.runbook.migration import Database

GRANTS = """select c.relname, c.relacl::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'sales' order by 1"""


def quiet(text: str, **_: object) -> None:
    pass


class Writers:
    """Sessions of the application that write all the time, wherever it is open, and remember what was acknowledged."""

    def __init__(self, shop, count: int = 3) -> None:
        self.shop, self.acknowledged, self.ending = shop, [], threading.Event()
        self.cloud = "aws"
        self.threads = [threading.Thread(target=self._write, args=(i,)) for i in range(count)]

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def _write(self, writer: int) -> None:
        n, connection, at = 0, None, ""
        while not self.ending.is_set():
            n += 1
            try:
                if connection is None or at != self.cloud:
                    if connection is not None:
                        connection.close()
                    at = self.cloud
                    connection = self.shop.as_app(at)
                key = f"w{writer}-{n}"
                connection.execute(
                    'insert into sales."Order Lines" (customer_id, key, amount) values (1, %s, 1)', (key,)
                )
                self.acknowledged.append(key)
            except psycopg.Error:
                if connection is not None:
                    connection.close()
                connection = None
                time.sleep(0.005)
            time.sleep(0.001)
        if connection is not None:
            connection.close()

    def lost_and_doubled(self, cloud: str) -> tuple[set[str], int]:
        acknowledged = set(self.acknowledged)
        rows = [row[0] for row in self.shop.query(cloud, "select key from sales.\"Order Lines\" where key like 'w%'")]
        return acknowledged - set(rows), len(rows) - len(set(rows))


async def test_everything_is_copied_and_changes_follow(shop):
    move = shop.move()
    await move.replicate(quiet)
    report = await move.verify(quiet)
    assert [table.name for table in report.tables if not table.equal] == []
    assert report.rows == 10_000
    with shop.as_app("aws") as app:
        app.execute("update sales.customers set name = 'changed' where id = 7")
        app.execute("insert into sales.events (at, what) values ('2025-02-02', 'later')")
    assert (await move.verify(quiet)).mismatched == []
    assert shop.query("azure", "select name from sales.customers where id = 7") == [["changed"]]
    assert shop.query("azure", "select count(*) from sales.totals") == [["2000"]]


async def test_a_difference_is_found_down_to_its_row_while_others_write(shop):
    move = shop.move()
    await move.replicate(quiet)
    with Writers(shop):
        await asyncio.sleep(0.2)
        assert (await move.verify(quiet)).mismatched == []
        shop.query(
            "azure",
            'update sales."Order Lines" set amount = 99 where id = 42; delete from sales.events where id = 9',
        )
        wrong = {table.name: table.differing for table in (await move.verify(quiet)).mismatched}
    assert wrong == {'sales."Order Lines"': ("(42)",), "sales.events": ("(9,2024-06-10)",)}


async def test_to_azure_and_back_under_writers_loses_and_doubles_nothing(shop):
    grants = shop.query("aws", GRANTS)
    move = shop.move()
    await move.replicate(quiet)
    with Writers(shop) as writers:
        await asyncio.sleep(0.3)
        await shop.turn(move, "aws", 1)
        writers.cloud = "azure"
        await asyncio.sleep(0.4)
        assert writers.lost_and_doubled("azure") == (set(), 0)
        assert (await move.ownership()).owner == "azure"
        with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
            shop.as_app("aws")
        assert (await move.verify(quiet)).mismatched == []
        await shop.turn(move, "azure", 2)
        writers.cloud = "aws"
        await asyncio.sleep(0.4)
    assert writers.lost_and_doubled("aws") == (set(), 0)
    assert len(writers.acknowledged) > 100
    assert shop.query("aws", GRANTS) == grants
    assert (await move.ownership()).owner == "aws"


async def test_reopened_the_source_is_as_it_was(shop):
    grants = shop.query("aws", GRANTS)
    move = shop.move()
    await move.replicate(quiet)
    store = move.store("aws", 1)
    await store.arm()
    await store.fence(time.monotonic() + 10)
    await store.drain(time.monotonic() + 10)
    await store.seal(time.monotonic() + 10)
    with pytest.raises(psycopg.OperationalError):
        shop.as_app("aws")
    await store.close()  # as when its process dies
    again = shop.move().store("aws", 1)
    await again.reopen()
    await again.close()
    assert shop.query("aws", GRANTS) == grants
    with shop.as_app("aws") as app:
        app.execute("delete from sales.events")
    options = shop.query("aws", "select count(*) from pg_class where reloptions::text like '%autovacuum%'")
    assert options == [["0"]]
    assert (await shop.move().verify(quiet)).mismatched == []


async def test_the_fence_waits_for_a_write_in_flight_and_refuses_the_next(shop):
    move = shop.move()
    await move.replicate(quiet)
    store = move.store("aws", 1)
    await store.arm()
    with psycopg.connect(shop.aws.full_dsn(shop.name)) as admin:  # no session of a fenced role: it may finish
        admin.execute("insert into sales.customers (name) values ('in flight')")
        fencing = asyncio.create_task(store.fence(time.monotonic() + 10))
        await asyncio.sleep(0.3)
        assert not fencing.done()
        admin.commit()
        await fencing
    await store.drain(time.monotonic() + 10)
    assert shop.query("azure", "select count(*) from sales.customers where name = 'in flight'") == [["1"]]
    await store.reopen()
    await store.close()


async def test_sequences_go_on_where_they_were_on_either_side(shop):
    move = shop.move()
    await move.replicate(quiet)
    await shop.turn(move, "aws", 1)
    with shop.as_app("azure") as app:
        row = app.execute('insert into sales."Order Lines" (key) values (1) returning id, invoice').fetchone()
    assert row[0] == 5001
    await shop.turn(move, "azure", 2)
    with shop.as_app("aws") as app:
        later = app.execute('insert into sales."Order Lines" (key) values (2) returning id, invoice').fetchone()
    assert later[0] > row[0]
    assert later[1] > row[1]


async def test_an_interrupted_copy_is_begun_anew(shop, monkeypatch):
    from tidegate.postgres import database

    async def breaks(*_: object) -> None:
        raise Unreachable("gone", where="azure")

    with monkeypatch.context() as patch:
        patch.setattr(database, "copy_tables", breaks)
        with pytest.raises(Unreachable):
            await shop.move().replicate(quiet)
    await shop.move().replicate(quiet)
    await shop.move().replicate(quiet)
    assert (await shop.move().verify(quiet)).mismatched == []


async def test_removed_both_sides_are_as_before(shop):
    before = shop.query("azure", "select nspname from pg_namespace order by 1")
    roles = shop.query("azure", "select rolname from pg_roles order by 1")
    move = shop.move()
    await move.replicate(quiet)
    await shop.turn(move, "aws", 1)
    await shop.turn(move, "azure", 2)
    await move.remove()
    await move.remove()
    assert shop.query("azure", "select nspname from pg_namespace order by 1") == before
    assert shop.query("azure", "select rolname from pg_roles order by 1") == roles
    assert await move.left_behind() == []
    shop.as_app("aws").close()


async def test_finished_azure_keeps_everything_and_nothing_of_the_run_is_left(shop):
    move = shop.move()
    await move.replicate(quiet)
    await shop.turn(move, "aws", 1)
    await move.disarm()
    await move.disarm()
    assert await move.left_behind() == []
    assert shop.query("azure", "select count(*) from sales.customers") == [["2000"]]
    with shop.as_app("azure") as app:
        app.execute("insert into sales.customers (name) values ('after')")


async def test_without_azure_aws_takes_over_with_what_its_mirror_received(shop):
    move = shop.move()
    await move.replicate(quiet)
    await shop.turn(move, "aws", 1)
    with shop.as_app("azure") as app:
        app.execute("insert into sales.\"Order Lines\" (key) select 'mirrored' from generate_series(1, 50)")
    await move.heartbeat("azure")
    while not await move.last_heartbeat("aws"):
        await asyncio.sleep(0.05)
    alone = shop.without_azure()
    await alone.force_home(2)
    await alone.force_home(2)
    with shop.as_app("aws") as app:
        assert app.execute("select count(*) from sales.\"Order Lines\" where key = 'mirrored'").fetchone() == (50,)
        new = app.execute("insert into sales.\"Order Lines\" (key) values ('new') returning id").fetchone()
        assert new == (5051,)
    await alone.remove(target_gone=True)


async def test_a_target_with_anything_in_it_is_refused_and_left_alone(shop):
    shop.query("azure", "create table precious (id int primary key)")
    facts = await shop.move().facts()
    assert "empty" in [finding.check for finding in facts.findings if finding.verdict == "fail"]
    with pytest.raises(Refused, match="isn't empty"):
        await shop.move().replicate(quiet)
    await shop.move().remove()
    assert shop.query("azure", "select count(*) from precious") == [["0"]]
    shop.query("azure", "drop table precious")


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"dsn": "postgresql://postgres@127.0.0.1:1/nowhere"}, Unreachable, "orders on aws .*doesn't answer"),
        ({"dsn": "postgresql://nobody@127.0.0.1:{port}/shop"}, Refused, "check user and password"),
        ({"dsn": "postgresql://postgres@127.0.0.1:{port}/no_such"}, Refused, "no_such"),
    ],
)
async def test_a_server_that_can_not_be_used_is_named_with_the_reason(shop, change, error, text):
    change = {key: value.format(port=shop.aws.port) for key, value in change.items()}
    document = shop.spec.model_dump(mode="json")
    document["aws"] |= change
    with pytest.raises(error, match=f"(?s){text}") as caught:
        await DatabaseMove("orders", Database.model_validate(document), "run-1").facts()
    assert shop.aws.password not in str(caught.value)


async def test_a_role_that_was_never_closed_is_not_opened_either(shop):
    """Who may not alter it could else not take back what little was done."""
    shop.query("aws", SCHEMA)
    shop.query("aws", f"insert into tidegate.fence values ('role', '{shop.app}', '{{}}')")
    limited = f"limited_{shop.name}"
    shop.query("aws", f"create role {limited}; grant usage on schema tidegate to {limited}")
    shop.query("aws", f"grant select, delete on tidegate.fence to {limited}")
    try:
        async with shop.move().aws.session() as connection:
            await connection.execute(f"set role {limited}")
            await give_back(connection)
        assert shop.query("aws", "select count(*) from tidegate.fence") == [["0"]]
    finally:
        shop.query("aws", f"drop owned by {limited}")
        shop.query("aws", f"drop role {limited}")
    shop.as_app("aws").close()
