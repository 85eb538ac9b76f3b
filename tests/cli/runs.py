"""Runs of the real engine over steps in memory, as commands of the command line find them."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from crash.memory import KINDS, Put, Sound, World
from sample import sample_migration
from tidegate.engine.health import Losses
from tidegate.engine.journal import Store
from tidegate.engine.run import Surroundings, drive, start
from tidegate.engine.state import RunState, fold
from tidegate.runbook.plan import Plan, make_plan
from tidegate.runbook.runbook import Runbook, Stage, StepSpec
from tidegate.runbook.step import Action

__all__ = ["Slow", "command_names", "driven", "finished_run", "memory_driver", "plan_of", "state_of", "until"]

PATIENCE = 20


class Slow(Put):
    """At work until it is cancelled, or its world says that it may end."""

    async def apply(self, context, facts) -> None:
        context.note("at work")
        while "haste" not in self.world().present:
            await asyncio.sleep(0.01)
        await super().apply(context, facts)


def plan_of(*, slow: bool = False, approval: bool = True, irreversible: bool = True, **migration) -> Plan:
    """Three stages: copy, shift (guarded), finish (approved, and for good)."""
    runbook = Runbook(
        stages=(
            Stage(
                name="copy",
                phase="before",
                steps=(StepSpec(uses="slow" if slow else "put", name="rows"), StepSpec(uses="put", name="objects")),
            ),
            Stage(
                name="shift",
                phase="during",
                guarded=True,
                on_failure="roll back",
                steps=(StepSpec(uses="traffic", name="half", fields={"to": "both"}),),
            ),
            Stage(
                name="finish",
                phase="after",
                approval="the mirror ends" if approval else None,
                steps=(StepSpec(uses="put", name="finished"),),
            ),
        ),
        retreat=(StepSpec(uses="traffic", name="home", fields={"to": "aws"}),),
    )
    planned = {name: [_action(name, "take it away")] for name in ("rows", "objects", "half")}
    planned["finished"] = [_action("finished", None if irreversible else "take it away")]
    return make_plan(sample_migration(**migration), runbook, planned, 0)


def _action(name: str, undo: str | None) -> Action:
    return Action(verb="create", target=name, detail="put it there", undo=undo)


class Lasting(Put):
    """The finish of these runbooks, whose action nothing takes back."""

    irreversible: bool = True

    def plan(self, facts):
        return [_action(self.name, None if self.irreversible else "take it away")]


def memory_driver(
    world: World, *, harm_in: str = "", losses: Losses | None = None, irreversible: bool = True
) -> Callable[..., object]:
    """What stands for engine.surroundings.drive_migration."""

    def make(spec: StepSpec):
        kinds = {**KINDS, "slow": Slow}
        if spec.name == "finished":
            return Lasting(uses=spec.uses, name=spec.name, world=lambda: world, irreversible=irreversible)
        return kinds[spec.uses](uses=spec.uses, name=spec.name, world=lambda: world, **spec.fields)

    surroundings = Surroundings(make, lambda driver: Sound(driver, harm_in, losses), lambda _: [])

    async def drive_in_memory(store: Store, run: str, *, wait: bool = True, instead: str = "") -> RunState:
        return await drive(store, run, surroundings, wait=wait, instead=instead)

    return drive_in_memory


def finished_run(folder: Path, plan: Plan | None = None, world: World | None = None, **fate) -> str:
    """A run driven as far as it goes without anybody's approval."""
    store = Store(folder)
    run = start(store, plan or plan_of(approval=False))
    asyncio.run(memory_driver(world or World(), **fate)(store, run, wait=False))
    store.close()
    return run


@contextmanager
def driven(folder: Path, plan: Plan, world: World, **fate) -> Iterator[str]:
    """A run that another thread drives; it has ended, or is hurried to its end, when the block is left."""
    store = Store(folder)
    run = start(store, plan)
    thread = threading.Thread(target=lambda: asyncio.run(memory_driver(world, **fate)(store, run)))
    thread.start()
    try:
        yield run
    finally:
        if thread.is_alive():
            world.present.add("haste")
            store.append(run, "command", {"command": "abort", "by": "the test"})
        thread.join(PATIENCE)
        store.close()
        assert not thread.is_alive()


def state_of(folder: Path, run: str) -> RunState:
    store = Store(folder)
    try:
        return fold(store.events(run))
    finally:
        store.close()


def until(folder: Path, run: str, condition: Callable[[RunState], bool]) -> RunState:
    """The first state that fulfils the condition."""
    deadline = time.monotonic() + PATIENCE
    while not condition(state := state_of(folder, run)):
        assert time.monotonic() < deadline, f"{state.status}: {state.reason}"
        time.sleep(0.02)
    return state


def command_names(state: RunState) -> list[str]:
    return [str(command.figure("command")) for command in state.commands]
