"""A Migration compiled to its Runbook. Pure: the same file always gives the same runbook."""

from collections.abc import Iterable

from pydantic import JsonValue

from tidegate.errors import InvalidMigration
from tidegate.runbook.migration import Bucket, ExtraStep, ManualStep, Migration, Shift
from tidegate.runbook.runbook import FORCED, Runbook, Stage, StepSpec

__all__ = ["compile_runbook"]


def compile_runbook(migration: Migration) -> Runbook:
    """Raises InvalidMigration if a step is to stand beside a stage that there isn't."""
    stages = [*_before(migration), *_during(migration), *_after(migration)]
    return Runbook(
        stages=tuple(_with_extra_steps(stages, migration)),
        retreat=(StepSpec(uses="traffic-home", name="traffic-home"),),
    )


def _before(migration: Migration) -> list[Stage]:
    followed = [name for name in migration.stores if name not in migration.restored]
    stages = [
        Stage(name="preflight", phase="before", steps=(StepSpec(uses="preflight", name="preflight"),)),
        Stage(name="replicate", phase="before", steps=_store_steps(migration, "replicate", followed)),
        Stage(name="verify", phase="before", steps=_store_steps(migration, "verify", followed)),
        Stage(name="endpoints", phase="before", steps=(StepSpec(uses="endpoints", name="endpoints"),)),
    ]
    return [stage for stage in stages if stage.steps]


def _during(migration: Migration) -> list[Stage]:
    if migration.strategy == "window":
        return [*_restore(migration), *_switch(migration, moves_traffic=True)]
    stages: list[Stage] = []
    for entry in migration.shift:
        stages += [_shift(migration, entry)] if isinstance(entry, Shift) else _switch(migration, moves_traffic=False)
    return stages


def _restore(migration: Migration) -> list[Stage]:
    """What has to be closed before it can be copied: nobody is served meanwhile."""
    if not migration.restored:
        return []
    maintenance = StepSpec(uses="maintenance", name="maintenance")
    stages = {"maintenance": (maintenance,)} | {
        stage: _store_steps(migration, verb, migration.restored)
        for stage, verb in (
            ("close", "close"),
            ("backup", "backup"),
            ("transfer", "transfer"),
            ("restore", "restore"),
            ("verify restored", "verify"),
        )
    }
    return [Stage(name=name, phase="during", steps=steps, on_failure="roll back") for name, steps in stages.items()]


def _shift(migration: Migration, shift: Shift) -> Stage:
    fields: dict[str, JsonValue] = {
        "shift": shift.model_dump(mode="json", exclude_none=True, exclude={"bake"}),
        "bake": shift.bake or migration.objectives.bake,
    }
    step = StepSpec(uses="shift", name=f"shift-{shift.label.strip('/')}", fields=fields)
    return Stage(name=f"shift {shift.label}", phase="during", steps=(step,), guarded=True, on_failure="roll back")


def _switch(migration: Migration, *, moves_traffic: bool) -> list[Stage]:
    """The switch, and the proof that follows it while health is watched."""
    switch = StepSpec(uses="switch", name="switch", fields={"moves_traffic": moves_traffic})
    watch = StepSpec(uses="watch", name="watch-switch", fields={"seconds": migration.objectives.bake})
    proofs = _store_steps(migration, "prove", migration.stores)
    return [
        Stage(name="switch", phase="during", steps=(switch,), guarded=True, on_failure="roll back"),
        Stage(name="prove", phase="during", steps=(*proofs, watch), guarded=True, on_failure="roll back"),
    ]


def _after(migration: Migration) -> list[Stage]:
    watch = StepSpec(uses="watch", name="watch", fields={"seconds": migration.objectives.watch})
    finishes = _store_steps(migration, "finish", migration.stores)
    return [
        Stage(name="watch", phase="after", steps=(watch,), guarded=True, on_failure="roll back"),
        Stage(
            name="finish",
            phase="after",
            steps=finishes,
            approval="the mirror to AWS ends here: from then on there is no way back without loss",
        ),
    ]


def _store_steps(migration: Migration, verb: str, names: Iterable[str]) -> tuple[StepSpec, ...]:
    return tuple(_store_step(migration, verb, name) for name in names)


def _store_step(migration: Migration, verb: str, name: str) -> StepSpec:
    kind = "bucket" if isinstance(migration.stores[name], Bucket) else "database"
    return StepSpec(uses=f"{kind}-{verb}", name=f"{verb}-{name}", fields={"store": name})


def _with_extra_steps(stages: list[Stage], migration: Migration) -> list[Stage]:
    for extra in migration.steps:
        place = next((index for index, stage in enumerate(stages) if stage.name == extra.stage), None)
        if place is None:
            names = ", ".join(stage.name for stage in stages)
            raise InvalidMigration(
                f"there is no stage {extra.stage!r}", where=f"steps.{extra.name}", mend=f"the stages are: {names}"
            )
        stages.insert(place + (extra.place == "after"), _extra_stage(extra, stages[place]))
    own = {extra.name for extra in migration.steps}
    taken = [name for stage in stages for name in {stage.name, *(step.name for step in stage.steps)}]
    if twice := {name for name in own if taken.count(name) > 1 or name == FORCED}:
        raise InvalidMigration(f"the name {min(twice)} is taken", where="steps", mend="give that step another name")
    names = [stage.name for stage in stages]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InvalidMigration(f"two stages are called {min(twice)!r}", where="shift", mend="drop one")
    return stages


def _extra_stage(extra: ExtraStep, beside: Stage) -> Stage:
    """It may take its time: users who are on Azure already are watched over meanwhile."""
    if isinstance(extra, ManualStep):
        fields: dict[str, JsonValue] = {
            "owner": extra.owner,
            "instructions": extra.instructions,
            "take_back": extra.undo,
        }
        spec = StepSpec(uses="manual", name=extra.name, fields=fields)
    else:
        document = extra.model_dump(mode="json")
        fields = {
            "argv": document["argv"],
            "checked_by": document["check"],
            "take_back": document["undo"],
            "timeout": extra.timeout,
        }
        spec = StepSpec(uses="command", name=extra.name, fields=fields)
    guarded = beside.guarded or (beside.name == "finish" and extra.place == "before")
    return Stage(name=extra.name, phase=beside.phase, steps=(spec,), guarded=guarded)
