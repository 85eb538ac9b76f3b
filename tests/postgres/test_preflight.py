"""A database that can move passes; what a login lacks, and what else stands in the way of a move, is named."""

from collections.abc import Iterator

import pytest

from postgres.conftest import Shop
from postgres.preflighting import PLANTING, one_shop, troubles, verdicts
from tidegate.postgres.preflight import DatabaseFacts, judge


@pytest.fixture(scope="module")
def shop(postgres16, postgres18) -> Iterator[Shop]:
    with one_shop(postgres16, postgres18) as shop:
        yield shop


async def test_a_database_that_can_move_passes_everything(shop):
    facts = await shop.move().facts({shop.app})
    assert [each for each in facts.findings if each.verdict != "pass"] == []
    checks = [each.check for each in facts.findings]
    assert len(checks) == len(set(checks))
    assert {each.where for each in facts.findings} == {shop.move().aws.where, shop.move().azure.where, ""}
    assert DatabaseFacts.model_validate_json(facts.model_dump_json()) == facts


async def test_the_workload_must_not_log_in_as_whom_the_fence_does_not_close(shop):
    found = await troubles(shop, users=("postgres",))
    assert verdicts(found) == {"fence": "fail"}
    assert "logs in as postgres" in found["fence"].message


async def test_settings_that_stay_behind_are_named_but_not_their_values(shop):
    shop.query("aws", f"alter database {shop.name} set app.secret = 'hunter2'")
    shop.query("aws", f"alter role {shop.app} set work_mem = '5MB'")
    shop.query("aws", f"alter role {shop.app} in database {shop.name} set search_path = 'sales'")
    assert "hunter2" not in (await shop.move().facts()).model_dump_json()
    found = await troubles(shop)
    assert verdicts(found) == {"settings": "inconclusive"}
    for each in (
        "app.secret of the database",
        f"search_path of role {shop.app} in the database",
        f"work_mem of role {shop.app}",
    ):
        assert each in found["settings"].message
    shop.query("azure", f"create role {shop.app}")
    shop.query("azure", f"alter database {shop.name} set app.secret = 'hunter2'")
    shop.query("azure", f"alter role {shop.app} set work_mem = '5MB'")
    shop.query("azure", f"alter role {shop.app} in database {shop.name} set search_path = 'sales'")
    assert await troubles(shop) == {}
    shop.query("azure", f"drop role {shop.app}; alter database {shop.name} reset all")
    shop.query("aws", f"alter database {shop.name} reset all; alter role {shop.app} reset all")
    shop.query("aws", f"alter role {shop.app} in database {shop.name} reset all")


async def test_a_login_that_is_no_superuser_is_told_all_that_it_would_need(shop):
    """As on a managed server, where nobody is one."""
    limited, bystander = f"limited_{shop.name}", f"bystander_{shop.name}"
    shop.query(
        "aws", f"create role {limited} login password 'limited'; revoke temp on database {shop.name} from public"
    )
    shop.query("aws", "select lo_create(4711)")
    shop.query("aws", f"create role {bystander} login; grant connect on database {shop.name} to {bystander}")
    change = {"dsn": shop.aws.dsn(shop.name, limited), "password": "env:SHOP_LIMITED_PASSWORD"}
    try:
        found = await troubles(shop, aws=change)
        assert verdicts(found) == {
            "aws.rights": "fail",
            "aws.subscribing": "fail",
            "aws.creating": "fail",
            "aws.sessions": "fail",
            "aws.logins": "fail",
            "aws.owners": "fail",
            "reading": "fail",
            "passwords": "inconclusive",
            "database": "inconclusive",
        }
        assert found["database"].message.endswith(": azure has TEMPORARY to PUBLIC")
        shop.query("azure", f"revoke temp on database {shop.name} from public")
        assert found["aws.rights"].mend == f"ALTER ROLE {limited} REPLICATION"
        assert "GRANT pg_create_subscription" in found["aws.subscribing"].mend
        assert "lacks CREATEROLE and CREATE on the database" in found["aws.creating"].message
        assert "GRANT pg_monitor" in found["aws.sessions"].mend
        assert f"may not alter {shop.app}, {bystander} on aws" in found["aws.logins"].message
        assert f"owner_{shop.name} on aws" in found["aws.owners"].message
        assert "1 large objects" in found["reading"].message
        assert bystander in found["passwords"].message
        assert shop.app not in found["passwords"].message
        for mend in (found["aws.rights"].mend, found["aws.subscribing"].mend, found["aws.sessions"].mend):
            shop.query("aws", mend)
        shop.query("aws", f"alter role {limited} createrole; grant create on database {shop.name} to {limited}")
        shop.query("aws", f"grant owner_{shop.name} to {limited}; grant select on large object 4711 to {limited}")
        shop.query("aws", f"grant {shop.app}, {bystander} to {limited} with admin option")
        found = await troubles(shop, aws=change)
        assert verdicts(found) == {"passwords": "inconclusive", "roles": "fail"}
        assert found["roles"].message.endswith(f": {limited}")  # it was granted something
    finally:
        for cloud in ("aws", "azure"):
            shop.query(cloud, f"grant temp on database {shop.name} to public")
        shop.query("aws", f"select lo_unlink(4711); drop owned by {limited}, {bystander}")
        shop.query("aws", f"drop role {limited}")
        shop.query("aws", f"drop role {bystander}")


