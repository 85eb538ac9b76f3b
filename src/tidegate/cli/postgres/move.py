"""What a command is given, opened from its options: the whole move here. And how its progress is shown."""

import asyncio
import functools
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from time import time
from typing import Any

from tidegate.cli.consoles import progress
from tidegate.cli.postgres.sides import NAME, PEERS, ROLES, SOURCE, TARGET, role_passwords, spec
from tidegate.cli.wording import clock
from tidegate.postgres.database import DatabaseMove
from tidegate.runbook.migration import Database

__all__ = ["Given", "given", "moves", "note"]

Option = Callable[[Callable[..., None]], Callable[..., None]]
Command = Callable[..., Coroutine[object, object, None]]


@dataclass(frozen=True, slots=True)
class Given:
    """What a command's body is given. `open` takes the values of `options` out of all that were given."""

    options: tuple[Option, ...]
    open: Callable[[dict[str, Any]], AbstractAsyncContextManager[object]]


def given(*parts: Given) -> Callable[[Command], Callable[..., None]]:
    """For a command's body: its first arguments are what the parts open, closed when it ends."""

    def bind(command: Command) -> Callable[..., None]:
        @functools.wraps(command)
        def called(**options: Any) -> None:
            asyncio.run(_run(command, parts, options))

        bound: Callable[..., None] = called
        for part in reversed(parts):
            for option in reversed(part.options):
                bound = option(bound)
        return bound

    return bind


async def _run(command: Command, parts: tuple[Given, ...], options: dict[str, Any]) -> None:
    with _terminable():
        async with AsyncExitStack() as stack:
            opened = [await stack.enter_async_context(part.open(options)) for part in parts]
            await command(*opened, **options)


@contextmanager
def _terminable() -> Generator[None]:
    """A termination signal is as Ctrl-C: the programs that were started are ended too."""
    interrupt, before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    if callable(interrupt):  # it is ignored by what a script runs in the background
        signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@asynccontextmanager
async def _move(given: dict[str, Any]) -> AsyncGenerator[DatabaseMove]:
    name: str = given.pop("name")
    sides = {"aws": spec("source", given), "azure": spec("target", given)}
    move = DatabaseMove(name, Database(kind="postgres", **sides, passwords=role_passwords(given)), name)
    try:
        yield move
    finally:
        await move.close()


moves = given(Given((*SOURCE, *TARGET, *PEERS, *ROLES, *NAME), _move))


def note(text: str) -> None:
    """A line of progress, to stderr."""
    progress().print(f"{clock(time())}  {text}", soft_wrap=True, highlight=False, markup=False)
