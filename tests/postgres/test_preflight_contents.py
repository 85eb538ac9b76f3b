"""What a database may hold that doesn't follow by itself, planted in few databases."""

from collections.abc import Iterator

import pytest

from postgres.conftest import Shop
from postgres.preflighting import PLANTING, one_shop, troubles, verdicts

IDENTITIES = """
create schema planted;
create table planted.bare (a int);
create table planted.nobody (id int primary key); alter table planted.nobody replica identity nothing;
create table planted.later (id int primary key deferrable);
create table planted."Upper" (a text not null); create unique index upper_once on planted."Upper" (upper(a));
create table planted.null_one (a int unique);
create table planted.ready (a int not null); create unique index ready_a on planted.ready (a);
create table planted.gone (a int not null); create unique index gone_a on planted.gone (a);
alter table planted.gone replica identity using index gone_a; drop index planted.gone_a;
create table planted.parted (id int primary key) partition by range (id);
create table planted.part partition of planted.parted for values from (0) to (9);
alter table planted.part replica identity nothing;

create type planted.pair as (a int, b json);
create domain planted.place as point;
create table planted.whole (a int, at planted.place, docs json[], p planted.pair);
alter table planted.whole replica identity full;
create type planted.mood as enum ('good', 'bad');
create table planted.whole_fine (a planted.mood, b jsonb, c varchar(3)[], d int4range, e tsvector);
alter table planted.whole_fine replica identity full;
create table planted.whole_keyed (id int primary key, doc json); alter table planted.whole_keyed replica identity full;

create table planted.computed (a int not null, b int generated always as (a + 1) stored primary key);
"""

CONTENTS = """
create schema planted;
create table planted.log (id int primary key);
create table planted.split (id int primary key) partition by range (id);
create table planted.split_1 partition of planted.split for values from (0) to (9);
create unlogged table planted.fleeting (id int primary key);
create foreign data wrapper nowhere; create server nowhere foreign data wrapper nowhere;
create foreign table planted.elsewhere (id int) server nowhere;
create table planted.named (id int primary key, what regclass[], role regrole);
create table planted.numbered (id int primary key, file oid);
create type planted.mood as enum ('good', 'bad');
create table planted.hashed (mood planted.mood primary key) partition by hash (mood);
create sequence planted.short as smallint; select setval('planted.short', 32000);
create sequence planted.down increment -1 minvalue -10 maxvalue -1; select setval('planted.down', -10);
create sequence planted.round as smallint cycle; select setval('planted.round', 32000);
create function planted.handle() returns language_handler language c as '$libdir/plpgsql', 'plpgsql_call_handler';
create function planted.peek() returns bigint language sql as 'select count(*) from pg_catalog.pg_largeobject';
create materialized view planted.summary as select count(*) from planted.log;
create function planted.noop() returns trigger language plpgsql as 'begin return new; end';
create trigger always before update on planted.log for each row execute function planted.noop();
create trigger "On Replica" before update on planted.split for each row execute function planted.noop();
create trigger plain before update on planted.log for each row execute function planted.noop();
alter table planted.log enable always trigger always;
alter table planted.split enable replica trigger "On Replica";
create function planted.watch() returns event_trigger language plpgsql as 'begin end';
create event trigger watch on ddl_command_end execute function planted.watch();
create event trigger asleep on ddl_command_end execute function planted.watch(); alter event trigger asleep disable;
"""


@pytest.fixture(scope="module")
def shop(postgres16, postgres18) -> Iterator[Shop]:
    with one_shop(postgres16, postgres18) as shop:
        yield shop


async def test_tables_whose_changed_rows_could_not_be_found_again_are_named(shop):
    shop.query("aws", IDENTITIES)
    found = await troubles(shop)
    assert verdicts(found) == {"keys": "fail", "equality": "fail", "generated_keys": "fail"}
    keys = found["keys"].message
    for each in (
        'planted."Upper" (upper_once is on an expression)',
        "planted.bare",
        "planted.gone",
        "planted.later (later_pkey is deferrable)",
        "planted.nobody (REPLICA IDENTITY NOTHING)",
        "planted.null_one (null_one_a_key takes nulls)",
        "planted.part (REPLICA IDENTITY NOTHING)",
        "planted.ready",
    ):
        assert each in keys
    assert keys.count(",") == 7
    assert "ALTER TABLE planted.ready REPLICA IDENTITY USING INDEX ready_a" in found["keys"].mend
    assert "planted.whole (at planted.place, docs json[], p planted.pair)" in found["equality"].message
    assert "planted.whole_" not in found["equality"].message
    assert found["generated_keys"].message.endswith("planted.computed")
    shop.query("aws", "drop schema planted cascade")


