"""Journals of the sample migration, told event by event on a clock of their own."""

import random
from collections.abc import Callable
from typing import Any

from sample import sample_migration
from tidegate.engine.journal import Event
from tidegate.runbook.compile import compile_runbook
from tidegate.runbook.plan import Plan, make_plan
from tidegate.runbook.runbook import Stage
from tidegate.runbook.step import Action, Finding

__all__ = ["Teller", "incremental", "rehearsed", "rolled_back", "sample_plan"]

NOON = 1_764_000_000.0
MARKS = {
    "quiet ms": 61.2,
    "fenced ms": 96.4,
    "drained ms": 148.9,
    "sealed ms": 236.0,
    "committed ms": 251.3,
    "open ms": 289.1,
    "acknowledged ms": 371.5,
    "released ms": 402.8,
    "mirrored ms": 655.0,
}


def sample_plan() -> Plan:
    migration = sample_migration()
    runbook = compile_runbook(migration)
    actions: dict[str, list[Action]] = {}
    for stage in runbook.stages:
        for step in stage.steps:
            undo = None if step.uses.endswith("finish") else "take it back"
            verb = "delete" if undo is None else "change"
            actions[step.name] = [Action(verb=verb, target=step.name, detail=f"what {step.uses} does", undo=undo)]
    return make_plan(migration, runbook, actions, NOON - 600)


class Teller:
    """Traffic is sampled every second that passes, with the share that Azure has at the time."""

    def __init__(self, plan: Plan, seed: int = 1) -> None:
        self.plan, self.events, self.at = plan, list[Event](), NOON
        self.due = NOON + 1
        self.random, self.azure, self.failing = random.Random(seed), 0.0, 0.0
        self.tell("created", {"plan": plan.model_dump(mode="json")})
        self.tell("begun", {"pid": 4711, "host": "laptop", "epoch": 1})

    def tell(self, kind: str, data: Any = None, *, stage: str = "", step: str = "") -> None:
        seq = len(self.events) + 1
        self.events.append(Event(seq, "shop-1", self.at, kind, stage, step, data, f"{seq:064x}"))

    def wait(self, seconds: float) -> None:
        end = self.at + seconds
        while self.due <= end:
            self.at, self.due = self.due, self.due + 1
            requests = 200 + self.random.gauss(0, 4)
            azure = min(1.0, max(0.0, self.azure + (self.random.gauss(0, 0.01) if 0 < self.azure < 1 else 0)))
            lag = {"orders": self.random.expovariate(1 / 30_000), "receipts": float(self.random.randrange(12))}
            errors = requests * azure * self.failing
            shares = {"aws": 1 - azure, "azure": azure}
            self.tell("traffic", {"requests": requests, "errors": errors, "lag": lag} | shares)
        self.at = end

    def stage(self, stage: Stage, seconds: float, *, during: Callable[[], None] | None = None) -> None:
        self.tell("stage-began", stage=stage.name)
        for step in stage.steps:
            self.tell("step-reading", stage=stage.name, step=step.name)
            self.tell("step-read", {}, stage=stage.name, step=step.name)
            self.tell("step-began", stage=stage.name, step=step.name)
        if during:
            during()
        self.wait(seconds)
        for step in stage.steps:
            if step.uses.endswith(("verify", "prove")):
                bucket = step.uses.startswith("bucket")
                counts = {"objects": 2_413} if bucket else {"rows": 214_882, "tables": 8}
                value = counts | {"wrong": ""}
                self.tell("step-kept", {"key": "report", "value": value}, stage=stage.name, step=step.name)
            found = self.finding(step.name, step.uses).model_dump(mode="json")
            self.tell("step-done", {"findings": [found]}, stage=stage.name, step=step.name)
        self.tell("stage-done", stage=stage.name)

    def finding(self, name: str, uses: str) -> Finding:
        if uses in ("shift", "watch"):
            message = "Azure answered 1,204 requests, 0 failed; an error rate of 1.4% would have shown"
            return Finding(check=f"{name}.health", verdict="pass", message=message, observed=1204, detectable=0.014)
        return Finding(check=name, verdict="pass", message=f"{name} is as it should be")

    def switched(self, owner: str, step: str = "switch") -> None:
        self.wait(1.655)
        self.tell("step-note", {"text": f"{owner} owns the writes", "figures": dict(MARKS)}, stage="switch", step=step)

    def forward(self, *, until: str = "") -> None:
        """Through the stages up to this one, or to the end."""
        for stage in self.plan.runbook.stages:
            if stage.name == until:
                return
            if stage.approval:
                self.tell("waiting", {"gate": stage.name, "reason": stage.approval})
                self.wait(4)
                self.tell("command", {"command": "approve", "gate": stage.name, "by": "maria"})
                self.tell("passed", {"gate": stage.name, "by": "maria"})
            if stage.name.startswith("shift"):
                spec = stage.steps[0].fields["shift"]
                percent = spec.get("percent") if isinstance(spec, dict) else None
                self.azure = float(percent) / 100 if isinstance(percent, int | float) else self.azure + 0.01
            turn = stage.name == "switch"
            self.stage(stage, 7, during=(lambda: self.switched("azure")) if turn else None)

    def finish(self, outcome: str, reason: str) -> None:
        self.tell("finished", {"outcome": outcome, "reason": reason})


