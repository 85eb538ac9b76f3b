"""What the body of a command is given, opened from the command's options."""

import asyncio
import functools
import signal
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["Given", "given"]

Option = Callable[[Callable[..., None]], Callable[..., None]]
Command = Callable[..., Coroutine[object, object, None]]


@dataclass(frozen=True, slots=True)
class Given:
    """What a command's body is given. `open` takes the values of `options` out of all that were given."""

    options: tuple[Option, ...]
    open: Callable[[dict[str, Any]], AbstractAsyncContextManager[object]]


def given(*parts: Given, fast: bool = False) -> Callable[[Command], Callable[..., None]]:
    """For a command's body: its first arguments are what the parts open, closed when it ends.

    `fast`: on uvloop, where many requests are on their way.
    """

    def bind(command: Command) -> Callable[..., None]:
        @functools.wraps(command)
        def called(**options: Any) -> None:
            try:
                with asyncio.Runner(loop_factory=_uvloop() if fast else None) as runner:
                    runner.run(_run(command, parts, options))
            except asyncio.CancelledError:
                raise KeyboardInterrupt from None

        bound: Callable[..., None] = called
        for part in reversed(parts):
            for option in reversed(part.options):
                bound = option(bound)
        return bound

    return bind


def _uvloop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """It isn't made for Windows."""
    try:
        import uvloop  # noqa: PLC0415 - 20 ms that only these commands spend
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _run(command: Command, parts: tuple[Given, ...], options: dict[str, Any]) -> None:
    with _terminable():
        async with AsyncExitStack() as stack:
            opened = [await stack.enter_async_context(part.open(options)) for part in parts]
            await command(*opened, **options)


@contextmanager
def _terminable() -> Generator[None]:
    """A termination signal is as Ctrl-C: the programs that were started are ended too."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None, "a coroutine runs in a task"

    def end(*_: object) -> None:
        loop.call_soon_threadsafe(task.cancel)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
