"""A rehearsal: a lab, users on it, a whole run by the same code as in production, and the verdict.

FOLDER/runs/RUN/rehearsal.json says to which lab and scenario a run belongs, so that a rehearsal whose process
was killed can be gone on with, as long as its lab is there.
"""

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue

from tidegate.edges import open_edge
from tidegate.engine.journal import Store
from tidegate.engine.lease import lease
from tidegate.engine.planning import plan_migration
from tidegate.engine.run import new_id, start
from tidegate.engine.state import RunState, fold
from tidegate.errors import TidegateError, Unreachable
from tidegate.files import write
from tidegate.lab.audit import audit
from tidegate.lab.lab import Lab
from tidegate.lab.ledger import read_ledger
from tidegate.lab.scenarios import SCENARIOS, play
from tidegate.lab.verdict import Evidence, Verdict, judge
from tidegate.report import render
from tidegate.runbook.migration import Migration
from tidegate.runbook.plan import Plan
from tidegate.runbook.step import Finding

__all__ = ["Rehearsal", "rehearsal_of"]

RECORD, VERDICT = "rehearsal.json", "verdict.json"
BEFORE_AND_AFTER = 1.0
"""Seconds of load before the first step and after the last."""


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    scenario: str
    lab: Path
    began: float
    document: Path | None = None


class Rehearsal:
    """`began`: Unix time at which the lab began to start. `document`: where the figures go besides."""

    def __init__(
        self, lab: Lab, store: Store, scenario: str, began: float, document: Path | None = None, run: str = ""
    ) -> None:
        self.lab, self.store, self.scenario = lab, store, SCENARIOS[scenario]
        self.began, self.document, self.run = began, document, run

    @property
    def folder(self) -> Path:
        """What is kept of it."""
        return self.store.folder / "runs" / self.run

    @property
    def over(self) -> bool:
        """Whether its run has ended; or never began."""
        return not self.run or fold(self.store.events(self.run)).ended is not None

    async def plan(self, migration: Migration) -> tuple[Plan, list[Finding]]:
        """Users come; then as engine.planning.plan_migration."""
        await asyncio.to_thread(self.lab.call, "load-start")
        await asyncio.sleep(BEFORE_AND_AFTER)
        return await plan_migration(migration)

    def begin(self, plan: Plan) -> None:
        """A run of this plan begins its journal. It is known as a rehearsal before anybody can find it."""
        self.run = new_id(plan)
        record = Record(scenario=self.scenario.name, lab=self.lab.folder, began=self.began, document=self.document)
        write(self.folder / RECORD, record.model_dump_json(), parents=True)
        start(self.store, plan, self.run)

    async def drive(self, drive: Callable[[Store, str], Coroutine[Any, Any, RunState]]) -> RunState:
        """`drive` drives the run, with fate and operator played beside it.

        Raises TidegateError if the lab or the load generator has ended: then it shows nothing any more.
        """
        playing = asyncio.create_task(play(self.lab, self.store, self.run, self.scenario))
        driving = asyncio.create_task(drive(self.store, self.run))
        try:
            await asyncio.wait({playing, driving}, return_when=asyncio.FIRST_COMPLETED)
            if not driving.done():
                playing.result()
            return await driving
        finally:
            for task in (playing, driving):
                task.cancel()
            await asyncio.gather(playing, driving, return_exceptions=True)

    async def conclude(self) -> Verdict:
        """Stop the users, compare the ledger, write the report; the verdict last, which says that all is done.

        Raises LeaseHeld if another process drives its run or concludes it, TidegateError if a server doesn't answer.
        """
        with lease(self.store, self.run):
            return await self._verdict()

    async def _verdict(self) -> Verdict:
        await asyncio.sleep(BEFORE_AND_AFTER)
        await asyncio.to_thread(self.lab.call, "load-stop")
        events = self.store.events(self.run)
        state = fold(events)
        ledger = await asyncio.to_thread(read_ledger, self.lab.book.ledger)
        report = self.folder / "report.html"
        evidence = Evidence(
            scenario=self.scenario,
            state=state,
            ledger=ledger,
            audit=await audit(ledger, self.lab.book, "azure" if state.status == "migrated" else "aws"),
            held=await _held(state.plan.migration),
            at_risk=_at_risk(state),
            total=time.time() - self.began,
            report=report,
        )
        verdict = judge(evidence)
        shutil.copy(self.lab.book.ledger, self.folder / "ledger.jsonl")
        promises: list[JsonValue] = [
            {"promise": each.promise, "kept": each.kept, "observed": each.observed} for each in verdict.promises
        ]
        load: list[JsonValue] = [dict[str, JsonValue](sample) for sample in ledger.per_second()]
        write(report, render(state, events, verdict.document | {"promises": promises, "load": load}))
        text = json.dumps(verdict.document, indent=1) + "\n"
        try:
            if self.document is not None:
                write(self.document, text, mend=f"the figures are in {self.folder / VERDICT} too")
        finally:
            write(self.folder / VERDICT, text)
        return verdict


def rehearsal_of(store: Store, run: str) -> Rehearsal:
    """The rehearsal to which a run belongs, to be gone on with. Raises Unreachable if its lab has ended."""
    record = Record.model_validate_json((store.folder / "runs" / run / RECORD).read_text())
    try:
        lab = Lab.attach(record.lab)
    except Unreachable:
        raise Unreachable(
            "the lab of this rehearsal has ended", where=str(record.lab), mend="start anew with `tidegate rehearse`"
        ) from None
    return Rehearsal(lab, store, record.scenario, record.began, record.document, run)


async def _held(migration: Migration) -> int | None:
    """None if the edge doesn't say."""
    edge = open_edge(migration)
    try:
        held = await edge.held()
    except TidegateError:
        return None
    finally:
        await edge.close()
    return held.served + held.expired


def _at_risk(state: RunState) -> list[str]:
    file = state.decision.figure("file") if state.decision else None
    return Path(str(file)).read_text().split() if file else []
