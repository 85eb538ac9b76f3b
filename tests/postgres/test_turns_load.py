"""Back and forth while the application writes: every acknowledged write is there, once."""

import asyncio
import threading
import time
from collections import Counter

import psycopg
import pytest

from tidegate.runbook.migration import other


def quiet(text: str, **_: object) -> None:
    pass


class Application:
    """Sessions that write to whoever owns the writes, and remember each that was acknowledged."""

    def __init__(self, shop, sessions: int) -> None:
        self.shop, self.owner, self.acknowledged, self.ending = shop, "aws", [], threading.Event()
        self.threads = [threading.Thread(target=self._write, args=(i,)) for i in range(sessions)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def _write(self, session: int) -> None:
        n = 0
        while not self.ending.is_set():
            owner = self.owner
            try:
                with self.shop.as_app(owner) as app:
                    while not self.ending.is_set():
                        n += 1
                        key = f"w{session}-{n}"
                        app.execute('insert into sales."Order Lines" (key, amount) values (%s, 0)', (key,))
                        self.acknowledged.append(key)
                        app.execute('update sales."Order Lines" set amount = amount + 1 where key = %s', (key,))
                        time.sleep(0.005)
            except psycopg.Error:
                time.sleep(0.005)


@pytest.mark.parametrize("turns", [3, pytest.param(20, marks=pytest.mark.slow)])
async def test_turns_under_load_lose_and_double_nothing(shop, turns):
    shop.query("aws", 'create index on sales."Order Lines" (key)')
    move = shop.move()
    await move.replicate(quiet)
    before, source = shop.query("aws", "select relname, relacl from pg_class where relname = 'customers'"), "aws"
    with Application(shop, 4) as application:
        for epoch in range(1, turns + 1):
            so_far = len(application.acknowledged)
            while len(application.acknowledged) < so_far + 20:
                await asyncio.sleep(0.02)
            await shop.turn(move, source, epoch)
            application.owner = source = other(source)
    rows = Counter(row[0] for row in shop.query(source, "select key from sales.\"Order Lines\" where key like 'w%'"))
    assert set(application.acknowledged) <= rows.keys()
    assert set(rows.values()) == {1}
    assert (await move.verify(quiet)).mismatched == []
    if source == "aws":
        assert shop.query("aws", "select relname, relacl from pg_class where relname = 'customers'") == before
