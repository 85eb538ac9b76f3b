"""`status`: how a run stands."""

import asyncio
from pathlib import Path

import click

from tidegate.cli.board import Board
from tidegate.cli.consoles import progress, results
from tidegate.cli.options import json_option, open_store, print_json, run_argument
from tidegate.cli.outcome import document
from tidegate.cli.showing import follow
from tidegate.cli.watching import Watch
from tidegate.cli.wording import clock
from tidegate.engine.journal import Store
from tidegate.engine.lease import driver
from tidegate.engine.state import fold

__all__ = ["status"]


@click.command()
@run_argument
@click.option("--watch", "watching", is_flag=True, help="Stay, and show it live until its process ends.")
@click.option("--all", "every", is_flag=True, help="List all runs, the newest first.")
@json_option
@click.pass_obj
def status(folder: Path, run: str | None, *, watching: bool, every: bool, as_json: bool) -> None:
    """Show how far a run is; the newest, if none is named."""
    store = open_store(folder)
    if every:
        _list(store, as_json=as_json)
        return
    found = store.find(run)
    live = watching and driver(store, found) is not None
    if live:
        asyncio.run(follow(store, found, console=progress()))
    watch = Watch(store, found)
    process = driver(store, found)
    if as_json:
        print_json(document(watch, process))
    elif not live:
        results().print(Board(watch, driven=process is not None, whole=True))


def _list(store: Store, *, as_json: bool) -> None:
    runs = [(run, fold(store.events(run)), driver(store, run)) for run in store.runs()]
    if as_json:
        print_json(
            [
                {"run": run, "migration": state.plan.migration.name, "status": state.status, "driver": process,
                 "began": state.began, "ended": state.ended}
                for run, state, process in runs
            ]
        )  # fmt: skip
        return
    longest = max(len(run) for run, _, _ in runs)
    for run, state, process in runs:
        driven = f"driven by process {process}" if process else ""
        click.echo(f"{run:<{longest}}  {clock(state.began)}  {state.status:<12}  {driven}".rstrip())
