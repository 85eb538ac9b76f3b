"""Real servers, one of each per session, started when a test first asks for them."""

import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tidegate.lab.servers.azurite import Azurite
from tidegate.lab.servers.moto import Moto
from tidegate.lab.servers.postgres import Postgres
from tidegate.postgres.database import DatabaseMove

# a machine that is busy with something else is no finding
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# a shell that runs the tests in the background has it ignored, by all that they start too
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="run the long crash tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--run-slow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="long: `make test-crash` runs it"))


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's own user can reach."""
    with tempfile.TemporaryDirectory(prefix="tidegate-tests-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def without_autovacuum(server: Postgres) -> Postgres:
    """What the planner knows changes only when a test changes it."""
    server.psql("postgres", "alter system set autovacuum = off")
    server.psql("postgres", "select pg_reload_conf()")
    return server


@pytest.fixture(scope="session")
def postgres16(server_folder: Path) -> Iterator[Postgres]:
    server = without_autovacuum(Postgres(server_folder / "postgres16", 16))
    yield server
    server.kill()  # nothing of it is kept


@pytest.fixture(scope="session")
def postgres18(server_folder: Path) -> Iterator[Postgres]:
    server = without_autovacuum(Postgres(server_folder / "postgres18", 18))
    yield server
    server.kill()


@pytest.fixture(scope="session")
def moto(server_folder: Path) -> Iterator[Moto]:
    server = Moto(server_folder / "moto")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def azurite(server_folder: Path) -> Iterator[Azurite]:
    server = Azurite(server_folder / "azurite")
    yield server
    server.stop()


@pytest.fixture
async def closing(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[], Coroutine[object, object, None]]]:
    """What a test opens of databases is closed when it ends, as its process would; or when this is called."""
    opened: list[DatabaseMove] = []
    begin = DatabaseMove.__init__

    def remember(move: DatabaseMove, *given: Any) -> None:
        begin(move, *given)
        opened.append(move)

    async def close() -> None:
        while opened:
            await opened.pop().close()

    monkeypatch.setattr(DatabaseMove, "__init__", remember)
    yield close
    await close()
