"""Two databases compared, without anything that streams between them."""

import json
import secrets
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tidegate.errors import Refused
from tidegate.lab.servers.postgres import Postgres
from tidegate.postgres.server import Server
from tidegate.postgres.verify import Progress, TableReport, VerifyReport, compare, extent
from tidegate.runbook.migration import DatabaseServer


def quiet(text: str) -> None:
    pass


class Two:
    """Databases on 16 and on 18."""

    def __init__(self, owner: Postgres, follower: Postgres) -> None:
        self.name = f"verify_{secrets.token_hex(4)}"
        self.owner, self.follower = (
            Server("orders", cloud, DatabaseServer(dsn=server.create_database(self.name), password=server.password_ref))
            for cloud, server in (("aws", owner), ("azure", follower))
        )
        self.owner_dsn = owner.full_dsn(self.name)
        self.connections = [
            psycopg.connect(server.full_dsn(self.name), autocommit=True) for server in (owner, follower)
        ]

    def both(self, sql: str) -> None:
        for connection in self.connections:
            connection.execute(sql.encode())

    def here(self, sql: str) -> list[tuple]:
        return run(self.connections[0], sql)

    def there(self, sql: str) -> list[tuple]:
        return run(self.connections[1], sql)

    async def compare(self, drained=None, note: Callable[[str], None] = quiet, **how) -> VerifyReport:
        return await compare(self.owner, self.follower, drained, note, **how)

    async def table(self, **how) -> TableReport:
        """The only one."""
        (table,) = (await self.compare(**how)).tables
        return table


def run(connection: psycopg.Connection, sql: str) -> list[tuple]:
    cursor = connection.execute(sql.encode())
    return cursor.fetchall() if cursor.description else []


@pytest.fixture
def two(postgres16: Postgres, postgres18: Postgres) -> Iterator[Two]:
    two = Two(postgres16, postgres18)
    yield two
    for connection in two.connections:
        connection.close()


KEYS = {
    "dense": "select i from generate_series(1, 20000) i",
    "negative": "select -i from generate_series(1, 20000) i",
    "around zero": "select i - 10000 from generate_series(1, 20000) i",
    "sparse": "select i::int8 * 400000000000003 from generate_series(-10000, 10000) i",
    "at both bounds": "select i from generate_series(-9223372036854775808, -9223372036854765809) i "
    "union all select 9223372036854775807 - i from generate_series(0, 9999) i",
    "nearly all in one place": "select i from generate_series(1, 20000) i union all select 9223372036854775807",
    "in places of places": "select (2::numeric ^ (i / 350.0))::int8 + i from generate_series(1, 20000) i",
}


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS.keys())
async def test_wherever_keys_lie_chunks_are_few_and_rows_that_differ_are_found(two, keys):
    two.both(f"create table t (id bigint primary key, v text); insert into t select id, 'v' from ({keys}) k(id)")
    equal = await two.table()
    assert equal.equal
    assert equal.method == "ranges"
    assert 2 <= equal.chunks <= 600
    ends = two.there("with e as (select min(id), max(id) from t) select * from e")[0]
    two.there(f"update t set v = 'other' where id in {ends}")
    two.there("delete from t where id = (select id from t order by id offset 777 limit 1)")
    missing = two.here("select id from t order by id offset 777 limit 1")[0][0]
    found = await two.table()
    assert found.differing == tuple(sorted(f"({key})" for key in (*ends, missing)))
    assert found.mismatched == 3


async def test_sides_whose_keys_hardly_meet_are_compared(two):
    two.both("create table t (id int primary key); insert into t select generate_series(1, 3000)")
    two.there("insert into t values (-2147483648), (2147483647)")
    two.here("insert into t values (5000)")
    found = await two.table()
    assert found.differing == ("(-2147483648)", "(2147483647)", "(5000)")
    two.there("delete from t")
    emptied = await two.table()
    assert emptied.mismatched == emptied.rows == 3001


@pytest.mark.parametrize("key", ["id int primary key", "id text primary key", "id int"])
async def test_where_everything_differs_it_is_looked_into_only_so_far_and_said_so(two, key):
    two.both(f"create table t ({key}, v text)")
    two.here("insert into t select i, 'a' from generate_series(1, 12000) i")
    two.there("insert into t select i, 'b' from generate_series(1, 12000) i")
    found = await two.table()
    assert not found.equal
    assert 1_000 <= found.mismatched < 24_000  # without a key, what is missing and what is extra count apart
    assert found.unexplored > 0
    assert "at least" in found.difference
    assert "not looked into" in found.difference
    assert len(found.differing) == 5


