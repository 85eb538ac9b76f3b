"""`plan`: what a migration will do, and what undoes it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click

from tidegate.cli.consoles import results
from tidegate.cli.options import json_option, print_json
from tidegate.cli.planned import Planned, Rehearsal, last_rehearsal
from tidegate.cli.reading import read_migration
from tidegate.cli.wording import typed
from tidegate.engine.journal import Store
from tidegate.engine.planning import plan_migration
from tidegate.errors import CheckFailed
from tidegate.files import write
from tidegate.runbook.plan import Plan
from tidegate.runbook.step import Finding

__all__ = ["must_pass", "plan"]


def must_pass(findings: Sequence[Finding]) -> None:
    """Raises CheckFailed with everything that the preflight found wrong."""
    failed = [finding for finding in findings if finding.verdict == "fail"]
    if failed:
        listed = "\n".join(_listed(finding) for finding in failed)
        raise CheckFailed(f"{len(failed)} of {len(findings)} checks fail\n{listed}", where="preflight")


def _listed(finding: Finding) -> str:
    mend = f"\n    mend: {finding.mend}" if finding.mend else ""
    return f"  {finding.check}: {finding.message}{mend}"


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Save the plan, for `tidegate run`.")
@json_option
@click.pass_obj
def plan(folder: Path, file: Path, *, output: Path | None, as_json: bool) -> None:
    """Show what a migration will do. Reads from every server, changes nothing.

    A plan whose preflight fails is shown, and not saved.
    """
    migration = read_migration(file)
    made, findings = asyncio.run(plan_migration(migration))
    rehearsed = last_rehearsal(Store(folder), migration.name) if (folder / "journal.db").exists() else None
    if as_json:
        _print_json(made, findings, rehearsed)
    else:
        results().print(Planned(made, findings, rehearsed))
    must_pass(findings)
    if output is not None:
        write(output, made.model_dump_json(indent=1) + "\n", mend="choose another place with -o")
        click.echo(f"saved {output}: `{typed(folder, 'run', str(output))}` executes it", err=True)


def _print_json(made: Plan, findings: Sequence[Finding], rehearsed: Rehearsal | None) -> None:
    last = made.point_of_no_return()
    print_json(
        {
            "plan": made.model_dump(mode="json"),
            "point_of_no_return": last.name if last else None,
            "findings": [finding.model_dump(mode="json") for finding in findings],
            "last_rehearsal": rehearsed.document() if rehearsed else None,
        }
    )
