"""Steps whose whole world is a dictionary, and a fuse that ends the process's life at any effect."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tidegate.engine.driver import Driver
from tidegate.engine.health import Breach, Losses
from tidegate.engine.journal import Event, Store
from tidegate.errors import CheckFailed, TidegateError, Unreachable
from tidegate.runbook.runbook import Stage, StepSpec
from tidegate.runbook.step import Action, AnyStep, Context, Facts, Finding, Interruptible, Step

QUICK = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""A folder in memory: thousands of small journals are written here."""


class Crash(BaseException):
    """kill -9: nothing of the process's own code runs after it."""


@dataclass
class World:
    """`present` is what the steps' effects have left. `history` is every effect, in order."""

    present: set[str] = field(default_factory=set)
    history: list[str] = field(default_factory=list)
    fuse: int = 10**9
    broken: str = ""
    down: str = ""
    primary: str = "aws"
    traffic: str = "aws"
    haste: bool = False
    """What is slow may end."""
    seen: int = 0
    """What has been measured; 1000 are enough."""
    script: dict[int, Callable[[], object]] = field(default_factory=dict)
    """What somebody does, at the ticks of this number."""
    ticks: int = 0

    def tick(self) -> None:
        self.ticks += 1
        if (deed := self.script.pop(self.ticks, None)) is not None:
            deed()
        self.fuse -= 1
        if self.fuse <= 0:  # a dead process stays dead
            raise Crash


class Before(Facts):
    there: bool


class Put(Step[Before]):
    """Makes the thing of its name."""

    world: Callable[[], World]

    @property
    def facts_type(self) -> type[Before]:
        return Before

    async def read(self, context: Context) -> Before:
        return Before(there=self.name in self.world().present)

    def plan(self, facts: Before) -> Sequence[Action]:
        return [Action(verb="create", target=self.name, detail="put it there", undo="take it away")]

    async def apply(self, context: Context, facts: Before) -> None:
        world = self.world()
        world.tick()
        if world.down == self.name:
            raise Unreachable("nobody answers", where=self.name)
        world.present.add(self.name)
        world.history.append(f"+{self.name}")
        world.tick()
        context.note("put", n=1)

    async def check(self, context: Context, facts: Before) -> Sequence[Finding]:
        there = self.name in self.world().present and self.world().broken != self.name
        return [Finding(check=self.name, verdict="pass" if there else "fail", message=f"{self.name} is there")]

    async def undo(self, context: Context, facts: Before) -> None:
        world = self.world()
        world.tick()
        if not facts.there:
            world.present.discard(self.name)
        world.history.append(f"-{self.name}")
        world.tick()


class Turn(Put):
    """Moves the world's primary: the switch, in small. Its commit is one assignment."""

    async def apply(self, context: Context, facts: Before) -> None:
        world = self.world()
        world.tick()
        if context.stopping():
            raise CheckFailed("told to stop before the commit", where=self.name)
        world.primary = "azure"
        world.tick()

    async def check(self, context: Context, facts: Before) -> Sequence[Finding]:
        done = self.world().primary == "azure" and self.world().broken != self.name
        return [Finding(check=self.name, verdict="pass" if done else "fail", message="azure owns the writes")]

    async def undo(self, context: Context, facts: Before) -> None:
        world = self.world()
        world.tick()
        assert world.traffic == "aws", "data goes back only after the traffic has"
        world.primary = "aws"
        world.tick()


class Traffic(Put):
    to: str

    async def apply(self, context: Context, facts: Before) -> None:
        self.world().tick()
        self.world().traffic = self.to
        self.world().tick()

    async def check(self, context: Context, facts: Before) -> Sequence[Finding]:
        done = self.world().traffic == self.to and self.world().broken != self.name
        return [Finding(check=self.name, verdict="pass" if done else "fail", message=f"traffic is on {self.to}")]

    async def undo(self, context: Context, facts: Before) -> None:
        self.world().tick()
        self.world().traffic = "aws"
        self.world().tick()


