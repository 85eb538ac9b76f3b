"""What another run has left, or is at, is neither proof nor prey."""

import time

import psycopg
import pytest

from tidegate.errors import Refused
from tidegate.postgres import database
from tidegate.postgres.server import Connection


def quiet(text: str, **_: object) -> None:
    pass


def failed(facts: database.DatabaseFacts) -> dict[str, str]:
    return {each.check: f"{each.message}; {each.mend}" for each in facts.findings if each.verdict == "fail"}


async def test_what_a_forced_rollback_left_on_azure_is_not_dropped_by_the_next_run(shop):
    first = shop.move("run-1")
    await first.replicate(quiet)
    await shop.turn(first, "aws", 1)
    alone = shop.without_azure("run-1")
    await alone.force_home(2)
    await alone.remove(target_gone=True)
    shop.query("azure", "insert into sales.customers (name) values ('at risk')")

    second = shop.move("run-2")
    found = failed(await second.facts())
    assert set(found) == {"empty", "azure.run"}
    assert "belongs to run run-1; finish that run or roll it back" in found["azure.run"]
    with pytest.raises(Refused, match=r"orders on azure .*belongs to run run-1"):
        await second.replicate(quiet)
    assert await second.ownership() is None
    await second.remove()
    assert shop.query("azure", "select count(*) from sales.customers where name = 'at risk'") == [["1"]]
    assert shop.query("aws", "select to_regnamespace('tidegate') is null") == [["t"]]


async def test_a_second_run_beside_an_unfinished_one_changes_nothing(shop):
    first, second = shop.move("run-1"), shop.move("run-2")
    await first.replicate(quiet)
    assert set(failed(await second.facts())) == {"empty", "aws.run", "azure.run"}
    assert failed(await first.facts()) == {}
    with pytest.raises(Refused, match="run-1"):
        await second.replicate(quiet)
    with pytest.raises(Refused, match="run-1"):
        await second.store("aws", 1).arm()
    store = first.store("aws", 1)
    await store.arm()
    await store.fence(time.monotonic() + 10)
    await second.remove()
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        shop.as_app("aws")
    await store.reopen()
    await store.close()
    assert await second.left_behind() == []
    assert (await first.verify(quiet)).mismatched == []


async def test_an_ownership_row_alone_names_its_run(shop):
    shop.query("azure", "create schema tidegate; create table tidegate.ownership (run text, epoch int, owner text)")
    shop.query("azure", "insert into tidegate.ownership values ('run-0', 1, 'azure')")
    assert "run-0" in failed(await shop.move().facts())["azure.run"]
    shop.query("azure", "truncate tidegate.ownership")
    assert "an unknown run" in failed(await shop.move().facts())["azure.run"]
    await shop.move().remove()
    assert shop.query("azure", "select to_regnamespace('tidegate') is null") == [["f"]]


async def test_after_a_rollback_another_run_can_begin(shop):
    first = shop.move("run-1")
    await first.replicate(quiet)
    await shop.turn(first, "aws", 1)
    await shop.turn(first, "azure", 2)
    await first.remove()
    second = shop.move("run-2")
    try:
        assert failed(await second.facts()) == {}
        await second.replicate(quiet)
        await shop.turn(second, "aws", 1)
        assert (await second.ownership()).owner == "azure"
        assert (await second.verify(quiet)).mismatched == []
    finally:
        await second.remove()


class Killed(BaseException):
    """No handler of an error sees it, as none would see a kill."""


class Reached(Exception):
    pass


EVERY = 6
FIRSTS = [1, *(pytest.param(first, marks=pytest.mark.slow) for first in range(2, EVERY + 1))]


@pytest.mark.parametrize("first", FIRSTS)
async def test_killed_between_two_statements_the_same_run_goes_on_and_takes_all_back(shop, monkeypatch, closing, first):
    """Up to the first row that is copied: all that decides to whom the databases belong."""
    execute, left = Connection.execute, 0

    async def may_die(connection, query, params=None, **options):
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed
        return await execute(connection, query, params, **options)

    async def reached(*_: object) -> None:
        raise Reached

    async def killed_at(statement: int, work) -> bool:
        nonlocal left
        left = statement
        try:
            await work
        except Killed:
            return True
        except Reached:
            pass
        finally:
            left = 0
        return False

    monkeypatch.setattr(Connection, "execute", may_die)
    monkeypatch.setattr(database, "export_snapshot", reached)
    at, beginning, removing = first - EVERY, True, True
    while beginning or removing:
        at += EVERY
        beginning = await killed_at(at, shop.move().replicate(quiet))
        assert failed(await shop.move().facts()) == {}
        with pytest.raises(Reached):
            await shop.move().replicate(quiet)
        assert set(failed(await shop.move("run-2").facts())) == {"aws.run", "azure.run"}
        removing = await killed_at(at, shop.move().remove())
        await shop.move().remove()
        assert await shop.move().left_behind() == []
        assert failed(await shop.move("run-2").facts()) == {}
        await closing()
    assert at > 20
