"""Which database is moved, from the options that every command takes; and how its progress is shown."""

import asyncio
import functools
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from time import time
from typing import Any

import click
from pydantic import ValidationError

from tidegate.cli.consoles import progress
from tidegate.cli.wording import clock
from tidegate.errors import UsageError
from tidegate.postgres.database import DatabaseMove
from tidegate.runbook.migration import Database

__all__ = ["moves", "note"]

OPTIONS = (
    click.option("--source", required=True, metavar="DSN", envvar="TIDEGATE_SOURCE", show_envvar=True,
                 help="postgresql://USER@HOST:PORT/DATABASE, without a password."),
    click.option("--source-password", metavar="REF", envvar="TIDEGATE_SOURCE_PASSWORD", show_envvar=True,
                 help="env:NAME or file:PATH."),
    click.option("--source-peer", metavar="HOST:PORT", help="The source as the target reaches it, if otherwise."),
    click.option("--target", required=True, metavar="DSN", envvar="TIDEGATE_TARGET", show_envvar=True,
                 help="The same of the target."),
    click.option("--target-password", metavar="REF", envvar="TIDEGATE_TARGET_PASSWORD", show_envvar=True,
                 help="env:NAME or file:PATH."),
    click.option("--target-peer", metavar="HOST:PORT", help="The target as the source reaches it, if otherwise."),
    click.option("--role-password", "roles", multiple=True, metavar="ROLE=REF",
                 help="For a login that is made on the target; may be given again."),
    click.option("--name", default="database", show_default=True, metavar="NAME",
                 help="What this move is called in both databases' bookkeeping."),
)  # fmt: skip


def moves(command: Callable[..., Coroutine[object, object, None]]) -> Callable[..., None]:
    """A command's body, which is given the move that the options name."""

    @functools.wraps(command)
    def called(*arguments: Any, **options: Any) -> None:
        named = {key: options.pop(key) for key in ("name", "roles")}
        sides = {
            cloud: {
                "dsn": options.pop(side),
                "password": options.pop(f"{side}_password"),
                "peer": options.pop(f"{side}_peer"),
            }
            for cloud, side in (("aws", "source"), ("azure", "target"))
        }

        async def go() -> None:
            async with _opened(named["name"], _spec(sides, named["roles"])) as move:
                await command(move, *arguments, **options)

        asyncio.run(go())

    for option in reversed(OPTIONS):
        called = option(called)
    return called


@asynccontextmanager
async def _opened(name: str, spec: Database) -> AsyncGenerator[DatabaseMove]:
    move = DatabaseMove(name, spec, name)
    try:
        yield move
    finally:
        await move.close()


def _spec(sides: dict[str, dict[str, str | None]], roles: tuple[str, ...]) -> Database:
    passwords = {name: reference for name, _, reference in (role.partition("=") for role in roles)}
    try:
        return Database.model_validate({"kind": "postgres", **sides, "passwords": passwords})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise UsageError(str(first["msg"]).removeprefix("Value error, "), where=_option(first["loc"])) from None


def _option(place: tuple[int | str, ...]) -> str:
    """The option by which the field that is wrong was given."""
    cloud, field = str(place[0]), str(place[-1])
    if cloud == "passwords":
        return f"--role-password {place[1]}" if len(place) > 1 else "--role-password"
    side = {"aws": "--source", "azure": "--target"}[cloud]
    return side if field == "dsn" else f"{side}-{field}"


def note(text: str) -> None:
    """A line of progress, to stderr."""
    progress().print(f"{clock(time())}  {text}", soft_wrap=True, highlight=False, markup=False)
