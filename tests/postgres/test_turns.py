"""A turn that is killed is finished, or taken back with everything as it was; nothing is lost or given twice."""

import asyncio
import secrets
import time
from collections.abc import Iterator

import psycopg
import pytest

from tidegate.errors import Unreachable
from tidegate.lab.servers.postgres import Postgres
from tidegate.postgres.server import Connection
from tidegate.runbook.migration import Cloud, other
from tidegate.switch.store import Ownership

RIGHTS = """
select c.relname, a.grantor::regrole, a.grantee::regrole, a.privilege_type, a.is_grantable
from pg_class c cross join lateral aclexplode(c.relacl) a where c.relnamespace = 'sales'::regnamespace
order by 1, 2, 3, 4
"""
LOGINS = "select rolname, rolcanlogin from pg_roles where rolname !~ '^tidegate_' and rolname ~ '{}' order by 1"
OPTIONS = "select relname, reloptions from pg_class where relnamespace = 'sales'::regnamespace order by 1"


def quiet(text: str, **_: object) -> None:
    pass


def soon() -> float:
    return time.monotonic() + 30


class Killed(BaseException):
    """No handler of an error sees it, as none would see a kill."""


class Mortal:
    """Kills before the statement of which the number is given, and cuts every connection that was opened."""

    def __init__(self, monkeypatch) -> None:
        self.left, self.opened = 0, set[Connection]()
        execute = Connection.execute

        async def may_die(connection, query, params=None, **options):
            self.opened.add(connection)
            if self.left:
                self.left -= 1
                if self.left == 0:
                    raise Killed
            return await execute(connection, query, params, **options)

        monkeypatch.setattr(Connection, "execute", may_die)

    async def survives(self, statement: int, work) -> bool:
        """Whether all was done before the statement's turn came."""
        self.left = statement
        try:
            await work
        except Killed:
            return False
        finally:
            self.left = 0
            for connection in self.opened:
                connection.pgconn.finish()
            self.opened.clear()
        return True


def state(shop) -> list[list[list[str]]]:
    return [shop.query("aws", query) for query in (RIGHTS, LOGINS.format(shop.name), OPTIONS)]


async def resumed(shop, source: Cloud, epoch: int) -> bool:
    """What the next process does, by the ownership row alone. Whether the writes had moved."""
    move = shop.move()
    store = move.store(source, epoch)
    try:
        ownership = await store.ownership()
        moved = ownership is not None and ownership.epoch >= epoch
        if moved:
            await store.open()
            await store.release()
        else:
            await store.reopen()
    finally:
        await store.close()
        await move.close()
    return moved


async def turned(shop, source: Cloud, epoch: int) -> None:
    move = shop.move()
    await shop.turn(move, source, epoch)
    await move.close()


EVERY = 10
FIRSTS = [1, *(pytest.param(first, marks=pytest.mark.slow) for first in range(2, EVERY + 1))]


@pytest.mark.parametrize("first", FIRSTS)
async def test_killed_before_any_statement_of_a_turn_it_is_finished_or_all_is_as_before(shop, monkeypatch, first):
    await shop.move().replicate(quiet)
    before, mortal = state(shop), Mortal(monkeypatch)
    at, epoch, survived = first - EVERY, 0, False
    while not survived:
        at += EVERY
        survived = True
        for source in ("aws", "azure"):
            epoch += 1
            done = await mortal.survives(max(at, 1), turned(shop, source, epoch))
            survived = survived and done
            if not done and not await resumed(shop, source, epoch):
                with shop.as_app(source) as app:
                    app.execute('insert into sales."Order Lines" (key) values (%s)', (f"w{epoch}",))
                if source == "aws":
                    assert state(shop) == before
                await turned(shop, source, epoch)
            with shop.as_app(other(source)) as app:
                app.execute("insert into sales.customers (name) values (%s)", (f"w{epoch}",))
            with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
                shop.as_app(source)
        assert state(shop) == before
    assert at > 30
    assert (await shop.move().verify(quiet)).mismatched == []
    names = "select count(*) from sales.customers where name ~ '^w[0-9]+$'"
    for cloud in ("aws", "azure"):
        assert shop.query(cloud, names) == [[str(epoch)]]


