"""The planes of one migration, opened once per process and shared by its steps."""

import json
from pathlib import Path
from typing import TypeVar

from pydantic import PrivateAttr

from tidegate.edges import open_edge
from tidegate.edges.edge import Count, Counts, Edge
from tidegate.endpoints import Directory
from tidegate.errors import LocalFault, Unreachable
from tidegate.files import write
from tidegate.objects.bucket import BucketMove
from tidegate.postgres.database import DatabaseMove
from tidegate.postgres.store import DatabaseStore
from tidegate.runbook.migration import Cloud, Database, Migration
from tidegate.runbook.step import Context, Facts, NoFacts, Step
from tidegate.switch.store import Ownership

__all__ = ["FactlessStep", "PlaneStep", "Workload"]

F = TypeVar("F", bound=Facts)
USUAL = "usual.json"


class Workload:
    """`folder` keeps what has to be remembered (the buckets' manifests, what was usual)."""

    def __init__(self, migration: Migration, run: str, folder: Path) -> None:
        self.migration, self.run, self.folder = migration, run, folder
        self.edge: Edge = open_edge(migration)
        self.directory = Directory(migration)
        self.databases: dict[str, DatabaseMove] = {}
        self.turned: dict[str, DatabaseStore] = {}
        """Those that the switch has just moved: they hold what both sides were at that moment, until it is proved."""
        self.buckets: dict[str, BucketMove] = {}
        for name, store in migration.stores.items():
            if isinstance(store, Database):
                self.databases[name] = DatabaseMove(name, store, run)
            else:
                self.buckets[name] = BucketMove(name, store, folder / f"{name}.objects.sqlite")

    @property
    def lead(self) -> DatabaseMove:
        """The database that holds the row which commits the switch."""
        return next(iter(self.databases.values()))

    async def ownership(self) -> Ownership:
        """Who owns the writes now. Raises Unreachable if a side that has to be asked doesn't answer."""
        return await self.lead.ownership() or Ownership(self.run, 0, "aws")

    async def remember_the_usual(self) -> None:
        """What the edge has counted before anything is held or fenced: that alone are users used to."""
        counts = await self.edge.count()
        rows = [[*key, count.total, count.failed] for key, count in counts.items()]
        write(self.folder / USUAL, json.dumps(rows), parents=True)

    def usual(self) -> Counts | None:
        """None if no switch has begun yet. Raises LocalFault if it can't be read."""
        try:
            rows = json.loads((self.folder / USUAL).read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise LocalFault(
                f"what was usual before the switch can't be read: {error}",
                where=str(self.folder / USUAL),
                mend="see to the file's permissions",
            ) from None
        return {(name, cloud): Count(total, failed) for name, cloud, total, failed in rows}

    async def answers(self, cloud: Cloud) -> bool:
        """Whether every database of this cloud answers."""
        for database in self.databases.values():
            try:
                await database.ping(cloud)
            except Unreachable:
                return False
        return True

    async def let_go(self) -> None:
        """Of the moment of the switch."""
        while self.turned:
            await self.turned.popitem()[1].close()

    async def close(self) -> None:
        await self.edge.close()
        await self.let_go()
        for move in [*self.databases.values(), *self.buckets.values()]:
            await move.close()


class PlaneStep(Step[F]):
    """A step that works through the planes. `steps.make` binds it to them."""

    _workload: Workload | None = PrivateAttr(default=None)

    def bind(self, workload: Workload) -> None:
        self._workload = workload

    @property
    def workload(self) -> Workload:
        if self._workload is None:
            raise LocalFault("the step is not bound to a workload", where=self.name)
        return self._workload


class FactlessStep(PlaneStep[NoFacts]):
    """One that needs to know nothing beforehand."""

    @property
    def facts_type(self) -> type[NoFacts]:
        return NoFacts

    async def read(self, context: Context) -> NoFacts:
        return NoFacts()
