"""A database that was closed, backed up and restored moves by the same switch; what gives it up leaves it closed."""

import time

import psycopg
import pytest

from tidegate.errors import CheckFailed, DeadlinePassed
from tidegate.postgres.archive.backup import backup
from tidegate.postgres.archive.key import Key
from tidegate.postgres.archive.restore import restore
from tidegate.postgres.archive.vault import FolderVault
from tidegate.postgres.restored import close_source, source_closed
from tidegate.switch.store import Ownership

INSERT = 'insert into sales."Order Lines" (key, customer_id) values (%s, 1)'
REFUSED = pytest.raises(psycopg.OperationalError, match="not permitted to log in")
BACKUP = {"place": "/nowhere", "key": "env:KEY", "folder": "/nowhere"}


def silent(_: object) -> None:
    pass


@pytest.fixture
async def move(shop):
    shop.spec = shop.spec.model_validate(shop.spec.model_dump() | {"method": "restore", "backup": BACKUP})
    move = shop.move()
    yield move
    await move.remove()


@pytest.fixture
async def restored(move, tmp_path):
    """Closed, backed up, restored."""
    await close_source(move.aws, move.names, time.monotonic() + 10)
    vault, key = FolderVault(tmp_path / "vault"), Key(b"k" * 32)
    given = {"folder": tmp_path / "plain", "note": silent, "progress": silent}
    await backup(move.aws, move.names, vault, key, major=18, **given)
    report = await restore(vault, move.azure, move.names, key, passwords=move.spec.passwords, **given)
    assert report.equal
    return move


async def test_closed_nobody_writes_until_it_is_taken_back(shop, move):
    before = shop.query("aws", "select rolname, rolcanlogin from pg_roles order by 1")
    with shop.as_app("aws") as app:
        await close_source(move.aws, move.names, time.monotonic() + 10)
        with pytest.raises(psycopg.OperationalError):
            app.execute(INSERT, ("late",))
    assert await source_closed(move.aws, move.names)
    with REFUSED:
        shop.as_app("aws")
    await move.remove()
    assert not await source_closed(move.aws, move.names)
    assert shop.query("aws", "select rolname, rolcanlogin from pg_roles order by 1") == before
    with shop.as_app("aws") as app:
        app.execute(INSERT, ("again",))


async def test_not_closed_in_time_it_is_open_as_before(shop, move):
    with psycopg.connect(shop.aws.full_dsn(shop.name)) as admin:
        admin.execute("insert into sales.customers (name) values ('slow')")
        with pytest.raises(DeadlinePassed, match=r"RowExclusiveLock of postgres on sales\.customers"):
            await close_source(move.aws, move.names, time.monotonic() + 0.5)
        admin.rollback()
    assert not await source_closed(move.aws, move.names)
    with shop.as_app("aws") as app:
        app.execute(INSERT, ("as before",))


async def test_it_needs_no_stream_and_what_is_written_afterwards_comes_back(shop, restored):
    await shop.turn(restored, "aws", 1)
    with shop.as_app("azure") as app:
        app.execute(INSERT, ("on azure",))
    with REFUSED:
        shop.as_app("aws")
    assert (await restored.verify(silent)).equal
    await shop.turn(restored, "azure", 2)
    assert shop.query("aws", "select key from sales.\"Order Lines\" where key = 'on azure'") == [["on azure"]]
    with shop.as_app("aws") as app:
        app.execute(INSERT, ("home again",))


async def test_a_switch_that_is_given_up_leaves_it_closed_and_can_be_tried_again(shop, restored):
    store = restored.store("aws", 1)
    await store.arm()
    assert await store.lag() == 0
    await store.fence(time.monotonic() + 10)
    await store.seal(time.monotonic() + 10)
    await store.reopen()
    await store.close()
    with REFUSED:
        shop.as_app("aws")
    await shop.turn(restored, "aws", 1)
    assert await restored.ownership() == Ownership("run-1", 1, "azure")
    with shop.as_app("azure") as app:
        app.execute(INSERT, ("on azure",))


async def test_without_anything_restored_there_is_no_switch(move):
    await close_source(move.aws, move.names, time.monotonic() + 10)
    store = move.store("aws", 1)
    with pytest.raises(CheckFailed, match="nothing is restored there"):
        await store.arm()
    await store.close()


async def test_the_preflight_asks_for_nothing_that_only_a_stream_would_need(shop, move):
    asked = {finding.check for finding in (await move.facts()).findings}
    assert not asked & {"wal_kept", "slot_timeout"}
    assert {"aws.wal_level", "azure.wal_level", "keys", "aws.workers"} <= asked, "the way back needs them"
