"""The PostgreSQL that holds a queue, in a schema of its own."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from tidegate.errors import LocalFault
from tidegate.postgres.server import Server
from tidegate.runbook.migration import DatabaseServer

__all__ = ["APPLICATION", "QUEUE", "SCHEMA", "VERSION", "QueueServer"]

SCHEMA = "tidegate_queue"
APPLICATION = "tidegate"
QUEUE = "bulk"
VERSION = "tasks-1"
"""Bumped only when workers of now couldn't run the tasks of before."""
POOL = 5


class QueueServer(Server):
    """Any PostgreSQL from 14 on, reached without a pooler: leases are its sessions' locks."""

    def __init__(self, spec: DatabaseServer) -> None:
        super().__init__("queue", "aws", spec)

    @property
    def where(self) -> str:
        """It belongs to no cloud."""
        return f"the store on {self.host}:{self.port}/{self.database}"

    @property
    def url(self) -> str:
        """With the password: for dbos alone, which doesn't show it."""
        given = {key: value for key, value in self._arguments().items() if value is not None}
        named = {key: str(given.pop(key, "")) for key in ("user", "password", "host", "dbname")}
        url = URL.create(
            "postgresql+psycopg",
            username=named["user"],
            password=named["password"] or None,
            host=named["host"],
            port=int(given.pop("port")),
            database=named["dbname"],
            query={key: str(value) for key, value in given.items()},
        )
        return url.render_as_string(hide_password=False)

    async def prepare(self) -> None:
        """The schema, of the version that is needed. Raises Unreachable, Refused."""
        async with self.session() as connection:  # dbos would make a database that isn't there
            await connection.execute("select 1")
        with self.dbos_explained():
            await asyncio.to_thread(DBOS.migrate, self.url, schema=SCHEMA)

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[DBOSClient]:
        with self.dbos_explained():
            client = await asyncio.to_thread(
                DBOSClient,
                system_database_url=self.url,
                dbos_system_schema=SCHEMA,
                serializer=DBOSPortableJSONSerializer(),
                system_database_pool_size=POOL,
                application_name=APPLICATION,
                retry_connection_errors=False,
            )
        try:
            yield client
        finally:
            await asyncio.to_thread(client.destroy)

    @contextmanager
    def dbos_explained(self) -> Generator[None]:
        """What PostgreSQL said to dbos, as if it had been said to tidegate."""
        try:
            yield
        except DBAPIError as error:
            with self.explained():
                raise (error.orig or error) from None
            raise LocalFault(f"the queue can't be used: {error.orig}", where=self.where) from None
