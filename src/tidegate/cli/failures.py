"""What a command that fails says: one message on stderr, and the exit code that follows from it."""

import os
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import click

from tidegate.errors import TidegateError

__all__ = ["INTERRUPTED", "explained"]

INTERRUPTED = 130
"""By Ctrl-C or a termination signal, as shells have it."""
PACKAGE = Path(__file__).parents[1]


@contextmanager
def explained(context: click.Context) -> Generator[None]:
    try:
        yield
    except TidegateError as error:
        _say(str(error))
        context.exit(error.exit_code)
    except (click.exceptions.Exit, click.ClickException, BrokenPipeError):
        raise
    except (KeyboardInterrupt, click.Abort):
        context.exit(INTERRUPTED)
    except OSError as error:
        # such as a full disk; what was asked of a server has become a TidegateError long before
        place = f"{error.filename}: " if error.filename else ""
        _say(f"{place}{error.strerror or type(error).__name__}\n  see to that, then try again")
        _trace(error)
        context.exit(1)
    except Exception as error:  # noqa: BLE001 - the last resort
        # Its text is not repeated: nobody has looked whether it holds a secret.
        _say(
            f"this is a defect of tidegate: {type(error).__name__} at {_place(error)}\n"
            "  TIDEGATE_DEBUG=1 shows the traceback; look through it for secrets before you pass it on"
        )
        _trace(error)
        context.exit(1)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _trace(error: BaseException) -> None:
    if os.environ.get("TIDEGATE_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)


def _place(error: BaseException) -> str:
    """The innermost line of tidegate's own."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(PACKAGE)] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}"
