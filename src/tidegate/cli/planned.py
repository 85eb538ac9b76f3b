"""A plan as people read it: per stage what is done, what undoes it, who has to approve, and how long it took."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import JsonValue
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.text import Text

from tidegate.cli.findings import not_passed
from tidegate.cli.wording import duration
from tidegate.engine.journal import Store
from tidegate.engine.state import fold
from tidegate.runbook.plan import Plan
from tidegate.runbook.runbook import Stage
from tidegate.runbook.step import Action, Finding

__all__ = ["Planned", "Rehearsal", "last_rehearsal"]

PHASES = {"before": "before the cutover", "during": "the cutover", "after": "after the cutover"}


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How long each stage took in a finished run that was not production's. `seconds` by stage."""

    run: str
    environment: str
    seconds: dict[str, float]

    def document(self) -> dict[str, JsonValue]:
        return {"run": self.run, "environment": self.environment, "seconds": dict[str, JsonValue](self.seconds)}


def last_rehearsal(store: Store, migration: str) -> Rehearsal | None:
    """The newest that ended migrated."""
    for run in store.runs():
        state = fold(store.events(run))
        spec = state.plan.migration
        if spec.name == migration and spec.environment != "production" and state.status == "migrated":
            seconds = {stage.name: stage.seconds for stage in state.stages if stage.seconds is not None}
            return Rehearsal(run, spec.environment, seconds)
    return None


@dataclass(frozen=True, slots=True)
class Planned:
    plan: Plan
    findings: Sequence[Finding] = ()
    rehearsed: Rehearsal | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console
        yield self._head()
        if self.rehearsed:
            yield Text(f"last rehearsal ({self.rehearsed.environment}): {self.rehearsed.run}", style="dim")
        yield from self._preflight()
        phase, last = "", self.plan.point_of_no_return()
        for stage in self.plan.runbook.stages:
            if stage.phase != phase:
                phase = stage.phase
                yield Text(f"\n{PHASES[phase]}", style="bold underline")
            if stage is last:
                yield _no_return(options.max_width)
            yield from self._stage(stage)
        if last is None:
            yield Text("\nevery action can be taken back", style="green")

    def _head(self) -> Text:
        migration, actions = self.plan.migration, sum(len(each) for each in self.plan.actions.values())
        return Text.assemble(
            (migration.name, "bold"),
            f": {migration.environment}, {migration.strategy}; {len(self.plan.runbook.stages)} stages, ",
            f"{actions} actions; digest {self.plan.digest[:12]}",
        )

    def _preflight(self) -> Iterator[Text | Padding]:
        """What doesn't pass, and how much does."""
        passed = sum(finding.verdict == "pass" for finding in self.findings)
        if self.findings:
            yield Text(f"preflight: {passed} of {len(self.findings)} checks pass")
        yield from not_passed(self.findings, 2)

    def _stage(self, stage: Stage) -> Iterator[Text | Padding]:
        traits = [
            *(["guarded"] if stage.guarded else []),
            *(["a failure rolls back"] if stage.on_failure == "roll back" else []),
        ]
        row = Text.assemble("  ", (stage.name, "bold"))
        if traits:
            row.append(f"  {', '.join(traits)}", style="cyan")
        if self.rehearsed and stage.name in self.rehearsed.seconds:
            took = duration(self.rehearsed.seconds[stage.name])
            row.append(f"  last rehearsal ({self.rehearsed.environment}): {took}", style="dim")
        yield row
        if stage.approval:
            yield _indented(4, Text(f"approval: {stage.approval}", style="yellow"))
        for step in stage.steps:
            for action in self.plan.actions[step.name]:
                yield from _action(action)


def _action(action: Action) -> Iterator[Padding]:
    yield _indented(4, Text.assemble((action.verb, "bold"), f" {action.target}: {action.detail}"))
    if action.undo is None:
        yield _indented(6, Text("nothing undoes this", style="bold red"))
    elif action.verb != "wait":
        yield _indented(6, Text(f"undo: {action.undo}", style="dim"))


def _indented(cells: int, text: Text) -> Padding:
    return Padding(text, (0, 0, 0, cells), expand=False)


def _no_return(width: int) -> Text:
    label = " point of no return "
    return Text(f"  --{label}{'-' * max(2, min(width, 78) - len(label) - 4)}", style="bold red")