async def test_what_does_not_go_over_by_itself_is_named(shop):
    shop.query("aws", CONTENTS)
    space = f"space_{shop.name}"
    shop.query("aws", f"alter role postgres in database {shop.name} set allow_in_place_tablespaces = on")
    shop.query("aws", f"create tablespace {space} location ''")
    shop.query("aws", f"create table planted.spaced (id int primary key) tablespace {space}")
    try:
        found = await troubles(shop)
        assert verdicts(found) == {
            "unlogged": "fail",
            "foreign_tables": "inconclusive",
            "oids": "fail",
            "oid_columns": "inconclusive",
            "hash_partitions": "fail",
            "sequences": "inconclusive",
            "c_functions": "fail",
            "large_object_readers": "inconclusive",
            "triggers": "fail",
            "aws.event_triggers": "inconclusive",
        }
        told = {check: each.message for check, each in found.items()}
        assert told["unlogged"].endswith(": planted.fleeting")
        assert told["foreign_tables"].endswith(": planted.elsewhere")
        assert told["oids"].endswith(": planted.named.role regrole, planted.named.what regclass")
        assert told["oid_columns"].endswith(": planted.numbered.file")
        assert told["hash_partitions"].endswith(": planted.hashed")
        assert told["sequences"].endswith(": planted.down, planted.short")
        assert told["c_functions"].endswith(": planted.handle")
        assert told["large_object_readers"].endswith(": planted.peek")
        assert told["triggers"].endswith(
            ': "On Replica" on planted.split (ENABLE REPLICA), always on planted.log (ENABLE ALWAYS)'
        )
        assert told["aws.event_triggers"].endswith(": watch (ddl_command_end)")
        shop.query("aws", "select lo_from_bytea(4711, repeat('x', 9000)::bytea)")
        facts = await shop.move().facts()
        passed = {each.check: each.message for each in facts.findings if each.verdict == "pass"}
        assert "oid_columns" in passed
        assert passed["large_objects"].startswith("1 large objects of ")
        assert "1 materialized views (refreshed on azure, not streamed)" in passed["contents"]
        assert "out of their tablespaces planted.spaced;" in passed["contents"]
    finally:
        shop.query("aws", "drop schema planted cascade; drop foreign data wrapper nowhere cascade")
        shop.query("aws", f"drop tablespace {space}")


async def test_sequences_of_no_column_are_said_to_be_carried(shop):
    facts = await shop.move().facts()
    (sequences,) = [each.message for each in facts.findings if each.check == "sequences"]
    assert sequences == "4 sequences are carried, 1 of them of no column"


async def test_extensions_that_azure_lacks_or_has_older_and_their_rows_are_named(shop):
    """Written to the catalog: no other extension comes with these servers."""
    shop.query("aws", "create extension vector; create table public.jobs (id int primary key)")
    shop.query("aws", "alter extension vector add table public.jobs; insert into public.jobs values (1)")
    shop.query(
        "aws",
        f"{PLANTING} update pg_extension set extversion = '99.10', extconfig = array['public.jobs'::regclass::oid],"
        "extcondition = array['where id > 0'] where extname = 'vector';"
        "insert into pg_extension select 99999, 'pg_cron', extowner, extnamespace, extrelocatable, '1.6', null, null "
        "from pg_extension where extname = 'vector'",
    )
    found = await troubles(shop)
    assert verdicts(found) == {
        "extensions": "fail",
        "extension_versions": "inconclusive",
        "extension_rows": "inconclusive",
    }
    assert found["extensions"].message.endswith(": pg_cron")
    assert "vector 99.10 (azure: 0." in found["extension_versions"].message
    assert found["extension_rows"].message.endswith(": public.jobs of vector")
    shop.query("aws", "truncate public.jobs")
    assert "extension_rows" not in await troubles(shop)
    shop.query("aws", f"{PLANTING} delete from pg_extension where extname = 'pg_cron'")
    shop.query("aws", "drop extension vector")
