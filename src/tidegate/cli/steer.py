"""`approve`, `pause`, `abort`, `rollback`: what a person tells a run, from any terminal.

Each appends one command to the journal. The process that drives the run obeys it; without one it is kept.
"""

from pathlib import Path

import click
from pydantic import JsonValue

from tidegate.cli.options import by_option, json_option, open_store, print_json, run_argument
from tidegate.cli.watching import Watch
from tidegate.cli.wording import typed
from tidegate.engine.journal import Store
from tidegate.engine.lease import driver
from tidegate.errors import UsageError

__all__ = ["abort", "approve", "ask", "pause", "rollback"]


def ask(store: Store, run: str, command: dict[str, JsonValue], *, as_json: bool) -> None:
    """Append a command, and say what becomes of it."""
    event = store.append(run, "command", command)
    process = driver(store, run)
    if as_json:
        print_json({"run": run, **command, "seq": event.seq, "driver": process})
        return
    gate = f" of {command['gate']}" if "gate" in command else ""
    click.echo(f"{run}: {NOUNS[str(command['command'])]}{gate} asked for by {command['by']}")
    if process is None:
        click.echo(f"  no process drives this run: it is kept, and obeyed on `{typed(store.folder, 'resume', run)}`")
    else:
        click.echo(
            f"  process {process} drives this run and obeys now; `{typed(store.folder, 'status', run)}` shows it"
        )


NOUNS = {"approve": "approval", "pause": "a pause", "resume": "going on", "abort": "a stop", "rollback": "a rollback"}


@click.command()
@run_argument
@click.option("--gate", help="Which, if the run waits for several; without it the one that there is.")
@by_option
@json_option
@click.pass_obj
def approve(folder: Path, run: str | None, *, gate: str | None, by: str, as_json: bool) -> None:
    """Approve what a run waits for. Nothing is approved in advance."""
    watch = _unfinished(folder, run)
    if not watch.state.waits:
        raise UsageError(
            "this run waits for no approval",
            where=watch.run,
            mend=f"it is {watch.state.status}: see `{typed(watch.store.folder, 'status', watch.run)}`",
        )
    if gate is None and len(watch.state.waits) > 1:
        raise UsageError(
            "this run waits for several approvals",
            where=watch.run,
            mend=f"name one: --gate {'|'.join(watch.state.waits)}",
        )
    chosen = gate or next(iter(watch.state.waits))
    if chosen not in watch.state.waits:
        raise UsageError(
            f"this run doesn't wait for {chosen!r}",
            where=watch.run,
            mend=f"it waits for: {', '.join(watch.state.waits)}",
        )
    ask(watch.store, watch.run, {"command": "approve", "gate": chosen, "by": by}, as_json=as_json)


@click.command()
@run_argument
@by_option
@json_option
@click.pass_obj
def pause(folder: Path, run: str | None, *, by: str, as_json: bool) -> None:
    """Let a run wait at its next safe point, until `tidegate resume`."""
    watch = _driven(folder, run)
    if watch.state.status == "paused":
        raise UsageError("this run is paused already", where=watch.run, mend="`tidegate resume` goes on")
    if watch.state.decision is not None:
        raise UsageError(
            "a rollback can't be paused",
            where=watch.run,
            mend="`tidegate abort` stops it after the step that it undoes",
        )
    ask(watch.store, watch.run, {"command": "pause", "by": by}, as_json=as_json)


@click.command()
@run_argument
@by_option
@json_option
@click.pass_obj
def abort(folder: Path, run: str | None, *, by: str, as_json: bool) -> None:
    """Stop a run where it is. Nothing is undone; it can be resumed or rolled back."""
    watch = _driven(folder, run)
    ask(watch.store, watch.run, {"command": "abort", "by": by}, as_json=as_json)


@click.command()
@run_argument
@click.option("--force", is_flag=True, help="Azure's stores are gone: go back without them, losing what only they had.")
@by_option
@json_option
@click.pass_obj
def rollback(folder: Path, run: str | None, *, force: bool, by: str, as_json: bool) -> None:
    """Take a run back: all traffic to AWS, then the data, then the rest in reverse.

    With --force the run first names the writes at risk, and waits for their approval.
    """
    watch = _unfinished(folder, run)
    decision = watch.state.decision
    if decision is not None and (not force or decision.figure("forced") is True):
        raise UsageError("this run rolls back already", where=watch.run, mend="see `tidegate status`")
    if lasting := watch.state.lasting:
        raise UsageError(
            f"{lasting.name} has begun: this run is past its point of no return",
            where=watch.run,
            mend="finish it with `tidegate resume`",
        )
    ask(watch.store, watch.run, {"command": "rollback", "by": by, "force": force}, as_json=as_json)


def _unfinished(folder: Path, run: str | None) -> Watch:
    store = open_store(folder)
    watch = Watch(store, store.find(run))
    if watch.state.ended is not None or watch.state.final:
        raise UsageError(f"this run has ended: {watch.state.status}", where=watch.run)
    return watch


def _driven(folder: Path, run: str | None) -> Watch:
    watch = _unfinished(folder, run)
    if driver(watch.store, watch.run) is None:
        raise UsageError("no process drives this run: it stands still already", where=watch.run)
    return watch
