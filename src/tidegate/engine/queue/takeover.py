"""Tasks of workers that are gone, handed on to those that live."""

from dbos import DBOSClient, WorkflowStatus

from tidegate.engine.queue.lease import Session
from tidegate.engine.queue.server import QUEUE

__all__ = ["hand_back", "hand_on", "worker_lease"]


def worker_lease(worker: str) -> str:
    return f"worker {worker}"


async def hand_on(client: DBOSClient, session: Session, me: str = "") -> tuple[int, int]:
    """How many workers have tasks, and how many tasks of dead ones wait for others now. `me`: the caller's own id."""
    alive = orphans = 0
    for worker in sorted({str(task.executor_id) for task in await _begun(client)}):
        if worker == me or not await session.take(worker_lease(worker)):
            alive += 1
            continue
        try:
            orphans += await hand_back(client, worker)
        finally:
            await session.release(worker_lease(worker))
    return alive, orphans


async def hand_back(client: DBOSClient, worker: str) -> int:
    """Its tasks, listed under its lease, wait for others now."""
    begun = [task.workflow_id for task in await _begun(client, worker)]
    if begun:
        await client.resume_workflows_async(begun, queue_name=QUEUE)
    return len(begun)


async def _begun(client: DBOSClient, worker: str | None = None) -> list[WorkflowStatus]:
    return await client.list_workflows_async(
        queue_name=QUEUE, status="PENDING", executor_id=worker, load_input=False, load_output=False
    )
