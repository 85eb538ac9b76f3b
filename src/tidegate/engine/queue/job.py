"""One job's tasks, as its one coordinator sees them: added, awaited, and forgotten once all is done."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import cast

from dbos import DBOSClient, WorkflowStatus
from pydantic import JsonValue

from tidegate.engine.queue.failure import failure
from tidegate.engine.queue.lease import Session, opened
from tidegate.engine.queue.server import QUEUE, VERSION, QueueServer
from tidegate.engine.queue.takeover import hand_on
from tidegate.engine.tasks import cancel
from tidegate.errors import LeaseHeld

__all__ = ["COORDINATORS", "Job", "coordinated"]

COORDINATORS = "coordinators"
PAGE = 1000
WINDOW = 1000
"""Tasks are begun in their order: those that have ended are among the oldest of the others."""
AT_ONCE = 32
"""Results in memory."""


class Job:
    """What stands in the queue is unfinished work: a job that is done leaves nothing there.

    So a job's id is what it does. Whoever coordinates it later, from wherever, finds its tasks, and goes on.
    """

    def __init__(self, server: QueueServer, client: DBOSClient, session: Session, name: str, task: str) -> None:
        self.server, self.name, self.task = server, name, task
        self._client, self._session = client, session
        self._beat = asyncio.create_task(session.beat())
        self._waiting: dict[str, None] = {}
        self._number = 0
        self._failed = False

    @property
    def waiting(self) -> int:
        """Tasks whose results haven't been taken."""
        return len(self._waiting)

    async def resume(self) -> JsonValue:
        """Take up what an earlier coordinator has left; the payload of the last task that it added, if there is one.

        What failed, or was taken off the queue, waits for a worker again.
        """
        last: JsonValue = None
        offset = 0
        while page := await self._tasks(limit=PAGE, offset=offset, load_input=True):
            offset += len(page)
            for task in page:
                number, _ = _numbers(task.workflow_id)
                if number >= self._number:
                    self._number, last = number + 1, _payload(task)
                self._waiting[task.workflow_id] = None
        for task in await self._tasks(status="ERROR", load_input=True):
            await self._again(task)
        while page := await self._tasks(status="CANCELLED", limit=PAGE):
            with self.server.dbos_explained():
                await self._client.resume_workflows_async([task.workflow_id for task in page], queue_name=QUEUE)
        return last

    async def _again(self, task: WorkflowStatus) -> None:
        """Under a new name first, and only then not under the old one: a kill in between loses nothing."""
        number, attempt = _numbers(task.workflow_id)
        name = f"{self.name}/{number:09}.{attempt + 1}"
        await self._enqueue(name, _payload(task))
        self._waiting[name] = None
        with self.server.dbos_explained():
            await self._client.delete_workflows_async([task.workflow_id])
        self._waiting.pop(task.workflow_id, None)

    async def add(self, payload: JsonValue) -> None:
        name = f"{self.name}/{self._number:09}.0"
        await self._enqueue(name, payload)
        self._waiting[name] = None
        self._number += 1

    async def ended(self) -> list[JsonValue]:
        """Results that nobody has taken yet, at most AT_ONCE. Raises the error of a task that failed, and Unreachable
        without the queue.
        """
        if self._beat.done():
            self._beat.result()
        oldest = list(islice(self._waiting, WINDOW))
        if not oldest:
            return []
        found = await self._tasks(ids=oldest, status=["SUCCESS", "ERROR"], limit=AT_ONCE, load_output=True)
        for task in found:
            if task.status == "ERROR":
                self._failed = True
                raise failure(str(task.error), task.workflow_id)
        for task in found:
            del self._waiting[task.workflow_id]
        return [task.output for task in found]

    async def hand_on(self) -> tuple[int, int]:
        """As takeover.hand_on."""
        with self.server.dbos_explained():
            return await hand_on(self._client, self._session)

    async def forget(self) -> None:
        """It is done: its results stand elsewhere. From the end: what is left by a kill is a beginning."""
        while page := await self._tasks(limit=PAGE, newest_first=True):
            with self.server.dbos_explained():
                await self._client.delete_workflows_async([task.workflow_id for task in page])

    async def close(self) -> None:
        """After a task that failed, nobody begins what nobody has begun."""
        try:
            if self._failed:
                await self._stop()
        finally:
            await cancel(self._beat)

    async def _stop(self) -> None:
        while page := await self._tasks(status="ENQUEUED", limit=PAGE):
            with self.server.dbos_explained():
                await self._client.cancel_workflows_async([task.workflow_id for task in page])

    async def _enqueue(self, name: str, payload: JsonValue) -> None:
        with self.server.dbos_explained():
            await self._client.enqueue_async(
                {"queue_name": QUEUE, "workflow_name": "task", "workflow_id": name, "app_version": VERSION},
                self.task,
                payload,
            )

    async def _tasks(
        self,
        *,
        ids: Sequence[str] | None = None,
        status: str | Iterable[str] | None = None,
        limit: int | None = None,
        offset: int | None = None,
        load_input: bool = False,
        load_output: bool = False,
        newest_first: bool = False,
    ) -> list[WorkflowStatus]:
        with self.server.dbos_explained():
            return await self._client.list_workflows_async(
                workflow_ids=list(ids) if ids is not None else None,
                workflow_id_prefix=f"{self.name}/",
                status=status if isinstance(status, str) else list(status) if status else None,
                limit=limit,
                offset=offset,
                load_input=load_input,
                load_output=load_output,
                sort_desc=newest_first,
            )


def _numbers(name: str) -> tuple[int, int]:
    """Which task of its job, and how often it has failed."""
    number, _, attempt = name.rpartition("/")[2].partition(".")
    return int(number), int(attempt)


def _payload(task: WorkflowStatus) -> JsonValue:
    assert task.input is not None, "it was asked for"
    return cast("JsonValue", task.input["args"][1])


@asynccontextmanager
async def coordinated(server: QueueServer, name: str, task: str) -> AsyncGenerator[Job]:
    """Raises LeaseHeld if another process coordinates it, Unreachable, Refused."""
    await server.prepare()
    async with opened(server) as session, server.client() as client:
        if not await session.take(f"job {name}"):
            raise LeaseHeld(
                "another process sees to this already", where=name, mend="start more workers to make it faster"
            )
        await session.share(COORDINATORS)
        job = Job(server, client, session, name, task)
        try:
            yield job
        finally:
            await job.close()
