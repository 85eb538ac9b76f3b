"""What a Migration compiles to: stages of steps, as data."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

__all__ = ["FORCED", "Phase", "Runbook", "Stage", "StepSpec"]

Phase = Literal["before", "during", "after"]
FORCED = "forced-rollback"
"""The gate at which a human accepts to lose writes; no stage's."""


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StepSpec(Model):
    """A step of the kind `uses`; `fields` are that kind's own."""

    uses: str
    name: str
    fields: dict[str, JsonValue] = {}


class Stage(Model):
    """Its steps run side by side; stages run in order."""

    name: str
    phase: Phase
    steps: tuple[StepSpec, ...]
    approval: str | None = None
    """What a human has to approve before the stage begins."""
    guarded: bool = False
    """Health is judged while it runs; a breach rolls back, or pauses when AWS is ill too."""
    on_failure: Literal["stop", "roll back"] = "stop"
    """What a failed check does. A server that doesn't answer always stops: the run can be resumed."""


class Runbook(Model):
    stages: tuple[Stage, ...]
    retreat: tuple[StepSpec, ...] = ()
    """Applied first when a run rolls back: traffic goes home before anything else is undone."""

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)
