"""Rehearsals whose process is killed, again and again, and gone on with; and what must hold when they have ended.

The moments are drawn from a seed, which is printed: TIDEGATE_KILL_SEED=SEED draws the same ones.
"""

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tidegate.edges import open_edge
from tidegate.edges.edge import Held, Routes
from tidegate.endpoints import Directory
from tidegate.engine.journal import Event, Store
from tidegate.engine.state import RunState, fold
from tidegate.errors import TidegateError
from tidegate.lab.lab import Lab
from tidegate.lab.rehearsal import rehearsal_of
from tidegate.lab.verdict import Verdict
from tidegate.runbook.migration import Cloud
from tidegate.secret import resolve

__all__ = [
    "BROKEN_BY_KILLS",
    "LONGEST",
    "SMALL",
    "Aim",
    "Ended",
    "Rehearsed",
    "at_once",
    "inside",
    "later",
    "seed",
    "until",
]

SMALL = ("--rows", "3000", "--receipts", "100", "--bake", "1", "--watch", "1", "--rate", "80")
LONGEST = 240.0
"""Seconds for which one process is waited for: a machine may be busy."""
LOOK = 0.01
TRIES = 5
"""How often what has stopped is gone on with: a slow machine needs longer than a switch may take."""
OWNER = {"forward": "azure", "back": "aws"}
CLOUDS: tuple[Cloud, Cloud] = ("aws", "azure")
BROKEN_BY_KILLS = (
    "no request fails",
    "no request fails in another way",
    "no request fails but by the fault",
    "traffic leaves Azure at once",
)
"""Promises about a process that lives: while it is dead, a fenced database refuses, and nobody sends traffic home."""


def seed() -> int:
    given = os.environ.get("TIDEGATE_KILL_SEED")
    return int(given) if given else random.randrange(1_000_000)


@dataclass(frozen=True)
class Aim:
    """Kill `delay` seconds after `turn` ("forward", "back") has begun in this process; or after the process has.

    `held`: after it has begun to hold requests.
    """

    delay: float
    turn: str = ""
    held: bool = False
    rest: float = 0.0
    """Seconds between the kill and what goes on."""

    def __str__(self) -> str:
        what = f"{self.turn} held requests" if self.held else f"{self.turn or 'it'} began"
        text = f"{self.delay * 1000:.0f} ms after {what}"
        return f"{text}, then {self.rest:.0f} s of rest" if self.rest else text


def later(chance: random.Random, longest: float = 6.0) -> Aim:
    return Aim(chance.uniform(0.3, longest))


def at_once(chance: random.Random) -> Aim:
    """While what an earlier process has left is finished, or taken back."""
    return Aim(chance.uniform(0.0, 0.6))


def inside(turn: str, chance: random.Random, rest: float = 0.0) -> Aim:
    held = chance.random() < 0.7
    return Aim(chance.uniform(0.0, 0.8 if held else 1.2), turn, held=held, rest=rest)


def until(happens: Callable[[], object], what: str, seconds: float = LONGEST) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, f"it never happened: {what}"
        time.sleep(LOOK)


@dataclass(frozen=True)
class Ended:
    """What a rehearsal has come to.

    `misled`: deployments that use another cloud's stores than the owner's. `left`: what of the run is still there.
    `told`: how many requests the load generator says it has sent. `before`, `after`: the databases' catalogues.
    """

    state: RunState
    verdict: Verdict
    held: Held
    routes: Routes
    misled: list[str]
    left: list[str]
    told: int
    answered: int
    before: set[str]
    after: dict[Cloud, set[str]]
    down: list[str]


