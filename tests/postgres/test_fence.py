"""After the fence nobody writes; what it took is given back exactly, with those who had granted it."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest

from tidegate.errors import CheckFailed, DeadlinePassed
from tidegate.lab.servers.postgres import Postgres
from tidegate.postgres import vacuum
from tidegate.postgres.rights import GIVE_BACK
from tidegate.postgres.server import statement
from tidegate.switch.store import Ownership

RIGHTS = """
with entries as (
    select c.oid::regclass::text as object, a.* from pg_class c cross join lateral aclexplode(c.relacl) a
    union all select attrelid::regclass || '.' || attname, a.* from pg_attribute cross join lateral aclexplode(attacl) a
    union all select p.oid::regprocedure::text, a.* from pg_proc p
        cross join lateral aclexplode(coalesce(proacl, acldefault('f', proowner))) a
    union all select nspname, a.* from pg_namespace cross join lateral aclexplode(nspacl) a
    union all select 'default ' || defaclobjtype::text, a.* from pg_default_acl
        cross join lateral aclexplode(defaclacl) a
)
select object, grantor::regrole, grantee::regrole, privilege_type, is_grantable from entries
where object !~ '^(pg_|information_schema|tidegate)' order by 1, 2, 3, 4
"""
LOGINS = "select rolname, rolcanlogin, rolconnlimit from pg_roles where rolname !~ '^tidegate_' order by 1"
GUEST = """
create role guest_{name} login password 'app';
grant usage on schema sales to public;
grant insert on sales.customers to public;
set role owner_{name};
create view sales.door as select name from sales.customers;
grant insert on sales.door to public;
create function sales.add(what text, rest float default 0) returns void language plpgsql security definer as
    $$ begin perform pg_sleep(rest); insert into sales.customers (name) values (what); end $$;
