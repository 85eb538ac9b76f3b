"""A copy that was interrupted goes on with what it had completed, as if it had never been interrupted."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from postgres.test_move import Writers, quiet
from tidegate.errors import TidegateError, Unreachable
from tidegate.lab.servers.postgres import Postgres
from tidegate.postgres import copy
from tidegate.postgres.bookkeeping import Names
from tidegate.postgres.database import DatabaseMove
from tidegate.postgres.kept import Form, Kept, SchemaChanged, select
from tidegate.postgres.server import Connection
from tidegate.runbook.migration import Database

LINES = 'sales."Order Lines"'
FILES = """select c.oid::regclass::text, pg_relation_filenode(c.oid) from pg_class c
where c.relnamespace = 'sales'::regnamespace and c.relkind = 'r'"""
WRITTEN = """
insert into sales.customers (name) values ('new');
insert into sales."Order Lines" (customer_id, key) select max(id), 'of the new one' from sales.customers;
update sales.customers set name = 'changed' where id = 7;
update sales."Order Lines" set amount = -1 where id = 8;
delete from sales."Order Lines" where id = 9;
insert into sales.events (at, what) values ('2025-03-03', 'one'), ('2030-03-03', 'another');
"""
CONSTRAINTS = """select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint
where connamespace = 'sales'::regnamespace and contype <> 'n' order by 1, 2"""
INDEXES = """select indexrelid::regclass::text, indisvalid from pg_index
where indrelid >= 16384 and indexrelid::regclass::text like 'sales.%' order by 1"""


BIG = """
create table small (n int primary key);
create table keyless (n int);
insert into keyless values (0);
create table large (n int primary key, t text);
insert into small select generate_series(1, 10);
insert into large select i, repeat('x', 1000) from generate_series(1, 200000) i;
"""
COPYING = """select count(*) from pg_stat_progress_copy where relid = to_regclass('large')
and (select count(*) from tidegate.kept) = 2"""


class Killed(BaseException):
    """No handler of an error sees it, as none would see a kill."""


@pytest.fixture
def interrupt(shop, monkeypatch):
    """A copy that is cut off when it comes to a table, with others complete then."""
    write = copy.Pipe.write

    async def until(begun: str, *complete: str) -> None:
        async def may_end(pipe: copy.Pipe, command: str) -> None:
            table = command.removeprefix("begin; truncate only ")
            if table == begun:
                while set(complete) - {row[0] for row in await asyncio.to_thread(kept, shop)}:
                    await asyncio.sleep(0.01)
                raise Unreachable("gone", where="azure")
            if table != command and table not in complete:
                await asyncio.Event().wait()
            await write(pipe, command)

        with monkeypatch.context() as patch:
            patch.setattr(copy.Pipe, "write", may_end)
            with pytest.raises(Unreachable):
                await shop.move().replicate(quiet)

    return until


def kept(shop) -> list[list[str]]:
    return shop.query("azure", "select name, slot from tidegate.kept order by 1")


def files(shop) -> dict[str, str]:
    return dict(shop.query("azure", FILES))


async def assert_same(shop) -> None:
    report = await shop.move().verify(quiet)
    assert [(table.name, table.difference) for table in report.tables if not table.equal] == []
    for query in (CONSTRAINTS, INDEXES):
        assert shop.query("azure", query) == shop.query("aws", query)
    names = shop.move().names
    assert shop.query("aws", f"select slot_name from pg_replication_slots where slot_name like '%{names.tag}%'") == [
        [names.stream("azure")]
    ]
    assert shop.query("azure", f"select subname from pg_subscription where subname like '%{names.tag}%'") == [
        [names.stream("azure")]
    ]


async def test_complete_tables_are_kept_and_brought_up_to_what_was_copied_later(shop, interrupt):
    await interrupt("sales.customers", LINES)
    before = files(shop)
    shop.query("aws", WRITTEN)
    notes: list[str] = []
    with Writers(shop) as writers:
        await shop.move().replicate(notes.append)
        await asyncio.sleep(0.1)
    assert [note for note in notes if " tables were complete, " in note and note.endswith("; the rest is copied")]
    assert files(shop)[LINES] == before[LINES]
    await assert_same(shop)
    assert writers.lost_and_doubled("azure") == (set(), 0)
    assert shop.query("azure", "select name from sales.customers where id in (7, 2001) order by id") == [
        ["changed"],
        ["new"],
    ]


async def test_interrupted_again_and_again_each_table_is_copied_once(shop, interrupt):
    shop.query("aws", "create table sales.last (id int primary key); insert into sales.last values (1)")
    await interrupt("sales.customers", LINES)
    shop.query("aws", WRITTEN)
    await interrupt("sales.last", "sales.customers", "sales.events_rest", "sales.events_2025")
    shop.query("aws", WRITTEN.replace("2030", "2031").replace("id = 9", "id = 10"))
    assert len({slot for _, slot in kept(shop)}) == 2
    before = files(shop)
    await shop.move().replicate(quiet)
    assert {table: files(shop)[table] for table in (LINES, "sales.customers")} == {
        table: before[table] for table in (LINES, "sales.customers")
    }
    await assert_same(shop)


async def test_a_partitioned_table_is_copied_again_unless_all_its_partitions_were_complete(shop, interrupt):
    await interrupt("sales.events_rest", LINES, "sales.customers", "sales.events_2025")
    shop.query("aws", WRITTEN)
    before = files(shop)
    await shop.move().replicate(quiet)
    after = files(shop)
    assert after[LINES] == before[LINES]
    assert after["sales.events_2025"] != before["sales.events_2025"]
    await assert_same(shop)


async def test_taken_back_while_streams_are_brought_together_nothing_is_left(shop, interrupt, closing):
    await interrupt("sales.customers", LINES)
    shop.query("aws", WRITTEN)

    def kill(text: str) -> None:
        if text.startswith("applying what was written"):
            raise Killed

    with pytest.raises(Killed):
        await shop.move().replicate(kill)
    await closing()
    assert shop.query("azure", "select count(*) from pg_subscription where subname like '%part'") == [["2"]]
    await shop.move().remove()
    assert await shop.move().left_behind() == []


def lose_the_slot(shop) -> None:
    shop.query("aws", f"select pg_drop_replication_slot('{shop.move().names.stream('azure')}')")


def read_the_slot(shop) -> None:
    slot = shop.move().names.stream("azure")
    shop.query("aws", WRITTEN)
    shop.query("aws", f"select pg_replication_slot_advance('{slot}', pg_current_wal_lsn())")


def add_a_column(shop) -> None:
    shop.query("aws", "alter table sales.customers add column weight integer default 1")


def replace_a_column(shop) -> None:
    shop.query("aws", f"alter table {LINES} drop column invoice, add column invoice bigint")
    shop.query("aws", f"alter table {LINES} alter column invoice set default nextval('sales.invoice_numbers')")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lose_the_slot, "there is no slot"),
        pytest.param(read_the_slot, "has been read by somebody else", marks=pytest.mark.slow),
        pytest.param(add_a_column, "the schema on aws has changed since", marks=pytest.mark.slow),
        pytest.param(replace_a_column, 'altered since: sales."Order Lines"', marks=pytest.mark.slow),
    ],
)
async def test_what_can_not_be_kept_is_copied_again_and_the_reason_told(shop, interrupt, change, why):
    await interrupt("sales.customers", LINES)
    before = files(shop)
    change(shop)
    notes: list[str] = []
    await shop.move().replicate(notes.append)
    assert [note for note in notes if note.startswith("an interrupted copy is begun anew: ") and why in note]
    assert files(shop)[LINES] != before[LINES]
    await assert_same(shop)


async def test_a_copy_without_a_stream_is_begun_anew_and_says_so(shop, interrupt):
    await interrupt("sales.customers", LINES)
    notes: list[str] = []
    await shop.move().copy(notes.append)
    assert "an interrupted copy is begun anew: without a stream its rows can't be brought to another snapshot" in notes
    assert (await shop.move().verify(quiet)).mismatched == []
    assert await shop.move().is_plain_copy()


def copies_the_rest(azure: Postgres) -> bool:
    try:
        return azure.psql("big", COPYING).strip() == "1"
    except TidegateError:  # nothing is there yet
        return False


@pytest.fixture
def mortal(server_folder) -> Iterator[dict[str, Postgres]]:
    servers = {
        "aws": Postgres(server_folder / "crashing16", 16, "crashing-16"),
        "azure": Postgres(server_folder / "crashing18", 18, "crashing-18"),
    }
    yield servers
    for server in servers.values():
        server.destroy()


@pytest.mark.slow
async def test_servers_that_crash_have_what_was_complete_and_go_on_from_where_all_of_it_met(mortal):
    sides = {
        cloud: {"dsn": server.create_database("big"), "password": server.password_ref}
        for cloud, server in mortal.items()
    }
    mortal["aws"].psql("big", BIG)
    move = DatabaseMove("orders", Database.model_validate({"kind": "postgres", **sides}), "run-1")

    async def crash(victim: str, point: str = "") -> None:
        def kill(text: str) -> None:
            if point and text.startswith(point):
                mortal[victim].kill()

        copying = asyncio.create_task(move.replicate(kill))
        while not point and not copies_the_rest(mortal["azure"]):
            assert not copying.done()
            await asyncio.sleep(0.01)
        if not point:
            await asyncio.sleep(0.6)  # then what was complete is on the disk: three times wal_writer_delay
            mortal[victim].kill()
        with pytest.raises(TidegateError, match=f"orders on {victim} "):
            await copying
        mortal[victim].restart()
        mortal["aws"].psql("big", "insert into small select max(n) + 1 from small; update large set t = '' where n = 3")
        mortal["aws"].psql("big", "insert into keyless values (1)")

    await crash("azure")
    assert mortal["azure"].psql("big", "select count(*) from tidegate.kept") == "2\n"
    file = mortal["azure"].psql("big", "select pg_relation_filenode('small')")
    await crash("aws")
    await crash("azure", "applying what was written")
    await crash("aws", "adding what stands on rows")
    await crash("azure", "adding what stands on rows")
    await move.replicate(quiet)
    assert (await move.verify(quiet)).mismatched == []
    assert mortal["azure"].psql("big", "select pg_relation_filenode('small')") == file
    assert mortal["azure"].psql("big", "select max(n), (select count(*) from keyless) from small") == "15\t6\n"
    await move.close()


@pytest.mark.parametrize("every", [60, pytest.param(1, marks=pytest.mark.slow)])
async def test_killed_at_any_statement_it_goes_on_until_it_is_there(shop, monkeypatch, closing, interrupt, every):
    """Each try comes a little further than the one before, beside writers."""
    await interrupt("sales.customers", LINES)
    shop.query("aws", WRITTEN)
    file = files(shop)[LINES]
    left = [0]

    def dying(run: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def may_die(self, query, *given, **options):
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return await run(self, query, *given, **options)

        return may_die

    monkeypatch.setattr(Connection, "execute", dying(Connection.execute))
    monkeypatch.setattr(copy.Pipe, "write", dying(copy.Pipe.write))
    killed, tries = True, 0
    with Writers(shop) as writers:
        while killed:
            tries += 1
            left[0] = tries * every
            try:
                await shop.move().replicate(quiet)
                killed = False
            except Killed:
                await closing()
        left[0] = 0
        await asyncio.sleep(0.1)
    assert tries * every > 60
    assert files(shop)[LINES] == file
    await assert_same(shop)
    assert writers.lost_and_doubled("azure") == (set(), 0)


def form(root: int) -> Form:
    return Form(root, "x")


def complete(relation: int, slot: int) -> Kept:
    return Kept(relation, f"t{relation}", NAMES.slot(slot), "0/1", "x", 1, indexed=True)


NAMES = Names("run-1", "orders")


def test_a_fifth_slot_takes_the_place_of_the_fourth():
    forms = {n: form(n) for n in range(1, 6)}
    chosen = select(NAMES, [complete(n, n) for n in range(1, 5)], forms)
    assert [each.relation for each in chosen.keep] == [1, 2, 3]
    assert [each.relation for each in chosen.clear] == [4]
    assert chosen.slot == NAMES.slot(4)


def test_a_table_whose_columns_were_altered_is_not_kept_nor_is_any_other():
    with pytest.raises(SchemaChanged, match="altered since: t1"):
        select(NAMES, [complete(1, 1), complete(2, 1)], {1: Form(1, "y"), 2: form(2)})


def test_partitions_have_to_be_of_one_slot():
    forms = {1: form(1), 2: form(9), 3: form(9)}
    chosen = select(NAMES, [complete(1, 1), complete(2, 1), complete(3, 2)], forms)
    assert [each.relation for each in chosen.clear] == [2, 3]
    with pytest.raises(SchemaChanged, match="no table was complete with all of its partitions"):
        select(NAMES, [complete(2, 1)], forms)
