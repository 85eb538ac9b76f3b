"""What moves the writes, or ends the move: switch, rollback, abort, finish."""

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager

import click
from pydantic import JsonValue

from tidegate.cli.notes import note
from tidegate.cli.options import json_option, print_json
from tidegate.cli.postgres.move import moves
from tidegate.errors import RollbackIncomplete, RolledBack, TidegateError, UsageError
from tidegate.postgres.database import DatabaseMove
from tidegate.runbook.migration import Cloud
from tidegate.switch.alone import Turn, turn

__all__ = ["abort", "finish", "rollback", "switch"]

seconds_option = click.option(
    "--deadline",
    "seconds",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    help="Seconds within which it commits; past it the owner is reopened.",
)
lag_option = click.option(
    "--lag",
    type=click.IntRange(min=0),
    default=2**20,
    show_default=True,
    metavar="BYTES",
    help="Wait until the other side is at most so far behind.",
)
yes_option = click.option("--yes", is_flag=True, help="Don't ask.")


@click.command()
@seconds_option
@lag_option
@json_option
@moves
async def switch(move: DatabaseMove, *, seconds: float, lag: int, as_json: bool) -> None:
    """Move the writes to the target.

    The application's logins are closed on the source, the last changes applied, sequences set, the logins opened on
    the target. A mirror carries what is written there back. Then everything is compared as it was at that moment, on
    both sides; a difference moves the writes back.
    """
    await _turn(move, "azure", seconds, lag, as_json=as_json)


@click.command()
@click.option("--force", is_flag=True, help="The target is gone: go on without what only it had.")
@yes_option
@seconds_option
@lag_option
@json_option
@moves
async def rollback(move: DatabaseMove, *, force: bool, yes: bool, seconds: float, lag: int, as_json: bool) -> None:
    """Move the writes back to the source, with all that was written on the target."""
    if not force:
        await _turn(move, "aws", seconds, lag, as_json=as_json)
        return
    heard = await move.last_heard("aws")
    since = f"after {heard:%Y-%m-%d %H:%M:%S %Z}, when aws last heard of it" if heard else "since the switch"
    _ask(f"what azure has acknowledged {since}, is lost. Go on?", yes=yes)
    await move.force_home(await move.epoch("aws") + 1)
    note("aws owns the writes; azure's database was left behind")
    if as_json:
        print_json({"owner": "aws", "forced": True, "at_risk_since": heard.isoformat() if heard else None})


@click.command()
@yes_option
@moves
async def abort(move: DatabaseMove, *, yes: bool) -> None:
    """Before the switch: drop what was copied, give the source back as it was."""
    ownership = await move.ownership()
    if ownership and ownership.owner == "azure":
        raise UsageError("azure owns the writes", where="abort", mend="`tidegate postgres rollback` first")
    _ask(f"all that was copied to {move.where('azure')} is dropped. Go on?", yes=yes)
    await move.remove()
    note("both sides are as they were")


@click.command()
@yes_option
@moves
async def finish(move: DatabaseMove, *, yes: bool) -> None:
    """After the switch, or a copy: end the mirror, remove all that the move has made. There is no way back then."""
    ownership = await move.ownership()
    if (ownership is None or ownership.owner == "aws") and not await move.is_plain_copy():
        raise UsageError("aws owns the writes", where="finish", mend="`switch` moves them, `abort` takes the copy back")
    _ask("changes no longer go back to aws: nothing undoes this. Go on?", yes=yes)
    await move.disarm()
    note("the database lives on azure alone")


async def _turn(move: DatabaseMove, owner: Cloud, seconds: float, lag: int, *, as_json: bool) -> None:
    """Raises RolledBack if the content differed, once the writes are back; RollbackIncomplete if they can't go back."""
    with _stoppable() as stopping:
        turned = await turn(move, owner, seconds=seconds, lag=lag, stopping=stopping, note=note)
        note(turned.proof.lines()[-1])
        if as_json:
            print_json(_document(turned))
        if turned.proof.equal:
            return
        differ = ", ".join(table.name for table in turned.proof.mismatched)
        if owner == "aws":
            raise RollbackIncomplete(f"the content differs: {differ}", where=move.where("aws"), mend="see the report")
        note(f"the content differs: {differ}; the writes go back")
        await turn(move, "aws", seconds=seconds, lag=lag, stopping=lambda: False, note=note)
    raise RolledBack(f"the content differed after the switch: {differ}", where=move.where(owner))


def _document(turned: Turn) -> dict[str, JsonValue]:
    seconds = dict[str, JsonValue](turned.timings.marks)
    return {"owner": turned.owner, "epoch": turned.epoch, "seconds": seconds, "proof": turned.proof.document()}


def _ask(question: str, *, yes: bool) -> None:
    if not yes and not click.confirm(question, err=True):
        raise TidegateError("nothing was done", where="tidegate postgres")


@contextmanager
def _stoppable() -> Generator[Callable[[], bool]]:
    """Ctrl-C asks to stop: before the commit the owner is reopened, after it the turn is finished."""
    told: list[int] = []
    before = {
        each: signal.signal(each, lambda number, _: told.append(number)) for each in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield lambda: bool(told)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