class Ask(Put):
    """Only a person can tell."""

    interruptible: ClassVar[Interruptible] = "always"

    async def check(self, context: Context, facts: Before) -> Sequence[Finding]:
        by = context.approved(self.name)
        message = f"confirmed by {by}" if by else f"{self.name} is to be confirmed"
        return [Finding(check=self.name, verdict="pass" if by else "inconclusive", message=message)]


class Measure(Put):
    """Needs traffic, of which the world shows more at every look."""

    interruptible: ClassVar[Interruptible] = "always"

    async def check(self, context: Context, facts: Before) -> Sequence[Finding]:
        self.world().seen += 1
        seen = self.world().seen
        verdict = "pass" if seen >= 1000 else "inconclusive"
        return [Finding(check=self.name, verdict=verdict, message=f"{seen} seen", observed=seen, detectable=1 / seen)]


class Doubt(Put):
    """Can't be told by itself whether it is there; a pause would let it come to its end."""

    async def check(self, context: Context, facts: Before) -> Sequence[Finding]:
        return [Finding(check=self.name, verdict="inconclusive", message="nobody knows")]


class Slow(Put):
    async def apply(self, context: Context, facts: Before) -> None:
        context.note("at work")
        while not self.world().haste:
            await asyncio.sleep(0.01)
        await super().apply(context, facts)


class Steady(Put):
    """Never broken off: as the switch, it looks itself whether it is to stop."""

    interruptible: ClassVar[Interruptible] = "never"

    async def apply(self, context: Context, facts: Before) -> None:
        context.note("at work")
        while not self.world().haste:
            if context.stopping():
                await asyncio.sleep(0.3)
                self.world().history.append("safe")
                raise CheckFailed("told to stop", where=self.name)
            await asyncio.sleep(0.01)
        await super().apply(context, facts)


class SlowBack(Put):
    async def undo(self, context: Context, facts: Before) -> None:
        while not self.world().haste:
            await asyncio.sleep(0.01)
        await super().undo(context, facts)


class SteadyBack(SlowBack):
    interruptible: ClassVar[Interruptible] = "never"


class Far(Put):
    """What it left can't be reached any more: only a forced rollback does without."""

    async def undo(self, context: Context, facts: Before) -> None:
        if not context.forced:
            raise Unreachable("nobody answers", where=self.name)
        await super().undo(context, facts)


class Lasting(Put):
    """Nothing takes it back."""

    def plan(self, facts: Before) -> Sequence[Action]:
        return [Action(verb="delete", target=self.name, detail="for good")]

    async def undo(self, context: Context, facts: Before) -> None:
        raise TidegateError("past the point of no return", where=self.name)


KINDS = {
    "put": Put, "turn": Turn, "traffic": Traffic, "ask": Ask, "measure": Measure, "doubt": Doubt, "slow": Slow,
    "steady": Steady, "slow-back": SlowBack, "steady-back": SteadyBack, "far": Far, "lasting": Lasting,
}  # fmt: skip


def maker(world: World) -> Callable[[StepSpec], AnyStep]:
    return lambda spec: KINDS[spec.uses](uses=spec.uses, name=spec.name, world=lambda: world, **spec.fields)


class FusedStore(Store):
    """A journal before and after each write of which the process may die."""

    world: World

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.db.execute("pragma synchronous=off")  # these crashes take no power away

    def append(self, *args, **kwargs) -> Event:
        self.world.tick()
        event = super().append(*args, **kwargs)
        self.world.tick()
        return event


class Sound:
    """Health that never finds harm, until told; and a target that is there, until told."""

    def __init__(self, driver: Driver, harm_in: str = "", losses: Losses | None = None) -> None:
        self.harm_in, self.lost = harm_in, losses

    async def breach(self, stage: Stage, note: Callable[[str], None]) -> Breach:
        if stage.name == self.harm_in:
            return Breach("roll back", "azure fails", "")
        await asyncio.Event().wait()
        raise TidegateError("unreachable")

    async def losses(self) -> Losses | None:
        return self.lost