async def test_what_a_login_may_not_read_or_is_not_shown_is_named(shop):
    """A copy under row level security leaves rows behind without a word."""
    limited, owner = f"limited_{shop.name}", f"owner_{shop.name}"
    shop.query(
        "aws",
        f"create role {limited} login createrole replication password 'limited';"
        f"grant pg_monitor, pg_create_subscription, {owner} to {limited};"
        f"grant {shop.app} to {limited} with admin option; grant create on database {shop.name} to {limited};"
        f"create table sales.hidden (id int primary key); alter table sales.hidden owner to {owner};"
        "alter table sales.hidden enable row level security; alter table sales.hidden force row level security;"
        f"create table sales.shown (id int primary key); alter table sales.shown owner to {owner};"
        "alter table sales.shown enable row level security;"
        f"create table sales.secret (id int primary key); alter table sales.secret owner to {owner};"
        f"revoke select on sales.secret from {owner};"
        f"create schema closed; alter schema closed owner to {owner}; revoke usage on schema closed from {owner};"
        f"create table closed.t (id int primary key); alter table closed.t owner to {owner}",
    )
    change = {"dsn": shop.aws.dsn(shop.name, limited), "password": "env:SHOP_LIMITED_PASSWORD"}
    try:
        found = await troubles(shop, aws=change)
        expected = {"reading": "fail", "row_security": "fail", "forced_row_security": "fail"}
        assert verdicts(found) == expected
        assert "tables sales.secret; whatever is in the schemas closed" in found["reading"].message
        for check in ("row_security", "forced_row_security"):
            assert found[check].message.endswith(": sales.hidden")
        shop.query("aws", "alter table sales.hidden no force row level security")
        assert verdicts(await troubles(shop, aws=change)) == {"reading": "fail"}
    finally:
        shop.query("aws", "drop schema closed cascade; drop table sales.hidden, sales.shown, sales.secret")
        shop.query("aws", f"drop owned by {limited}")
        shop.query("aws", f"drop role {limited}")


async def test_what_a_role_has_beside_login_and_groups_is_named_until_azure_has_it_too(shop):
    group = f"group_{shop.name}"
    grant = f"grant {group} to {shop.app} with admin option, inherit false"
    shop.query("aws", f"create role {group}; {grant}; alter role {shop.app} bypassrls connection limit 7")
    shop.query("aws", f"alter role {group} noinherit createdb valid until '2040-01-01 12:00+02'")
    try:
        found = await troubles(shop)
        assert verdicts(found) == {"role_attributes": "inconclusive"}
        for each in (
            f"{shop.app} BYPASSRLS",
            f"{shop.app} CONNECTION LIMIT 7",
            f"{group} NOINHERIT",
            f"{group} CREATEDB",
            f"{group} VALID UNTIL 2040-01-01 10:00:00",
            f"{shop.app} in {group} WITH ADMIN OPTION",
            f"{shop.app} in {group} WITH INHERIT FALSE",
        ):
            assert each in found["role_attributes"].message
        shop.query("azure", f"create role {group} noinherit createdb valid until '2040-01-01 10:00Z'")
        shop.query("azure", f"create role {shop.app} bypassrls connection limit 7")
        shop.query("azure", grant)
        assert await troubles(shop) == {}
    finally:
        for cloud in ("aws", "azure"):
            shop.query(cloud, f"drop role if exists {group}")
        shop.query("aws", f"alter role {shop.app} nobypassrls connection limit -1")
        shop.query("azure", f"drop role if exists {shop.app}")