@pytest.fixture
def mortal_azure(server_folder) -> Iterator[Postgres]:
    """A server of this test's own, that doesn't hurry to write its log: what is applied isn't durable yet."""
    server = Postgres(server_folder / f"turning18-{secrets.token_hex(3)}", 18, "turning-18")
    server.psql("postgres", "alter system set wal_writer_delay = '10s'")
    server.psql("postgres", "alter system set wal_writer_flush_after = '1GB'")
    server.psql("postgres", "select pg_reload_conf()")
    yield server
    server.destroy()


@pytest.mark.parametrize("then", ["resumed", "aborted"])
async def test_what_azure_had_applied_and_not_yet_written_when_it_died_is_not_lost(
    postgres16, mortal_azure, shop, then
):
    shop = type(shop)(postgres16, mortal_azure)
    before = state(shop)
    await shop.move().replicate(quiet)
    try:
        move = shop.move()
        store = move.store("aws", 1)
        await store.arm()
        with shop.as_app("aws") as app:
            app.execute("insert into sales.customers (name) select 'acknowledged' from generate_series(1, 50)")
        await store.fence(soon())
        shop.query("aws", "insert into tidegate.marker (id) values ('seen')")
        while shop.query("azure", "select count(*) from tidegate.marker where id = 'seen'") == [["0"]]:
            await asyncio.sleep(0.01)
        mortal_azure.kill()
        with pytest.raises(Unreachable, match="orders on azure"):
            await store.drain(soon())
        await store.reopen()
        await store.close()
        await move.close()
        assert state(shop) == before
        mortal_azure.restart()
        if then == "resumed":
            await turned(shop, "aws", 1)
        count = "select count(*) from sales.customers where name = 'acknowledged'"
        assert (await shop.move().verify(quiet)).mismatched == []
        for cloud in ("aws", "azure"):
            assert shop.query(cloud, count) == [["50"]]
    finally:
        await shop.move().remove()


async def test_rows_without_a_key_and_large_values_that_did_not_change_go_over_and_come_back(shop):
    owner = f"owner_{shop.name}"
    shop.query(
        "aws",
        f"""set role {owner};
        create table sales.twice (a int, b text); alter table sales.twice replica identity full;
        create table sales.wide (id int primary key, n int default 0, body text);
        alter table sales.wide alter body set storage external;
        grant select, insert, update, delete on sales.twice, sales.wide to {shop.app};
        insert into sales.twice select 1, 'same' from generate_series(1, 3);
        insert into sales.wide select i, 0, repeat(md5(i::text), 400) from generate_series(1, 5) i""",
    )
    move = shop.move()
    await move.replicate(quiet)
    for epoch, (source, one) in enumerate((("aws", 1), ("azure", 2)), 1):
        with shop.as_app(source) as app:
            app.execute("delete from sales.twice where ctid = (select min(ctid) from sales.twice)")
            app.execute("insert into sales.twice values (1, 'same'), (1, 'same')")
            app.execute("update sales.wide set n = n + 1")
        await shop.turn(move, source, epoch)
        there = other(source)
        assert shop.query(there, "select count(*) from sales.twice where b = 'same'") == [[str(3 + one)]]
        wide = "select count(*) from sales.wide where n = {} and body = repeat(md5(id::text), 400)"
        assert shop.query(there, wide.format(one)) == [["5"]]
        assert (await move.verify(quiet)).mismatched == []


async def test_a_trigger_that_would_fire_on_applied_changes_too_is_refused_at_preflight(shop):
    shop.query(
        "aws",
        """create function sales.note() returns trigger language plpgsql as $$ begin return new; end $$;
        create trigger twice after insert on sales.customers for each row execute function sales.note();
        alter table sales.customers enable always trigger twice""",
    )
    failed = [each.message for each in (await shop.move().facts()).findings if each.verdict == "fail"]
    assert any("sales.customers" in message for message in failed)


