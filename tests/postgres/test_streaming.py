"""A stream that doesn't come is told with the reason, not waited for without an end."""

import asyncio
import time
from contextlib import suppress

import pytest

from tidegate.errors import CheckFailed, DeadlinePassed, Refused
from tidegate.postgres import database, store


def quiet(text: str, **_: object) -> None:
    pass


def disable(shop, name: str) -> None:
    shop.query("azure", f"alter subscription {name} disable")
    while shop.query("aws", f"select active from pg_replication_slots where slot_name = '{name}'") == [["t"]]:
        pass


def lose_the_slot(shop, name: str) -> None:
    disable(shop, name)
    shop.query("aws", f"select pg_drop_replication_slot('{name}')")


def lock_out(shop, name: str) -> None:
    """The apply worker can't log in."""
    shop.query("aws", f"alter role {shop.move().names.role} nologin")
    shop.query("aws", f"select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{name}'")


@pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (disable, "the subscription {} on azure is disabled"),
        (lose_the_slot, "there is no slot {} on aws"),
        (lock_out, "apply worker .*on azure"),
    ],
)
async def test_the_reason_why_changes_do_not_stream_is_told_in_time(shop, monkeypatch, break_it, why):
    monkeypatch.setattr(database, "STREAMING_SECONDS", 2)
    monkeypatch.setattr(store, "STREAMING_SECONDS", 2)
    move = shop.move()
    await move.replicate(quiet)
    name = move.names.stream("azure")
    break_it(shop, name)
    with pytest.raises(DeadlinePassed, match=f"orders on azure .*changes don't stream: .*{why.format(name)}"):
        await move.replicate(quiet)
    armed = move.store("aws", 1)
    try:
        with pytest.raises(DeadlinePassed, match=why.format(name)):
            await armed.arm()
    finally:
        await armed.reopen()
        await armed.close()


async def test_a_stream_that_comes_late_is_waited_for(shop):
    move = shop.move()
    await move.replicate(quiet)
    name = move.names.stream("azure")
    disable(shop, name)
    waiting = asyncio.create_task(move.replicate(quiet))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    shop.query("azure", f"alter subscription {name} enable")
    await waiting


async def found_within_ten_seconds(move, what: str = "") -> str:
    """What is told, as soon as it is this; else what is told last."""
    stream, trouble = move.store("aws", 1).forward, ""
    with suppress(TimeoutError):
        async with asyncio.timeout(10):
            while not (trouble := await stream.trouble() or "") or what not in trouble:
                await asyncio.sleep(0.1)
    return trouble


async def streaming_again(move) -> None:
    stream = move.store("aws", 1).forward
    while await stream.trouble():
        await asyncio.sleep(0.1)
    assert (await move.verify(quiet)).mismatched == []


def insert(shop) -> None:
    shop.query("aws", "insert into sales.customers (name) values ('after')")


CHANGES = [
    (
        "alter table sales.customers add column weight integer",
        "column weight on aws, not on azure: add it there with ALTER TABLE sales.customers ADD COLUMN weight integer",
        "alter table sales.customers add column weight integer",
    ),
    (
        "alter table sales.customers drop column profile",
        "sales.customers has the column profile on azure, not on aws: ALTER TABLE sales.customers DROP COLUMN profile",
        "alter table sales.customers drop column profile",
    ),
    (
        "alter table sales.customers alter column name type varchar(90)",
        "sales.customers.name is character varying(90) on aws, text on azure",
        "alter table sales.customers alter column name type varchar(90)",
    ),
]


@pytest.mark.parametrize(("change", "told", "mend"), CHANGES)
async def test_a_table_that_changes_while_changes_stream_is_told_with_the_mend(shop, change, told, mend):
    move = shop.move()
    await move.replicate(quiet)
    assert await move.store("aws", 1).forward.trouble() is None
    shop.query("aws", change)
    insert(shop)
    assert told in await found_within_ten_seconds(move)
    shop.query("azure", mend)
    await streaming_again(move)


async def test_a_new_table_is_told_until_it_is_followed_and_no_turn_leaves_it_behind(shop):
    move = shop.move()
    await move.replicate(quiet)
    table = f"set role owner_{shop.name}; create table sales.later (id int primary key)"
    shop.query("aws", f"{table}; insert into sales.later values (1)")
    assert "sales.later is a table on aws, not on azure" in await found_within_ten_seconds(move)
    shop.query("azure", table)
    assert "sales.later isn't in the publication on aws" in await found_within_ten_seconds(move)
    with pytest.raises(CheckFailed, match=r"sales.later isn't in the publication on aws"):
        await shop.turn(move, "aws", 1)
    role = move.names.role
    shop.query("aws", f"alter publication {move.names.publication} add table sales.later")
    shop.query("aws", f"grant usage on schema sales to {role}; grant select on sales.later to {role}")
    shop.query("azure", f"alter subscription {move.names.stream('azure')} refresh publication")
    await streaming_again(move)
    shop.query("aws", f"revoke usage on schema sales from {role}; revoke select on sales.later from {role}")
    await shop.turn(move, "aws", 1)
    assert shop.query("azure", "select id from sales.later") == [["1"]]


