"""`worker`: takes a share of the copies that are spread over machines."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
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
@click.option("--until-idle", is_flag=True, help="End once no copy is under way.")
@given(STORE)
async def worker(server: QueueServer, *, until_idle: bool) -> None:
    """Take shares of any copy that `tidegate objects copy --store` spreads, until interrupted; what was begun is then
    handed back. Secrets are named in a copy, and read here: this machine needs them too.
    """
    await work(server, {TASK: copy_shard}, note, until_idle=until_idle)
