"""The queue on real PostgreSQL. Workers in this process; those that are killed are in tests/cli/test_worker.py."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tidegate.engine.queue import worker as worker_module
from tidegate.engine.queue.failure import TaskFailed, failure
from tidegate.engine.queue.job import Job, coordinated
from tidegate.engine.queue.server import QueueServer
from tidegate.engine.queue.worker import work
from tidegate.errors import InvalidMigration, LeaseHeld, Refused, TidegateError, Unreachable
from tidegate.lab.servers.process import free_port
from tidegate.runbook.migration import DatabaseServer

PATIENCE = 60


def quiet(text: str) -> None:
    pass


@pytest.fixture(scope="module")
def dsn(postgres16) -> str:
    return postgres16.create_database(f"queue_{uuid.uuid4().hex[:8]}")


@pytest.fixture
def server(postgres16, dsn) -> QueueServer:
    return QueueServer(DatabaseServer.model_validate({"dsn": dsn, "password": postgres16.password_ref}))


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(worker_module, "POLL", 0.03)


@asynccontextmanager
async def working(server: QueueServer, perform) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(work(server, {"do": perform}, quiet))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def results(job: Job) -> list[object]:
    taken = []
    async with asyncio.timeout(PATIENCE):
        while job.waiting:
            taken += await job.ended()
            await asyncio.sleep(0.02)
    return taken


async def double(payload, note):
    return payload * 2


async def test_every_task_gives_its_result_once_and_a_job_that_is_done_leaves_nothing(server):
    async with working(server, double), coordinated(server, "sums", "do") as job:
        for i in range(5):
            await job.add(i)
        assert sorted(await results(job)) == [0, 2, 4, 6, 8]
        await job.forget()
        assert await job.resume() is None
        assert job.waiting == 0


async def test_a_task_that_fails_ends_its_job_with_its_own_error_and_the_job_can_go_on_afterwards(server):
    broken = True
    begun = []

    async def perform(payload, note):
        begun.append(payload)
        if payload == "bad" and broken:
            raise InvalidMigration("it isn't set", where="env:X", mend="export X=...")
        return payload

    async with working(server, perform):
        async with coordinated(server, "fails", "do") as job:
            for payload in ("good", "bad", *range(12)):
                await job.add(payload)
            with pytest.raises(InvalidMigration, match="it isn't set") as raised:
                await results(job)
            assert raised.value.where.startswith("env:X, from the worker on ")
            assert raised.value.mend == "export X=..."
        broken = False
        async with coordinated(server, "fails", "do") as job:
            assert await job.resume() == 11  # the last that was added
            assert set(await results(job)) == {"good", "bad", *range(12)}
            await job.forget()
    assert begun.count("good") == 1  # it was done, and stayed so


def test_an_error_of_a_kind_that_only_one_plane_knows_keeps_its_text():
    class Damaged(TidegateError):
        pass

    told = failure(str(TaskFailed(Damaged("a.jpg didn't arrive", where="aws", mend="see to the proxy"))), "task 1")
    assert (type(told), told.why, told.where, told.mend) == (
        TidegateError,
        "a.jpg didn't arrive",
        "aws",
        "see to the proxy",
    )
    assert "can't run it" in failure("ImportError: no module", "task 1").why


async def test_an_unreachable_server_is_asked_again_before_the_job_fails(server, monkeypatch):
    monkeypatch.setattr(worker_module, "PAUSES", (0.01, 0.01))
    tries = []

    async def perform(payload, note):
        tries.append(payload)
        if tries.count(payload) <= payload:
            raise Unreachable("it doesn't answer", where="aws")
        return payload

    async with working(server, perform), coordinated(server, "tries", "do") as job:
        await job.add(2)
        assert await results(job) == [2]
        await job.add(9)
        with pytest.raises(Unreachable, match="it doesn't answer"):
            await results(job)
        assert tries.count(9) == 3
        await job.forget()


async def test_an_interrupted_worker_hands_back_what_it_had_begun(server):
    begun = asyncio.Event()

    async def sleeps(payload, note):
        begun.set()
        await asyncio.sleep(PATIENCE)

    async with coordinated(server, "handed", "do") as job:
        await job.add(1)
        async with working(server, sleeps):
            await begun.wait()
            assert await job.hand_on() == (1, 0)  # it lives
        assert await job.hand_on() == (0, 0)
        async with working(server, double):
            assert await results(job) == [2]
        await job.forget()


async def test_a_worker_whose_lease_is_lost_ends_itself_and_its_tasks_are_handed_on(server, postgres16):
    begun, ended = asyncio.Event(), asyncio.Event()

    async def sleeps(payload, note):
        begun.set()
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            ended.set()

    async with coordinated(server, "lost", "do") as job, working(server, sleeps) as task:
        await job.add(1)
        await begun.wait()
        mine = job._session._connection.info.backend_pid
        leases = f"select distinct pid from pg_locks where locktype = 'advisory' and pid <> {mine}"
        postgres16.psql(server.database, f"select pg_terminate_backend(pid) from ({leases}) as held")
        with pytest.raises(Unreachable, match="the lease is lost"):
            await task
        assert ended.is_set()
        assert await job.hand_on() == (0, 1)
        async with working(server, double):
            assert await results(job) == [2]
        await job.forget()


async def test_a_job_has_one_coordinator(server):
    async with coordinated(server, "mine", "do"):
        with pytest.raises(LeaseHeld, match="another process sees to this already"):
            async with coordinated(server, "mine", "do"):
                pass


@pytest.mark.parametrize(
    ("change", "error", "why"),
    [
        (lambda dsn: dsn.rpartition("/")[0] + "/nowhere", Refused, "does not exist"),
        (lambda dsn: f"postgresql://postgres@127.0.0.1:{free_port()}/queue", Unreachable, "doesn't answer"),
    ],
)
async def test_a_wrong_address_gives_one_clear_error(dsn, postgres16, change, error, why):
    wrong = QueueServer(DatabaseServer.model_validate({"dsn": change(dsn), "password": postgres16.password_ref}))
    with pytest.raises(error, match=why) as raised:
        await work(wrong, {"do": double}, quiet)
    assert raised.value.where.startswith("the store on 127.0.0.1:")
    assert postgres16.password not in str(raised.value)
