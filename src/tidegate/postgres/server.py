"""One side of a database: connections to it, with every driver's error explained."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, LiteralString, cast
from urllib.parse import unquote, urlsplit

import asyncpg
import psycopg
from psycopg import sql

from tidegate.errors import Refused, Unreachable
from tidegate.postgres.tls import client_options, context, peer_options
from tidegate.postgres.tls import environment as tls_environment
from tidegate.runbook.migration import Cloud, DatabaseServer
from tidegate.secret import resolve

if TYPE_CHECKING:
    from psycopg.abc import Params, QueryNoTemplate

__all__ = ["LOCK_SECONDS", "UNLOCK", "Connection", "Server", "literal", "statement"]

CONNECT_SECONDS = 5
LOCK_SECONDS = 5
"""A schema change that waits for the copy's locks has whoever needs another wait behind it: somebody must give up."""

UNLOCK = "a schema change, or a LOCK TABLE, waits or is at work: let it end, then try again"

STEADY = {
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
"""A server that vanished is noticed within about ten seconds."""


def statement(text: str) -> sql.SQL:
    """SQL put together from text whose identifiers the server itself has quoted."""
    return sql.SQL(cast("LiteralString", text))


AWAY = (
    *(psycopg.errors.AdminShutdown, psycopg.errors.CrashShutdown, psycopg.errors.CannotConnectNow),
    *(asyncpg.AdminShutdownError, asyncpg.CrashShutdownError, asyncpg.CannotConnectNowError),
    psycopg.errors.ConnectionFailure,
)
"""The last: it answers, but can't reach the server that it is to follow."""


def literal(value: str) -> str:
    """For statements that take no parameters. standard_conforming_strings is always on."""
    escaped = value.replace("'", "''")
    return f"'{escaped}'"


class Connection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """To one server, which its errors name, whatever else is connected at the time."""

    server: Server

    async def execute(  # pyright: ignore[reportIncompatibleMethodOverride]: no template strings here
        self,
        query: QueryNoTemplate,
        params: Params | None = None,
        *,
        prepare: bool | None = None,
        binary: bool = False,
    ) -> psycopg.AsyncCursor[tuple[Any, ...]]:
        """Raises Unreachable, Refused."""
        with self.server.explained():
            return await super().execute(query, params, prepare=prepare, binary=binary)

    @asynccontextmanager
    async def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> AsyncGenerator[psycopg.AsyncTransaction]:
        """Raises Unreachable, Refused: its begin and its commit may fail too."""
        with self.server.explained():
            async with super().transaction(savepoint_name, force_rollback) as transaction:
                yield transaction


class Server:
    """`store` and `cloud` name it in errors."""

    def __init__(self, store: str, cloud: Cloud, spec: DatabaseServer) -> None:
        self.store, self.spec = store, spec
        self.cloud: Cloud = cloud
        parts = urlsplit(spec.dsn)
        self.host, self.port = parts.hostname or "", parts.port or 5432
        self.user, self.database = unquote(parts.username or ""), unquote(parts.path.lstrip("/"))
        self.given = dict(pair.split("=", 1) for pair in parts.query.split("&") if "=" in pair)
        self.options = client_options(self.host, self.given)
        self._idle: Connection | None = None

    @property
    def where(self) -> str:
        return f"{self.store} on {self.cloud} ({self.host}:{self.port}/{self.database})"

    async def connect(self, *, replication: bool = False) -> Connection:
        """Autocommit. Raises Unreachable, Refused."""
        arguments = self._arguments() | (
            {"replication": "database"} if replication else {"options": "-c lock_timeout=10s -c search_path="}
        )
        with self.explained():
            connection = await Connection.connect(autocommit=True, **cast("dict[str, Any]", arguments))
        connection.server = self
        return connection

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[Connection]:
        connection = await self.connect()
        try:
            yield connection
        finally:
            await connection.close()

    async def copier(self) -> asyncpg.Connection[asyncpg.Record]:
        """For COPY: the fastest pipe that Python has to PostgreSQL."""
        with self.explained():
            return await asyncpg.connect(
                host=self.host,
                port=self.port,
                user=self.user,
                database=self.database,
                password=self._password(),
                timeout=CONNECT_SECONDS,
                ssl=cast("Literal['prefer']", context(self.options)),
                server_settings={
                    "application_name": "tidegate",
                    "search_path": "",
                    "lock_timeout": f"{LOCK_SECONDS}s",
                },
            )

    async def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Of what may be asked twice. By a session that is kept: to open one costs both sides 20 ms of CPU."""
        idle, self._idle = self._idle, None
        if idle is not None:
            with suppress(Unreachable):  # it may have died since
                return await self._ask(idle, query, parameters)
        return await self._ask(await self.connect(), query, parameters)

    async def _ask(self, connection: Connection, query: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        try:
            found = await (await connection.execute(statement(query), parameters or None)).fetchall()
        except BaseException:  # nobody knows in what state it is
            await connection.close()
            raise
        if self._idle is None:
            self._idle = connection
        else:
            await connection.close()
        return found

    async def close(self) -> None:
        if self._idle is not None:
            await self._idle.close()
            self._idle = None

    async def value(self, query: str, *parameters: object) -> Any:
        rows = await self.rows(query, *parameters)
        return rows[0][0] if rows else None

    def peer_conninfo(self, user: str, password: str) -> str:
        """How the other cloud's server connects to this one, for its subscription."""
        host, _, port = (self.spec.replication_peer or self.spec.peer or f"{self.host}:{self.port}").rpartition(":")
        parts = {"host": host, "port": port, "dbname": self.database, "user": user, "password": password}
        parts |= {"connect_timeout": str(CONNECT_SECONDS)} | STEADY | peer_options(host, self.given)
        return " ".join(f"{key}='{_quoted(value)}'" for key, value in parts.items())

    def client_environment(self) -> dict[str, str]:
        """For pg_dump and pg_restore: the password is never on a command line."""
        environment = {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGDATABASE": self.database,
            "PGPASSWORD": self._password() or "",
            "PGAPPNAME": "tidegate",
            "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
        }
        return environment | tls_environment(self.options)

    @contextmanager
    def explained(self) -> Generator[None]:
        """Drivers' errors become Unreachable (try again) or Refused (mend something first)."""
        try:
            yield
        except (OSError, TimeoutError, *AWAY) as error:
            raise self._unreachable(error) from None
        except (psycopg.errors.LockNotAvailable, asyncpg.LockNotAvailableError) as error:
            raise self._locked(error) from None
        except psycopg.OperationalError as error:
            if error.sqlstate is None and not _login_refused(str(error)):
                raise self._unreachable(error) from None
            raise self._refused(error) from None
        except psycopg.Error as error:
            raise self._refused(error) from None
        except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError) as error:
            raise self._unreachable(error) from None
        except asyncpg.InternalClientError:  # it was ended between two statements
            raise self._unreachable(ConnectionError("the connection was lost")) from None
        except asyncpg.PostgresError as error:
            raise self._refused(error) from None

    def _arguments(self) -> dict[str, str | int | None]:
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "dbname": self.database,
            "password": self._password(),
            "application_name": "tidegate",
            "connect_timeout": CONNECT_SECONDS,
            **STEADY,
            **self.options,
        }

    def _password(self) -> str | None:
        return resolve(self.spec.password) if self.spec.password else None

    def _unreachable(self, error: BaseException) -> Unreachable:
        why = _first_line(error) or type(error).__name__
        return Unreachable(
            f"the server doesn't answer: {why}", where=self.where, mend="see whether it runs and can be reached"
        )

    def _locked(self, error: BaseException) -> Refused:
        return Refused(f"the server refused: {_first_line(error)}", where=self.where, mend=UNLOCK)

    def _refused(self, error: BaseException) -> Refused:
        mend = "check user and password" if _login_refused(str(error)) else "see the server's log"
        return Refused(f"the server refused: {_first_line(error)}", where=self.where, mend=mend)


def _login_refused(text: str) -> bool:
    return bool(re.search(r"authentication failed|no password|does not exist|not permitted to log in|pg_hba", text))


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else ""


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")
