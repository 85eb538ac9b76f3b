"""How one step is read, applied, checked and undone, so that it survives a crash anywhere in between."""

import asyncio
from collections.abc import Sequence
from typing import cast

from pydantic import JsonValue

from tidegate.engine.driver import Driver, StepContext
from tidegate.errors import CheckFailed, TidegateError, Unreachable
from tidegate.runbook.plan import actions_digest
from tidegate.runbook.step import AnyStep, Facts, Finding

__all__ = ["perform", "revert"]


async def perform(driver: Driver, stage: str, step: AnyStep) -> None:
    """Return when the step's checks pass. Raises what the step raises, after journalling it."""
    state = driver.state.find(stage, step.name)
    assert state is not None, "only steps of the plan are performed"
    if state.status == "done":
        return
    context = StepContext(driver, stage, step.name)
    try:
        if state.began is None:
            facts = await _read(driver, stage, step, context)
            in_doubt = False
        else:
            facts = step.facts_type.model_validate(state.facts)
            in_doubt = True
        findings: Sequence[Finding] = ()
        # Whether an interrupted effect took place, only the outside world knows.
        done = in_doubt and _passed(findings := await step.check(context, facts))
        if not done:
            driver.add("step-began", stage=stage, step=step.name)
            await step.apply(context, facts)
            findings = await _conclusive(driver, stage, step, context, facts)
    except TidegateError as error:
        driver.add("step-failed", _failure(str(error), step, error), stage=stage, step=step.name)
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        driver.add("step-failed", {"error": why}, stage=stage, step=step.name)
        raise TidegateError(why, where=step.name, mend="this is a defect of tidegate; resume, or roll back") from error
    driver.add("step-done", {"findings": _dump(findings)}, stage=stage, step=step.name)


async def _read(driver: Driver, stage: str, step: AnyStep, context: StepContext) -> Facts:
    driver.add("step-reading", stage=stage, step=step.name)
    facts = cast("Facts", await step.read(context))
    planned = driver.state.plan.actions
    if stage != "retreat" and actions_digest(step.plan(facts)) != actions_digest(planned[step.name]):
        raise CheckFailed(
            "what it would do now is not what was planned", where=step.name, mend="plan again, or undo what changed"
        )
    driver.add("step-read", facts.model_dump(mode="json"), stage=stage, step=step.name)
    return facts


async def _conclusive(
    driver: Driver, stage: str, step: AnyStep, context: StepContext, facts: Facts
) -> Sequence[Finding]:
    """Check until every finding passes, or somebody accepts what can't be measured. Raises CheckFailed."""
    while True:
        findings = await step.check(context, facts)
        failed = [finding for finding in findings if finding.verdict == "fail"]
        if failed:
            driver.add("step-found", {"findings": _dump(findings)}, stage=stage, step=step.name)
            raise CheckFailed("; ".join(f.message for f in failed), where=step.name)
        if _passed(findings):
            break
        open_ones = "; ".join(f.message for f in findings if f.verdict == "inconclusive")
        if driver.state.waiting is None or driver.state.waiting.reason != open_ones:
            driver.add("step-found", {"findings": _dump(findings)}, stage=stage, step=step.name)
            driver.add("waiting", {"gate": step.name, "reason": open_ones})
        await asyncio.sleep(0.5)
        if context.approved(step.name):
            break
    if driver.state.waiting is not None and driver.state.waiting.gate == step.name:
        driver.add("passed", {"gate": step.name, "by": context.approved(step.name)})
    return findings


async def revert(driver: Driver, stage: str, step: AnyStep) -> None:
    """Undo what the step may have done. Raises what the step raises, after journalling it."""
    state = driver.state.find(stage, step.name)
    assert state is not None, "only steps of the plan are undone"
    if not state.touched:
        return
    context = StepContext(driver, stage, step.name)
    driver.add("step-undoing", stage=stage, step=step.name)
    try:
        await step.undo(context, step.facts_type.model_validate(state.facts))
    except Exception as error:
        driver.add("step-left", _failure(str(error), step, error), stage=stage, step=step.name)
        if isinstance(error, TidegateError):
            raise
        raise TidegateError(f"{type(error).__name__}: {error}", where=step.name, mend="resume to try again") from error
    driver.add("step-undone", stage=stage, step=step.name)


def _passed(findings: Sequence[Finding]) -> bool:
    return all(finding.verdict == "pass" for finding in findings)


def _dump(findings: Sequence[Finding]) -> list[JsonValue]:
    return [finding.model_dump(mode="json") for finding in findings]


def _failure(why: str, step: AnyStep, error: Exception) -> JsonValue:
    verdict = "inconclusive" if isinstance(error, Unreachable) else "fail"
    finding = Finding(check=step.name, verdict=verdict, message=why)
    return {"error": why, "findings": _dump([finding])}
