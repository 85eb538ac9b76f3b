"""A copy is the database, whatever it holds, and however often it was interrupted."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from tidegate.errors import Refused, TidegateError, Unreachable
from tidegate.postgres import copy, database
from tidegate.postgres.copy import copy_tables

HARD_CASES = Path(__file__).with_name("hard_cases.sql").read_text()

SAME = {
    "rows without a column": "select (select count(*) from hard.bare), (select count(*) from hard.nothing)",
    "materialized views": 'select (select s from hard."A sum"), (select count(*) from hard.zz_counts)',
    "frozen rows": "select count(*) from hard.base where what = 'touched'",
    "large objects": """select oid, pg_get_userbyid(lomowner), md5(lo_get(oid)), obj_description(oid, 'pg_largeobject')
        from pg_largeobject_metadata order by 1""",
    "sequences": "select last_value, is_called from hard.loose",
    "statistics": """select c.relname, c.reltuples, (select count(*) from pg_statistic s where s.starelid = c.oid),
        (select count(*) from pg_statistic_ext_data d join pg_statistic_ext e on e.oid = d.stxoid
            where e.stxrelid = c.oid)
        from pg_class c where c.relnamespace = 'hard'::regnamespace and c.relkind in ('r', 'p', 'm') order by 1""",
    "passwords": "select rolname, rolpassword from pg_authid where rolname like 'hard_app_{name}'",
    "memberships": """select roleid::regrole, member::regrole from pg_auth_members
        where member = 'hard_app_{name}'::regrole""",
}

END_SESSIONS = """select pg_terminate_backend(pid) from pg_stat_activity
where application_name = 'tidegate' and datname = current_database()"""


def quiet(text: str, **_: object) -> None:
    pass


@pytest.fixture
async def hard(make_shop, tmp_path):
    shop = make_shop()
    script = tmp_path / "hard.sql"
    script.write_text(HARD_CASES.format(app=f"hard_app_{shop.name}", owner=f"hard_owner_{shop.name}"))
    shop.aws.psql(shop.name, file=script)
    yield shop
    await shop.move().remove()


def schema_of(shop, cloud: str) -> list[str]:
    """As the same pg_dump tells it."""
    server = shop.aws if cloud == "aws" else shop.azure
    done = subprocess.run(
        [
            *(shop.azure.bin / "pg_dump", "--schema-only", "--exclude-schema", "tidegate", "--no-publications"),
            *("--no-subscriptions", "--restrict-key", "same", server.full_dsn(shop.name)),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in done.stdout.splitlines() if not line.startswith("-- Dumped from")]


async def assert_same(shop) -> None:
    assert schema_of(shop, "azure") == schema_of(shop, "aws")
    report = await shop.move().verify(quiet)
    assert [(table.name, table.difference) for table in report.tables if not table.equal] == []
    assert report.rows > 3000
    for what, query in SAME.items():
        here, there = (shop.query(cloud, query.format(name=shop.name)) for cloud in ("aws", "azure"))
        assert (what, there) == (what, here)


async def test_every_hard_case_goes_over(hard):
    notes: list[str] = []
    await hard.move().replicate(notes.append)
    await assert_same(hard)
    told = [note for note in notes if note.startswith("copied ") and "MiB/s" in note]
    assert told[-1].startswith("copied 28 of 28 tables, 44 of 44 indexes, 13,348 of about 13,348 rows, ")
    await hard.move().remove()
    left = [line for line in schema_of(hard, "azure") if line and not line.startswith(("--", "SET ", "SELECT ", "\\"))]
    assert left == []


async def test_however_often_it_is_interrupted_the_result_is_the_same(hard):
    def kill(note: str) -> None:
        if note.startswith("copied 0 of"):
            hard.query("azure", END_SESSIONS)

    with pytest.raises(TidegateError, match="orders on azure"):
        await hard.move().replicate(kill)
    for point in ("copying the schema", "copied 0 of", "adding what"):
        begun = asyncio.Event()
        going = asyncio.create_task(
            hard.move().replicate(
                lambda note, point=point, begun=begun: begun.set() if note.startswith(point) else None
            )
        )
        waiting = asyncio.create_task(begun.wait())
        await asyncio.wait([waiting, going], return_when=asyncio.FIRST_COMPLETED)
        assert not going.done()
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
    await hard.move().replicate(quiet)
    await assert_same(hard)


WRITTEN = """
insert into sales.customers (name) values ('later');
insert into sales."Order Lines" (customer_id, key) select max(id), 'later' from sales.customers;
insert into hard.bare default values;
insert into hard.base values (9, 'later'); update only hard.base set what = 'again' where id = 1;
update hard.big set id = -id where id % 3 = 0; delete from hard.big where id = 5;
update hard.dropped set b = 'later' where a = 2;
insert into sales.events (at, what) values ('2025-03-03', 'later'), ('2030-03-03', 'later');
select lo_put(900003, 2, 'later'), lo_unlink(900010), lo_from_bytea(900012, 'new');
"""


@pytest.mark.parametrize("tables", [3, 20])
async def test_interrupted_amid_its_tables_and_written_to_meanwhile_it_is_the_same(hard, monkeypatch, tables):
    write, left = copy.Pipe.write, tables

    async def may_end(pipe, command):
        nonlocal left
        left -= command.startswith("begin; truncate only")
        if left < 0:
            raise Unreachable("gone", where="azure")
        await write(pipe, command)

    with monkeypatch.context() as patch:
        patch.setattr(copy.Pipe, "write", may_end)
        with pytest.raises(Unreachable):
            await hard.move().replicate(quiet)
    hard.query("aws", WRITTEN)
    notes: list[str] = []
    await hard.move().replicate(notes.append)
    assert any(" of 28 tables were complete, " in note for note in notes)
    await assert_same(hard)


async def test_rows_that_a_policy_hides_are_refused_not_left_out(shop, monkeypatch):
    limited = f"limited_{shop.name}"
    shop.query("aws", f"create role {limited} login password 'limited'; grant owner_{shop.name} to {limited}")
    shop.query("aws", "alter table sales.customers enable row level security, force row level security")
    document = shop.spec.model_dump(mode="json")
    document["aws"] |= {"dsn": shop.aws.dsn(shop.name, limited), "password": "env:SHOP_LIMITED_PASSWORD"}
    careful = database.DatabaseMove("orders", type(shop.spec).model_validate(document), "run-1")

    async def by_the_limited_login(source, *given):
        return await copy_tables(careful.aws, *given)

    monkeypatch.setattr(database, "copy_tables", by_the_limited_login)
    try:
        with pytest.raises(Refused, match=r'orders on aws .*row-level security policy for table "customers"'):
            await shop.move().replicate(quiet)
    finally:
        shop.query("aws", f"drop owned by {limited}")
        shop.query("aws", f"drop role {limited}")


async def test_a_function_that_needs_a_search_path_is_named_when_rows_need_it(shop):
    shop.query(
        "aws",
        "set check_function_bodies = off; "
        "create function few() returns bool language sql stable as 'select count(*) < 9 from few'",
    )
    shop.query("aws", "create table few (id int primary key, constraint not_many check (public.few()))")
    shop.query("aws", "insert into few values (1)")
    with pytest.raises(Refused, match=r'orders on azure .*relation "few" does not exist'):
        await shop.move().replicate(quiet)
    shop.query("aws", "alter function few() set search_path = public")
    await shop.move().replicate(quiet)
    assert shop.query("azure", "select count(*) from few") == [["1"]]


async def test_a_table_that_is_rewritten_while_the_copy_begins_is_noticed(shop, monkeypatch):
    """Under the older snapshot it would look empty."""
    export_snapshot = database.export_snapshot

    async def rewritten(*given):
        exported = await export_snapshot(*given)
        shop.query("aws", 'alter table sales."Order Lines" alter key type varchar(40)')
        shop.query("aws", 'alter table sales."Order Lines" alter customer_id type numeric')
        return exported

    shop.query("aws", 'alter table sales."Order Lines" drop constraint "Order Lines_customer_id_fkey"')
    shop.query("aws", "drop view sales.totals")
    with monkeypatch.context() as patch:
        patch.setattr(database, "export_snapshot", rewritten)
        with pytest.raises(Refused, match=r'rewritten or emptied while the copy began: sales."Order Lines"'):
            await shop.move().replicate(quiet)
    await shop.move().replicate(quiet)
    assert (await shop.move().verify(quiet)).mismatched == []
