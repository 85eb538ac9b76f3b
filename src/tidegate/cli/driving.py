"""Drive a run and show it meanwhile."""

import asyncio
import signal
from contextlib import suppress

from rich.console import Console

from tidegate.cli.showing import show, tell
from tidegate.cli.watching import Watch
from tidegate.cli.wording import typed
from tidegate.engine.journal import Store
from tidegate.engine.state import RunState
from tidegate.engine.surroundings import drive_migration

__all__ = ["drive_shown"]


async def drive_shown(store: Store, run: str, *, console: Console, wait: bool = True, instead: str = "") -> RunState:
    """As engine.surroundings.drive_migration, with the run shown on `console`: a board, or lines without a terminal.

    A termination signal is as Ctrl-C: the engine comes to a safe point and journals that; then the cancellation
    goes on to the caller. It is told how to go on; or what to do instead.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None, "a coroutine runs in a task"
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    over = asyncio.Event()
    showing = asyncio.create_task(show(Watch(store, run), console, over))
    try:
        return await drive_migration(store, run, wait=wait, instead=instead)
    except asyncio.CancelledError:
        over.set()
        await showing
        with suppress(SystemExit, OSError):
            goes_on = f"`{typed(store.folder, 'resume', run)}` goes on"
            tell(console, f"interrupted; {instead or goes_on}")
        raise
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        over.set()
        with suppress(asyncio.CancelledError):
            await showing