async def test_no_value_of_a_cached_sequence_is_given_out_twice(shop):
    shop.query("aws", f"create sequence sales.fast cache 50; grant usage on sales.fast to {shop.app}")
    given: list[int] = []

    def draw(cloud: Cloud, times: int) -> None:
        with shop.as_app(cloud) as app, shop.as_app(cloud) as second:
            for _ in range(times):
                # each has values of its own in advance
                given.extend(each.execute("select nextval('sales.fast')").fetchone()[0] for each in (app, second))

    move = shop.move()
    draw("aws", 3)
    await move.replicate(quiet)
    for epoch, source in enumerate(("aws", "azure", "aws", "azure"), 1):
        draw(source, 60)
        await shop.turn(move, source, epoch)
        draw(other(source), 7)
    assert len(given) == len(set(given))


async def test_resumed_after_the_commit_no_sequence_is_set_back(shop):
    move = shop.move()
    await move.replicate(quiet)
    store = move.store("aws", 1)
    await store.arm()
    await store.fence(soon())
    await store.drain(soon())
    await store.seal(soon())
    await store.commit(Ownership("run-1", 1, "azure"))
    await store.close()  # as when its process dies
    insert = 'insert into sales."Order Lines" (key) values (%s) returning id, invoice'
    with shop.as_app("azure") as app:
        first = app.execute(insert, ("before",)).fetchone()
        assert await resumed(shop, "aws", 1)
        assert await resumed(shop, "aws", 1)
        second = app.execute(insert, ("after",)).fetchone()
    assert second[0] > first[0]
    assert second[1] > first[1]
    while shop.query("aws", "select count(*) from sales.\"Order Lines\" where key in ('before', 'after')") != [["2"]]:
        await asyncio.sleep(0.05)


async def test_one_turn_right_after_another_loses_nothing(shop):
    move = shop.move()
    await move.replicate(quiet)
    for epoch, source in enumerate(("aws", "azure", "aws"), 1):
        with shop.as_app(source) as app:
            app.execute("insert into sales.customers (name) select 'w' from generate_series(1, 500)")
        await shop.turn(move, source, epoch)
        assert shop.query(other(source), "select count(*) from sales.customers where name = 'w'") == [
            [str(500 * epoch)]
        ]
    assert (await move.verify(quiet)).mismatched == []


async def test_a_target_that_crashes_right_after_the_commit_is_sent_back_nothing_of_what_it_was_sent(
    postgres16, mortal_azure, shop
):
    """A slot that had only been moved up would begin too early, and fail on the first row that is there already."""
    shop = type(shop)(postgres16, mortal_azure)
    await shop.move().replicate(quiet)
    try:
        move = shop.move()
        store = move.store("aws", 1)
        await store.arm()
        with shop.as_app("aws") as app:
            app.execute("insert into sales.customers (name) values ('before')")
        await store.fence(soon())
        await store.drain(soon())
        await store.seal(soon())
        await store.commit(Ownership("run-1", 1, "azure"))
        await store.close()
        await move.close()
        mortal_azure.kill()
        mortal_azure.restart()
        assert await resumed(shop, "aws", 1)
        with shop.as_app("azure") as app:
            app.execute("insert into sales.customers (name) values ('after')")
        names = "select name from sales.customers where id > 2000 order by id"
        while shop.query("aws", names) != [["before"], ["after"]]:
            await asyncio.sleep(0.05)
        assert await shop.move().store("azure", 2).forward.trouble() is None
    finally:
        await shop.move().remove()


async def test_large_objects_changed_after_the_copy_go_over_and_come_back(shop):
    content = "select oid, convert_from(lo_get(oid), 'utf8') from pg_largeobject_metadata order by 1"
    with shop.as_app("aws") as app:
        app.execute("select lo_from_bytea(7001, 'one'), lo_from_bytea(7002, 'two'), lo_from_bytea(7003, 'three')")
        move = shop.move()
        await move.replicate(quiet)
        app.execute("select lo_put(7001, 0, 'ONE'), lo_unlink(7002), lo_from_bytea(7004, 'four')")
    there = [["7001", "ONE"], ["7003", "three"], ["7004", "four"]]
    await shop.turn(move, "aws", 1)
    assert shop.query("azure", content) == there
    with shop.as_app("azure") as app:
        app.execute("select lo_put(7003, 0, 'THREE'), lo_unlink(7004)")
    await shop.turn(move, "azure", 2)
    assert shop.query("aws", content) == [["7001", "ONE"], ["7003", "THREE"]]
    for cloud in ("aws", "azure"):
        shop.query(cloud, "select lo_unlink(oid) from pg_largeobject_metadata")