reset role
"""


def quiet(text: str, **_: object) -> None:
    pass


def soon() -> float:
    return time.monotonic() + 30


@pytest.fixture
async def store(shop):
    """Replicated, not armed."""
    move = shop.move()
    await move.replicate(quiet)
    store = move.store("aws", 1)
    yield store
    await store.reopen()
    await store.close()


@pytest.fixture
def guest(shop) -> Iterator[str]:
    """Whom nothing ties to the database but what everybody may do."""
    shop.query("aws", GUEST.format(name=shop.name))
    yield f"guest_{shop.name}"
    shop.query("aws", f"drop role guest_{shop.name}")


def connect(shop, user: str) -> psycopg.Connection:
    return psycopg.connect(f"host=127.0.0.1 port={shop.aws.port} dbname={shop.name} user={user} password=app")


async def test_logins_that_race_the_fence_write_nothing_after_it_and_lose_nothing_before_it(shop, store):
    acknowledged, ending = [], threading.Event()

    def knock(client: int) -> None:
        n = 0
        while not ending.is_set():
            with suppress(psycopg.Error), shop.as_app("aws") as app:
                for _ in range(3):
                    app.execute('insert into sales."Order Lines" (key) values (%s)', (f"w{client}-{n}",))
                    acknowledged.append(f"w{client}-{n}")
                    n += 1
            n += 1

    threads = [threading.Thread(target=knock, args=(client,)) for client in range(4)]
    for thread in threads:
        thread.start()
    try:
        await store.arm()
        while len(acknowledged) < 20:
            await asyncio.sleep(0.01)
        await store.fence(soon())
        fenced = shop.query("aws", 'select count(*) from sales."Order Lines"')
        told = len(acknowledged)
        await store.drain(soon())
        await asyncio.sleep(0.3)
    finally:
        ending.set()
        for thread in threads:
            thread.join()
    assert len(acknowledged) == told
    keys = "select key from sales.\"Order Lines\" where key like 'w%'"
    for cloud in ("aws", "azure"):
        assert shop.query(cloud, 'select count(*) from sales."Order Lines"') == fenced
        assert set(acknowledged) <= {row[0] for row in shop.query(cloud, keys)}


async def test_what_a_transaction_wrote_before_it_lost_its_rights_is_waited_for_and_carried_over(shop, store, guest):
    await store.arm()
    with connect(shop, guest) as open_one:
        open_one.execute("insert into sales.customers (name) values ('in flight')")
        fencing = asyncio.create_task(store.fence(soon()))
        while shop.query("aws", "select count(*) from pg_locks where not granted and mode = 'ShareLock'") == [["0"]]:
            await asyncio.sleep(0.02)
        open_one.commit()
        await fencing
        with pytest.raises(psycopg.Error):
            open_one.execute("insert into sales.customers (name) values ('late')")
    await store.drain(soon())
    assert shop.query("azure", "select name from sales.customers where id > 2000") == [["in flight"]]


@pytest.mark.parametrize(
    "write",
    [
        "insert into sales.customers (name) values ('late')",
        "insert into sales.door values ('late')",
        "select sales.add('late')",
    ],
)
async def test_whoever_may_only_do_what_everybody_may_writes_nothing_after_the_fence_either(shop, store, guest, write):
    with connect(shop, guest) as session:
        session.execute(write)
    await store.arm()
    await store.fence(soon())
    with connect(shop, guest) as session:
        writing = asyncio.create_task(asyncio.to_thread(session.execute, write))
        await asyncio.sleep(0.2)  # it is refused, or waits for the table
        await store.drain(soon())
        await store.seal(soon())
        await store.commit(Ownership("run-1", 1, "azure"))
        await store.release()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await writing
    for cloud in ("aws", "azure"):
        assert shop.query(cloud, "select count(*) from sales.customers where id > 2000") == [["1"]]
    shop.query("azure", f"drop role if exists guest_{shop.name}")


async def test_a_function_that_was_called_before_the_fence_does_not_write_after_it(shop, store, guest):
    with connect(shop, guest) as session:
        running = asyncio.create_task(asyncio.to_thread(session.execute, "select sales.add('late', 20)"))
        while shop.query("aws", "select count(*) from pg_stat_activity where wait_event = 'PgSleep'") == [["0"]]:
            await asyncio.sleep(0.02)
        await store.arm()
        await store.fence(soon())
        with pytest.raises(psycopg.Error):
            await running


async def test_roles_made_after_arming_and_members_of_owners_are_kept_out_too(shop, store):
    await store.arm()
    late, member = f"late_{shop.name}", f"member_{shop.name}"
    shop.query("aws", f"create role {late} login password 'app'; grant insert on sales.events to {late}")
    shop.query("aws", f"create role {member} login password 'app'; grant owner_{shop.name} to {member}")
    try:
        connect(shop, member).close()
        await store.fence(soon())
        for role in (late, member):
            with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
                connect(shop, role)
        await store.reopen()
        for role in (late, member):
            connect(shop, role).close()
    finally:
        shop.query("aws", f"drop owned by {late}; drop role {late}, {member}")


async def test_large_objects_can_not_be_written_either(shop, store):
    with shop.as_app("aws") as app:
        (large,) = app.execute("select lo_from_bytea(0, 'before')").fetchone()
        await store.arm()
        await store.fence(soon())
        with pytest.raises(psycopg.OperationalError):
            app.execute("select lo_put(%s, 0, 'after')", (large,))
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        shop.as_app("aws")
    assert shop.query("aws", f"select convert_from(lo_get({large}), 'utf8'), lo_unlink({large})") == [["before", "1"]]


async def test_all_rights_come_back_with_those_who_had_granted_them(shop, store):
    a, b = f"a_{shop.name}", f"b_{shop.name}"
    owner = f"owner_{shop.name}"
    shop.query(
        "aws",
        f"""create role {a} login; create role {b};
        grant usage on schema sales to {a}, {b};
        alter default privileges for role {owner} in schema sales grant insert on tables to {a};
        grant insert, update on sales.customers to public;
        grant update (name), insert (profile) on sales.customers to {b};
        grant update, delete, select on sales.events to {a} with grant option;
        set role {a}; grant delete on sales.events to {b} with grant option; grant update (what) on sales.events to {b};
        set role {b}; grant delete on sales.events to {shop.app};
        reset role""",
    )
    try:
        rights, logins = shop.query("aws", RIGHTS), shop.query("aws", LOGINS)
        assert any(row[1] == b for row in rights)
        await store.arm()
        await store.fence(soon())
        writing = [row for row in shop.query("aws", RIGHTS) if row[3] in ("INSERT", "UPDATE", "DELETE", "TRUNCATE")]
        assert {row[2] for row in writing if not row[0].startswith("default")} == {owner}
        assert [row for row in rights if row[3] in ("SELECT", "USAGE")] == [
            row for row in shop.query("aws", RIGHTS) if row[3] in ("SELECT", "USAGE")
        ]
        await store.reopen()
        assert shop.query("aws", RIGHTS) == rights
        assert shop.query("aws", LOGINS) == logins
    finally:
        await store.reopen()
        shop.query("aws", f"set role {a}; revoke update (what) on sales.events from {b}")
        shop.query("aws", f"drop owned by {b} cascade; drop owned by {a} cascade; drop role {a}, {b}")


async def test_a_grant_is_the_owners_if_nobody_may_act_for_who_had_made_it_and_that_is_told(shop, store):
    a, limited = f"a_{shop.name}", f"limited_{shop.name}"
    shop.query(
        "aws",
        f"""create role {a}; grant usage on schema sales to {a};
        grant delete on sales.events to {a} with grant option; revoke delete on sales.events from {shop.app};
        set role {a}; grant delete on sales.events to {shop.app}; reset role""",
    )
    granted = f"""select grantor::regrole from pg_class, aclexplode(relacl) where relname = 'events'
        and grantee = '{shop.app}'::regrole and privilege_type = 'DELETE'"""
    assert shop.query("aws", granted) == [[a]]
    try:
        await store.arm()
        await store.fence(soon())
        shop.query(
            "aws",
            f"""create role {limited} login createrole; grant owner_{shop.name} to {limited};
            grant {shop.app} to {limited} with admin option;
            grant usage on schema tidegate to {limited}; grant all on tidegate.fence to {limited}""",
        )
        with psycopg.connect(shop.aws.full_dsn(shop.name)) as admin:
            admin.execute(statement(f"set session authorization {limited}; {GIVE_BACK}"))
        assert shop.query("aws", granted) == [[f"owner_{shop.name}"]]
        ((told,),) = shop.query("aws", "select before from tidegate.fence where kind = 'regranted'")
        assert f"grant DELETE on sales.events to {shop.app}" in told
    finally:
        await store.reopen()
        shop.query("aws", f"drop owned by {limited} cascade; drop owned by {a} cascade; drop role {a}, {limited}")


async def test_a_vacuum_is_waited_for_before_anything_is_held(shop, store, monkeypatch):
    monkeypatch.setattr(vacuum, "STILL_SECONDS", 1)
    monkeypatch.setattr(vacuum, "LOCK_SECONDS", 1)
    with psycopg.connect(shop.aws.full_dsn(shop.name), autocommit=True) as admin:
        admin.execute("set vacuum_cost_delay = '100ms'; set vacuum_cost_limit = 1")
        cleaning = asyncio.create_task(asyncio.to_thread(admin.execute, 'vacuum (freeze) sales."Order Lines"'))
        while shop.query("aws", "select count(*) from pg_stat_progress_vacuum") == [["0"]]:
            await asyncio.sleep(0.02)
        with pytest.raises(DeadlinePassed, match=r'can\'t be kept from vacuum: vacuum \(freeze\) sales."Order Lines"'):
            await store.arm()
        shop.as_app("aws").close()
        monkeypatch.setattr(vacuum, "STILL_SECONDS", 60)
        arming = asyncio.create_task(store.arm())
        await asyncio.sleep(0.2)
        assert not arming.done()
        admin.cancel()
        with suppress(psycopg.Error):
            await cleaning
        await arming


async def test_what_autovacuum_was_told_comes_back_exactly(shop, store):
    shop.query("aws", "alter table sales.events_rest set (fillfactor = 70, autovacuum_enabled = true)")
    shop.query("aws", "alter table sales.customers set (autovacuum_enabled = off)")
    options = "select relname, reloptions from pg_class where relnamespace = 'sales'::regnamespace order by 1"
    before = shop.query("aws", options)
    await store.arm()
    off = shop.query("aws", "select count(*) from pg_class where 'autovacuum_enabled=off' = any(reloptions)")
    assert off == [["4"]]
    await store.reopen()
    assert [(name, set(each.strip("{}").split(","))) for name, each in shop.query("aws", options)] == [
        (name, set(each.strip("{}").split(","))) for name, each in before
    ]


async def test_who_holds_a_table_for_too_long_is_named(shop, store):
    await store.arm()
    with psycopg.connect(shop.aws.full_dsn(shop.name)) as admin:
        admin.execute("insert into sales.customers (name) values ('slow')")
        with pytest.raises(DeadlinePassed, match=r"RowExclusiveLock of postgres on sales.customers"):
            await store.fence(time.monotonic() + 0.5)
        admin.rollback()


@pytest.fixture(scope="module")
def preparing(server_folder) -> Iterator[Postgres]:
    """A server that takes prepared transactions."""
    server = Postgres(server_folder / "preparing16", 16, "preparing-16")
    server.psql("postgres", "alter system set max_prepared_transactions = 5")
    server.stop()
    server.restart()
    yield server
    server.destroy()


async def test_a_prepared_transaction_ends_the_switch_before_it_waits_for_it(preparing, postgres18, shop):
    prepared = type(shop)(preparing, postgres18)
    move = prepared.move()
    try:
        await move.replicate(quiet)
        store = move.store("aws", 1)
        await store.arm()
        prepared.query("aws", "begin; insert into sales.customers (name) values ('p'); prepare transaction 'p1'")
        with pytest.raises(CheckFailed, match="1 prepared transactions could still write"):
            await store.fence(soon())
        await store.reopen()
        prepared.as_app("aws").close()
        prepared.query("aws", "commit prepared 'p1'")
        await store.close()
        await prepared.turn(move, "aws", 1)
        assert prepared.query("azure", "select count(*) from sales.customers where name = 'p'") == [["1"]]
    finally:
        await move.remove()
