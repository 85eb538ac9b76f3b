"""A run that is driven while somebody gives it commands, over steps in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from crash.memory import Before, FusedStore, Sound, World, maker
from sample import sample_migration
from tidegate.engine.driver import Driver
from tidegate.engine.health import Breach, Losses
from tidegate.engine.journal import Event, Store
from tidegate.engine.run import Surroundings, drive, start
from tidegate.engine.state import RunState, fold
from tidegate.runbook.plan import Plan, make_plan
from tidegate.runbook.runbook import Runbook, Stage, StepSpec

__all__ = ["GONE", "Health", "Running", "driven", "once", "plan_of", "stage"]

PATIENCE = 8.0
GONE = Losses("Azure is gone; 3 writes are at risk", 3, "at-risk.txt")


def stage(name: str, *steps: str, **more) -> Stage:
    """Steps as "kind name"."""
    kinds = [step.split(" ") for step in steps]
    fields = {"traffic": {"to": "azure"}}
    specs = tuple(StepSpec(uses=kind, name=step, fields=fields.get(kind, {})) for kind, step in kinds)
    return Stage(name=name, phase="during", steps=specs, **more)


def plan_of(*stages: Stage) -> Plan:
    make = maker(World())
    actions = {spec.name: make(spec).plan(Before(there=False)) for each in stages for spec in each.steps}
    retreat = (StepSpec(uses="traffic", name="home", fields={"to": "aws"}),)
    return make_plan(sample_migration(), Runbook(stages=tuple(stages), retreat=retreat), actions, 0)


@dataclass
class Health:
    """`harm`: what the guard finds, or raises, once it is there. `lost`: what going back would lose, or raises."""

    harm: Breach | Exception | None = None
    lost: Losses | Exception | None = None

    async def breach(self, stage, note) -> Breach:
        while self.harm is None:
            await asyncio.sleep(0.01)
        return _given(self.harm)

    async def losses(self) -> Losses | None:
        return _given(self.lost)


def _given(what):
    if isinstance(what, Exception):
        raise what
    return what


@dataclass
class Running:
    """`store` is the one who looks's; `driving` the process's own."""

    store: Store
    driving: Store
    run: str
    task: asyncio.Task[RunState]

    @property
    def state(self) -> RunState:
        return fold(self.events)

    @property
    def events(self) -> list[Event]:
        return self.store.events(self.run)

    def kinds(self, *of: str) -> list[str]:
        return [event.kind for event in self.events if event.kind in of or not of]

    def tell(self, command: str, **more) -> Event:
        return self.store.append(self.run, "command", {"command": command, "by": "Ada", **more})

    async def until(self, condition: Callable[[RunState], object], patience: float = PATIENCE) -> RunState:
        """The first state that fulfils it."""
        try:
            async with asyncio.timeout(patience):
                while not condition(state := self.state):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{self.state.status}: {self.state.reason} {self.kinds()[-12:]}") from None
        return state

    async def ended(self) -> RunState:
        async with asyncio.timeout(PATIENCE):
            return await self.task


@asynccontextmanager
async def driven(
    folder: Path, plan: Plan | None, world: World, *, health=None, companions=(), wait: bool = True
) -> AsyncIterator[Running]:
    """A new run of the plan; without one, the folder's run again."""
    stores = FusedStore(folder), FusedStore(folder)
    stores[0].world, stores[1].world = world, World()
    run = start(stores[1], plan) if plan else stores[1].runs()[0]

    def make_health(driver: Driver):
        return health or Sound(driver)

    surroundings = Surroundings(maker(world), make_health, lambda _: [each() for each in companions])
    task = asyncio.create_task(drive(stores[0], run, surroundings, wait=wait))
    try:
        yield Running(stores[1], stores[0], run, task)
    finally:
        world.haste = True
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
        for store in stores:
            store.close()


async def once(folder: Path, plan: Plan | None, world: World, **more) -> RunState:
    """Driven without waiting for anybody."""
    async with driven(folder, plan, world, wait=False, **more) as running:
        return await running.ended()
