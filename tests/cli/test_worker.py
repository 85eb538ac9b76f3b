"""One copy on several workers: real PostgreSQL, real processes, real kills."""

import asyncio
import os
import random
import signal
import sys
import uuid
from collections.abc import AsyncIterator

import pytest

from objects.conftest import Receipts
from tidegate.cli.objects.spread import TASK, copy_shard, spread
from tidegate.engine.queue.server import QueueServer
from tidegate.engine.queue.worker import work
from tidegate.errors import InvalidMigration
from tidegate.lab.buckets import ACCESS_KEY, SECRET_KEY
from tidegate.lab.servers.azurite import KEY
from tidegate.objects.bucket import BucketMove
from tidegate.runbook.migration import DatabaseServer

SECRETS = {"LAB_ACCESS_KEY": ACCESS_KEY, "LAB_SECRET_KEY": SECRET_KEY, "LAB_ACCOUNT_KEY": KEY}
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
WORKER = "from tidegate.cli import main; main()"
KILLED = f"""
import os, signal
from tidegate.objects.wire import Pool
ask, done = Pool.ask, []
async def dies(self, head, *arguments, **options):
    answer = await ask(self, head, *arguments, **options)
    done.extend([answer] if b"x-ms-blob-type" in head else [])
    if len(done) == 25:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
Pool.ask = dies
{WORKER}
"""
"""A worker that is killed at its 25th object, which Azure has and nobody noted."""


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
    for i in range(120):
        receipts.put(f"{i:03}", b"%d" % i)
    receipts.put("no\\blob", b"which Azure would hold under another name")
    killed = await queue.worker(code=KILLED)
    move = receipts.move()
    copying = asyncio.create_task(spread(move, queue.server, quiet, objects=10))
    await killed.wait()
    assert killed.returncode == -signal.SIGKILL
    assert not copying.done()
    other = await queue.worker("--until-idle")
    done = await copying
    assert (done.shards, done.objects) == (13, 120)
    assert list(move.manifest.conflicts(9)) == ["no\\blob"]
    assert 0 < done.copied < 120  # the rest was there, from the one that died
    _, said = await other.communicate()
    assert other.returncode == 0, said
    assert b"Traceback" not in said
    here = await receipts.on("aws")
    del here["no\\blob"]
    assert await receipts.on("azure") == here
    assert [row.key async for page in move.manifest.pages() for row in page] == sorted(here)


@pytest.mark.slow
async def test_a_copy_that_failed_goes_on_elsewhere_with_what_is_done(queue, receipts, tmp_path):
    for i in range(40):
        receipts.put(f"{i:02}", b"%d" % i)
    poor = await queue.worker(
        "--processes", "2", secrets={name: value for name, value in SECRETS.items() if name != "LAB_ACCOUNT_KEY"}
    )
    with pytest.raises(InvalidMigration, match="LAB_ACCOUNT_KEY is not set") as raised:
        await spread(receipts.move(), queue.server, quiet, objects=10)
    assert "from the worker on" in raised.value.where
    poor.send_signal(signal.SIGTERM)
    _, said = await poor.communicate()
    assert poor.returncode == 130, said
    assert b"Traceback" not in said
    assert all(value not in said.decode() for value in SECRETS.values())
    elsewhere = BucketMove("receipts", receipts.spec, tmp_path / "elsewhere.sqlite")
    receipts.moves.append(elsewhere)
    rich = asyncio.create_task(work(queue.server, {TASK: copy_shard}, quiet))
    done = await spread(elsewhere, queue.server, quiet, objects=10)
    assert (done.shards, done.objects, done.copied) == (4, 40, 40)
    assert [row.key async for page in elsewhere.manifest.pages() for row in page] == [f"{i:02}" for i in range(40)]
    report = await elsewhere.verify(quiet)
    assert (report.objects, report.differences) == (40, 0)
    rich.cancel()
    await asyncio.gather(rich, return_exceptions=True)


def test_a_wrong_store_is_told_of_in_one_line(cli, postgres16):
    done = cli("worker", "--store", postgres16.dsn("nowhere"), "--password", postgres16.password_ref)
    [first, mend] = done.stderr.splitlines()
    assert done.exit_code == 1
    assert first.startswith("the store on 127.0.0.1:")
    assert first.endswith('database "nowhere" does not exist')
    assert mend == "  check user and password"


@pytest.mark.slow
async def test_workers_that_are_killed_all_the_time_copy_everything_all_the_same(queue, receipts):
    for i in range(3000):
        receipts.put(f"{i % 7}/{i:04}", b"%d" % i)
    move = receipts.move()
    copying = asyncio.create_task(spread(move, queue.server, quiet, objects=100))
    killed = 0
    while not copying.done():
        living = [worker for worker in queue.workers if worker.returncode is None]
        if len(living) == 3 and killed < 6:
            await asyncio.sleep(random.uniform(0.1, 2))
            doomed = random.choice(living)
            doomed.kill()
            assert await doomed.wait() == -signal.SIGKILL
            killed += 1
        elif len(living) < 3:
            await queue.worker()
        else:
            await asyncio.sleep(0.1)
    done = await copying
    assert (done.shards, done.objects, move.manifest.count("conflicts")) == (30, 3000, 0)
    here = await receipts.on("aws")
    assert len(here) == 3000
    assert await receipts.on("azure") == here
    assert [row.key async for page in move.manifest.pages() for row in page] == sorted(here)
