"""`worker`: takes a share of the copies that are spread over machines."""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from multiprocessing.context import SpawnProcess
from typing import Any

import click
from pydantic import ValidationError

from tidegate.cli.given import Given, given
from tidegate.cli.notes import note
from tidegate.cli.objects.spread import TASK, copy_shard
from tidegate.cli.postgres.sides import refused
from tidegate.engine.queue.server import QueueServer
from tidegate.engine.queue.worker import work
from tidegate.runbook.migration import DatabaseServer

__all__ = ["STORE", "worker"]

OPTIONS = (
    click.option("--store", "store", required=True, metavar="DSN", envvar="TIDEGATE_QUEUE", show_envvar=True,
                 help="The PostgreSQL that shares the work out: postgresql://USER@HOST:PORT/DATABASE, without a "
                      "password. Not the folder that tidegate itself takes as --store."),
    click.option("--password", metavar="REF", envvar="TIDEGATE_QUEUE_PASSWORD", show_envvar=True,
                 help="Of the store: env:NAME or file:PATH."),
)  # fmt: skip


@asynccontextmanager
async def _opened(given: dict[str, Any]) -> AsyncGenerator[QueueServer]:
    server = queue_server(given.pop("store"), given.pop("password"))
    try:
        yield server
    finally:
        await server.close()


def queue_server(store: str, password: str | None) -> QueueServer:
    """Raises UsageError, which names the option."""
    try:
        return QueueServer(DatabaseServer.model_validate({"dsn": store, "password": password}))
    except ValidationError as error:
        raise refused(error, {"dsn": "--store", "password": "--password"}) from None


STORE = Given(OPTIONS, _opened)


@click.command()
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Of this machine: each keeps a core busy, with three shares under way.",
)
@click.option("--until-idle", is_flag=True, help="End once no copy is under way.")
@given(STORE)
async def worker(server: QueueServer, *, processes: int, until_idle: bool) -> None:
    """Take shares of any copy that `tidegate objects copy --store` spreads, until interrupted; what was begun is then
    handed back. Secrets are named in a copy, and read here: this machine needs them too.
    """
    if processes == 1:
        await work(server, {TASK: copy_shard}, note, until_idle=until_idle)
        return
    words = [
        "worker",
        "--store",
        server.spec.dsn,
        *(["--password", server.spec.password] if server.spec.password else []),
    ]
    words += ["--until-idle"] if until_idle else []
    if failed := [code for code in await _several(processes, words) if code]:
        raise click.exceptions.Exit(failed[0] if failed[0] > 0 else 1)


async def _several(count: int, words: list[str]) -> list[int]:
    """The exit codes of so many processes; when this is cancelled, so are they."""
    spawn = multiprocessing.get_context("spawn")
    children = [spawn.Process(target=_child, args=(words,)) for _ in range(count)]
    for child in children:
        child.start()
    try:
        return list(await asyncio.gather(*(_ended(child) for child in children)))
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.join()


async def _ended(child: SpawnProcess) -> int:
    await asyncio.to_thread(child.join)
    code = child.exitcode or 0
    if code < 0:
        note(f"process {child.pid} was killed by signal {-code}; its shares are taken over")
    return code


def _child(words: list[str]) -> None:
    from tidegate.cli import main  # noqa: PLC0415 - which imports this module

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent tells
    threading.Thread(target=_end_with_parent, daemon=True).start()
    main(words, prog_name="tidegate")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "this is a child"
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