@dataclass
class Rehearsed:
    """One rehearsal, by as many processes as it takes. `stop` it in any case."""

    folder: Path
    scenario: str
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    lab: Lab | None = None
    kills: list[str] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)
    """Why it has stopped by itself."""
    in_the_switch: int = 0
    run: str = ""
    seed: int | None = None
    before: set[str] = field(default_factory=set)
    """AWS's catalogue."""
    store: Store | None = None
    _state: RunState | None = None
    _events: list[Event] = field(default_factory=list)
    _life: int = 0

    @property
    def log(self) -> Path:
        return self.folder / "said.log"

    def begin(self) -> None:
        """Return when its run has begun."""
        self._spawn("rehearse", "--plain", "--scenario", self.scenario, *SMALL, *self.options)
        until(lambda: self._record() or self._over(), "the rehearsal begins")
        record = self._record()
        assert record is not None, self.said()
        self.run = record.parent.name
        self.lab = Lab.attach(Path(json.loads(record.read_text())["lab"]))
        self.before = self.catalogue("aws")
        self.store = Store(self.folder / "store")
        until(lambda: self.store.events(self.run) or self._over(), "its journal begins")
        until(lambda: self._begun() or self._over(), "the run begins")

    def wait_for(self, happens: Callable[[RunState], object]) -> RunState:
        """While its process lives."""
        until(lambda: happens(self.look()) or self._over(), "it happens to the run")
        assert happens(self.look()), self.said()
        return self.look()

    def says(self) -> tuple[int, str]:
        """With what exit code its process has ended, and what it has said."""
        return self.process.wait(LONGEST), self.said()

    def go_on(self) -> None:
        self._life = self.look().last.seq
        self._spawn("resume", "--plain", self.run)
        until(lambda: self._begun() or self._over(), "the run goes on")

    def shoot(self, draw: Callable[[random.Random], Iterable[Aim]]) -> None:
        """A process for each aim, until there are none left or the run has ended."""
        self.seed = seed()
        for aim in draw(random.Random(self.seed)):
            if not self._hit(aim):
                break
            time.sleep(aim.rest)
            self.go_on()
        self.finish()

    def finish(self) -> None:
        """As an operator would: what has stopped and says that it can be gone on with, is gone on with."""
        for _ in range(TRIES):
            until(lambda: self.look().ended is not None or self._over(), "the run ends")
            if self.look().ended is not None:
                return
            assert self.look().status == "stopped", f"{self.story}\n{self.said()}"
            assert "tidegate resume" in self.look().mend
            self.stops.append(self.look().reason)
            self.go_on()
        pytest.fail(f"it doesn't end: {self.story}\n{self.said()}")

    def _hit(self, aim: Aim) -> bool:
        """False if the run has ended before its moment came."""
        deadline = time.monotonic() + LONGEST
        while (moment := self._moment(aim)) is None:
            if self.look().ended is not None or self._over() or self._missed(aim):
                return self.look().ended is None and not self._over() and self._hit(Aim(aim.delay, rest=aim.rest))
            assert time.monotonic() < deadline, f"{aim}: {self.story}\n{self.said()}"
            time.sleep(LOOK)
        while time.time() < moment + aim.delay:
            if self.look().ended is not None or self._over():
                return False
            time.sleep(LOOK)
        self.kill(str(aim))
        return True

    def kill(self, why: str) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        state = self.look()
        kept = state.step("switch").kept
        turns = {turn: str(kept[turn]) for turn in ("forward", "back") if turn in kept}
        self.in_the_switch += "begun" in turns.values()
        self.kills.append(f"{why}: in {state.current.name if state.current else state.status} {turns or ''}")

    def _moment(self, aim: Aim) -> float | None:
        """When what it waits for has happened in this process."""
        for event in self._events:
            if event.seq <= self._life:
                continue
            if aim.held:
                happened = f"while {OWNER[aim.turn]} takes the writes over" in str(event.figure("text"))
            elif aim.turn:
                happened = event.kind == "step-kept" and event.data == {"key": aim.turn, "value": "begun"}
            else:
                happened = event.kind == "begun"
            if happened:
                return event.at
        return None

    def _missed(self, aim: Aim) -> bool:
        return self._state.step("switch").kept.get(aim.turn) == "done"

    def look(self) -> RunState:
        new = self.store.events(self.run, after=self._events[-1].seq if self._events else 0)
        self._events += new
        self._state = fold(new, self._state)
        return self._state

    def ended(self) -> Ended:
        """The lab still runs; its verdict, and what is left in it. The last process dies before it can end the lab."""
        self.finish()
        self.process.kill()
        self.process.wait()
        verdict = asyncio.run(rehearsal_of(self.store, self.run).conclude())
        lines = [json.loads(line) for line in self.lab.book.ledger.read_text().splitlines()]
        directory = Directory(self._state.plan.migration)
        settled = directory.settled("azure" if self._state.status == "migrated" else "aws")
        down = [name for name, server in self.lab.call("status")["servers"].items() if not server["up"]]
        there = [cloud for cloud in CLOUDS if f"postgres-{cloud}" not in down]
        held, routes = asyncio.run(self.edge())
        return Ended(
            state=self._state,
            verdict=verdict,
            held=held,
            routes=routes,
            misled=[f"{name} on {cloud}" for (name, cloud), e in settled.items() if directory.read(name, cloud) != e],
            left=[f"{what} on {cloud}" for cloud in there for what in self._left(cloud)],
            told=int(lines[-1].get("requests", -1)),
            answered=sum(line["event"] not in ("began", "ended") for line in lines),
            before=self.before,
            after={cloud: self.catalogue(cloud) for cloud in there},
            down=[name for name in down if name != "load"],
        )

    async def edge(self) -> tuple[Held, Routes]:
        edge = open_edge(self._state.plan.migration)
        try:
            return await edge.held(), await edge.read()
        finally:
            await edge.close()

    def query(self, cloud: Cloud, sql: str) -> list[tuple[Any, ...]]:
        password = resolve(self.lab.book.database_password.of(cloud))
        dsn = f"postgresql://postgres@{self.lab.book.database.of(cloud)}/shop"
        with psycopg.connect(dsn, password=password, autocommit=True) as connection:
            return connection.execute(sql.encode()).fetchall()

    def catalogue(self, cloud: Cloud) -> set[str]:
        """Who may log in, what there is, who may do what with it, and how it is kept."""
        own = "from pg_class c join pg_namespace n on n.oid = c.relnamespace and n.nspname !~ '^(pg_|inf|tidegate)'"
        rows = self.query(
            cloud,
            f"""select 'role', rolname, rolcanlogin::text, '' from pg_roles where rolname !~ '^(pg_|tidegate)'
            union all select 'table', c.oid::regclass::text, coalesce(c.reloptions::text, ''), c.relreplident::text
                {own} where c.relkind in ('r', 'p')
            union all select 'right', c.oid::regclass::text, a.grantee::regrole::text, a.privilege_type
                {own} cross join aclexplode(c.relacl) a""",
        )
        return {" ".join(row) for row in rows}

    def _left(self, cloud: Cloud) -> list[str]:
        rows = self.query(
            cloud,
            """select 'publication' from pg_publication union all select 'subscription' from pg_subscription
            union all select 'slot' from pg_replication_slots
            union all select 'role' from pg_roles where rolname like 'tidegate%'
            union all select 'schema' from pg_namespace where nspname = 'tidegate'
            union all select 'session' from pg_stat_activity where application_name = 'tidegate'""",
        )
        return [row[0] for row in rows]

    @property
    def story(self) -> str:
        head = f"{self.scenario}: {len(self.kills)} kills, {self.in_the_switch} inside the switch"
        head = head if self.seed is None else f"{head} (TIDEGATE_KILL_SEED={self.seed})"
        return "\n  ".join([head, *self.kills, *(f"stopped by itself: {reason}" for reason in self.stops)])

    def said(self) -> str:
        return self.log.read_text()

    def stop(self) -> None:
        """Nothing of it runs afterwards."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for folder in {Path(text) for text in re.findall(r"(/\S*tidegate-\w+)", self.said())} | (
            {self.lab.folder} if self.lab else set()
        ):
            try:
                Lab.attach(folder).discard()
            except TidegateError:
                continue

    def tidegate(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another process, from another terminal."""
        argv = self._argv(*words)
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=LONGEST, cwd=self.folder)

    def _argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "tidegate", "--store", str(self.folder / "store"), *words]

    def _spawn(self, *words: str) -> None:
        argv = self._argv(*words)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder)

    def _over(self) -> bool:
        return self.process.poll() is not None

    def _begun(self) -> bool:
        self.look()
        return any(event.kind == "begun" and event.seq > self._life for event in self._events)

    def _record(self) -> Path | None:
        found = [*self.folder.glob("store/runs/*/rehearsal.json")]
        return found[0] if found and found[0].read_text().endswith("}") else None


STORIES: list[Rehearsed] = []
"""All that were begun by the tests of this process."""
