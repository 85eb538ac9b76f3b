"""A worker: takes tasks from the queue and runs them in its own loop, until it is told to end."""

import asyncio
import concurrent.futures
import os
import socket
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer
from pydantic import JsonValue

from tidegate.engine.queue.failure import TaskFailed
from tidegate.engine.queue.job import COORDINATORS
from tidegate.engine.queue.lease import Session, opened
from tidegate.engine.queue.server import APPLICATION, QUEUE, SCHEMA, VERSION, QueueServer
from tidegate.engine.queue.takeover import hand_back, hand_on, worker_lease
from tidegate.engine.tasks import cancel, unforeseen
from tidegate.errors import TidegateError, Unreachable

__all__ = ["Note", "Perform", "work"]

Note = Callable[[str], None]
Perform = Callable[[JsonValue, Note], Awaitable[JsonValue]]
"""A task's payload to its result. Idempotent: it may run twice, even at once. Raises Unreachable to be run again."""

AT_ONCE = 3
"""Tasks of one worker: while one is looked for, the others go on. All workers of a queue share this figure."""
POLL = 0.2
PAUSES = (1.0, 5.0)
"""Seconds before an Unreachable task is run again, by the same worker."""
LOOK = 1.0


class HandedBack(BaseException):
    """A task that ends without an outcome. No Exception: dbos records none of it."""


async def work(server: QueueServer, tasks: Mapping[str, Perform], note: Note, *, until_idle: bool = False) -> None:
    """Until cancelled: then what was begun is handed back at once. `until_idle`: until no job is under way.

    Raises Unreachable without the queue, within the time after which others take its tasks over.
    """
    await server.prepare()
    me = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    async with opened(server) as session, server.client() as client:
        await session.take(worker_lease(me))
        hands = Hands(tasks, note)
        beat = asyncio.create_task(session.beat())
        rounds = asyncio.create_task(_rounds(server, client, session, me, note, until_idle=until_idle))
        try:
            await asyncio.to_thread(_launch, server, me, hands)
            note(f"worker {me} takes tasks from {server.where}")
            ended, _ = await asyncio.wait([beat, rounds], return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            await hands.drop()  # first: who has lost the lease must do nothing more
            await cancel(rounds)
            await asyncio.to_thread(DBOS.destroy, destroy_registry=True)
            if not beat.done():
                with server.dbos_explained():
                    if left := await hand_back(client, me):
                        note(f"{left} tasks are handed back")
            await cancel(beat)


async def _rounds(
    server: QueueServer, client: DBOSClient, session: Session, me: str, note: Note, *, until_idle: bool
) -> None:
    while True:
        with server.dbos_explained():
            _, orphans = await hand_on(client, session, me)
            if orphans:
                note(f"{orphans} tasks of a worker that is gone are taken over")
            if until_idle and await _idle(client, session):
                return
        await asyncio.sleep(LOOK)


async def _idle(client: DBOSClient, session: Session) -> bool:
    """Nothing waits, nothing runs, and nobody is about to add anything."""
    if not await session.take(COORDINATORS):
        return False
    await session.release(COORDINATORS)
    return not await client.list_workflows_async(
        queue_name=QUEUE, status=["ENQUEUED", "PENDING"], limit=1, load_input=False, load_output=False
    )


def _launch(server: QueueServer, me: str, hands: "Hands") -> None:
    with server.dbos_explained():
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_url": server.url,
                "dbos_system_schema": SCHEMA,
                "sys_db_pool_size": 4,
                "run_migrations": False,
                "executor_id": me,
                "application_version": VERSION,
                "serializer": DBOSPortableJSONSerializer(),
                "log_level": "CRITICAL",
            }
        )
        DBOS.workflow(name="task", max_recovery_attempts=None)(hands.task)
        DBOS.listen_queues([QUEUE])
        DBOS.launch()
        DBOS.register_queue(QUEUE, worker_concurrency=AT_ONCE, polling_interval_sec=POLL, on_conflict="always_update")


class Hands:
    """Runs in the worker's loop what dbos calls in threads of its own."""

    def __init__(self, tasks: Mapping[str, Perform], note: Note) -> None:
        self._tasks, self._note = tasks, note
        self._loop = asyncio.get_running_loop()
        self._running: set[concurrent.futures.Future[JsonValue]] = set()
        self._dropped = False

        def task(name: str, payload: Any) -> JsonValue:
            if self._dropped:
                raise HandedBack
            running = asyncio.run_coroutine_threadsafe(self._perform(name, payload), self._loop)
            self._running.add(running)
            try:
                return running.result()
            except concurrent.futures.CancelledError:
                raise HandedBack from None
            finally:
                self._running.discard(running)

        self.task = task

    async def drop(self) -> None:
        """What runs is ended where it is; what dbos begins from here on is handed back."""
        self._dropped = True
        running = list(self._running)
        for each in running:
            each.cancel()
        await asyncio.gather(*(asyncio.wrap_future(each) for each in running), return_exceptions=True)

    async def _perform(self, name: str, payload: JsonValue) -> JsonValue:
        """Its result. Raises TaskFailed, whatever went wrong."""
        perform = self._tasks.get(name)
        if perform is None:
            raise self._failed(TidegateError(f"there is no task {name!r} here", mend="upgrade this worker's tidegate"))
        for pause in (*PAUSES, None):
            try:
                return await perform(payload, self._note)
            except Unreachable as error:
                if pause is None:
                    raise self._failed(error) from None
                self._note(f"tried again in {pause:.0f} s: {error.brief}")
                await asyncio.sleep(pause)
            except TidegateError as error:
                raise self._failed(error) from None
            except Exception as error:  # noqa: BLE001 - it ends the job, not the worker
                raise self._failed(unforeseen(error, name)) from None
        raise AssertionError("the last try returns or raises")

    def _failed(self, error: TidegateError) -> TaskFailed:
        self._note(f"failed: {error.brief}")
        here = f"the worker on {socket.gethostname()}"
        error.where = f"{error.where}, from {here}" if error.where else here
        return TaskFailed(error)
