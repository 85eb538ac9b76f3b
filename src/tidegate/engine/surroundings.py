"""What a real run is surrounded by: its steps bound to the planes, its guard, and what runs beside it."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from tidegate.engine.driver import Driver
from tidegate.engine.health import Breach, Losses
from tidegate.engine.journal import Store
from tidegate.engine.run import Surroundings, drive
from tidegate.engine.state import RunState, fold
from tidegate.runbook.runbook import Stage
from tidegate.steps import Workload, make
from tidegate.steps.companions import beat, follow, traffic
from tidegate.steps.guard import at_risk, breach

__all__ = ["drive_migration"]


async def drive_migration(store: Store, run: str, *, wait: bool = True, instead: str = "") -> RunState:
    """Drive a run over the servers that its migration names. See engine.run.drive."""
    plan = fold(store.events(run)).plan
    workload = Workload(plan.migration, run, store.folder / "runs" / run)
    surroundings = Surroundings(
        make=lambda spec: make(spec, workload),
        health=lambda driver: _Guard(driver, workload, store.folder),
        companions=lambda driver: _companions(driver, workload),
    )
    try:
        return await drive(store, run, surroundings, wait=wait, instead=instead)
    finally:
        await workload.close()


class _Guard:
    """Implements engine.health.Health."""

    def __init__(self, driver: Driver, workload: Workload, folder: Path) -> None:
        self.driver, self.workload, self.folder = driver, workload, folder

    async def breach(self, stage: Stage, note: Callable[[str], None]) -> Breach:
        del stage
        return await breach(self.workload, note)

    async def losses(self) -> Losses | None:
        if not _switched(self.driver.state):
            return None
        loss = await at_risk(self.workload, self.folder)
        return Losses(loss.text, loss.writes, loss.file) if loss else None


def _companions(driver: Driver, workload: Workload) -> list[Coroutine[object, object, None]]:
    def replicated(name: str) -> Callable[[], bool]:
        return lambda: driver.state.step(f"replicate-{name}").status == "done" and not _finishing(driver.state)

    def note(name: str) -> Callable[[str], None]:
        return lambda text: cast("None", driver.add("noted", {"text": f"{name}: {text}"}))

    def add(sample: dict[str, JsonValue]) -> None:
        driver.add("traffic", cast("JsonValue", sample))

    return [
        traffic(workload, add),
        beat(workload, lambda: _switched(driver.state) and not _finishing(driver.state)),
        *(follow(bucket, replicated(name), note(name)) for name, bucket in workload.buckets.items()),
    ]


def _switched(state: RunState) -> bool:
    """Azure owns the writes, or may: only its database knows whether a switch that was begun has committed."""
    kept = state.step("switch").kept
    return kept.get("forward") is not None and kept.get("back") != "done" and state.step("switch").status != "undone"


def _finishing(state: RunState) -> bool:
    return any(step.began is not None for stage in state.stages if stage.name == "finish" for step in stage.steps)
