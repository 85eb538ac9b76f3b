"""What checks have found, as people and programs read it."""

from collections.abc import Collection, Iterator, Sequence
from typing import cast

from pydantic import JsonValue
from rich.padding import Padding
from rich.text import Text

from tidegate.cli.consoles import results
from tidegate.cli.options import print_json
from tidegate.errors import CheckFailed
from tidegate.runbook.step import Finding

__all__ = ["not_passed", "show"]

VERDICTS = {"pass": "green", "fail": "bold red", "inconclusive": "yellow"}


def not_passed(findings: Sequence[Finding], cells: int = 0) -> Iterator[Padding]:
    """Each with its mend, so far to the right."""
    for finding in findings:
        if finding.verdict != "pass":
            yield _told(finding, cells)
            if finding.mend:
                yield _indented(cells + 2, Text(f"mend: {finding.mend}", style="dim"))


def show(findings: Sequence[Finding], *, as_json: bool, figures: Collection[str] = ()) -> None:
    """`figures`: checks whose message is worth reading when they pass, too. Raises CheckFailed if one failed."""
    if as_json:
        print_json([cast("JsonValue", finding.model_dump(exclude_none=True)) for finding in findings])
    else:
        console = results()
        for finding in findings:
            if finding.check in figures and finding.verdict == "pass":
                console.print(_told(finding, 0))
        for line in not_passed(findings):
            console.print(line)
        passed = sum(finding.verdict == "pass" for finding in findings)
        console.print(f"{passed} of {len(findings)} checks pass", highlight=False)
    if failed := [finding.check for finding in findings if finding.verdict == "fail"]:
        raise CheckFailed(f"the move would fail: {', '.join(failed)}", where="preflight")


def _told(finding: Finding, cells: int) -> Padding:
    text = Text.assemble((finding.verdict, VERDICTS[finding.verdict]), f"  {finding.check}: {finding.message}")
    return _indented(cells, text)


def _indented(cells: int, text: Text) -> Padding:
    return Padding(text, (0, 0, 0, cells), expand=False)
