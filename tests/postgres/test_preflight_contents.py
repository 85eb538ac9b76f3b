"""What a database may hold that doesn't follow by itself, planted in few databases."""

import psycopg

from postgres.preflighting import PLANTING, troubles, verdicts

IDENTITIES = """
create table sales.bare (a int);
create table sales.nobody (id int primary key); alter table sales.nobody replica identity nothing;
create table sales.later (id int primary key deferrable);
create table sales."Upper" (a text not null); create unique index upper_once on sales."Upper" (upper(a));
create table sales.null_one (a int unique);
create table sales.ready (a int not null); create unique index ready_a on sales.ready (a);
create table sales.gone (a int not null); create unique index gone_a on sales.gone (a);
alter table sales.gone replica identity using index gone_a; drop index sales.gone_a;
create table sales.parted (id int primary key) partition by range (id);
create table sales.part partition of sales.parted for values from (0) to (9);
alter table sales.part replica identity nothing;

create type sales.pair as (a int, b json);
create domain sales.place as point;
create table sales.whole (a int, at sales.place, docs json[], p sales.pair);
alter table sales.whole replica identity full;
create type sales.mood as enum ('good', 'bad');
create table sales.whole_fine (a sales.mood, b jsonb, c varchar(3)[], d int4range, e tsvector);
alter table sales.whole_fine replica identity full;
create table sales.whole_keyed (id int primary key, doc json); alter table sales.whole_keyed replica identity full;

create table sales.computed (a int not null, b int generated always as (a + 1) stored primary key);
"""

CONTENTS = """
create unlogged table sales.fleeting (id int primary key);
create foreign data wrapper nowhere; create server nowhere foreign data wrapper nowhere;
create foreign table sales.elsewhere (id int) server nowhere;
create table sales.named (id int primary key, what regclass[], role regrole);
create table sales.numbered (id int primary key, file oid);
create type sales.mood as enum ('good', 'bad');
create table sales.hashed (mood sales.mood primary key) partition by hash (mood);
create sequence sales.short as smallint; select setval('sales.short', 32000);
create sequence sales.down increment -1 minvalue -10 maxvalue -1; select setval('sales.down', -10);
create sequence sales.round as smallint cycle; select setval('sales.round', 32000);
create function sales.handle() returns language_handler language c as '$libdir/plpgsql', 'plpgsql_call_handler';
create function sales.peek() returns bigint language sql as 'select count(*) from pg_catalog.pg_largeobject';
create materialized view sales.summary as select count(*) from sales.customers;
create function sales.noop() returns trigger language plpgsql as 'begin return new; end';
create trigger always before update on sales.customers for each row execute function sales.noop();
create trigger "On Replica" before update on sales.events for each row execute function sales.noop();
create trigger plain before update on sales.customers for each row execute function sales.noop();
alter table sales.customers enable always trigger always;
alter table sales.events enable replica trigger "On Replica";
create function sales.watch() returns event_trigger language plpgsql as 'begin end';
create event trigger watch on ddl_command_end execute function sales.watch();
create event trigger asleep on ddl_command_end execute function sales.watch(); alter event trigger asleep disable;
"""


async def test_tables_whose_changed_rows_could_not_be_found_again_are_named(shop):
    shop.query("aws", IDENTITIES)
    found = await troubles(shop)
    assert verdicts(found) == {"keys": "fail", "equality": "fail", "generated_keys": "fail"}
    keys = found["keys"].message
    for each in (
        'sales."Upper" (upper_once is on an expression)',
        "sales.bare",
        "sales.gone",
        "sales.later (later_pkey is deferrable)",
        "sales.nobody (REPLICA IDENTITY NOTHING)",
        "sales.null_one (null_one_a_key takes nulls)",
        "sales.part (REPLICA IDENTITY NOTHING)",
        "sales.ready",
    ):
        assert each in keys
    assert keys.count(",") == 7
    assert "ALTER TABLE sales.ready REPLICA IDENTITY USING INDEX ready_a" in found["keys"].mend
    assert "sales.whole (at sales.place, docs json[], p sales.pair)" in found["equality"].message
    assert "sales.whole_" not in found["equality"].message
    assert found["generated_keys"].message.endswith("sales.computed")


async def test_what_does_not_go_over_by_itself_is_named(shop):
    shop.query("aws", CONTENTS)
    space = f"space_{shop.name}"
    with psycopg.connect(shop.aws.full_dsn(shop.name), autocommit=True) as admin:
        admin.execute("set allow_in_place_tablespaces = on")
        admin.execute(f"create tablespace {space} location ''")
        admin.execute(f"create table sales.spaced (id int primary key) tablespace {space}")
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
            "tablespaces": "fail",
        }
        told = {check: each.message for check, each in found.items()}
        assert told["unlogged"].endswith(": sales.fleeting")
        assert told["foreign_tables"].endswith(": sales.elsewhere")
        assert told["oids"].endswith(": sales.named.role regrole, sales.named.what regclass")
        assert told["oid_columns"].endswith(": sales.numbered.file")
        assert told["hash_partitions"].endswith(": sales.hashed")
        assert told["sequences"].endswith(": sales.down, sales.short")
        assert told["c_functions"].endswith(": sales.handle")
        assert told["large_object_readers"].endswith(": sales.peek")
        assert told["triggers"].endswith(
            ': "On Replica" on sales.events (ENABLE REPLICA), always on sales.customers (ENABLE ALWAYS)'
        )
        assert told["aws.event_triggers"].endswith(": watch (ddl_command_end)")
        assert told["tablespaces"].endswith(f": {space}, of sales.spaced")
        shop.query("aws", "select lo_from_bytea(4711, repeat('x', 9000)::bytea)")
        facts = await shop.move().facts()
        passed = {each.check: each.message for each in facts.findings if each.verdict == "pass"}
        assert "oid_columns" in passed
        assert passed["large_objects"].startswith("1 large objects of ")
        assert "1 materialized views (refreshed" in passed["contents"]
    finally:
        shop.query("aws", "drop table sales.spaced")
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
