"""What can be made to go wrong in a lab."""

import http.client
import json

from tidegate.errors import TidegateError
from tidegate.lab.book import AddressBook
from tidegate.lab.servers.envoy import Envoy
from tidegate.lab.servers.postgres import Postgres
from tidegate.lab.servers.wan import Wan
from tidegate.lab.world import Program, World
from tidegate.runbook.migration import Cloud

__all__ = ["Faults"]


class Faults:
    """Its methods are verbs of the supervisor. Every one raises TidegateError if it can't be done."""

    def __init__(self, world: World, book: AddressBook) -> None:
        self.world, self.book = world, book

    async def fault(self, cloud: Cloud, errors: float) -> None:
        """That share of the requests that the shop in `cloud` gets from now on fails; 0 ends it."""
        await self.world.run(_post, self.book.service.of(cloud), "/faults", {"errors": errors})

    async def cut(self, link: str) -> None:
        await self.world.run(self._wan.cut, link)

    async def heal(self, link: str) -> None:
        await self.world.run(self._wan.heal, link)

    async def kill(self, server: str) -> None:
        """As a machine dies. Nothing restarts it. Idempotent."""
        await self.world.run(self.world.server(server).kill)

    async def restart(self, server: str) -> None:
        """What was killed, where it was, with what it had. What has its data in memory can't come back."""
        there = self.world.server(server)
        if there.process.alive:
            raise TidegateError("it runs", where=server)
        if not isinstance(there, Postgres | Envoy | Program):
            raise TidegateError("what it had is gone", where=server, mend="start another lab")
        await self.world.run(there.restart)

    async def destroy(self, server: str) -> None:
        """Its data is gone as well."""
        there = self.world.server(server)
        await self.world.run(there.destroy if isinstance(there, Postgres) else there.kill)

    @property
    def _wan(self) -> Wan:
        wan = self.world.server("wan")
        assert isinstance(wan, Wan)
        return wan


def _post(address: str, path: str, document: dict[str, float]) -> None:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("POST", path, json.dumps(document), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise TidegateError(f"it doesn't answer: {error}", where=address) from None
    finally:
        connection.close()
    if answer.status >= 300:
        raise TidegateError(f"it answers {answer.status}: {text[:200]}", where=f"{address}{path}")
