"""The lab's servers: started in order, ended together."""

import asyncio
import secrets
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

import yaml

from tidegate.edges.bootstrap import bootstrap
from tidegate.edges.envoy import prepare_folder
from tidegate.endpoints import Directory
from tidegate.errors import TidegateError
from tidegate.lab.book import BACKUPS, BUCKET, OWN_OBJECTS, AddressBook, Options, Sides
from tidegate.lab.buckets import ACCESS_KEY, SECRET_KEY, Buckets
from tidegate.lab.dump import load_dump
from tidegate.lab.sample import REGION, sample_yaml
from tidegate.lab.servers.azurite import ACCOUNT, KEY, Azurite
from tidegate.lab.servers.envoy import Envoy
from tidegate.lab.servers.moto import Moto
from tidegate.lab.servers.postgres import Postgres
from tidegate.lab.servers.process import Process, free_port, listens
from tidegate.lab.servers.wan import Wan
from tidegate.lab.shop.seed import customers
from tidegate.objects.blob import BlobSide
from tidegate.objects.http import Http
from tidegate.runbook.migration import AzureContainer, Cloud, Migration

__all__ = ["Program", "Server", "World"]

ACKNOWLEDGED_WITHIN = 30
SEEDED_WITHIN = 600
LOAD_ENDS_WITHIN = 60
SEED = "tidegate.lab.shop.seed"
USERS = 1_500

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Server")


class Server(Protocol):
    process: Process

    def stop(self) -> None: ...

    def kill(self) -> None: ...


class Program:
    """A module that python runs; ready when it listens on `port`, if it has one."""

    def __init__(self, name: str, log: Path, module: str, *arguments: str | Path, port: int | None = None) -> None:
        self.name, self.log, self.port = name, log, port
        self.argv = [sys.executable, "-m", module, *arguments]
        self.process = self._start()

    def restart(self) -> None:
        self.process = self._start()

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def _start(self) -> Process:
        process, port = Process(self.name, self.argv, self.log), self.port
        if port is not None:
            process.wait_until(lambda: listens(port))
        return process