async def test_a_table_that_was_never_analyzed_is_no_single_chunk(two):
    two.both("create table t (id text primary key); alter table t set (autovacuum_enabled = off)")
    two.both("insert into t select i from generate_series(1, 10000) i")
    assert two.here("select reltuples from pg_class where relname = 't'") == [(-1,)]
    found = await two.table()
    assert found.method == "buckets"
    assert found.chunks == 256


async def test_rows_alike_without_a_key_are_counted(two):
    two.both("create table t (a int, b text); insert into t select 1, 'same' from generate_series(1, 20000)")
    assert (await two.table()).equal
    two.there("insert into t values (1, 'same')")
    found = await two.table()
    assert found.differing == ("(1,same)",)


async def test_partitions_are_compared_as_one_table_and_children_apart_from_their_parents(two):
    two.both("""
        create table p (id bigint primary key, v text) partition by range (id);
        create table p1 partition of p for values from (1) to (1000);
        create table p2 partition of p default;
        create table nothing_yet (id int primary key) partition by hash (id);
        create table parent (id int primary key); create table child (more text) inherits (parent);
        insert into p select i, 'v' from generate_series(1, 3000) i;
        insert into parent values (1); insert into child values (2, 'x')""")
    two.there("update p set v = 'w' where id = 2000; update child set more = 'y'")
    tables = {table.name: table for table in (await two.compare()).tables}
    assert set(tables) == {"public.p", "public.nothing_yet", "public.parent", "public.child"}
    assert tables["public.p"].differing == ("(2000)",)
    assert tables["public.parent"].rows == 1
    assert tables["public.parent"].equal
    assert tables["public.child"].differing == ("(2,x)", "(2,y)")


async def test_names_of_any_kind_do(two):
    two.both("""create schema "a % b"; create table "a % b"."T ""%s"" ü" ("100 % {x}" int primary key, "ü" numeric);
        insert into "a % b"."T ""%s"" ü" select i, i from generate_series(1, 3000) i""")
    two.there("""update "a % b"."T ""%s"" ü" set "ü" = 1.0 where "100 % {x}" = 1""")
    assert (await two.table()).differing == ("(1)",)


async def test_texts_are_the_same_in_whatever_encoding(two):
    latin = f"latin_{two.name}"
    two.here(f"create database {latin} encoding 'LATIN1' template template0 lc_collate 'C' lc_ctype 'C'")
    spec = two.owner.spec.model_copy(update={"dsn": two.owner.spec.dsn.replace(two.name, latin)})
    there = two.connections[1]
    with psycopg.connect(two.owner_dsn.replace(two.name, latin), autocommit=True) as here:
        for connection in (here, there):
            connection.execute("create table t (id text primary key, v varchar, w char(5), x json, y numeric[])")
            connection.execute("create table u (v text)")
            connection.execute("insert into t values ('ä', 'ö', 'ü', '\"ß\"', '{1.0}'), ('é', '', null, null, null)")
            connection.execute("insert into u values ('ø'), ('ø')")
        owner = Server("orders", "aws", spec)
        assert (await compare(owner, two.follower, None, quiet)).equal
        there.execute("update t set v = 'o' where id = 'ä'")
        (wrong,) = (await compare(owner, two.follower, None, quiet)).mismatched
        assert wrong.differing == ("(ä)",)


async def test_tables_and_columns_that_one_side_lacks_are_differences(two):
    two.both("create table common (id int primary key, a int, b text)")
    two.here("create table ours (id int)")
    two.there("create table theirs (id int); alter table common drop column b; alter table common add b varchar")
    tables = {table.name: table for table in (await two.compare()).tables}
    assert "one side only" in tables["public.ours"].difference
    assert "one side only" in tables["public.theirs"].difference
    assert tables["public.common"].difference == "its columns differ: b text, b character varying"


async def test_held_snapshots_are_what_is_compared_whatever_is_written_since(two, monkeypatch):
    monkeypatch.setattr(extent, "PART_PAGES", 4)
    two.both("create table t (id int primary key, v text); insert into t select i, 'v' from generate_series(1, 5000) i")
    two.both("create table u (id text primary key)")
    snapshots: dict = {}
    for cloud, connection in zip(("aws", "azure"), two.connections, strict=True):
        connection.execute("begin isolation level repeatable read")
        snapshots[cloud] = connection.execute("select pg_export_snapshot()").fetchone()[0]
    with psycopg.connect(two.owner_dsn, autocommit=True) as writer:
        writer.execute("insert into t values (6000, 'later'); delete from t where id < 100; insert into u values ('x')")
    report = await two.compare(must_not_be_called, snapshots=snapshots, jobs=2)
    assert report.equal
    assert report.rows == 5000
    two.both("rollback")
    assert not (await two.compare()).equal
    with pytest.raises(Refused, match="snapshot"):
        await two.compare(snapshots=snapshots)


