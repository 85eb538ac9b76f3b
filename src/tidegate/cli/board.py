"""The live picture of a run, drawn from its journal alone."""

import time
from dataclasses import dataclass
from typing import cast

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from tidegate.cli.guidance import guidance
from tidegate.cli.watching import Watch
from tidegate.cli.wording import clock, duration, size
from tidegate.engine.state import RunState, StageState, StepState
from tidegate.runbook.migration import Bucket

__all__ = ["NARROWEST", "SHORTEST", "Board", "lag_texts", "mark_of"]

NARROWEST, SHORTEST = 60, 14
"""Columns and rows below which a board shows less than lines would."""

LABEL = 10
BAR = 40
REASON_ROWS = 4
MARKS = {
    "pending": ("·", ".", "dim"),
    "reading": ("▸", ">", "bold cyan"),
    "running": ("▸", ">", "bold cyan"),
    "done": ("✓", "+", "green"),
    "failed": ("✗", "x", "bold red"),
    "undoing": ("◂", "<", "bold yellow"),
    "undone": ("↶", "-", "yellow"),
    "left": ("✗", "x", "bold red"),
}
STATUS = {
    "planned": ("not begun", "dim"),
    "running": ("running", "bold cyan"),
    "waiting": ("waits for approval", "bold yellow"),
    "paused": ("paused", "bold yellow"),
    "stopped": ("stopped", "bold red"),
    "rolling back": ("rolling back", "bold yellow"),
    "migrated": ("migrated", "bold green"),
    "rolled-back": ("rolled back", "bold yellow"),
}


@dataclass
class Board:
    """`driven`: whether a process drives the run. `whole`: every row, also where the terminal has fewer."""

    watch: Watch
    driven: bool = True
    whole: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        plain = options.ascii_only
        head = [self._head(width), Text("")]
        foot = [*self._figures(width, plain), *self._needs(console, width)]
        if foot:
            foot.insert(0, Text(""))
        rows = 10_000 if self.whole else max(3, console.size.height - len(head) - len(foot) - 1)
        for line in [*head, *_fitted(self.state, self._stages(plain), rows, plain), *foot]:
            line.no_wrap = True
            line.rstrip()
            line.truncate(width, overflow="ellipsis")
            yield line

    @property
    def state(self) -> RunState:
        return self.watch.state

    @property
    def now(self) -> float:
        """A run that nobody drives stands still at its last event."""
        last = self.state.last
        return time.time() if self.driven or last is None else last.at

    def _head(self, width: int) -> Text:
        word, style = STATUS[self.state.status]
        if self.state.status == "waiting" and all(waiting.by_itself for waiting in self.state.waits.values()):
            word, style = "gathers evidence", "bold cyan"
        elapsed = duration((self.state.ended or self.now) - self.state.began)
        plan = self.state.plan.migration
        left = Text.assemble((f" {self.watch.run}", "bold"), (f"  {plan.environment}, {plan.strategy}", "dim"))
        right = Text.assemble((word, style), (f"  {elapsed} ", "dim"))
        left.truncate(max(8, width - right.cell_len - 1), overflow="ellipsis")
        return Text.assemble(left, " " * max(1, width - left.cell_len - right.cell_len), right)

    def _stages(self, plain: bool) -> list[list[Text]]:
        """Each stage's rows: itself, and its steps where several are at work."""
        longest = max(len(stage.name) for stage in self.state.stages)
        return [self._stage(stage, min(longest, 22), plain) for stage in self.state.stages]

    def _stage(self, stage: StageState, longest: int, plain: bool) -> list[Text]:
        busy = [step for step in stage.steps if step.status in ("reading", "running", "undoing", "failed", "left")]
        status = "undoing" if stage.status == "done" and any(s.status == "undoing" for s in stage.steps) else None
        mark, style = mark_of(status or stage.status, plain)
        took = ""
        if stage.began is not None and stage.status in ("running", "failed"):
            took = duration(self.now - stage.began)
        elif stage.seconds is not None:
            took = duration(stage.seconds)
        several = len(stage.steps) > 1 and bool(busy)
        dim = "dim" if stage.status in ("pending", "undone") else ""
        row = Text.assemble(
            " ", (mark, style), " ", (f"{stage.name:<{longest}}", dim), (f" {took:>10}  ", "dim"),
            "" if several or not busy else _saying(busy[0]),
        )  # fmt: skip
        if not several:
            return [row]
        return [row, *(self._step(step, longest, plain) for step in stage.steps)]

    def _step(self, step: StepState, longest: int, plain: bool) -> Text:
        mark, style = mark_of(step.status, plain)
        name = Text(f"{step.name:<{longest + 9}}", style="dim")
        return Text.assemble("     ", (mark, style), " ", name, " ", _saying(step))

    def _figures(self, width: int, plain: bool) -> list[Text]:
        if not self.state.traffic or self.state.ended is not None or not self.driven:
            return []
        event = self.watch.traffic(self.now)
        if event is None:
            text = f"no figures since {clock(self.state.traffic[-1].at)}: the edge doesn't answer"
            return [_row("traffic", Text(text, style="yellow"))]
        aws, azure, requests, errors = (
            float(cast("float", event.figure(key) or 0)) for key in ("aws", "azure", "requests", "errors")
        )
        failing = Text(f"{errors:,.1f}/s", style="bold red" if errors else "")
        rows = [
            _row("traffic", _split(aws, azure, min(BAR, width - LABEL - 26), plain)),
            _row("requests", Text.assemble(f"{requests:,.0f}/s    ", ("errors ", "dim"), failing)),
        ]
        if lags := lag_texts(self.state, event.figure("lag")):
            parts = Text("    ").join(Text.assemble((f"{name} ", "dim"), lag) for name, lag in lags.items())
            rows.append(_row("lag", parts))
        return rows

    def _needs(self, console: Console, width: int) -> list[Text]:
        rows: list[Text] = []
        if self.state.breaches and self.state.status not in ("migrated", "rolled-back"):
            rows += _wrapped(console, width, "harm", str(self.state.breaches[-1].figure("reason")), "red")
        if self.state.status in ("rolling back", "migrated", "rolled-back") and self.state.reason:
            rows += _wrapped(console, width, "because", self.state.reason, "")
        if self.watch.told and self.state.ended is None:
            rows += _wrapped(console, width, "beside", self.watch.told, "dim")[:1]
        for need in guidance(self.watch, driven=self.driven):
            rows += _wrapped(console, width, need.label, need.reason, "yellow")
            for command, effect in need.commands:
                rows += _command(console, width, command, effect)
        return rows