class World:
    """Everything in one lab. A server that dies stays dead."""

    def __init__(self, folder: Path, options: Options) -> None:
        self.folder, self.options = folder, options
        self.servers: dict[str, Server] = {}
        self.starting: set[str] = set()
        # a child dies with the thread that started it: these live as long as the world
        self.threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="starter")

    async def start(self) -> AddressBook:
        """Return when everything stands and every instance knows its stores.

        Raises TidegateError, which names the server; what was started until then is `stop`'s to end.
        """
        references = self._write_secrets()
        source = asyncio.gather(
            self._add("postgres-aws", lambda: Postgres(self.folder / "postgres-aws", 16, "postgres-aws")),
            self._add("moto", lambda: Moto(self.folder / "moto")),
        )
        target = asyncio.gather(
            self._add("postgres-azure", lambda: Postgres(self.folder / "postgres-azure", 18, "postgres-azure")),
            self._add("azurite", lambda: Azurite(self.folder / "azurite")),
        )
        aws, moto = await source
        await self.run(aws.create_database, "shop")  # a dump of the user's own makes another, which is told by that
        contents = asyncio.ensure_future(self._contents(aws, moto, references))
        azure, azurite = await target
        wan = await self._add("wan", lambda: self._wan(aws, azure, moto, azurite))
        own_database = await self.run(self._databases, aws, azure)
        if self.options.method == "restore":
            await _container(azurite.url, references["account_key"])
        queues = await contents
        book = AddressBook(
            folder=self.folder,
            database=_local(aws.port, azure.port),
            database_peer=_local(wan.port("orders-aws"), wan.port("orders-azure")),
            replication_peer=_local(wan.port("replication-aws"), wan.port("replication-azure")),
            database_password=Sides(aws=aws.password_ref, azure=azure.password_ref),
            objects=Sides(aws=moto.url, azure=azurite.url),
            objects_peer=Sides(
                aws=f"http://127.0.0.1:{wan.port('receipts-aws')}",
                azure=f"http://127.0.0.1:{wan.port('receipts-azure')}/{ACCOUNT}",
            ),
            account=ACCOUNT,
            service=_local(free_port(), free_port()),
            edge=f"127.0.0.1:{free_port()}",
            edge_admin=f"127.0.0.1:{free_port()}",
            hold=f"127.0.0.1:{free_port()}",
            queues=queues,
            own_database=own_database,
            **references,
        )
        await self._open(book)
        return book

    def stop(self) -> None:
        """End everything, the load first; the databases' folders are removed."""
        load = self.servers.pop("load", None)
        if load is not None:
            load.stop()
        for server in self.servers.values():
            if isinstance(server, Postgres):
                server.stop()
                server.destroy()
            else:
                server.kill()

    def server(self, name: str) -> Server:
        """Raises TidegateError if there is none."""
        if name not in self.servers:
            raise TidegateError(f"there is no server {name}", where="lab", mend=f"there are {', '.join(self.servers)}")
        return self.servers[name]

    def status(self) -> dict[str, dict[str, int | bool]]:
        return {name: {"pid": server.process.pid, "up": server.process.alive} for name, server in self.servers.items()}

    async def start_load(self, book: AddressBook) -> None:
        """Raises TidegateError if it runs, or ran: a ledger is about one run."""
        if "load" in self.servers:
            raise TidegateError("the load was started before", where="load", mend="start another lab")
        users = min(USERS, customers(self.options.rows))
        arguments = [
            *("--edge", f"http://{book.edge}", "--ledger", book.ledger),
            *("--rate", str(self.options.rate), "--users", str(users)),
        ]
        await self._add("load", lambda: Program("load", self.folder / "load.log", "tidegate.lab.load", *arguments))

    async def stop_load(self) -> None:
        """Return once its ledger is complete. Idempotent. Raises TidegateError if it ended badly."""
        load = self.server("load")
        await self.run(load.process.stop, signal.SIGTERM, LOAD_ENDS_WITHIN)
        if load.process.child.returncode:
            raise load.process.failure(f"it ended with exit code {load.process.child.returncode}")

    async def _add(self, name: str, make: Callable[[], S]) -> S:
        self.starting.add(name)
        server = self.servers[name] = await self.run(make)
        self.starting.discard(name)
        return server

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.threads, lambda: work(*args, **kwargs))

    def _write_secrets(self) -> dict[str, str]:
        """References to all but the databases' own administrators'."""
        folder = self.folder / "secrets"
        folder.mkdir(mode=0o700)
        texts = {
            "app_password": secrets.token_hex(16),
            "worker_password": secrets.token_hex(16),
            "access_key": ACCESS_KEY,
            "secret_key": SECRET_KEY,
            "account_key": KEY,
            "backup_key": secrets.token_hex(32),
        }
        for name, text in texts.items():
            (folder / name).write_text(text)
        return {name: f"file:{folder / name}" for name in texts}

    def _wan(self, aws: Postgres, azure: Postgres, moto: Moto, azurite: Azurite) -> Wan:
        targets = {
            "orders-aws": aws.port,
            "orders-azure": azure.port,
            "replication-aws": aws.port,
            "replication-azure": azure.port,
            "receipts-aws": moto.port,
            "receipts-azure": azurite.port,
        }
        return Wan(self.folder / "wan", targets, self.options.delay)

    async def _seed(self, aws: Postgres, moto: Moto, references: dict[str, str]) -> None:
        arguments = [
            *("--dsn", aws.dsn("shop"), "--password", aws.password_ref),
            *("--s3", moto.url, "--region", REGION, "--bucket", BUCKET),
            *("--access-key", references["access_key"], "--secret-key", references["secret_key"]),
            *("--rows", str(self.options.rows), "--objects", str(self.options.receipts)),
            *("--app-password", references["app_password"], "--worker-password", references["worker_password"]),
        ]
        seed = await self._add("seed", lambda: Program("seed", self.folder / "seed.log", SEED, *arguments))
        if await self.run(seed.process.wait, SEEDED_WITHIN):
            raise seed.process.failure(f"it failed with exit code {seed.process.child.returncode}")
        del self.servers["seed"]

    async def _contents(self, aws: Postgres, moto: Moto, references: dict[str, str]) -> dict[str, str]:
        """Filled, and only then listened to; the queues of their events."""
        buckets = Buckets(moto.url)
        await self.run(buckets.create, BUCKET)
        await self._seed(aws, moto, references)
        names = [BUCKET]
        if self.options.objects:
            names.append(OWN_OBJECTS)
            await self.run(buckets.create, OWN_OBJECTS)
            await self.run(buckets.fill, OWN_OBJECTS, self.options.objects)
        return {name: await self.run(buckets.announce, name) for name in names}

    def _databases(self, aws: Postgres, azure: Postgres) -> str | None:
        """Azure's side is made empty. Returns the name of the user's own."""
        azure.create_database("shop")
        if self.options.database is None:
            return None
        return load_dump(self.options.database, aws, azure)

    async def _open(self, book: AddressBook) -> None:
        """The edge and the workload, all of it on AWS."""
        book.migration.write_text(sample_yaml(book, self.options))
        migration = Migration.model_validate(yaml.safe_load(book.migration.read_text()))
        directory = Directory(migration)
        at_home = directory.settled("aws")
        directory.write(at_home)
        await asyncio.gather(self._edge(book, migration), *(self._workload(book, cloud) for cloud in ("aws", "azure")))
        await directory.acknowledged(at_home, time.monotonic() + ACKNOWLEDGED_WITHIN)

    async def _edge(self, book: AddressBook, migration: Migration) -> None:
        book.edge_folder.mkdir()
        prepare_folder(migration)
        arguments = ("tidegate.edges.hold", "--listen", book.hold)
        log = self.folder / "hold.log"
        await self._add("hold", lambda: Program("hold", log, *arguments, port=_port(book.hold)))
        document = bootstrap(migration)
        await self._add("envoy", lambda: Envoy(self.folder / "envoy", document, _port(book.edge_admin)))

    async def _workload(self, book: AddressBook, cloud: Cloud) -> None:
        def start(component: str, module: str, port: int | None = None) -> Callable[[], Program]:
            name = f"{component}-{cloud}"
            arguments = [
                *("--cloud", cloud, "--instance", f"{name}-1", "--endpoints", str(book.endpoints(component, cloud))),
                *(("--port", str(port)) if port else ()),
            ]
            return lambda: Program(name, self.folder / f"{name}.log", module, *arguments, port=port)

        await asyncio.gather(
            self._add(f"shop-{cloud}", start("shop", "tidegate.lab.shop.service", _port(book.service.of(cloud)))),
            self._add(f"settler-{cloud}", start("settler", "tidegate.lab.shop.worker")),
        )


async def _container(endpoint: str, key: str) -> None:
    """For the backups."""
    http = Http()
    try:
        await BlobSide(
            BACKUPS, AzureContainer(account=ACCOUNT, container=BACKUPS, key=key, endpoint=endpoint), http
        ).create()
    finally:
        await http.close()


def _local(aws: int, azure: int) -> Sides:
    return Sides(aws=f"127.0.0.1:{aws}", azure=f"127.0.0.1:{azure}")


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
