"""The switch of all stores; its undo is the same switch, mirrored, or without the target if that is gone."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from tidegate.edges.edge import Routes
from tidegate.errors import CheckFailed, DeadlinePassed
from tidegate.postgres.store import DatabaseStore
from tidegate.runbook.migration import Cloud, other
from tidegate.runbook.step import Action, Context, Finding, Interruptible, NoFacts
from tidegate.steps.workload import FactlessStep
from tidegate.switch import front
from tidegate.switch.store import Ownership, Store
from tidegate.switch.switch import Parties, Timings, abandon, committed, switch

__all__ = ["Switch"]

EVERYBODY = 10_000
BREATH = 1.0
"""Seconds in which what was held is served: the proof that follows reads everything on both sides."""


class Switch(FactlessStep):
    uses: str = "switch"
    moves_traffic: bool
    """All at once: the requests held are released to Azure, and all that follow."""

    interruptible: ClassVar[Interruptible] = "never"

    def plan(self, facts: NoFacts) -> Sequence[Action]:
        migration = self.workload.migration
        hold, away = migration.objectives.hold, bool(migration.restored)
        workers = [name for name, component in migration.components.items() if component.kind == "worker"]
        stores = ", ".join(migration.stores)
        holding = Action(
            verb="change", target="edge", detail=f"hold requests, {hold:g} s at most", undo="let them go on"
        )
        idle = "" if away else "idle on AWS, then "
        actions = [
            *([] if away else [holding]),
            *(
                Action(verb="change", target=worker, detail=f"{idle}active on Azure", undo="active on AWS")
                for worker in workers
            ),
            Action(
                verb="change",
                target=stores,
                detail="fence AWS, drain, Azure owns the writes; a mirror carries them back",
                undo="the mirrored switch: AWS owns the writes again, with all that was written on Azure",
            ),
        ]
        if self.moves_traffic:
            undo = "one write sends everybody to AWS"
            actions.append(Action(verb="change", target="edge", detail="everybody to Azure", undo=undo))
        return actions

    async def apply(self, context: Context, facts: NoFacts) -> None:
        if context.recall("forward") is None:
            await self.workload.remember_the_usual()
        try:
            await self._turn(context, "azure", "forward", context.stopping, self._routes)
        except DeadlinePassed as late:
            if not self.workload.migration.restored or (await self.workload.ownership()).owner == "azure":
                raise
            raise CheckFailed(late.why, where=late.where, mend=late.mend) from None  # users are away meanwhile
        await asyncio.sleep(BREATH)

    @property
    def _routes(self) -> Routes | None:
        return Routes(basis_points=EVERYBODY) if self.moves_traffic else None

    async def check(self, context: Context, facts: NoFacts) -> Sequence[Finding]:
        ownership = await self.workload.ownership()
        told = self.workload.directory.settled("azure")
        entries_right = all(self.workload.directory.read(n, c) == entry for (n, c), entry in told.items())
        done = ownership.owner == "azure" and entries_right and context.recall("forward") == "done"
        message = f"{ownership.owner} owns the writes (epoch {ownership.epoch})"
        return [Finding(check=self.name, verdict="pass" if done else "fail", message=message)]

    async def undo(self, context: Context, facts: NoFacts) -> None:
        if context.recall("forward") is None:
            return
        await self.workload.let_go()
        if context.forced:
            await self._force_home(context)
            return
        if (await self.workload.ownership()).owner == "azure" or context.recall("back") is not None:
            await self._finish_forward(context)
            await self._turn(context, "aws", "back", lambda: False)
        else:  # killed before the commit: the source may still be fenced
            parties = self._parties("azure", 1, self._routes)
            try:
                await abandon(parties)
            finally:
                await _close(parties.stores)

    async def _turn(
        self, context: Context, owner: Cloud, turn: str, stopping: Callable[[], bool], routes: Routes | None = None
    ) -> None:
        """What an earlier process left half done is finished or taken back first, by the ownership row."""
        ownership = await self._ownership(context, owner, turn)
        parties = self._parties(owner, ownership.epoch, routes)
        try:
            if context.recall(turn) == "begun" and not await committed(parties.lead, ownership):
                await abandon(parties)
            context.remember(turn, "begun")
            objectives = self.workload.migration.objectives
            timings = await switch(parties, ownership, hold=objectives.hold, stopping=stopping, note=context.note)
            if turn == "forward":
                self.workload.turned |= {each.name: each for each in parties.stores if isinstance(each, DatabaseStore)}
        finally:
            await _close(each for each in parties.stores if each not in self.workload.turned.values())
        context.remember(turn, "done")
        context.note(f"{owner} owns the writes", **_figures(timings))

    async def _finish_forward(self, context: Context) -> None:
        """A switch whose commit stands is brought to its end before it is mirrored; its traffic has gone home."""
        if context.recall("forward") == "begun" and context.recall("back") is None:
            await self._turn(context, "azure", "forward", lambda: False)
            await self.workload.let_go()

    async def _force_home(self, context: Context) -> None:
        epoch = await self._ownership(context, "aws", "back")
        context.remember("back", "begun")
        for database in self.workload.databases.values():
            await database.force_home(epoch.epoch)
        for bucket in self.workload.buckets.values():
            await bucket.force_home(context.note)
        self.workload.directory.write(self.workload.directory.settled("aws"))
        await self.workload.edge.release()
        context.remember("back", "done")
        context.note("aws owns the writes; Azure's database was left behind")

    async def _ownership(self, context: Context, owner: Cloud, turn: str) -> Ownership:
        """The epoch of a turn is drawn once and kept, so that a resumed one recognises its own commit."""
        key = f"{turn}-epoch"
        epoch = context.recall(key)
        if not isinstance(epoch, int):
            epoch = 2 if context.forced else (await self.workload.ownership()).epoch + 1
            context.remember(key, epoch)
        return Ownership(context.run, epoch, owner)

    def _parties(self, owner: Cloud, epoch: int, routes: Routes | None = None) -> Parties:
        workload, source = self.workload, other(owner)
        databases = {name: database.store(source, epoch) for name, database in workload.databases.items()}
        buckets = {name: bucket.store(source) for name, bucket in workload.buckets.items()}
        lead = databases[workload.lead.name]
        stores = [*databases.values(), *buckets.values()]
        objectives = workload.migration.objectives
        lag = dict.fromkeys(databases, objectives.lag) | dict.fromkeys(buckets, objectives.lag_objects)
        before: front.Front = front.Workload(workload.edge, workload.edge, workload.directory, routes)
        if routes is not None and workload.migration.restored:
            before = front.Away(workload.edge, workload.directory, routes)
        return Parties(stores, lead, before, lag)


async def _close(stores: Iterable[Store]) -> None:
    for store in stores:
        await store.close()


def _figures(timings: Timings) -> dict[str, float | str]:
    phases = {f"{phase} ms": round(seconds * 1000, 1) for phase, seconds in timings.marks.items()}
    return phases | {f"{phase} last": store for phase, store in timings.last.items()}