def mark_of(status: str, plain: bool) -> tuple[str, str]:
    """A status's mark and style; `plain` where the terminal's encoding has only ASCII."""
    mark, ascii_mark, style = MARKS[status]
    return (ascii_mark if plain else mark), style


def lag_texts(state: RunState, lags: object) -> dict[str, str]:
    """Store: how far its copy is behind. Bytes of a database's log, objects of a bucket; unknown if it is silent."""
    if not isinstance(lags, dict):
        return {}
    stores = state.plan.migration.stores
    return {
        name: "unknown" if lag is None else f"{lag:,} objects" if isinstance(stores.get(name), Bucket) else size(lag)
        for name, lag in cast("dict[str, int | None]", lags).items()
    }


def _saying(step: StepState) -> Text:
    if step.status in ("failed", "left"):
        return Text(step.error.splitlines()[0] if step.error else step.status, style="red")
    if step.status == "undoing":
        return Text("undoing", style="yellow")
    return Text("" if step.status in ("pending", "undone") else step.note.splitlines()[0] if step.note else "")


def _split(aws: float, azure: float, cells: int, plain: bool) -> Text:
    """Without colour too, the sides can be told apart."""
    full, light = ("#", "-") if plain else ("█", "░")
    if not aws and not azure:
        return Text.assemble((light * cells, "dim"), "  no requests")
    on_azure = round(azure * cells)
    if azure and aws:  # a sliver of traffic is still shown
        on_azure = min(cells - 1, max(1, on_azure))
    return Text.assemble(
        (f"AWS {aws:>4.0%} ", "yellow"),
        (light * (cells - on_azure), "yellow"),
        (full * on_azure, "blue"),
        (f" {azure:.0%} Azure", "bold blue" if azure else "dim"),
    )


def _row(label: str, text: Text) -> Text:
    return Text.assemble((f" {label:<{LABEL}}", "dim"), text)


def _wrapped(console: Console, width: int, label: str, text: str, style: str) -> list[Text]:
    label_width = max(LABEL, len(label) + 1)
    lines = Text(text, style=style).wrap(console, max(20, width - label_width - 2))
    rows = [Text.assemble((f" {label:<{label_width}}", "dim"), lines[0] if lines else "")]
    rows += [Text.assemble(" " * (label_width + 1), line) for line in lines[1:REASON_ROWS]]
    return rows


def _command(console: Console, width: int, command: str, effect: str) -> list[Text]:
    """Whole in any case: it is there to be copied."""
    indent = " " * (LABEL + 1) if len(command) + LABEL + 1 <= width else " "
    lines = Text(command, style="bold").wrap(console, max(20, width - len(indent)))
    rows = [Text.assemble(indent, line) for line in lines]
    if rows[-1].cell_len + len(effect) + 2 <= width:
        rows[-1].append(f"  {effect}", style="dim")
    return rows


def _fitted(state: RunState, blocks: list[list[Text]], rows: int, plain: bool) -> list[Text]:
    """What is at work, and around it as much as there is room for."""
    if sum(len(block) for block in blocks) <= rows:
        return [line for block in blocks for line in block]
    active = _active(state)
    others = max(0, rows - len(blocks[active]) - 2)  # two rows tell of what isn't shown
    first = max(0, min(active - others // 2, len(blocks) - 1 - others))
    last = min(len(blocks) - 1, first + others)
    shown = [
        *(block[0] for block in blocks[first:active]),
        *blocks[active],
        *(block[0] for block in blocks[active + 1 : last + 1]),
    ]
    if first:
        text = f" {first} stage{'s' if first > 1 else ''} before"
        shown.insert(0, Text.assemble(" ", mark_of(state.stages[first - 1].status, plain), (text, "dim")))
    if after := state.stages[last + 1 :]:
        text = f" {len(after)} after: {', '.join(stage.name for stage in after)}"
        shown.append(Text.assemble(" ", mark_of(after[0].status, plain), (text, "dim")))
    return shown


def _active(state: RunState) -> int:
    """The place of the stage at work, or of the next."""
    indices = range(len(state.stages))
    if state.decision is not None:
        there = [index for index in indices if state.stages[index].status not in ("pending", "undone")]
        return there[-1] if there else 0
    return next((index for index in indices if state.stages[index].status != "done"), len(state.stages) - 1)
