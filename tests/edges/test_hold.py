"""The hold service, asked as Envoy and tidegate ask it."""

import asyncio

from tidegate.edges.hold import STEPS, HoldService


async def held(service: HoldService, count: int) -> list[asyncio.Task[None]]:
    waiting = [asyncio.create_task(service.wait()) for _ in range(count)]
    await asyncio.sleep(0)
    assert service.waiting == count
    return waiting


async def test_nobody_waits_while_nothing_is_held():
    service = HoldService()
    await asyncio.wait_for(service.wait(), 1)
    assert service.state() == {"waiting": 0, "served": 0, "expired": 0, "held": 0}


async def test_what_was_held_goes_on_in_portions_in_its_order():
    service = HoldService()
    service.hold(30)
    waiting = await held(service, 2 * STEPS)
    service.release("azure")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [task.done() for task in waiting] == [True] * 2 + [False] * (2 * STEPS - 2)
    await asyncio.wait_for(service.wait(), 1)  # who comes now isn't held
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert service.state() == {"waiting": 0, "served": 2 * STEPS, "expired": 0, "held": 2 * STEPS}
    assert service.to == "azure"


async def test_a_new_hold_keeps_those_who_have_not_gone_yet():
    service = HoldService()
    service.hold(30)
    waiting = await held(service, 2 * STEPS)
    service.release()
    service.hold(30)
    await asyncio.sleep(0.1)
    assert sum(task.done() for task in waiting) == 2
    service.release()
    await asyncio.wait_for(asyncio.gather(*waiting), 5)


async def test_a_hold_ends_by_itself_and_counts_whom_it_let_go():
    service = HoldService()
    service.hold(0.01)
    waiting = await held(service, 3)
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert service.state() == {"waiting": 0, "served": 0, "expired": 3, "held": 3}


async def test_when_the_service_ends_all_go_at_once():
    service = HoldService()
    service.hold(30)
    waiting = await held(service, 100)
    service.end()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert all(task.done() for task in waiting)