async def must_not_be_called() -> None:
    raise AssertionError


@pytest.mark.parametrize("key", ["int", "text"])
async def test_what_differs_is_looked_at_again_after_a_marker(two, key):
    """As while changes stream: the follower catches up when it is waited for, and the owner goes on writing."""
    two.both(
        f"create table t (id {key} primary key, v int); insert into t select i, 0 from generate_series(1, 12000) i"
    )
    two.there("update t set v = -1 where id::int = 4321")
    two.here("update t set v = 1 where id::int % 2 = 0")
    markers: list[int] = []

    async def drained() -> None:
        markers.append(1)
        two.there("update t set v = 1 where id::int % 2 = 0 and v = 0")
        two.there(f"update t set v = {len(markers) - 1} where id::int = 77")
        two.here(f"update t set v = {len(markers)} where id::int = 77")

    found = await two.table(drained=drained)
    assert found.differing == ("(4321)",)
    assert found.mismatched == 1
    assert len(markers) > 1


@pytest.mark.parametrize("jobs", [1, 3])
async def test_a_large_table_is_read_in_parts_by_several_sessions(two, monkeypatch, jobs):
    monkeypatch.setattr(extent, "PART_PAGES", 16)
    two.both("""create table big (id int primary key, v text);
        create table small (id uuid primary key); create table none ();
        insert into big select i, md5(i::text) from generate_series(1, 20000) i;
        insert into small select md5(i::text)::uuid from generate_series(1, 100) i;
        analyze""")
    two.there("update big set v = v where id % 3 = 0")  # these lie elsewhere now
    seen: list[Progress] = []
    notes: list[str] = []
    report = await two.compare(note=notes.append, jobs=jobs, progress=seen.append)
    assert report.equal
    assert report.rows == 20_100
    assert seen[0].rows < 20_000
    assert seen[0].estimated == 20_100
    assert (seen[0].seconds_left or 0) > 0
    assert (seen[-1].rows, seen[-1].tables, seen[-1].all_tables) == (20_100, 3, 3)
    assert notes[-1] == "compared 3 of 3 tables, 20,100 rows"
    two.there("update big set v = '' where id = 12345")
    again = await two.compare(jobs=jobs)
    assert [table.differing for table in again.mismatched] == [("(12345)",)]


async def test_the_report_is_the_same_whatever_the_chunks_and_is_written_whole(two, tmp_path):
    two.both("""create table t (id int primary key, v text); create unlogged table cache (id int);
        create sequence numbers; create materialized view totals as select count(*) from t;
        insert into t select i, 'v' from generate_series(1, 1000) i""")
    report = await two.compare()
    report.write(tmp_path / "report.json")
    document = json.loads((tmp_path / "report.json").read_text())
    (table,) = document["tables"]
    assert document["verdict"] == table["verdict"] == "equal"
    assert (table["table"], table["rows"], table["method"], table["differing"]) == ("public.t", 1000, "ranges", [])
    assert len(table["hash"]) == 32
    assert {each["name"] for each in document["not_compared"]} == {"public.cache", "public.numbers", "public.totals"}
    two.both("insert into t values (2000000000, 'far away')")
    two.both("delete from t where id = 2000000000")
    two.both("analyze")
    assert (await two.compare()).tables[0].hash == table["hash"]
    two.there("update t set v = 'w' where id = 7")
    lines = (await two.compare()).lines()
    assert lines[0].startswith("public.t: 1,000 rows, ")
    assert lines[0].endswith("DIFFERS: 1 rows differ: (7)")
    assert "public.totals: not compared: a materialized view's rows follow from the tables" in lines


async def test_large_objects_are_compared_if_that_is_asked_for(two):
    two.both("""select lo_from_bytea(90000 + i, convert_to(repeat(i::text, 300000), 'UTF8')) from
        generate_series(1, 8) i; select lo_from_bytea(90100, '')""")
    (left_out,) = (await two.compare()).uncompared
    assert left_out.name == "9 large objects"
    assert (await two.table(large_objects=True)).equal
    two.there("select lo_put(90003, 290000, 'x'), lo_unlink(90100), lo_from_bytea(90101, '')")
    found = await two.table(large_objects=True)
    assert found.name == "large objects"
    assert found.differing == ("90003", "90100", "90101")