async def test_a_table_made_while_a_switch_is_prepared_is_not_left_behind(shop):
    move = shop.move()
    await move.replicate(quiet)
    armed = move.store("aws", 1)
    try:
        await armed.arm()
        shop.query("aws", f"set role owner_{shop.name}; create table sales.later (id int primary key)")
        await armed.fence(time.monotonic() + 30)
        await armed.drain(time.monotonic() + 30)
        with pytest.raises(CheckFailed, match="tables have changed since the switch was prepared"):
            await armed.seal(time.monotonic() + 30)
    finally:
        await armed.reopen()
        await armed.close()


async def test_a_column_added_while_copying_stops_the_copy_by_name_and_is_there_in_the_next(shop):
    changing = []

    def begin(text: str) -> None:
        if not changing:
            change = "alter table sales.customers add column weight integer default 1"
            changing.append(asyncio.create_task(asyncio.to_thread(shop.query, "aws", change)))

    with pytest.raises(Refused, match=r"LOCK TABLE|lock timeout") as refused:
        await shop.move().replicate(begin)
    assert "a schema change, or a LOCK TABLE, waits or is at work" in refused.value.mend
    await changing[0]
    await shop.move().replicate(quiet)
    insert(shop)
    await streaming_again(shop.move())
    assert shop.query("azure", "select distinct weight from sales.customers") == [["1"]]


async def test_a_row_in_the_way_is_told_and_once_it_is_gone_the_stream_goes_on(shop):
    move = shop.move()
    await move.replicate(quiet)
    shop.query("azure", "insert into sales.customers (id, name) overriding system value values (2001, 'in the way')")
    insert(shop)
    told = await found_within_ten_seconds(move)
    assert "one has failed" in told
    assert "insert_exists" in told
    assert "delete the row that is in the way" in told
    shop.query("azure", "delete from sales.customers where id = 2001")
    await streaming_again(move)


async def test_a_row_that_is_not_there_to_be_changed_is_told(shop):
    move = shop.move()
    await move.replicate(quiet)
    shop.query("azure", "delete from sales.events where id = 5")
    shop.query("aws", "update sales.events set what = 'changed' where id = 5")
    assert "changes found no row on azure (update_missing 1 times)" in await found_within_ten_seconds(move)


async def test_a_table_emptied_on_azure_is_told_one_emptied_on_aws_is_followed(shop):
    move = shop.move()
    await move.replicate(quiet)
    shop.query("aws", "truncate sales.events")
    await streaming_again(move)
    assert shop.query("azure", "select count(*) from sales.events") == [["0"]]
    shop.query("azure", 'truncate sales."Order Lines"')
    assert 'sales."Order Lines" has rows on aws, none on azure' in await found_within_ten_seconds(move)


@pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (lose_the_slot, "there is no slot {} on aws: replication can't go on"),
        (disable, "the subscription {0} on azure is disabled: ALTER SUBSCRIPTION {0} ENABLE"),
        (lock_out, "no apply worker runs on azure"),
    ],
)
async def test_a_stream_that_stops_is_told(shop, break_it, why):
    move = shop.move()
    await move.replicate(quiet)
    name = move.names.stream("azure")
    break_it(shop, name)
    told = why.format(name)
    assert told in await found_within_ten_seconds(move, told)


async def test_a_slot_beyond_its_cap_is_told(make_shop, postgres16):
    shop = make_shop()
    move = shop.move()
    await move.replicate(quiet)
    name = move.names.stream("azure")
    shop.query("azure", f"alter subscription {name} disable")
    try:
        postgres16.psql("postgres", "alter system set max_slot_wal_keep_size = '1MB'")
        postgres16.psql("postgres", "select pg_reload_conf()")
        for _ in range(3):
            shop.query("aws", "create table if not exists filler (a int); select pg_switch_wal()")
            shop.query("aws", "insert into filler select generate_series(1, 1000)")
        shop.query("aws", "checkpoint")
        assert "has lost its log, beyond max_slot_wal_keep_size" in await found_within_ten_seconds(move)
    finally:
        postgres16.psql("postgres", "alter system reset max_slot_wal_keep_size")
        postgres16.psql("postgres", "select pg_reload_conf()")
        await move.remove()


async def test_the_lag_in_seconds_is_right_also_when_nothing_is_written_and_when_nothing_is_applied(shop):
    move = shop.move()
    await move.replicate(quiet)
    stream = move.store("aws", 1).forward
    while (lag := await stream.lag_seconds(5)) is None:
        pass
    assert lag < 5
    disable(shop, stream.name)
    first = await stream.lag_seconds(0.2)
    await asyncio.sleep(0.3)
    assert await stream.lag_seconds(0.2) >= first + 0.4
    shop.query("azure", f"alter subscription {stream.name} enable")
    while await stream.lag_seconds(1) >= 1:
        pass
