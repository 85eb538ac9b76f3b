"""A workload that knows nothing of tidegate but the endpoints file: notes, each of them a row and an object.

    python notebook.py CLOUD PORT ENDPOINTS INSTANCE

POST /notes/ID keeps the body, GET /notes/ID gives it back. Every answer says which copy gave it (x-served-by) and
whose stores it used (x-primary).
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import obstore
from aiohttp import web
from obstore.store import AzureStore, S3Store

LOOK = 0.05


@dataclass
class Stores:
    """What one revision of the file says. `users`: requests that are at it now."""

    revision: int
    primary: str
    pool: Any
    bucket: S3Store | AzureStore
    users: int = 0


async def opened(told: dict[str, Any]) -> Stores:
    notes, attachments = told["stores"]["notes"], told["stores"]["attachments"]
    pool = await asyncpg.create_pool(notes["dsn"], password=secret(notes["password"]), min_size=1, max_size=4)
    return Stores(told["revision"], told["primary"], pool, bucket(attachments))


def bucket(address: dict[str, str]) -> S3Store | AzureStore:
    options: Any = {"allow_http": True}
    if address["kind"] == "s3":
        return S3Store(
            address["bucket"],
            endpoint=address["endpoint"],
            region=address["region"],
            access_key_id=secret(address["access_key"]),
            secret_access_key=secret(address["secret_key"]),
            client_options=options,
        )
    return AzureStore(
        address["container"],
        endpoint=address["endpoint"],
        account_name=address["account"],
        account_key=secret(address["key"]),
        client_options=options,
    )


def secret(reference: str) -> str:
    return os.environ[reference.removeprefix("env:")]


class Notebook:
    def __init__(self, cloud: str) -> None:
        self.cloud = cloud
        self.stores: Stores | None = None

    async def follow(self, endpoints: Path, instance: str) -> None:
        """Take up what the file says, let go of what it said before, then acknowledge."""
        while True:
            told = json.loads(endpoints.read_text())
            if self.stores is None or told["revision"] != self.stores.revision:
                old, self.stores = self.stores, await opened(told)
                while old is not None and old.users:
                    await asyncio.sleep(LOOK / 5)
                if old is not None:
                    old.pool.terminate()
                acknowledge(endpoints, instance, told["revision"])
            await asyncio.sleep(LOOK)

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[Stores]:
        stores = self.stores
        if stores is None:
            raise web.HTTPServiceUnavailable
        stores.users += 1
        try:
            yield stores
        finally:
            stores.users -= 1

    async def write(self, request: web.Request) -> web.Response:
        note, author, body = request.match_info["id"], request.headers["x-user-id"], await request.read()
        async with self.in_use() as stores:
            await obstore.put_async(stores.bucket, f"notes/{note}.txt", body)
            async with stores.pool.acquire() as connection, connection.transaction():
                await connection.execute("insert into notebook.notes (id, author) values ($1, $2)", note, author)
                await connection.execute("insert into notebook.visits (author) values ($1)", author)
                await connection.execute(
                    "insert into notebook.authors as a (name, notes) values ($1, 1) "
                    "on conflict (name) do update set notes = a.notes + 1",
                    author,
                )
            return self.answer(201, body, stores)

    async def read(self, request: web.Request) -> web.Response:
        note = request.match_info["id"]
        async with self.in_use() as stores:
            if not await stores.pool.fetchval("select count(*) from notebook.notes where id = $1", note):
                return self.answer(404, b"no such note", stores)
            found = await obstore.get_async(stores.bucket, f"notes/{note}.txt")
            return self.answer(200, bytes(await found.bytes_async()), stores)

    def answer(self, status: int, body: bytes, stores: Stores) -> web.Response:
        return web.Response(status=status, body=body, headers={"x-served-by": self.cloud, "x-primary": stores.primary})


def acknowledge(endpoints: Path, instance: str, revision: int) -> None:
    acks = Path(f"{endpoints}.acks")
    acks.mkdir(exist_ok=True)
    new = acks / f".{instance}"
    new.write_text(str(revision))
    new.replace(acks / instance)


def main() -> None:
    cloud, port, endpoints, instance = sys.argv[1:]
    notebook = Notebook(cloud)
    application = web.Application()
    application.add_routes([web.post("/notes/{id}", notebook.write), web.get("/notes/{id}", notebook.read)])

    async def following(_: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(notebook.follow(Path(endpoints), instance))
        task.add_done_callback(lambda ended: ended.cancelled() or sys.exit(f"it follows no more: {ended.exception()}"))
        yield
        task.cancel()

    application.cleanup_ctx.append(following)
    web.run_app(application, host="127.0.0.1", port=int(port), print=None, access_log=None)


if __name__ == "__main__":
    main()
