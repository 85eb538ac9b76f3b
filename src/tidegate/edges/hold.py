"""The hold service: Envoy asks it before each request while a hold is on, and gets no answer until it ends.

`python -m tidegate.edges.hold --listen HOST:PORT`, beside the edge. It knows nothing of runs, so that a hold
ends at its time whatever becomes of tidegate. Control, on a path that users' requests never reach (Envoy puts
/held before theirs):

    POST /hold?seconds=8     hold from now on, for at most so long
    POST /release?to=azure   let everything go on; with `to`, to that cloud
    GET  /state              {"waiting", "served", "expired", "held"}

Envoy keeps the routes that it had when a request arrived. So that a request which was held can go where the
routes point when it is released, the answer carries a header by which the first routes match.
"""

import argparse
import asyncio
import contextlib
import json
import signal
from collections import deque
from collections.abc import Callable, Sequence
from urllib.parse import parse_qs, urlsplit

__all__ = ["HoldService", "main"]

LONGEST = 60.0
SPREAD, STEPS = 0.2, 20
"""Seconds, and how many portions: a primary that has just taken over, its caches cold, isn't stormed."""


class HoldService:
    """Counts are of the service's life: `held` of all that ever waited."""

    def __init__(self) -> None:
        self._open = True
        self._queue: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        """When the hold expires; while it is released, when the next portion goes."""
        self._expiring = False
        self.to = ""
        self.waiting = self.served = self.expired = self.held = 0

    def hold(self, seconds: float) -> None:
        """Again: from now on, for so long."""
        self._open = False
        self._expiring, self.to = False, ""
        self._next(min(seconds, LONGEST), self._expire)

    def release(self, to: str = "") -> None:
        self.to, self._open = to, True
        self._let_go(-(-len(self._queue) // STEPS))

    def end(self) -> None:
        """Nobody waits any more."""
        self._open = True
        self._let_go(len(self._queue))

    def _let_go(self, portion: int) -> None:
        """In the order in which they came; what comes meanwhile isn't held at all."""
        for _ in range(min(portion, len(self._queue))):
            waiter = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(None)
        if self._queue:
            self._next(SPREAD / STEPS, lambda: self._let_go(portion))
        elif self._timer is not None:
            self._timer.cancel()

    def _next(self, seconds: float, what: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, what)

    def _expire(self) -> None:
        self._expiring = True
        self.release()

    async def wait(self) -> None:
        """Until the hold ends, one way or the other."""
        if self._open:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._queue.append(waiter)
        self.held += 1
        self.waiting += 1
        try:
            await waiter
        finally:
            self.waiting -= 1
        if self._expiring:
            self.expired += 1
        else:
            self.served += 1

    def state(self) -> dict[str, int]:
        return {"waiting": self.waiting, "served": self.served, "expired": self.expired, "held": self.held}


async def _converse(service: HoldService, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """HTTP/1.1 as Envoy and our own client speak it: small requests, connections kept alive."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
            )
            await reader.readexactly(length)
            writer.write(await _answer(service, method, target))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, ValueError, asyncio.LimitOverrunError):
        pass  # the other side has gone, or spoke no HTTP
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _answer(service: HoldService, method: str, target: str) -> bytes:
    url = urlsplit(target)
    if url.path.startswith("/held"):
        await service.wait()
        to = service.to or "unchanged"
        return f"HTTP/1.1 200 OK\r\nx-tidegate-released: {to}\r\ncontent-length: 0\r\n\r\n".encode()
    match method, url.path:
        case "POST", "/hold":
            try:
                service.hold(float(parse_qs(url.query)["seconds"][0]))
            except (KeyError, ValueError):
                return _reply(400, {"error": "give seconds"})
        case "POST", "/release":
            to = parse_qs(url.query).get("to", [""])[0]
            if to not in ("", "aws", "azure"):
                return _reply(400, {"error": "to is aws or azure"})
            service.release(to)
        case "GET", "/state":
            pass
        case _:
            return _reply(404, {"error": "POST /hold?seconds=S, POST /release, GET /state"})
    return _reply(200, service.state())


def _reply(status: int, document: dict[str, object] | dict[str, int]) -> bytes:
    body = json.dumps(document).encode()
    reason = {200: "OK", 400: "Bad Request", 404: "Not Found"}[status]
    head = f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _serve(host: str, port: int) -> None:
    service = HoldService()
    server = await asyncio.start_server(lambda r, w: _converse(service, r, w), host, port, backlog=4096)
    ended = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, ended.set)
    await ended.wait()
    service.end()
    server.close()
    await asyncio.sleep(SPREAD)  # the answers leave


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="hold", description="Hold requests on behalf of an Envoy.")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    host, _, port = parser.parse_args(arguments).listen.rpartition(":")
    asyncio.run(_serve(host, int(port)))


if __name__ == "__main__":
    main()
