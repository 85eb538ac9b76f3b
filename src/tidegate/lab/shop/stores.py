"""Where an instance's stores are, as its endpoints file says: followed without a restart, and acknowledged."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from obstore.store import AzureStore, S3Store

from tidegate.secret import resolve

__all__ = ["Current", "ObjectStore", "Stores", "follow", "in_use", "object_store"]

LOOK = 0.01
RETRY = 0.1
POOL: dict[str, Any] = {"min_size": 1, "max_size": 4}

log = logging.getLogger("shop")
ObjectStore = S3Store | AzureStore


@dataclass(slots=True)
class Stores:
    """One revision's connections, and how many requests use them now."""

    revision: int
    primary: str
    active: bool
    pool: Any
    objects: ObjectStore | None
    users: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)


class Current:
    """What requests use from now on; None until the first file has been taken up."""

    def __init__(self) -> None:
        self.stores: Stores | None = None


@asynccontextmanager
async def in_use(current: Current) -> AsyncGenerator[Stores | None]:
    """The stores of now, which stay open until this request has ended."""
    stores = current.stores
    if stores is None:
        yield None
        return
    stores.users += 1
    try:
        yield stores
    finally:
        stores.users -= 1
        if stores.users == 0:
            stores.idle.set()


async def follow(current: Current, endpoints: Path, instance: str) -> None:
    """Take up every revision: connect to its stores, let what uses the old ones end, acknowledge."""
    while True:
        document = _read(endpoints)
        if document is None or (current.stores and document["revision"] == current.stores.revision):
            await asyncio.sleep(LOOK)
            continue
        try:
            stores = await _open(document)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("revision %s can't be used yet: %s", document["revision"], error)
            await asyncio.sleep(RETRY)  # the file may say something else by then
            continue
        old, current.stores = current.stores, stores
        if old is not None:
            await _close(old)
        _acknowledge(endpoints, instance, stores.revision)


async def _open(document: dict[str, Any]) -> Stores:
    """Proves that the database takes this login, so that an acknowledgement proves it too."""
    database = next(store for store in document["stores"].values() if store["kind"] == "postgres")
    objects = next((store for store in document["stores"].values() if store["kind"] != "postgres"), None)
    pool = None
    if document["active"]:
        password = resolve(database["password"]) if "password" in database else None
        pool = await asyncpg.create_pool(database["dsn"], password=password, timeout=5, command_timeout=30, **POOL)
    store = object_store(objects) if objects else None
    return Stores(document["revision"], document["primary"], document["active"], pool, store)


async def _close(stores: Stores) -> None:
    stores.idle.clear()
    if stores.users:
        await stores.idle.wait()
    if stores.pool is not None:
        try:
            async with asyncio.timeout(1):
                await stores.pool.close()
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            stores.pool.terminate()


def object_store(address: dict[str, str]) -> ObjectStore:
    options: Any = {"allow_http": True, "timeout": "20s"}
    if address["kind"] == "s3":
        where: Any = {"endpoint": address["endpoint"]} if "endpoint" in address else {}
        return S3Store(
            address["bucket"],
            region=address["region"],
            access_key_id=resolve(address["access_key"]),
            secret_access_key=resolve(address["secret_key"]),
            client_options=options,
            **where,
        )
    where = {"endpoint": address["endpoint"]} if "endpoint" in address else {}
    return AzureStore(
        address["container"],
        account_name=address["account"],
        account_key=resolve(address["key"]),
        client_options=options,
        **where,
    )


def _read(endpoints: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        return json.loads(endpoints.read_text())
    return None


def _acknowledge(endpoints: Path, instance: str, revision: int) -> None:
    folder = Path(f"{endpoints}.acks")
    folder.mkdir(exist_ok=True)
    new = folder / f".{instance}"
    new.write_text(f"{revision}\n")
    new.replace(folder / instance)
