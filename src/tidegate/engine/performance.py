"""How one step is read, applied, checked and undone, so that it survives a crash anywhere in between."""

import asyncio
import time
from collections.abc import Sequence
from typing import cast

from pydantic import JsonValue

from tidegate.engine.driver import Driver, StepContext
from tidegate.engine.tasks import explained, unforeseen
from tidegate.errors import CheckFailed, InvalidMigration, LocalFault, TidegateError, Unreachable
from tidegate.runbook.plan import actions_digest
from tidegate.runbook.step import AnyStep, Facts, Finding

__all__ = ["perform", "revert"]

TOLD_EVERY = 5.0
"""Seconds: how often the figures of what is inconclusive may change in the journal."""


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
        if in_doubt:
            findings = await step.check(context, facts)
        if not in_doubt or not _accepted(findings, context, step):
            driver.add("step-began", stage=stage, step=step.name)
            await step.apply(context, facts)
            findings = await _conclusive(driver, stage, step, context, facts)
    except TidegateError as error:
        driver.add("step-failed", _failure(step, error, stopping=context.stopping()), stage=stage, step=step.name)
        raise
    except Exception as error:
        driver.add("step-failed", _failure(step, error), stage=stage, step=step.name)
        raise unforeseen(error, step.name) from error
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
    told, told_at = "", -TOLD_EVERY
    while True:
        findings = await step.check(context, facts)
        failed = [finding for finding in findings if finding.verdict == "fail"]
        if failed:
            driver.add("step-found", {"findings": _dump(findings)}, stage=stage, step=step.name)
            mends = dict.fromkeys(finding.mend for finding in failed if finding.mend)
            raise CheckFailed("; ".join(_named(f, step) for f in failed), where=step.name, mend="; ".join(mends))
        if _accepted(findings, context, step):
            break
        open_ones = [finding for finding in findings if finding.verdict == "inconclusive"]
        reason = "; ".join(finding.message for finding in open_ones)
        if reason != told and time.monotonic() - told_at >= TOLD_EVERY:
            told, told_at = reason, time.monotonic()
            by_itself = all(finding.detectable is not None for finding in open_ones)
            driver.add("step-found", {"findings": _dump(findings)}, stage=stage, step=step.name)
            driver.add("waiting", {"gate": step.name, "reason": reason, "by_itself": by_itself})
        await asyncio.sleep(0.5)
    if step.name in driver.state.waits:
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
        driver.add("step-left", _failure(step, error), stage=stage, step=step.name)
        if isinstance(error, TidegateError):
            raise
        raise unforeseen(error, step.name) from error
    driver.add("step-undone", stage=stage, step=step.name)


def _accepted(findings: Sequence[Finding], context: StepContext, step: AnyStep) -> bool:
    """By the evidence; or by somebody, where there is none. Against the evidence, nobody's word counts."""
    if context.approved(step.name):
        return all(finding.verdict != "fail" for finding in findings)
    return all(finding.verdict == "pass" for finding in findings)


def _named(finding: Finding, step: AnyStep) -> str:
    """A step with many checks says which."""
    return finding.message if finding.check.startswith(step.name) else f"{finding.check}: {finding.message}"


def _dump(findings: Sequence[Finding]) -> list[JsonValue]:
    return [finding.model_dump(mode="json") for finding in findings]


def _failure(step: AnyStep, error: Exception, *, stopping: bool = False) -> JsonValue:
    """What a server that doesn't answer hides is no evidence; nor is a fault of this machine, or to be told to stop."""
    known = isinstance(error, TidegateError)
    why, exit_code = (str(error), error.exit_code) if known else (explained(error), TidegateError.exit_code)
    silent = not known or isinstance(error, Unreachable | LocalFault | InvalidMigration)
    verdict = "inconclusive" if stopping or silent else "fail"
    exit_code = TidegateError.exit_code if stopping else exit_code
    finding = Finding(check=step.name, verdict=verdict, message=why)
    return {"error": why, "exit_code": exit_code, "findings": _dump([finding])}
