"""`run` and `resume`: drive a run until it ends, stops, or waits."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tidegate.cli.consoles import progress
from tidegate.cli.driving import drive_shown
from tidegate.cli.options import by_option, json_option, open_store, print_json, run_argument
from tidegate.cli.outcome import document, exit_code, summary
from tidegate.cli.plan import must_pass
from tidegate.cli.reading import read_plan_or_migration, require_secrets
from tidegate.cli.steer import ask
from tidegate.cli.watching import Watch
from tidegate.cli.wording import typed
from tidegate.engine.journal import Store
from tidegate.engine.lease import driver
from tidegate.engine.planning import plan_migration
from tidegate.engine.run import start
from tidegate.engine.state import RunState, fold
from tidegate.errors import LeaseHeld, UsageError
from tidegate.runbook.plan import Plan

__all__ = ["resume", "run"]


def driving_options(command: Callable[..., Any]) -> Callable[..., Any]:
    command = click.option("--no-wait", is_flag=True, help="Exit with 5 where a person has to decide.")(command)
    command = click.option("--plain", is_flag=True, help="Lines instead of the live picture.")(command)
    return json_option(command)


@click.command()
@click.argument("file", metavar="PLAN|FILE", type=click.Path(path_type=Path))
@driving_options
@click.pass_context
def run(context: click.Context, file: Path, *, no_wait: bool, plain: bool, as_json: bool) -> None:
    """Execute a saved plan, or plan a migration file and execute that.

    Ctrl-C stops at a safe point; `tidegate resume` goes on.
    """
    given = read_plan_or_migration(file)
    store = Store(context.obj)
    name = given.migration.name if isinstance(given, Plan) else given.name
    _nothing_unfinished(store, name)
    if isinstance(given, Plan):
        plan = given
    else:
        plan, findings = asyncio.run(plan_migration(given))
        must_pass(findings)
    _drive(context, store, start(store, plan), no_wait=no_wait, plain=plain, as_json=as_json)


@click.command()
@run_argument
@driving_options
@by_option
@click.pass_context
def resume(context: click.Context, run: str | None, *, no_wait: bool, plain: bool, as_json: bool, by: str) -> None:
    """Go on with a run that was stopped or killed; or tell the process that has paused it to go on."""
    store = open_store(context.obj)
    found = store.find(run)
    state, kept = fold(store.events(found)), store.folder / "runs" / found
    process = driver(store, found)
    rehearsal = process is None and (kept / "rehearsal.json").exists()
    if state.ended is not None and not (rehearsal and not (kept / "verdict.json").exists()):
        raise UsageError("this run has ended", where=found, mend=f"see `{typed(store.folder, 'status', found)}`")
    if rehearsal:
        from tidegate.cli.rehearse import go_on  # noqa: PLC0415 - the lab need not be installed

        context.exit(go_on(store, found, no_wait=no_wait, plain=plain, as_json=as_json))
    if process is None:
        require_secrets(state.plan.migration, found)
        _drive(context, store, found, no_wait=no_wait, plain=plain, as_json=as_json)
    elif state.status == "paused":
        ask(store, found, {"command": "resume", "by": by}, as_json=as_json)
    else:
        raise LeaseHeld(
            f"process {process} drives this run already",
            where=found,
            mend=f"watch it with `{typed(store.folder, 'status', found, '--watch')}`",
        )


def _drive(context: click.Context, store: Store, run: str, *, no_wait: bool, plain: bool, as_json: bool) -> None:
    try:
        asyncio.run(drive_shown(store, run, console=progress(plain=plain), wait=not no_wait))
    except asyncio.CancelledError:  # a termination signal
        raise KeyboardInterrupt from None
    watch = Watch(store, run)
    if as_json:
        print_json(document(watch, None))
    else:
        click.echo(summary(watch))
    context.exit(exit_code(watch.state))


def _nothing_unfinished(store: Store, migration: str) -> None:
    """Two runs of one migration would fight over its servers."""
    for other in store.runs():
        state = fold(store.events(other))
        if state.plan.migration.name != migration or state.ended is not None or state.final:
            continue
        process = driver(store, other)
        if process is not None:
            raise LeaseHeld(
                f"process {process} drives a run of {migration} already",
                where=other,
                mend=f"watch it with `{typed(store.folder, 'status', other, '--watch')}`",
            )
        if _left_something(state):
            raise UsageError(
                f"a run of {migration} is not finished, and has changed something",
                where=other,
                mend=f"`{typed(store.folder, 'resume', other)}` goes on; after "
                f"`{typed(store.folder, 'rollback', other)}` it goes back",
            )


def _left_something(state: RunState) -> bool:
    return any(step.touched and state.plan.actions.get(step.name) for stage in state.stages for step in stage.steps)
