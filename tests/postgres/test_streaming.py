"""A stream that doesn't come is told with the reason, not waited for without an end."""

import asyncio

import pytest

from tidegate.errors import DeadlinePassed
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
