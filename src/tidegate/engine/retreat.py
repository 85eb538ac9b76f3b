"""The way back: traffic home first, then every touched step undone, the last one first."""

from collections.abc import Callable, Coroutine

from tidegate.engine.driver import Driver
from tidegate.engine.obedience import Obedience, Stopped
from tidegate.engine.performance import perform, revert
from tidegate.engine.work import Work
from tidegate.errors import TidegateError
from tidegate.runbook.runbook import StepSpec
from tidegate.runbook.step import AnyStep

__all__ = ["retreat"]

Piece = Callable[[Driver, str, AnyStep], Coroutine[object, object, None]]


async def retreat(obedience: Obedience, make: Callable[[StepSpec], AnyStep]) -> None:
    """Raises Stopped if a step can't be undone, or somebody breaks it off; resumed, it goes on with what is left."""
    driver, runbook = obedience.driver, obedience.state.plan.runbook
    for spec in runbook.retreat:
        await _whole(obedience, perform, "retreat", make(spec))
    for stage, state in reversed([*zip(runbook.stages, obedience.state.stages, strict=True)]):
        for spec in reversed(stage.steps):
            await _whole(obedience, revert, stage.name, make(spec))
        if state.status not in ("pending", "undone"):
            driver.add("stage-undone", stage=stage.name)
    decision = obedience.state.decision
    driver.add("finished", {"outcome": "rolled-back", "reason": str(decision.figure("reason")) if decision else ""})


async def _whole(obedience: Obedience, piece: Piece, stage: str, step: AnyStep) -> None:
    while True:
        await obedience.obey_on_the_way_back()
        if await _done(obedience, piece, stage, step):
            return


async def _done(obedience: Obedience, piece: Piece, stage: str, step: AnyStep) -> bool:
    """False if it failed, and somebody knows what to do about it."""
    driver = obedience.driver
    work = Work(driver, {piece(driver, stage, step): step}, wait=obedience.wait)
    await work.run(meanwhile=obedience.refuse_pauses)
    if work.failure is None:
        if work.in_vain and not work.whole:
            raise Stopped
        return work.whole
    if not isinstance(work.failure, TidegateError):
        raise work.failure
    if driver.stop_asked is None:
        obedience.stop(f"the rollback is incomplete: {work.failure.brief}", work.failure.mend or "see to that")
    return False
