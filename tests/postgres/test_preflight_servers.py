"""What a server's settings and limits make impossible; rules of RDS and Azure, whose names are planted."""

import shutil
from collections.abc import Iterator

import pytest

from postgres.conftest import Shop
from postgres.preflighting import PLANTING, one_shop, open_ones, troubles, verdicts
from tidegate.lab.servers import postgres
from tidegate.lab.servers.postgres import Postgres
from tidegate.postgres.database import DatabaseMove
from tidegate.postgres.preflight import DatabaseFacts, judge
from tidegate.postgres.preflight.capacity import LogFacts, RoomFacts, begin_log, end_log, judge_log, judge_room
from tidegate.postgres.preflight.collations import Collation, CollationFacts, LocaleFacts, judge_collations
from tidegate.postgres.preflight.providers import judge_provider
from tidegate.runbook.migration import Database

CRAMPED = {
    "wal_level": "replica",
    "max_wal_senders": "0",
    "max_replication_slots": "0",
    "max_logical_replication_workers": "1",
    "max_worker_processes": "1",
    "max_connections": "8",
    "max_slot_wal_keep_size": "1MB",
    "max_prepared_transactions": "3",
}


@pytest.fixture(scope="module")
def shop(postgres16, postgres18) -> Iterator[Shop]:
    with one_shop(postgres16, postgres18) as shop:
        yield shop


@pytest.fixture(scope="module")
def cramped(server_folder) -> Iterator[Postgres]:
    """A server with too little of everything, and a database that may do little."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres, "SETTINGS", postgres.SETTINGS | CRAMPED)
        server = Postgres(server_folder / "cramped", 16, "cramped")
        try:
            server.create_database("cramped")
            server.psql("cramped", "create table t (id int primary key); insert into t values (1)")
            server.psql("cramped", "begin; insert into t values (2); prepare transaction 'forgotten'")
            for setting in ("default_transaction_read_only = on", "statement_timeout = '30s'"):
                server.psql("postgres", f"alter role postgres in database cramped set {setting}")
            yield server
        finally:
            server.stop()


def move_of(shop, server: Postgres) -> DatabaseMove:
    document = shop.spec.model_dump(mode="json")
    document["aws"] |= {"dsn": server.dsn("cramped"), "password": server.password_ref}
    return DatabaseMove("orders", Database.model_validate(document), "run-1")


async def test_a_server_with_too_little_is_told_how_much_it_has_and_what_to_raise(shop, cramped):
    found = open_ones(await move_of(shop, cramped).facts())
    assert verdicts(found) == {
        "aws.writable": "fail",
        "aws.wal_level": "fail",
        "aws.slots": "fail",
        "aws.workers": "fail",
        "aws.timeouts": "fail",
        "aws.connections": "fail",
        "aws.prepared": "fail",
        "wal_kept": "inconclusive",
        "prepared_limit": "inconclusive",
    }
    assert "0 replication slots, 0 senders and 0 origins" in found["aws.slots"].message
    assert "wal_level is replica" in found["aws.wal_level"].message
    assert found["aws.wal_level"].mend == "set wal_level to logical in postgresql.conf, and restart"
    assert "statement_timeout is 30 s" in found["aws.timeouts"].message
    assert found["aws.timeouts"].mend == "ALTER ROLE postgres SET statement_timeout = 0"
    assert found["aws.prepared"].message.endswith("on aws: forgotten")
    assert "keeps no more than 1.0 MiB" in found["wal_kept"].message
    assert "is 3 on aws, 0 on azure" in found["prepared_limit"].message


async def test_on_rds_the_mends_are_its_own(shop, cramped):
    """Planted: a setting by which RDS is known, and that TLS is forced."""
    names = ("rds.logical_replication", "rds.force_ssl")
    for name in names:
        cramped.psql("postgres", f"alter role postgres in database cramped set {name} = '1'")
    move = move_of(shop, cramped)
    plain = move.spec.aws.model_copy(update={"dsn": f"{move.spec.aws.dsn}?sslmode=disable"})
    move = DatabaseMove("orders", move.spec.model_copy(update={"aws": plain}), "run-1")
    try:
        found = open_ones(await move.facts())
        mends = {check: each.mend for check, each in found.items()}
        group = "in the instance's parameter group"
        assert mends["aws.wal_level"] == f"set rds.logical_replication = 1 {group}, and reboot"
        assert group in mends["aws.workers"]
        assert "sslmode=disable" in found["aws.tls"].message
    finally:
        for name in names:
            cramped.psql("postgres", f"alter role postgres in database cramped reset {name}")


async def test_a_replica_is_no_source(shop, cramped):
    cramped.stop()
    (cramped.data / "standby.signal").touch()
    shutil.chown(cramped.data / "standby.signal", (cramped.data / "PG_VERSION").owner())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres, "SETTINGS", postgres.SETTINGS | CRAMPED)
        cramped.restart()
    found = open_ones(await move_of(shop, cramped).facts())
    assert found["aws.primary"].verdict == "fail"
    assert "the server on aws is a replica" in found["aws.primary"].message


async def test_roles_that_stand_in_for_a_superuser_are_enough_where_there_is_none(shop):
    """Planted: rds_superuser, which no PostgreSQL of its own has."""
    limited = f"limited_{shop.name}"
    shop.query("aws", f"create role {limited} login createrole password 'limited'; create role rds_superuser")
    shop.query(
        "aws", f"grant pg_monitor, owner_{shop.name} to {limited}; grant create on database {shop.name} to {limited}"
    )
    shop.query("aws", f"grant {shop.app} to {limited} with admin option")
    change = {"dsn": shop.aws.dsn(shop.name, limited), "password": "env:SHOP_LIMITED_PASSWORD"}
    try:
        assert verdicts(await troubles(shop, aws=change)) == {"aws.rights": "fail", "aws.subscribing": "fail"}
        shop.query("aws", f"grant rds_superuser to {limited}")
        assert await troubles(shop, aws=change) == {}
    finally:
        shop.query("aws", f"drop owned by {limited}; drop role {limited}, rds_superuser")


async def test_on_azure_extensions_are_allowed_and_loaded_first(shop):
    """Planted: azure.extensions, and an extension in the source's catalog that needs its library loaded at start."""
    shop.query("aws", "create extension vector")
    shop.query(
        "aws",
        f"{PLANTING} insert into pg_extension select 99999, 'pg_cron', extowner, extnamespace, extrelocatable, '1.6', "
        "null, null from pg_extension where extname = 'vector'",
    )
    planting = f"alter role postgres in database {shop.name} set azure.extensions = "
    shop.query("azure", f"{planting} 'PG_TRGM, Vector'")
    found = await troubles(shop)
    assert verdicts(found) == {"extensions": "fail", "allow_list": "fail", "preload": "fail"}
    assert found["allow_list"].message.endswith("allow pg_cron")
    assert found["preload"].message.endswith("azure: pg_cron")
    assert "server parameter azure.extensions" in found["allow_list"].mend
    shop.query("azure", f"{planting} ''")
    assert "pg_cron, vector" in (await troubles(shop))["allow_list"].message
    shop.query("azure", f"alter role postgres in database {shop.name} reset all")
    shop.query("aws", f"{PLANTING} delete from pg_extension where extname = 'pg_cron'")
    shop.query("aws", "drop extension vector")