async def test_owner_and_grants_of_the_database_are_named_until_azure_has_them_too(shop):
    changes = (
        f"grant create on database {shop.name} to {shop.app} with grant option",
        f"alter database {shop.name} owner to owner_{shop.name}; revoke connect on database {shop.name} from public",
    )
    shop.query("azure", f"create role {shop.app}; create role owner_{shop.name}")
    for change in changes:
        shop.query("aws", change)
    try:
        found = await troubles(shop)
        assert verdicts(found) == {"database": "inconclusive"}
        assert found["database"].message.endswith(
            f": aws has CREATE to {shop.app} WITH GRANT OPTION, owner owner_{shop.name}; azure has CONNECT to PUBLIC"
        )
        for change in changes:
            shop.query("azure", change)
        assert await troubles(shop) == {}
    finally:
        for cloud in ("aws", "azure"):
            shop.query(cloud, f"alter database {shop.name} owner to postgres")
            shop.query(cloud, f"revoke create on database {shop.name} from {shop.app}")
            shop.query(cloud, f"grant connect on database {shop.name} to public")
        shop.query("azure", f"drop role {shop.app}, owner_{shop.name}")


async def test_roles_that_nobody_makes_on_azure_are_named(shop):
    boss, lender = f"boss_{shop.name}", f"rds_{shop.name}"
    shop.query("aws", f"create role {boss} superuser; create role {lender}; grant {lender} to {shop.app}")
    shop.query("aws", "create function sales.one() returns int language sql as 'select 1'")
    shop.query("aws", f"alter function sales.one() owner to {boss}")
    shop.query("aws", "create table sales.orphan (id int primary key)")
    shop.query("aws", f"{PLANTING} update pg_class set relowner = 999999 where relname = 'orphan'")
    try:
        found = await troubles(shop)
        assert verdicts(found) == {"roles": "fail", "owners": "fail"}
        assert found["roles"].message.endswith(f": {boss}, {lender}")
        assert "OID 999999" in found["owners"].message
        for role in (boss, lender):
            shop.query("azure", f"create role {role}")
        assert verdicts(await troubles(shop)) == {"owners": "fail"}
    finally:
        shop.query("aws", f"{PLANTING} update pg_class set relowner = 10 where relname = 'orphan'")
        shop.query("aws", f"drop table sales.orphan; drop function sales.one(); drop role {boss}, {lender}")
        shop.query("azure", f"drop role if exists {boss}, {lender}")


async def test_who_else_replicates_here_is_named(shop):
    tag = shop.name
    subscribe = (
        "create subscription {} connection 'host=127.0.0.1 port=1 connect_timeout=1' publication nothing "
        "with (connect = false, slot_name = 'nothing')"
    )
    shop.query("aws", f"create publication cdc_{tag} for table sales.customers")
    shop.query("aws", f"select pg_create_logical_replication_slot('cdc_{tag}', 'pgoutput')")
    shop.query("aws", subscribe.format(f"idle_{tag}"))
    shop.query("azure", subscribe.format(f"busy_{tag}"))
    shop.query("azure", f"alter subscription busy_{tag} enable")
    try:
        found = await troubles(shop)
        assert verdicts(found) == {
            "consumers": "inconclusive",
            "aws.disabled_subscriptions": "inconclusive",
            "azure.subscriptions": "fail",
        }
        assert found["consumers"].message.endswith(f": publication cdc_{tag}, slot cdc_{tag}")
        assert f"idle_{tag}" in found["aws.disabled_subscriptions"].message
        assert f"busy_{tag}" in found["azure.subscriptions"].message
    finally:
        shop.query("azure", f"alter subscription busy_{tag} disable")
        for cloud, name in (("aws", f"idle_{tag}"), ("azure", f"busy_{tag}")):
            shop.query(cloud, f"alter subscription {name} set (slot_name = none)")
            shop.query(cloud, f"drop subscription {name}")
        shop.query("aws", f"select pg_drop_replication_slot('cdc_{tag}')")
        shop.query("aws", f"drop publication cdc_{tag}")


@pytest.mark.parametrize(
    ("aws", "azure", "why"),
    [(16, 15, "a step back"), (11, 16, "before 12 isn't supported: 11 on aws"), (12, 11, "11 on azure")],
)
def test_versions_that_can_not_move(aws, azure, why):
    """Judged alone: no server of these versions is here."""
    facts = DatabaseFacts(versions={"aws": aws, "azure": azure}, wheres={"aws": "there", "azure": "here"})
    (found,) = judge(facts)
    assert (found.check, found.verdict) == ("versions", "fail")
    assert why in found.message


async def test_back_to_an_older_version_is_refused(shop):
    there, here = shop.spec.aws.model_dump(mode="json"), shop.spec.azure.model_dump(mode="json")
    found = await troubles(shop, aws=here, azure=there)
    assert {"versions": "fail", "contents": "inconclusive", "empty": "fail"}.items() <= verdicts(found).items()
    assert "18 to 16" in found["versions"].message
    assert "no table" in found["contents"].message
