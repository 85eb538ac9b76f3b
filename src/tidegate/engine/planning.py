"""A migration's plan: facts read, actions listed, nothing changed."""

import tempfile
import time
from pathlib import Path

from pydantic import JsonValue

from tidegate.runbook.compile import compile_runbook
from tidegate.runbook.migration import Migration
from tidegate.runbook.plan import Plan, make_plan
from tidegate.runbook.step import Action, Finding
from tidegate.steps import Workload, make

__all__ = ["plan_migration"]


class PlanContext:
    """A step sees the migration; there is no run yet, so nothing is kept. Implements runbook.step.Context."""

    run = "plan"
    forced = False

    def __init__(self, migration: Migration) -> None:
        self.migration = migration

    def note(self, text: str, **figures: float | str) -> None:
        pass

    def remember(self, key: str, value: JsonValue) -> None:
        pass

    def recall(self, key: str) -> JsonValue:
        del key
        return None

    def stopping(self) -> bool:
        return False

    def approved(self, gate: str) -> str | None:
        del gate
        return None


async def plan_migration(migration: Migration) -> tuple[Plan, list[Finding]]:
    """The plan, and what the preflight finds now. Raises Unreachable or Refused if a server can't be asked."""
    runbook, context = compile_runbook(migration), PlanContext(migration)
    actions: dict[str, tuple[Action, ...]] = {}
    findings: list[Finding] = []
    with tempfile.TemporaryDirectory() as folder:
        workload = Workload(migration, PlanContext.run, Path(folder))
        try:
            for stage in runbook.stages:
                for spec in stage.steps:
                    step = make(spec, workload)
                    facts = await step.read(context)
                    actions[spec.name] = tuple(step.plan(facts))
                    if spec.uses == "preflight":
                        findings += await step.check(context, facts)
        finally:
            await workload.close()
    return make_plan(migration, runbook, actions, time.time()), findings