def incremental(plan: Plan) -> list[Event]:
    teller = Teller(plan)
    teller.forward()
    teller.finish("migrated", "every stage is done")
    return teller.events


def rolled_back(plan: Plan) -> list[Event]:
    """Azure starts failing once it owns the writes."""
    teller = Teller(plan)
    teller.forward(until="shift 100%")
    teller.azure = 1.0
    teller.tell("stage-began", stage="shift 100%")
    teller.tell("step-began", stage="shift 100%", step="shift-100%")
    teller.wait(5)
    teller.tell("fault", {"text": "the shop on Azure fails 20 % of its requests"})
    teller.failing = 0.2
    teller.wait(3)
    reason = "azure fails 19.4% of requests of everybody, aws 0.0% before; the chance of a false alarm is 1 in 3,100"
    teller.tell("breach", {"verdict": "roll back", "reason": reason, "segment": "everybody", "stage": "shift 100%"})
    teller.tell("decided", {"decision": "rollback", "reason": reason})
    teller.azure = teller.failing = 0.0
    teller.wait(1)
    touched = {event.stage for event in teller.events}
    for stage in reversed([stage for stage in plan.runbook.stages if stage.name in touched]):
        for step in reversed(stage.steps):
            teller.tell("step-undoing", stage=stage.name, step=step.name)
            if stage.name == "switch":
                teller.switched("aws")
            teller.wait(0.3)
            teller.tell("step-undone", stage=stage.name, step=step.name)
        teller.tell("stage-undone", stage=stage.name)
    teller.wait(2)
    teller.finish("rolled-back", reason)
    return teller.events


def rehearsed(**changes: Any) -> dict[str, Any]:
    return {
        "scenario": "incremental",
        "outcome": "migrated",
        "run": "shop-1",
        "report": "report.html",
        "requests": {"total": 24_112, "failed": 0, "held": 83},
        "writes": {"acknowledged": 4_821, "lost": 0, "duplicated": 0},
        "rows": {"verified": 214_882, "mismatched": 0},
        "objects": {"verified": 2_413, "mismatched": 0},
        "seconds": {"total": 121.4, "writes_stopped": 0.402, "detect": None, "rollback": None},
        "stages": [],
        "promises": [
            {"promise": "no request fails", "kept": True, "observed": "0 of 24,112"},
            {"promise": "no acknowledged write is lost or duplicated", "kept": True, "observed": "0 of 4,821"},
            {"promise": "every row and object is the same on both sides", "kept": True, "observed": "217,295 compared"},
            {"promise": "writes stop for less than 500 ms", "kept": True, "observed": "402 ms"},
        ],
    } | changes
