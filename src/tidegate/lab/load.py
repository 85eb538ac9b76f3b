"""The load generator: users who browse, order, and read back their own orders and receipts, at a steady rate.

    python -m tidegate.lab.load --edge URL --ledger FILE --rate REQUESTS_PER_SECOND --users COUNT

Requests are sent when they are due, whether or not earlier ones were answered. Every answer goes to the ledger
(see ledger.py), outside of every component that is under test. SIGTERM: what is in flight is waited for, then
the ledger is closed.
"""

import argparse
import asyncio
import hashlib
import json
import random
import signal
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from tidegate.edges.bootstrap import MAINTENANCE
from tidegate.edges.criteria import COUNTRY, USER, USER_TYPE
from tidegate.lab.shop.receipt import receipt
from tidegate.lab.shop.seed import COUNTRIES, PRODUCTS

__all__ = ["Load", "main"]

BETA_EVERY = 16
"""One user in so many is of the type `beta`."""
PATIENCE = 30.0
"""Seconds for which a user waits for an answer: longer than any hold."""
KINDS = {"browse": 42, "product": 32, "order": 8, "own orders": 10, "receipt": 8}
"""What users do, in percent."""


@dataclass(slots=True)
class User:
    """`orders`: what was acknowledged to this user, with the receipt's digest."""

    number: int
    orders: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def headers(self) -> dict[str, str]:
        return {
            USER: f"u{self.number}",
            USER_TYPE: "beta" if self.number % BETA_EVERY == 0 else "standard",
            COUNTRY: COUNTRIES[self.number % len(COUNTRIES)],
        }


class WrongAnswer(Exception):
    """The answer came, and isn't what this user must see."""


class Away(Exception):
    """The edge says that nobody is served for a while."""


class Load:
    def __init__(self, edge: str, ledger: Path, rate: int, users: int) -> None:
        self.edge, self.rate = edge, rate
        self.ledger = ledger.open("a", buffering=1)  # a line is whole as soon as it is written
        self.users = [User(number) for number in range(1, users + 1)]
        self.buyers: list[User] = []
        self.chance = random.Random(7)
        self.ended = asyncio.Event()

    async def run(self) -> None:
        """Until `ended` is set and everything sent has been answered."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=PATIENCE)
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        self.note("began", rate=self.rate)
        async with aiohttp.ClientSession(self.edge, connector=connector, timeout=timeout) as session:
            flying: set[asyncio.Task[None]] = set()
            began, sent = time.monotonic(), 0
            while not self.ended.is_set():
                due = int((time.monotonic() - began) * self.rate)
                for _ in range(due - sent):
                    task = asyncio.create_task(self.request(session))
                    flying.add(task)
                    task.add_done_callback(flying.discard)
                sent = max(due, sent)
                await asyncio.sleep(0.5 / self.rate)
            if flying:
                await asyncio.wait(flying)
        self.note("ended", requests=sent)
        self.ledger.close()

    async def request(self, session: aiohttp.ClientSession) -> None:
        kind = self.chance.choices(list(KINDS), list(KINDS.values()))[0]
        buyers = self.buyers if kind in ("own orders", "receipt") else []
        if not buyers and kind in ("own orders", "receipt"):
            kind = "browse"
        user = self.chance.choice(buyers or self.users)
        began = time.monotonic()
        answer: dict[str, Any] = {"what": kind, "user": user.number}
        try:
            await {
                "browse": self.browse,
                "product": self.product,
                "order": self.order,
                "own orders": self.own_orders,
                "receipt": self.receipt,
            }[kind](session, user, answer)
        except Away:
            event = "away"
        except (aiohttp.ClientError, TimeoutError, OSError, WrongAnswer) as error:
            event, answer["why"] = "failed", str(error) or type(error).__name__
        else:
            event = "acknowledged" if kind == "order" else "answered"
        self.note(event, ms=round((time.monotonic() - began) * 1000, 1), **answer)

    async def browse(self, session: aiohttp.ClientSession, user: User, answer: dict[str, Any]) -> None:
        await self.ask(session, user, answer, f"/catalog?page={self.chance.randrange(PRODUCTS // 20)}")

    async def product(self, session: aiohttp.ClientSession, user: User, answer: dict[str, Any]) -> None:
        await self.ask(session, user, answer, f"/catalog/sku-{self.chance.randrange(PRODUCTS):04}")

    async def order(self, session: aiohttp.ClientSession, user: User, answer: dict[str, Any]) -> None:
        write_id = str(uuid.uuid4())
        answer["id"] = write_id
        lines = [
            (self.chance.randint(1, PRODUCTS), self.chance.randint(1, 4)) for _ in range(self.chance.randint(1, 3))
        ]
        document = {"write_id": write_id, "customer": user.number, "lines": lines}
        body = await self.ask(session, user, answer, "/orders", document)
        if body != receipt(write_id, user.number, lines):
            raise WrongAnswer("the receipt in the answer isn't this order's")
        answer["receipt"] = digest = hashlib.sha256(body).hexdigest()
        if not user.orders:
            self.buyers.append(user)
        user.orders[write_id] = digest

    async def own_orders(self, session: aiohttp.ClientSession, user: User, answer: dict[str, Any]) -> None:
        expected = set(user.orders)
        found = json.loads(await self.ask(session, user, answer, f"/orders?customer={user.number}"))
        if missing := expected - set(found):
            raise WrongAnswer(f"{len(missing)} of this user's acknowledged orders are missing: {min(missing)}")

    async def receipt(self, session: aiohttp.ClientSession, user: User, answer: dict[str, Any]) -> None:
        write_id, digest = self.chance.choice(list(user.orders.items()))
        body = await self.ask(session, user, answer, f"/orders/{write_id}/receipt")
        if hashlib.sha256(body).hexdigest() != digest:
            raise WrongAnswer(f"the receipt of {write_id} isn't what was acknowledged")

    async def ask(
        self,
        session: aiohttp.ClientSession,
        user: User,
        answer: dict[str, Any],
        path: str,
        document: dict[str, Any] | None = None,
    ) -> bytes:
        """The answer's body; who served it is noted in `answer`. Raises WrongAnswer unless it is a success."""
        method = "GET" if document is None else "POST"
        async with session.request(method, path, json=document, headers=user.headers) as response:
            answer["status"] = response.status
            answer["cloud"] = response.headers.get("x-shop-cloud", "")
            answer["primary"] = response.headers.get("x-shop-primary", "")
            body = await response.read()
        if MAINTENANCE in response.headers:
            raise Away
        if response.status >= 300:
            raise WrongAnswer(f"{response.status} {body[:80].decode(errors='replace')}")
        return body

    def note(self, event: str, **fields: Any) -> None:
        self.ledger.write(json.dumps({"event": event, "at": round(time.time(), 6), **fields}) + "\n")


async def run(edge: str, ledger: Path, rate: int, users: int) -> None:
    load = Load(edge, ledger, rate, users)
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, load.ended.set)
    await load.run()


def main() -> None:
    parser = argparse.ArgumentParser(prog="load", description="Users of the sample workload.")
    for name in ("--edge", "--ledger", "--rate", "--users"):
        parser.add_argument(name, required=True)
    given = parser.parse_args()
    uvloop.run(run(given.edge, Path(given.ledger), int(given.rate), int(given.users)))


if __name__ == "__main__":
    main()
