"""A rehearsal's verdict as a table: what the scenario promises, whether it was kept, what was seen."""

from dataclasses import dataclass
from typing import Any, cast

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from tidegate.lab.verdict import Verdict

__all__ = ["Shown"]


@dataclass(frozen=True, slots=True)
class Shown:
    verdict: Verdict

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        document = cast("dict[str, Any]", self.verdict.document)
        table = Table(box=box.SIMPLE_HEAD, expand=False, show_edge=False, pad_edge=False)
        table.add_column("")
        table.add_column("promise")
        table.add_column("observed", overflow="fold")
        for each in self.verdict.promises:
            mark = Text("kept", style="green") if each.kept else Text("BROKEN", style="bold red")
            table.add_row(mark, Text(each.promise), Text(each.observed))
        yield Text()
        yield table
        yield Text(_figures(document))
        ended = ("as promised", "bold green") if self.verdict.kept else ("not as promised", "bold red")
        yield Text.assemble(f"\n{document['scenario']} ended ", ended, f": {document['outcome']}")
        yield Text(f"report: {document['report']}", overflow="fold")


def _figures(document: dict[str, Any]) -> str:
    requests, seconds = document["requests"], document["seconds"]
    held = "unknown how many" if requests["held"] is None else f"{requests['held']:,}"
    away = f", {requests['away']:,} told of the maintenance" if requests.get("away") else ""
    parts = [
        f"{requests['total']:,} requests, {requests['failed']:,} failed, {held} held{away}",
        *(
            f"{text} {seconds[key]:.3f} s"
            for key, text in (
                ("writes_stopped", "writes stopped for"),
                ("detect", "fault noticed after"),
                ("rollback", "last answer from Azure after the decision:"),
            )
            if seconds[key] is not None
        ),
        f"{seconds['total']:.0f} s in all",
    ]
    return "\n" + "\n".join(parts)
