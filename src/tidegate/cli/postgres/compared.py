"""What was restored beside what was backed up, as a short table: what differs, then the largest."""

from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from tidegate.postgres.archive.hashes import TableHash
from tidegate.postgres.archive.restore import RestoreReport, TableVerdict

__all__ = ["Compared"]

SHOWN = 12
"""Tables. --json has them all."""


@dataclass(frozen=True, slots=True)
class Compared:
    report: RestoreReport

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        ranked = sorted(self.report.tables, key=_rank)
        shown, rest = ranked[:SHOWN], ranked[SHOWN:]
        table = Table(box=box.SIMPLE_HEAD, expand=False, show_edge=False, pad_edge=False)
        table.add_column("table", overflow="fold")
        table.add_column("rows", justify="right", no_wrap=True)
        table.add_column("hash", justify="right", no_wrap=True)
        table.add_column("verdict", no_wrap=True)
        for each in shown:
            equal = each.verdict == "equal"
            verdict = Text(each.verdict, "green" if equal else "bold red")
            table.add_row(Text(each.name), *_figures(each.found), verdict)
            if each.verdict == "different":
                table.add_row(Text("  as backed up"), *_figures(each.expected), Text(), style="dim")
        yield table
        if rest:
            wrong = sum(each.verdict != "equal" for each in rest)
            yield Text(f"and {len(rest):,} more tables, " + (f"{wrong:,} of them not equal" if wrong else "all equal"))
        for name in self.report.behind:
            yield Text(f"sequence {name} is behind the source", "bold red")
        differ = sum(each.verdict != "equal" for each in self.report.tables)
        found = f"{differ:,} differ" if differ else "all are equal"
        yield Text(f"{len(self.report.tables):,} tables, {self.report.rows:,} rows: {found}")


def _rank(table: TableVerdict) -> tuple[bool, int, str]:
    """What differs comes first, then what is large."""
    found = table.found or table.expected
    return table.verdict == "equal", -(found.rows if found else 0), table.name


def _figures(content: TableHash | None) -> tuple[Text, Text]:
    return (Text(f"{content.rows:,}"), Text(content.hash)) if content else (Text("-"), Text("-"))
