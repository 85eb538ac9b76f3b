"""Envoy as the edge: routes by a file that it watches, hold by a service that it asks, counters by its statistics."""

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import aiohttp

from tidegate.edges.bootstrap import HOLD_KEY, ROUTES, route_document
from tidegate.edges.criteria import segments
from tidegate.edges.edge import REST, Count, Counts, Held, Routes
from tidegate.errors import DeadlinePassed, Refused, Unreachable
from tidegate.files import write
from tidegate.runbook.migration import Cloud, Migration

__all__ = ["EnvoyEdge", "prepare_folder"]

CONFIRM_SECONDS = 10
EVERYBODY = 10_000
ANSWER_SECONDS = 5
LOOK = 0.01
ACTIVE = ("rq_active", "rq_pending_active")
"""The latter still waits for a connection."""
CLOUDS: tuple[Cloud, Cloud] = ("aws", "azure")
STATISTIC = re.compile(
    r"cluster\.(aws|azure)_(\d+)\.upstream_(rq_(?:active|pending_active|completed|total|5xx)): (\d+)"
)


def prepare_folder(migration: Migration) -> None:
    """Envoy doesn't start without a file to watch: everybody on AWS, unless there are routes already."""
    file = Path(migration.edge.folder) / ROUTES
    if not file.exists():
        _write(file, route_document(migration, Routes(), _version_of(Routes())))


class EnvoyEdge:
    """Implements edges.edge.Edge. Raises Unreachable if the admin interface doesn't answer."""

    def __init__(self, migration: Migration) -> None:
        self.migration, self.spec = migration, migration.edge
        self.names = [*segments(migration), REST]
        self._session: aiohttp.ClientSession | None = None

    async def read(self) -> Routes:
        return _routes_of(await self._version(), self.spec.admin)

    async def write(self, routes: Routes) -> None:
        if _obeys(await self._version(), routes):
            return  # Envoy ignores a file that only has another version
        version = _version_of(routes)
        document = route_document(self.migration, routes, version)
        rejected = await self._rejections()
        _write(Path(self.spec.folder) / ROUTES, document)
        deadline = time.monotonic() + CONFIRM_SECONDS
        while await self._version() != version:
            if await self._rejections() > rejected:
                raise Refused("Envoy rejected the routes", where=self.spec.admin, mend="see its log")
            if time.monotonic() > deadline:
                raise Refused(
                    "Envoy doesn't take the routes up", where=self.spec.folder, mend="does it watch this folder?"
                )
            await asyncio.sleep(LOOK / 2)

    async def hold(self, seconds: float) -> None:
        """The hold service first: a hold that nobody could end must not begin."""
        await self._post(f"{self.spec.hold.rstrip('/')}/hold?seconds={seconds}")
        await self._post(f"{self.spec.admin.rstrip('/')}/runtime_modify?{HOLD_KEY}=100")

    async def settle(self, deadline: float) -> None:
        """Twice in a row nothing in flight and nothing new: Envoy's threads learn of the hold one by one."""
        before = -1
        while True:
            figures = await self._statistics()
            active = sum(value for (_, _, kind), value in figures.items() if kind in ACTIVE)
            total = sum(value for (_, _, kind), value in figures.items() if kind == "rq_total")
            if active == 0 and total == before:
                return
            if time.monotonic() > deadline:
                raise DeadlinePassed(f"{active} requests are still in flight", where="edge")
            before = total
            await asyncio.sleep(LOOK)

    async def release(self) -> None:
        """Where everybody is in one cloud, what was held goes there; else by the routes as it arrived."""
        routes = await self.read()
        to = "?to=azure" if routes.basis_points == EVERYBODY else "?to=aws" if routes.home else ""
        await self._post(f"{self.spec.hold.rstrip('/')}/release{to}")
        await self._post(f"{self.spec.admin.rstrip('/')}/runtime_modify?{HOLD_KEY}=0")

    async def held(self) -> Held:
        document = json.loads(await self._get(f"{self.spec.hold.rstrip('/')}/state"))
        return Held(document["waiting"], document["served"], document["expired"])

    async def count(self) -> Counts:
        counts: Counts = {}
        figures = await self._statistics()
        for index, name in enumerate(self.names):
            for cloud in CLOUDS:
                completed = figures.get((cloud, index, "rq_completed"), 0)
                counts[name, cloud] = Count(completed, figures.get((cloud, index, "rq_5xx"), 0))
        return counts

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _version(self) -> str:
        """Of the routes that Envoy obeys now; empty without any."""
        text = await self._get(f"{self.spec.admin.rstrip('/')}/config_dump?resource=dynamic_route_configs")
        for each in json.loads(text).get("configs", []):
            if each.get("route_config", {}).get("name") == "edge":
                return str(each.get("version_info", ""))
        return ""

    async def _rejections(self) -> int:
        text = await self._get(f"{self.spec.admin.rstrip('/')}/stats?filter=rds.edge.update_rejected")
        return sum(int(line.rpartition(":")[2]) for line in text.splitlines() if ":" in line)

    async def _statistics(self) -> dict[tuple[Cloud, int, str], int]:
        pattern = r"^cluster\.(aws|azure)_\d+\.upstream_rq_(active|pending_active|completed|total|5xx)$"
        text = await self._get(f"{self.spec.admin.rstrip('/')}/stats", {"filter": pattern})
        figures: dict[tuple[Cloud, int, str], int] = {}
        for cloud, index, kind, value in STATISTIC.findall(text):
            figures["aws" if cloud == "aws" else "azure", int(index), kind] = int(value)
        return figures

    async def _get(self, url: str, query: dict[str, str] | None = None) -> str:
        return await self._request("GET", url, query)

    async def _post(self, url: str) -> None:
        await self._request("POST", url)

    async def _request(self, method: str, url: str, query: dict[str, str] | None = None) -> str:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS))
        try:
            async with self._session.request(method, url, params=query) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = str(error) or type(error).__name__
            raise Unreachable(f"the edge doesn't answer: {why}", where=url, mend="see whether it runs") from None
        if answer.status != 200:
            raise Refused(f"the edge answers {answer.status}: {text[:200]}", where=url)
        return text


def _version_of(routes: Routes) -> str:
    """A version says what it stands for: Envoy gives it back, and needs no second record beside it."""
    return json.dumps([time.time_ns(), routes.basis_points, sorted(routes.azure), routes.maintenance])


def _obeys(version: str, routes: Routes) -> bool:
    return bool(version) and _routes_of(version, "") == routes


def _routes_of(version: str, where: str) -> Routes:
    try:
        _, points, azure, *more = json.loads(version)
    except ValueError:
        raise Refused(
            "Envoy has no routes of tidegate's", where=where, mend="start it with `tidegate edge bootstrap`"
        ) from None
    return Routes(frozenset(azure), points, bool(more and more[0]))


def _write(path: Path, document: dict[str, Any]) -> None:
    """Envoy takes up what is moved into the folder it watches, never what is half written."""
    write(path, json.dumps(document, indent=1), parents=True)
