"""`rehearse`: a whole migration on embedded servers, under load, by the code that will run the real one."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from tidegate.cli.consoles import progress, results
from tidegate.cli.driving import drive_shown
from tidegate.cli.options import print_json
from tidegate.cli.outcome import document as standing
from tidegate.cli.outcome import exit_code, summary
from tidegate.cli.plan import must_pass
from tidegate.cli.planned import Planned, last_rehearsal
from tidegate.cli.verdict import Shown
from tidegate.cli.watching import Watch
from tidegate.engine.journal import Store
from tidegate.engine.state import RunState
from tidegate.errors import CheckFailed, LeaseHeld, TidegateError, UsageError
from tidegate.lab.book import Options
from tidegate.lab.lab import Lab, checked
from tidegate.lab.rehearsal import Rehearsal, rehearsal_of
from tidegate.lab.scenarios import SCENARIOS
from tidegate.runbook.parse import parse_migration

__all__ = ["go_on", "rehearse"]

LISTED = "\n".join(f"  {each.name:26}{each.title}" for each in SCENARIOS.values())
DEFAULTS = Options()
INSTEAD = "its lab ends with it: start anew with `tidegate rehearse`"


def _option(name: str, kind: type[Any], text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(f"--{name}", type=kind, default=getattr(DEFAULTS, name), show_default=True, help=text)


@click.command(epilog=f"\b\nScenarios:\n{LISTED}")
@click.option("--scenario", type=click.Choice(list(SCENARIOS)), default="incremental", show_default=True)
@click.option("--database", type=click.Path(path_type=Path), help="A dump of your own, taken along beside the shop.")
@click.option("--objects", type=click.Path(path_type=Path), help="A folder of your own files, taken along as objects.")
@_option("rows", int, "Rows that the shop has from the start.")
@_option("receipts", int, "Objects that it has from the start.")
@_option("rate", int, "Requests per second.")
@_option("bake", float, "Seconds for which health is judged after each shift.")
@_option("watch", float, "Seconds for which it is watched after the last.")
@_option("hold", float, "Seconds for which requests are held at most.")
@_option("delay", float, "Seconds between the clouds, each way.")
@click.option("--json", "document", type=click.Path(path_type=Path), metavar="FILE", help="Write the figures there.")
@click.option("--plain", is_flag=True, help="Lines instead of the live picture.")
@click.pass_context
def rehearse(context: click.Context, *, scenario: str, document: Path | None, plain: bool, **given: Any) -> None:
    """Run a whole migration on embedded servers, under load, and judge it.

    Exits 0 when the scenario ended as it promises, and 4 when it didn't.
    """
    try:
        story = SCENARIOS[scenario]
        options = Options.model_validate({**given, "strategy": story.strategy, "method": story.method})
    except ValueError as error:
        raise _bad_option(error) from None
    options = checked(options)
    _writable(document)
    console, began = progress(plain=plain), time.time()
    store = Store(context.obj)
    with console.status("starting the lab") as status:
        lab = Lab.start(options=options, progress=lambda now: status.update(_starting(now)))
    console.print(f"the lab is ready after {time.time() - began:.0f} s: {lab.folder}", highlight=False)
    rehearsal = Rehearsal(lab, store, scenario, began, document and document.absolute())
    context.exit(_in_its_lab(rehearsal, _whole(rehearsal, console)))


def go_on(store: Store, run: str, *, no_wait: bool, plain: bool, as_json: bool) -> int:
    """With a rehearsal whose process has ended, as long as its lab is there. Returns the exit code."""
    rehearsal = rehearsal_of(store, run)
    return _in_its_lab(rehearsal, _conclude(rehearsal, progress(plain=plain), wait=not no_wait, as_json=as_json))


def _in_its_lab(rehearsal: Rehearsal, work: Coroutine[Any, Any, int]) -> int:
    """The lab outlives only a run that has stopped, and can be gone on with; its logs outlive what went wrong."""
    lab = rehearsal.lab
    try:
        code = asyncio.run(work)
    except (KeyboardInterrupt, asyncio.CancelledError):  # the latter: a termination signal
        lab.discard()
        raise KeyboardInterrupt from None
    except LeaseHeld:  # its lab is another process's
        raise
    except BaseException:
        lab.stop()
        raise
    if not rehearsal.over:
        click.echo(f"  until then its lab stays, for ten minutes at most: {lab.folder}", err=True)
    elif code:
        lab.stop()
        click.echo(f"the logs of its servers: {lab.folder}", err=True)
    else:
        lab.discard()
    return code


async def _whole(rehearsal: Rehearsal, console: Console) -> int:
    file = rehearsal.lab.book.migration
    migration, _ = parse_migration(file.read_text(), str(file))
    plan, findings = await rehearsal.plan(migration)
    console.print(Planned(plan, findings, last_rehearsal(rehearsal.store, migration.name)))
    must_pass(findings)
    rehearsal.begin(plan)
    return await _conclude(rehearsal, console)


async def _conclude(rehearsal: Rehearsal, console: Console, *, wait: bool = True, as_json: bool = False) -> int:
    """Drive its run to the end, show the verdict, and return the exit code."""

    async def drive(store: Store, run: str) -> RunState:
        return await drive_shown(store, run, console=console, wait=wait, instead=INSTEAD)

    if not rehearsal.over:
        await rehearsal.drive(drive)
    watch = Watch(rehearsal.store, rehearsal.run)
    if watch.state.ended is None:
        if as_json:
            print_json(standing(watch, None))
        else:
            click.echo(summary(watch), err=True)
        return exit_code(watch.state)
    with console.status("comparing the ledger with the stores"):
        verdict = await rehearsal.conclude()
    if as_json:
        print_json({**standing(watch, None), "rehearsal": verdict.document})
    else:
        results().print(Shown(verdict))
    return 0 if verdict.kept else CheckFailed.exit_code


def _starting(now: dict[str, Any]) -> str:
    return "starting the lab: " + (", ".join(now["starting"]) or "the sample workload and its data")


def _bad_option(error: ValueError) -> TidegateError:
    from pydantic import ValidationError  # noqa: PLC0415 - only on the way out

    assert isinstance(error, ValidationError), "options are checked by their model"
    first = error.errors()[0]
    return UsageError(str(first["msg"]), where=f"--{first['loc'][0]}", mend="see `tidegate rehearse --help`")


def _writable(document: Path | None) -> None:
    """Before anything starts: the figures are wanted at the end."""
    if document is None:
        return
    if document.is_dir():
        raise UsageError("this is a folder", where=str(document), mend="name a file in it")
    try:
        with tempfile.TemporaryFile(dir=document.resolve().parent):
            pass
    except OSError as error:
        raise UsageError(
            f"no file can be written here: {error.strerror}",
            where=str(document.parent),
            mend="name a file in a folder that is there, and yours to write to",
        ) from None
