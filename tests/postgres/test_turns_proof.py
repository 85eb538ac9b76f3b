"""What both sides held at the moment of the switch is compared after it, while writes go on."""

import asyncio
import time

import pytest

from tidegate.switch.store import Ownership


def quiet(text: str, **_: object) -> None:
    pass


@pytest.fixture
async def turned(shop):
    """A store that has just turned to Azure, its sessions still open."""
    move = shop.move()
    await move.replicate(quiet)
    store = move.store("aws", 1)
    yield store
    await store.close()


async def turn(store, before_the_seal=lambda: None) -> None:
    await store.arm()
    deadline = time.monotonic() + 30
    await store.fence(deadline)
    await store.drain(deadline)
    before_the_seal()
    await store.seal(deadline)
    await store.commit(Ownership("run-1", 1, "azure"))
    await store.release()


async def test_all_is_proved_as_of_the_switch_while_the_new_owner_writes(shop, turned):
    await turn(turned)
    with shop.as_app("azure") as app:
        app.execute("delete from sales.events; update sales.customers set name = 'later'")
    proof = await turned.prove(quiet)
    assert proof.equal
    assert proof.report.rows == 10_000


async def test_a_difference_at_the_moment_of_the_switch_is_reported_although_it_is_gone_since(shop, turned):
    wrong = 'update sales."Order Lines" set amount = amount + 1 where id = 42'
    await turn(turned, lambda: shop.query("azure", wrong))
    shop.query("azure", 'update sales."Order Lines" set amount = amount - 1 where id = 42')
    proof = await turned.prove(quiet)
    assert not proof.equal
    assert not proof.inconclusive
    assert [(table.name, table.differing) for table in proof.report.mismatched] == [('sales."Order Lines"', ("(42)",))]


async def test_without_the_snapshots_the_proof_is_inconclusive_and_a_live_comparison_stands_in(shop, turned):
    await turn(turned)
    ended = """select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database()
        and application_name = 'tidegate' and state = 'idle in transaction'"""
    assert shop.query("aws", ended) == [["1"]]
    proof = await turned.prove(quiet)
    assert not proof.equal
    assert "the snapshots are gone" in proof.inconclusive
    again = shop.move().store("aws", 1)  # as when the process has died
    assert "the snapshots are gone" in (await again.prove(quiet)).inconclusive
    assert (await shop.move().verify(quiet)).mismatched == []


@pytest.mark.parametrize("how", ["proved", "closed"])
async def test_held_snapshots_keep_nothing_waiting_and_end_with_the_proof_or_the_store(shop, turned, how):
    held = """select count(*) from pg_stat_activity where datname = current_database()
        and application_name = 'tidegate' and state = 'idle in transaction'"""
    await turn(turned)
    assert shop.query("aws", held) == [["1"]]
    assert shop.query("aws", "select count(*) from pg_replication_slots where database = current_database()") == [["0"]]
    with shop.as_app("azure") as app:
        app.execute("insert into sales.customers (name) values ('mirrored')")
        while shop.query("aws", "select count(*) from sales.customers where name = 'mirrored'") == [["0"]]:
            await asyncio.sleep(0.05)
    await (turned.prove(quiet) if how == "proved" else turned.close())
    for cloud in ("aws", "azure"):
        while shop.query(cloud, held) != [["0"]]:
            await asyncio.sleep(0.05)


async def test_reopened_no_snapshot_is_kept(shop, turned):
    await turned.arm()
    deadline = time.monotonic() + 30
    await turned.fence(deadline)
    await turned.drain(deadline)
    await turned.seal(deadline)
    await turned.reopen()
    assert "the snapshots are gone" in (await turned.prove(quiet)).inconclusive
