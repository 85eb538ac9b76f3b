"""One copy on several workers: real PostgreSQL, real processes, real kills."""

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator

import pytest

from objects.conftest import Receipts
from tidegate.cli.objects.spread import spread
from tidegate.engine.queue.server import QueueServer
from tidegate.errors import InvalidMigration
from tidegate.lab.buckets import ACCESS_KEY, SECRET_KEY
from tidegate.lab.servers.azurite import KEY
from tidegate.objects.manifest import Manifest
from tidegate.runbook.migration import DatabaseServer

SECRETS = {"LAB_ACCESS_KEY": ACCESS_KEY, "LAB_SECRET_KEY": SECRET_KEY, "LAB_ACCOUNT_KEY": KEY}
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
WORKER = "from tidegate.cli import main; main()"
KILLED = f"""
import os, signal
from tidegate.objects.blob import BlobSide
put, done = BlobSide.put, []
async def dies(self, *arguments):
    written = await put(self, *arguments)
    done.append(written)
    if len(done) == 35:
        os.kill(os.getpid(), signal.SIGKILL)
    return written
BlobSide.put = dies
{WORKER}
"""
"""A worker that is killed at its 35th object, which Azure has and nobody noted."""


def quiet(text: str) -> None:
    pass


class Queue:
    """A database of its own, and the workers that were started on it."""

    def __init__(self, postgres, name: str) -> None:
        self.dsn, self.password = postgres.create_database(name), postgres.password_ref
        self.workers: list[asyncio.subprocess.Process] = []

    @property
    def server(self) -> QueueServer:
        return QueueServer(DatabaseServer.model_validate({"dsn": self.dsn, "password": self.password}))

    async def worker(self, *options: str, code: str = WORKER, secrets: dict[str, str] = SECRETS):
        words = ["worker", "--store", self.dsn, "--password", self.password, *options]
        environment = ENVIRONMENT | secrets
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, *words, env=environment, stderr=asyncio.subprocess.PIPE
        )
        self.workers.append(process)
        return process

    async def close(self) -> None:
        for process in self.workers:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@pytest.fixture
async def queue(postgres16) -> AsyncIterator[Queue]:
    queue = Queue(postgres16, f"queue_{uuid.uuid4().hex[:8]}")
    yield queue
    await queue.close()


@pytest.fixture
async def receipts(moto, azurite, tmp_path, monkeypatch) -> AsyncIterator[Receipts]:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    receipts = Receipts(moto, azurite, tmp_path / "folder", events=False)
    yield receipts
    await receipts.close()


async def test_a_killed_workers_shards_are_copied_by_another(queue, receipts):
    for i in range(240):
        receipts.put(f"{i:03}", b"%d" % i)
    receipts.put("no\\blob", b"which Azure would hold under another name")
    killed = await queue.worker(code=KILLED)
    move = receipts.move()
    copying = asyncio.create_task(spread(move, queue.server, quiet, objects=20))
    await killed.wait()
    assert killed.returncode == -signal.SIGKILL
    assert not copying.done()
    other = await queue.worker("--until-idle")
    done = await copying
    assert (done.shards, done.objects) == (13, 240)
    assert [key for key, _ in done.conflicts] == ["no\\blob"]
    assert 0 < done.copied < 240  # the rest was there, from the one that died
    _, said = await other.communicate()
    assert other.returncode == 0, said
    assert b"Traceback" not in said
    here = await receipts.on("aws")
    del here["no\\blob"]
    assert await receipts.on("azure") == here
    assert [row.key async for row in move.manifest.rows()] == sorted(here)


async def test_a_copy_that_failed_goes_on_elsewhere_with_what_is_done(queue, receipts, tmp_path):
    for i in range(40):
        receipts.put(f"{i:02}", b"%d" % i)
    poor = await queue.worker(secrets={name: value for name, value in SECRETS.items() if name != "LAB_ACCOUNT_KEY"})
    with pytest.raises(InvalidMigration, match="LAB_ACCOUNT_KEY is not set") as raised:
        await spread(receipts.move(), queue.server, quiet, objects=10)
    assert "from the worker on" in raised.value.where
    poor.send_signal(signal.SIGTERM)
    _, said = await poor.communicate()
    assert poor.returncode == 130, said
    assert b"Traceback" not in said
    assert all(value not in said.decode() for value in SECRETS.values())
    elsewhere = receipts.move()
    elsewhere.manifest = Manifest(tmp_path / "elsewhere.sqlite")
    rich = await queue.worker("--until-idle", "--processes", "2")
    done = await spread(elsewhere, queue.server, quiet, objects=10)
    assert (done.shards, done.objects, done.copied) == (4, 40, 40)
    assert [row.key async for row in elsewhere.manifest.rows()] == [f"{i:02}" for i in range(40)]
    assert await rich.wait() == 0


async def test_a_wrong_store_is_told_of_in_one_line(queue):
    worker = await queue.worker("--store", queue.dsn.rpartition("/")[0] + "/nowhere")
    _, said = await worker.communicate()
    assert worker.returncode == 1
    [first, mend] = said.decode().splitlines()
    assert first.startswith("the store on 127.0.0.1:")
    assert first.endswith('database "nowhere" does not exist')
    assert mend == "  check user and password"
