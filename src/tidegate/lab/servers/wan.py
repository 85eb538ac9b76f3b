"""The network between the two clouds: TCP links that delay, and that can be cut and healed while they run.

    python -m tidegate.lab.servers.wan CONFIGURATION.json

Each direction of a connection is delayed by its link's `delay`. That doesn't limit throughput: BUFFER bytes may be
under way. The opening of a connection isn't delayed.
A cut link breaks its connections and resets new ones at once.
"""

import asyncio
import json
import signal
import socket
import struct
import sys
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop

from tidegate.errors import TidegateError
from tidegate.lab.control import call, listen
from tidegate.lab.servers.process import Process, free_port

__all__ = ["Link", "Wan"]

CHUNK = 2**18
BUFFER = 2**24
"""Bytes under way in one direction of one connection before its sender has to wait."""

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Link:
    """From one port on loopback to another. `delay` in seconds, in each direction."""

    name: str
    port: int
    target: int
    delay: float


class Wan:
    """`targets`: link name -> the port that it leads to."""

    def __init__(self, folder: Path, targets: dict[str, int], delay: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.links = {name: Link(name, free_port(), target, delay) for name, target in targets.items()}
        self.control = folder / "wan.sock"
        self.control.unlink(missing_ok=True)
        configuration = folder / "wan.json"
        links = [asdict(link) for link in self.links.values()]
        configuration.write_text(json.dumps({"control": str(self.control), "links": links}))
        self.process = Process("wan", [sys.executable, "-m", __name__, configuration], folder / "wan.log")
        self.process.wait_until(self.control.exists)  # made last

    def port(self, link: str) -> int:
        """Where the link is entered."""
        return self.links[link].port

    def cut(self, link: str) -> None:
        """Idempotent. Raises TidegateError if there is no such link."""
        call(self.control, "cut", link=link)

    def heal(self, link: str) -> None:
        call(self.control, "heal", link=link)

    def cut_links(self) -> list[str]:
        return call(self.control, "links")

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()


class Stream:
    """One direction of one connection: what goes in comes out `delay` seconds later, in order."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.under_way: deque[tuple[float, bytes]] = deque()
        self.size = 0
        self.more, self.room = asyncio.Event(), asyncio.Event()
        self.now = asyncio.get_running_loop().time

    async def fill(self, reader: asyncio.StreamReader) -> None:
        data = None
        while data != b"":
            data = await reader.read(CHUNK)  # b"" at the end, passed on as one
            self.under_way.append((self.now() + self.delay, data))
            self.size += len(data)
            self.more.set()
            while self.size > BUFFER:
                self.room.clear()
                await self.room.wait()

    async def drain(self, writer: asyncio.StreamWriter) -> None:
        while True:
            while not self.under_way:
                self.more.clear()
                await self.more.wait()
            due, data = self.under_way.popleft()
            if (rest := due - self.now()) > 0:
                await asyncio.sleep(rest)
            if not data:
                writer.write_eof()
                return
            writer.write(data)
            await writer.drain()
            self.size -= len(data)
            self.room.set()


class Way:
    """A link at work."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.is_cut = False
        self.connections: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        await asyncio.start_server(self._accept, "127.0.0.1", self.link.port, limit=CHUNK, backlog=512)

    def cut(self) -> None:
        self.is_cut = True
        for connection in self.connections:
            connection.cancel()

    def heal(self) -> None:
        self.is_cut = False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        ends = [writer]
        try:
            if not self.is_cut:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.link.target, limit=CHUNK)
                ends.append(far_writer)
                there, back = Stream(self.link.delay), Stream(self.link.delay)
                async with asyncio.TaskGroup() as group:
                    group.create_task(there.fill(reader))
                    group.create_task(there.drain(far_writer))
                    group.create_task(back.fill(far_reader))
                    group.create_task(back.drain(writer))
                ends.clear()  # both directions ended in peace
                far_writer.close()
                writer.close()
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            self.connections.discard(task)
            for end in ends:
                _reset(end)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and not writer.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()


async def serve(configuration: Path) -> None:
    document = json.loads(configuration.read_text())
    ways = {link["name"]: Way(Link(**link)) for link in document["links"]}

    async def handle(verb: str, arguments: dict[str, Any]) -> Any:
        if verb == "links":
            return [name for name, way in ways.items() if way.is_cut]
        name = arguments["link"]
        if name not in ways:
            raise TidegateError(f"there is no link {name}", where="wan", mend=f"there are {', '.join(ways)}")
        if verb not in ("cut", "heal"):
            raise TidegateError(f"it can't {verb}", where="wan", mend="it can cut and heal")
        getattr(ways[name], verb)()
        return None

    for way in ways.values():
        await way.open()
    control = await listen(Path(document["control"]), handle)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    control.close()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1])))
