"""What a rehearsal has shown, and whether its scenario kept what it promises. Pure."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from tidegate.engine.state import RunState, StepState
from tidegate.lab.audit import Audit
from tidegate.lab.ledger import Ledger
from tidegate.lab.scenarios import Scenario

__all__ = ["Evidence", "Promise", "Verdict", "judge"]

Document = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Evidence:
    """`at_risk`: the writes that a forced rollback had named. `total`: seconds since the lab began to start."""

    scenario: Scenario
    state: RunState
    ledger: Ledger
    audit: Audit
    held: int | None
    at_risk: list[str]
    total: float
    report: Path


@dataclass(frozen=True, slots=True)
class Promise:
    promise: str
    kept: bool
    observed: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`document` is what `rehearse --json` writes."""

    promises: tuple[Promise, ...]
    document: Document

    @property
    def kept(self) -> bool:
        return all(promise.kept for promise in self.promises)


def judge(evidence: Evidence) -> Verdict:
    return Verdict(tuple(_promises(evidence)), _document(evidence))


def _document(evidence: Evidence) -> Document:
    state, ledger, audit = evidence.state, evidence.ledger, evidence.audit
    rows, objects = _compared(state, "database"), _compared(state, "bucket")
    stages: list[JsonValue] = [
        {"name": stage.name, "seconds": None if stage.seconds is None else round(stage.seconds, 3)}
        for stage in state.stages
    ]
    return {
        "scenario": evidence.scenario.name,
        "outcome": state.status,
        "run": state.run,
        "report": str(evidence.report),
        "requests": {
            "total": len(ledger.answers),
            "failed": len(ledger.failed),
            "held": evidence.held,
            "away": len(ledger.away) if evidence.scenario.method == "restore" else None,
        },
        "writes": {"acknowledged": audit.acknowledged, "lost": len(audit.lost), "duplicated": len(audit.doubled)},
        "rows": {"verified": rows[0], "mismatched": rows[1]},
        "objects": {"verified": objects[0], "mismatched": objects[1] + len(audit.receipts_wrong)},
        "seconds": {
            "total": round(evidence.total, 3),
            "writes_stopped": _rounded(ledger.writes_stopped()),
            "detect": _rounded(_detect(state)),
            "rollback": _rounded(_rollback(state, ledger)),
        },
        "stages": stages,
    }


def _promises(evidence: Evidence) -> list[Promise]:
    state, scenario, audit, ledger = evidence.state, evidence.scenario, evidence.audit, evidence.ledger
    ended = f"{state.status}: {state.reason}" if state.reason else state.status
    promises = [Promise(f"the run ends {scenario.outcome}", state.status == scenario.outcome, ended)]
    failed = len(ledger.failed)
    of = f"{failed:,} of {len(ledger.answers):,}"
    if scenario.method == "restore":
        told = f"{of}; {len(ledger.away):,} told of the maintenance"
        promises.append(Promise("no request fails in another way", failed == 0, told))
    elif scenario.fault is None:
        promises.append(Promise("no request fails", failed == 0, _with_first(of, [a.why for a in ledger.failed])))
    else:
        detect = _detect(state)
        seen = "not noticed" if detect is None else f"after {detect:.2f} s"
        promises.append(Promise("the guard notices the fault", detect is not None, seen))
    if scenario.fault is not None and not scenario.forced:
        decided = state.decision.at if state.decision else state.began
        others = [a.why for a in ledger.failed if a.cloud != "azure"]
        promises.append(Promise("no request fails but by the fault", not others, _with_first(of, others)))
        late = (ledger.last_from("azure", decided) or decided) - decided
        promises.append(Promise("traffic leaves Azure at once", late < 1, f"{late:.3f} s after the decision"))
    if scenario.forced:
        told = sorted(evidence.at_risk) == sorted(audit.lost)
        observed = f"{len(audit.lost):,} lost, {len(evidence.at_risk):,} named beforehand"
        promises.append(Promise("exactly the writes named at risk are lost", told, observed))
    else:
        lost = f"{len(audit.lost):,} of {audit.acknowledged:,} acknowledged"
        promises.append(Promise("no acknowledged write is lost", not audit.lost, _with_first(lost, audit.lost)))
    doubled = _with_first(f"{len(audit.doubled):,}", audit.doubled)
    promises.append(Promise("no write is there twice", not audit.doubled, doubled))
    wrong = _with_first(f"{len(audit.receipts_wrong):,} differ", audit.receipts_wrong)
    promises.append(Promise("every receipt has its bytes", not audit.receipts_wrong, wrong))
    for kind, what in (("database", "rows"), ("bucket", "objects")):
        verified, mismatched = _compared(state, kind)
        promises.append(
            Promise(
                f"{what} are the same on both sides",
                mismatched == 0 and verified > 0,
                f"{verified:,} compared, {mismatched:,} differ",
            )
        )
    whole = "closed by the load generator" if ledger.complete else "it ends in the middle"
    promises.append(Promise("the ledger is complete", ledger.complete and audit.acknowledged > 0, whole))
    return promises


def _compared(state: RunState, kind: str) -> tuple[int, int]:
    """(compared, different) by the last comparison of each store of this kind."""
    unit = "rows" if kind == "database" else "objects"
    reports: dict[str, Document] = {}
    for step in (step for stage in state.stages for step in stage.steps):
        if step.uses in (f"{kind}-verify", f"{kind}-prove") and (report := _report(step)):
            reports[step.name.partition("-")[2]] = report
    return (
        sum(int(str(report[unit])) for report in reports.values()),
        sum(int(str(report["mismatched"])) for report in reports.values()),
    )


def _report(step: StepState) -> Document | None:
    report = step.kept.get("report")
    return cast("Document", report) if isinstance(report, dict) else None


def _detect(state: RunState) -> float | None:
    """From the fault to the first thing that the run did about it."""
    acted = [event.at for event in (*state.breaches, *([state.decision] if state.decision else []))]
    if not state.faults or not acted:
        return None
    return min(acted) - state.faults[0].at


def _rollback(state: RunState, ledger: Ledger) -> float | None:
    """From the decision to Azure's last answer."""
    if state.decision is None:
        return None
    return max(0.0, (ledger.last_from("azure", state.decision.at) or state.decision.at) - state.decision.at)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


def _with_first(text: str, examples: list[str]) -> str:
    return f"{text}: {examples[0]}" if examples else text
