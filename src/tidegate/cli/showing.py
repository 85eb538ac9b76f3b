"""A run shown while it goes on: a live board on a terminal, lines everywhere else."""

import asyncio
from contextlib import suppress

from rich.console import Console
from rich.live import Live

from tidegate.cli.board import NARROWEST, SHORTEST, Board
from tidegate.cli.lines import Lines
from tidegate.cli.watching import Watch
from tidegate.engine.journal import Store
from tidegate.engine.lease import driver
from tidegate.engine.state import RunState

__all__ = ["follow", "show", "tell"]

EVERY = 0.25
"""Seconds between two looks."""


async def follow(store: Store, run: str, *, console: Console) -> RunState:
    """Show a run that another process drives, until that has ended or left it."""
    watch, over = Watch(store, run), asyncio.Event()
    showing = asyncio.create_task(show(watch, console, over))
    try:
        while driver(store, run) is not None:
            await asyncio.sleep(EVERY)
    finally:
        over.set()
        await showing
    return watch.state


async def show(watch: Watch, console: Console, over: asyncio.Event) -> None:
    """A run goes on also when nobody can read of it any more."""
    with suppress(SystemExit, OSError):  # rich ends the process when a pipe's reader has gone
        if console.is_terminal and not console.is_dumb_terminal and _roomy(console):
            await _live(watch, console, over)
        else:
            await _lines(watch, console, over)


def _roomy(console: Console) -> bool:
    return console.size.width >= NARROWEST and console.size.height >= SHORTEST


async def _live(watch: Watch, console: Console, over: asyncio.Event) -> None:
    board = Board(watch)
    with Live(board, console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        while not over.is_set():
            await _moment(over)
            watch.look()
            board.driven = not over.is_set() or watch.state.ended is not None
            live.refresh()


async def _lines(watch: Watch, console: Console, over: asyncio.Event) -> None:
    lines = Lines()
    while True:
        ending = over.is_set()
        for event in watch.look():
            if line := lines.line(event, watch.state):
                tell(console, line)
        if ending:
            return
        await _moment(over)


async def _moment(over: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(over.wait(), EVERY)


def tell(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)
