"""The saved list of actions, with a digest over what will be done."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tidegate.errors import InvalidMigration
from tidegate.runbook.migration import Migration
from tidegate.runbook.runbook import Runbook, Stage
from tidegate.runbook.step import Action

__all__ = ["Plan", "actions_digest", "make_plan", "parse_plan"]


class Plan(BaseModel):
    """`actions` by step name. Row counts and other facts that move are not in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["tidegate-plan-1"] = "tidegate-plan-1"
    made_at: float
    migration: Migration
    runbook: Runbook
    actions: dict[str, tuple[Action, ...]]
    digest: str

    def point_of_no_return(self) -> Stage | None:
        """The first stage with an action that nothing takes back."""
        for stage in self.runbook.stages:
            if any(action.undo is None for step in stage.steps for action in self.actions[step.name]):
                return stage
        return None


def actions_digest(actions: Sequence[Action]) -> str:
    return _digest([action.model_dump() for action in actions])


def make_plan(migration: Migration, runbook: Runbook, actions: Mapping[str, Sequence[Action]], made_at: float) -> Plan:
    kept = {step: tuple(of_step) for step, of_step in actions.items()}
    return Plan(
        made_at=made_at,
        migration=migration,
        runbook=runbook,
        actions=kept,
        digest=_plan_digest(migration, runbook, kept),
    )


def parse_plan(text: str, where: str) -> Plan:
    """Raises InvalidMigration if it is no plan, or not what was saved."""
    try:
        plan = Plan.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidMigration(
            f"this is no plan of this version: {place}: {first['msg']}",
            where=where,
            mend="make it with `tidegate plan -o`",
        ) from None
    if plan.digest != _plan_digest(plan.migration, plan.runbook, plan.actions):
        raise InvalidMigration(
            "the plan was changed after it was made", where=where, mend="edit the migration and plan again"
        )
    return plan


def _plan_digest(migration: Migration, runbook: Runbook, actions: Mapping[str, Sequence[Action]]) -> str:
    of_steps = {step: [action.model_dump() for action in of_step] for step, of_step in actions.items()}
    return _digest([migration.model_dump(), runbook.model_dump(), of_steps])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