async def test_on_azure_a_small_database_is_known_to_fit_and_a_large_one_is_not(shop):
    """Planted: azure.extensions. Sizes and workers are changed in the facts: no test fills a disk."""
    shop.query("azure", f"alter role postgres in database {shop.name} set azure.extensions = ''")
    facts = await shop.move().facts()
    shop.query("azure", f"alter role postgres in database {shop.name} reset all")
    assert [each.verdict for each in facts.findings if each.check == "room"] == ["pass"]
    large = RoomFacts(bytes=30 * 2**30, server_bytes=0, free_connections=50, connections=50)
    (found,) = judge_room("here", "azure", large, large)
    assert found.verdict == "inconclusive"
    assert "45.0 GiB are needed" in found.message
    few = facts.azure.provider.model_copy(update={"worker_processes": 8})
    assert [each.verdict for each in judge_provider("azure", "here", few, []) if "processes" in each.check] == ["fail"]
    blind = few.model_copy(update={"preloaded": None})
    assert [
        each.check for each in judge_provider("azure", "here", blind, ["pg_cron"]) if each.verdict == "inconclusive"
    ]


@pytest.mark.parametrize(
    ("rate", "cap", "long", "provider", "timeout", "expected"),
    [
        (0.0, None, False, "plain", None, {}),
        (5 * 2**20, 2**30, True, "plain", None, {"wal_kept": "fail"}),
        (2**10, 2**30, False, "plain", None, {"wal_kept": "inconclusive"}),
        (2**10, 2**30, True, "plain", None, {}),
        (5 * 2**20, None, True, "plain", None, {}),
        (5 * 2**20, None, True, "rds", None, {"wal_kept": "inconclusive"}),
        (0.0, None, False, "plain", 600, {"slot_timeout": "fail"}),
        (0.0, None, False, "plain", 86_400, {}),
    ],
)
def test_the_log_that_is_kept_while_a_hundred_gigabytes_are_copied(rate, cap, long, provider, timeout, expected):
    found = judge_log("there", provider, LogFacts(rate=rate, cap=cap, long=long), 100 * 2**30, timeout)
    assert {each.check: each.verdict for each in found if each.verdict != "pass"} == expected


async def test_how_fast_log_is_written_is_measured(shop):
    async with shop.move().aws.session() as connection:
        first = await begin_log(connection)
        shop.query("aws", "create table sales.written as select repeat('x', 1000) from generate_series(1, 20000)")
        log = await end_log(connection, 16, first)
    assert log.rate > 100_000
    assert log.cap is None
    shop.query("aws", "drop table sales.written")


async def test_another_encoding_and_another_locale_are_named(shop):
    name = f"latin_{shop.name}"
    shop.query("azure", f"create database {name} template template0 encoding 'LATIN1' locale 'C'")
    found = await troubles(shop, azure={"dsn": shop.azure.dsn(name)})
    assert verdicts(found) == {"encoding": "fail", "locale": "inconclusive"}
    assert "UTF8 on aws, LATIN1 on azure" in found["encoding"].message
    assert "C.UTF-8 on aws, C on azure" in found["locale"].message
    shop.query("azure", f"drop database {name} with (force)")


async def test_a_collation_that_azure_does_not_have_is_named(shop):
    shop.query("aws", f"""{PLANTING} create collation pg_catalog."planted" (locale = 'C')""")
    shop.query("aws", """alter table sales.customers add code text collate pg_catalog."planted" """)
    found = await troubles(shop)
    assert verdicts(found) == {"collations": "fail"}
    assert found["collations"].message.endswith(": pg_catalog.planted")
    shop.query("aws", f"{PLANTING} alter table sales.customers drop code; drop collation pg_catalog.planted")


async def test_indexes_of_another_version_of_the_library_are_named(shop):
    """On 18, whose own provider has a version; an earlier one is written to the catalog."""
    name = f"stale_{shop.name}"
    shop.query("azure", f"create database {name} template template0 locale_provider builtin builtin_locale 'C.UTF-8'")
    azure = shop.spec.azure.model_dump(mode="json")
    source = azure | {"dsn": shop.azure.dsn(name)}
    assert set(await troubles(shop, aws=source)) == {"contents"}
    shop.query("azure", f"{PLANTING} update pg_database set datcollversion = '0' where datname = '{name}'")
    found = await troubles(shop, aws=source)
    assert verdicts(found) == {"contents": "inconclusive", "stale_collations": "inconclusive"}
    shop.query("azure", f"{PLANTING} update pg_database set datcollversion = '1' where datname = '{name}'")
    shop.query("azure", f"drop database {name} with (force)")


FRENCH = LocaleFacts(
    encoding="UTF8",
    collate="fr_FR.UTF-8",
    ctype="fr_FR.UTF-8",
    provider="c",
    locale=None,
    recorded="2.31",
    actual="2.31",
    icu=True,
)
SWEDISH = Collation(
    name="s.swedish",
    built_in=False,
    provider="c",
    locale="sv_SE.UTF-8",
    deterministic=False,
    recorded="2.31",
    actual="2.31",
)


@pytest.mark.parametrize(
    ("azure", "used", "expected"),
    [
        ({}, [], {}),
        ({"collate": "fr_FR.utf8", "ctype": "fr_FR.utf8"}, [], {}),
        ({"actual": "2.36"}, [], {"collation_versions": "inconclusive"}),
        ({"actual": None}, [], {"collation_versions": "inconclusive"}),
        ({"collate": "de_DE.UTF-8"}, [], {"locale": "inconclusive"}),
        ({"provider": "i", "locale": "fr-FR"}, [], {"locale": "inconclusive"}),
        ({}, [SWEDISH], {"collations": "fail"}),
        ({}, [SWEDISH.model_copy(update={"provider": "i", "locale": "sv"})], {}),
        ({"icu": False}, [SWEDISH.model_copy(update={"provider": "i", "locale": "sv"})], {"collations": "fail"}),
        ({}, [SWEDISH.model_copy(update={"locale": "fr_FR.utf8"})], {}),
    ],
)
def test_locales_that_this_machine_does_not_have(azure, used, expected):
    """Judged alone."""
    facts = CollationFacts(
        aws=FRENCH, azure=FRENCH.model_copy(update=azure), used=used, azures=[], sorts=True, partitioned=["s.by_name"]
    )
    found = [each for each in judge_collations("here", facts) if each.verdict != "pass"]
    assert {each.check: each.verdict for each in found} == expected
    assert all("s.by_name" in each.message for each in found if each.check in ("locale", "collation_versions"))


async def test_nothing_else_is_judged_where_nothing_else_was_asked(shop):
    facts = await shop.move().facts()
    asked = DatabaseFacts(versions=facts.versions, wheres=facts.wheres)
    assert [each.check for each in judge(asked)] == ["versions"]
