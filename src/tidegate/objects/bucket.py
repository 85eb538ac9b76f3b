"""One bucket on its way from AWS to Azure: copied, followed, verified, switched, and taken back."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tidegate.errors import Refused, RollbackIncomplete, TidegateError, UsageError
from tidegate.objects.blob import BlobSide
from tidegate.objects.events import Events
from tidegate.objects.from_url import FromUrl, How
from tidegate.objects.http import Http
from tidegate.objects.manifest import Manifest
from tidegate.objects.removal import Removal
from tidegate.objects.s3 import S3Side
from tidegate.objects.side import Left, Side
from tidegate.objects.store import BucketStore
from tidegate.objects.sync import Swept, Sync
from tidegate.objects.verify import Difference, VerifyReport, compare
from tidegate.runbook.migration import Bucket, Cloud, other

if TYPE_CHECKING:
    from tidegate.objects.preflight import BucketFacts

__all__ = ["BucketMove"]

LOOK = 1.0
"""Seconds between listings where listing is all there is."""
SHARE = 5
"""Listing takes at most a fifth of the time."""
SWEEP = 60.0
"""Seconds between the listings that find what events have lost."""
IDLE = 0.1
SWEEPS, FEW = 5, 50
"""Listings before two sides are compared, until one finds so few changes that the comparison can bring them over."""
FRESH = 2.0


class BucketMove:
    """Every method may be called again after a crash, by another process. Raises Unreachable, Refused.

    What is done to the objects is done in turns: a change that was read before the writes changed hands can't be
    applied after it. The phase is kept in the manifest: copying, then flow (changes are followed, from the owner to
    the other side), sealed (the writes change hands), ended.
    """

    def __init__(self, name: str, spec: Bucket, manifest: Path) -> None:
        self.name, self.spec = name, spec
        self.http = Http()
        tags = spec.tags == "copy"
        self.aws = S3Side(name, spec.aws, self.http, tags=tags)
        self.azure = BlobSide(name, spec.azure, self.http, tags=tags, maps=spec.names == "map")
        self.sides: dict[Cloud, Side] = {"aws": self.aws, "azure": self.azure}
        self.events = Events(name, spec.aws, spec.aws.events, self.http) if spec.aws.events else None
        self.manifest = Manifest(manifest)
        self.sync = Sync(self.manifest, self.sides, self.events)
        self._turn = asyncio.Lock()
        self._hurried = 0
        self._armed = False
        self._next_sweep = 0.0
        self._rests_until = 0.0
        self._looked = 0.0

    @property
    def owner(self) -> Cloud:
        return cast("Cloud", self.manifest.state("owner") or "aws")

    @property
    def phase(self) -> str | None:
        return self.manifest.state("phase")

    def where(self, cloud: Cloud) -> str:
        return self.sides[cloud].where

    async def facts(self, *, beside: bool = False, sampled: int | None = None) -> "BucketFacts":
        """`beside`: of a copy that may go beside what the container has. `sampled`: objects looked at one by one."""
        from tidegate.objects.preflight import SAMPLED, read_facts  # noqa: PLC0415 - only this needs it

        return await read_facts(
            self.aws,
            self.azure,
            self.events,
            begun=self.phase is not None,
            beside=beside,
            at_once=self.sync.at_once,
            sampled=sampled or SAMPLED,
        )

    async def copy(self, note: Callable[[str], None]) -> None:
        """Every object, into a container of its own. What an earlier process has copied isn't copied again."""
        async with self._my_turn(note):
            if await self.copied():
                return
            await self._container()
            swept = await self._bulk()
            if swept.conflicts:
                named = "; ".join(f"{each.key!r}: {each.conflict}" for each in sorted(swept.first)[:5])
                raise Refused(
                    f"{swept.conflicts:,} objects can't be copied: {named}",
                    where=self.azure.where,
                    mend="rename or remove them on AWS",
                )
            self.manifest.set_state(phase="flow", owner="aws")
            self._swept()
        note("copied; changes are followed")

    async def begin(self) -> None:
        """The container is there, and the manifest, this process's alone, says of which sides it is.

        Raises UsageError if it is of others, LeaseHeld if another process works with it.
        """
        self.manifest.hold()
        self._same_sides()
        if self.phase is not None:
            self.manifest.set_state(names=self.spec.names)
        else:
            made = {} if await self.azure.exists() or not await self.azure.create() else {"container": "made"}
            self.manifest.set_state(phase="copying", **self._description, **made)

    async def share(self, how: How, after: str, until: str) -> Swept:
        """Objects with keys > `after`, <= `until`, of a copy that another process has begun; "": the open end."""
        return await self._bulk(how, after=after, until=until, deletes=False)

    async def add(self, note: Callable[[str], None], how: How = "auto", *, dry: bool = False) -> Swept:
        """Every object, beside what the container has: that stays as it is. What can't be copied is a conflict."""
        async with self._my_turn(note):
            self._same_sides()
            self.azure.to_be_made = dry and self.phase is None and not await self.azure.exists()
            if not dry:
                await self.begin()
            swept = await self._bulk(how, dry=dry, deletes=False)
            if not dry:
                self.manifest.set_state(phase="flow", owner=self.owner)
                self._swept()
        return swept

    async def keep(self, note: Callable[[str], None], owner: Cloud) -> Swept:
        """All that has changed at the owner is applied at the other side; from here on changes flow that way."""
        async with self._my_turn(note):
            if self.phase is None and owner == "azure":
                raise UsageError(
                    "nothing is recorded yet that could go back",
                    where=str(self.manifest.path),
                    mend="copy from S3 first, with the same --manifest",
                )
            await self.begin()
            if self.events is not None and owner == "aws":
                await self.events.depth()  # it is there, before it is relied on
            swept = await (self._bulk() if owner == "aws" else self.sync.sweep("azure"))
            self.manifest.set_state(phase="flow", owner=owner)
            self._swept()
        return swept

    @property
    def _description(self) -> dict[str, str]:
        """What a manifest is of."""
        return {"aws": self.aws.place, "azure": self.azure.place, "names": self.spec.names}

    def _same_sides(self) -> None:
        for name, mine in self._description.items():
            recorded = self.manifest.state(name)
            if recorded in {None, mine} or (recorded == "refuse" and not self.manifest.looks_mapped):
                continue
            what, mend = f"it is of {recorded}, not of {mine}", "give each pair of sides its own --manifest"
            if name == "names":
                what, mend = "its names were mapped, or weren't", "give --map-names as it was at first"
            raise UsageError(what, where=str(self.manifest.path), mend=mend)

    async def _bulk(
        self, how: How = "auto", *, after: str = "", until: str = "", dry: bool = False, deletes: bool = True
    ) -> Swept:
        server = None
        if how != "stream":
            server = FromUrl(self.aws, self.azure, 0, alone=True) if how == "server" else FromUrl(self.aws, self.azure)
        self.sync.server = server
        try:
            swept = await self.sync.sweep("aws", after=after, until=until, dry=dry, deletes=deletes)
        finally:
            self.sync.server = None
        if how == "server" and server is not None and server.off:
            raise Refused(f"it can't copy by itself: {server.off}", where=self.azure.where, mend="leave --how away")
        return swept

    async def _container(self) -> None:
        """Made, or found empty: everything in it that the manifest knows is then the run's."""
        if self.phase == "copying":
            return
        if not await self.azure.exists():
            self.manifest.set_state(container="made")
            if not await self.azure.create():  # somebody was faster
                self.manifest.set_state(container="")
        if await self.azure.holds_anything():
            raise Refused("the target isn't empty", where=self.azure.where, mend="give an empty container, or none")
        self.manifest.set_state(phase="copying", **self._description)

    async def copied(self) -> bool:
        return self.phase in {"flow", "sealed", "ended"}

    async def follow(self, note: Callable[[str], None]) -> None:
        """Until cancelled: every change of the side that owns the writes is applied at the other."""
        self.sync.note = note
        while True:
            async with self._turn:
                pause = await self._round()
            await asyncio.sleep(pause)

    async def _round(self) -> float:
        """One look for changes. Returns the seconds until the next."""
        if self.phase != "flow":
            return IDLE
        self._looked = began = time.monotonic()
        if self.owner == "azure" or self.events is None:
            if self._armed or began < self._rests_until:  # the drain lists everything itself
                return IDLE
            await self.sync.sweep(self.owner)
            return max(LOOK, SHARE * (time.monotonic() - began))
        if began >= self._next_sweep and not self._armed:
            await self.sync.sweep("aws")
            self._swept(time.monotonic() - began)
        hurry = self._hurried or self._armed
        busy = await self.sync.take(self.events, 0 if hurry else 1)
        self._looked = time.monotonic()
        return IDLE / 4 if hurry and not busy else 0

    def _swept(self, took: float = 0.0) -> None:
        self._next_sweep = time.monotonic() + max(SWEEP, 4 * SHARE * took)

    async def lag(self) -> int:
        """Objects that have changed and aren't applied; as of the last look, if somebody follows."""
        if self.phase != "flow":
            return 0
        if time.monotonic() - self._looked > FRESH:
            await self._look_at_the_queue()
        return self.sync.waiting + len(self.manifest.pending)

    def lag_seconds(self) -> float | None:
        """The age of the oldest change that isn't applied, or of the last listing where only that tells. None: none."""
        if self.sync.oldest is not None:
            return max(0.0, time.time() - self.sync.oldest)
        return None if self.tells(self.owner) else time.monotonic() - self._looked

    async def _look_at_the_queue(self) -> None:
        if self.owner == "aws" and self.events is not None:
            self.sync.waiting = (await self.events.depth()).waiting
            self._looked = time.monotonic()

    async def verify(self, note: Callable[[str], None]) -> VerifyReport:
        """Both sides compared, in the direction in which changes flow; what is behind is brought over first."""
        owner = self.owner
        for _ in range(SWEEPS):  # each leaves less than the one before
            async with self._my_turn(note):
                if self.phase != "flow" or (await self.sync.sweep(owner)).copied < FEW:
                    break

        async def catch_up(keys: Collection[str]) -> None:
            async with self._my_turn():
                if self.phase == "flow" and self.owner == owner:
                    await self._forget_lost(keys, self.sides[other(owner)])
                    await self.sync.look(keys, owner)

        self._hurried += 1
        try:
            return await compare(self.sides[owner], self.sides[other(owner)], catch_up, note, self.manifest)
        finally:
            self._hurried -= 1

    async def _forget_lost(self, keys: Collection[str], follower: Side) -> None:
        """What somebody else deleted at the side that follows is brought over again."""
        recorded = [key for key in keys if self.manifest.row(key) is not None]
        for key in recorded:
            with suppress(Left):
                if await follower.stat(key) is None:
                    self.manifest.forget([key])

    async def compare(
        self, note: Callable[[str], None], told: Callable[[Difference], None], *, read: bool = False
    ) -> VerifyReport:
        """Both sides as they are: nothing is brought over, but whoever follows changes meanwhile gets the time to.

        `told` of every difference; `read`: all contents. What is missing isn't recorded any more: a copy brings it.
        """
        self._same_sides()
        owner = self.owner

        async def leave(_: Collection[str]) -> None:
            if self.manifest.held:
                await asyncio.sleep(LOOK)

        missing: list[str] = []

        def tell(difference: Difference) -> None:
            if difference.verdict == "missing":
                missing.append(difference.key)
            told(difference)

        report = await compare(self.sides[owner], self.sides[other(owner)], leave, note, self.manifest, tell, read=read)
        if missing and self.manifest.there and not self.manifest.held:
            self.manifest.forget(missing)
        return report

    async def settle(self, note: Callable[[str], None]) -> VerifyReport:
        """After the switch: what came too late to AWS is added on Azure, where nothing is newer; then compared."""
        async with self._my_turn(note):
            if self.owner == "azure" and self.phase == "flow":
                await self.sync.sweep("aws", "late")
        return await self.verify(note)

    def store(self, source: Cloud) -> BucketStore:
        return BucketStore(self, source)

    async def arm(self, source: Cloud) -> None:
        async with self._my_turn():
            if self.phase == "flow" and self.owner == source:
                self._armed = True
                await self.sync.make_up(source)
                await self._look_at_the_queue()  # it filled meanwhile

    def stand_easy(self) -> None:
        """No switch is near: changes are looked for at leisure again."""
        self._armed = False

    def tells(self, source: Cloud) -> bool:
        """Whether this side says what has changed; else only a listing of everything does."""
        return source == "aws" and self.events is not None

    async def drain(self, source: Cloud) -> None:
        async with self._my_turn():
            if self.phase == "flow" and self.owner == source:
                await self.sync.drain(source)

    async def seal(self, source: Cloud) -> None:
        async with self._my_turn():
            if self.phase == "flow" and self.owner == source:
                self.manifest.set_state(phase="sealed")

    async def flow_from(self, owner: Cloud) -> None:
        """The switch has ended, one way or the other: changes are followed from here."""
        async with self._my_turn():
            self._armed = False
            if self.phase in {"flow", "sealed"}:
                switched = {"switched": "yes"} if owner == "azure" else {}
                self.manifest.set_state(phase="flow", owner=owner, **switched)
                # what was held is served first: a listing takes its server's time
                self._rests_until = time.monotonic() + LOOK

    async def force_home(self, note: Callable[[str], None]) -> None:
        """Without Azure's database: AWS owns the writes, with what Azure's container still gives."""
        async with self._my_turn(note):
            self._armed = False
            if self.phase not in {"flow", "sealed"} or (self.owner, self.phase) == ("aws", "flow"):
                return
            try:
                await self.sync.sweep("azure", "home")
            except TidegateError as error:
                note(f"what was written on azure last may be missing: {error}")
            self.manifest.set_state(phase="flow", owner="aws")

    async def disarm(self) -> None:
        """The migration is done: nothing is followed any more; the data stays on both sides."""
        async with self._my_turn():
            if self.phase is not None:
                self.manifest.set_state(phase="ended")

    async def remove(self, *, target_gone: bool = False) -> None:
        """Undo `copy`: Azure as before. What only Azure had is brought home first; what others wrote stays."""
        async with self._my_turn():
            if self.phase is None and self.manifest.state("container") is None:
                return
            if not target_gone:
                if self.owner == "azure":
                    raise RollbackIncomplete("azure owns the writes", where=self.azure.where, mend="switch back first")
                if self.manifest.state("switched") and await self.azure.exists():
                    home = await self.sync.sweep("azure", "home")
                    if home.conflicts:
                        raise RollbackIncomplete(
                            f"{home.conflicts:,} objects can't come home, such as {home.first[0].key!r}: "
                            f"{home.first[0].conflict}",
                            where=self.aws.where,
                            mend="bring them over by hand, or delete them on azure; then go on",
                        )
                await Removal(self.azure, self.manifest).run()
            self.manifest.clear()

    async def close(self) -> None:
        await self.http.close()
        self.manifest.close()

    @asynccontextmanager
    async def _my_turn(self, note: Callable[[str], None] | None = None) -> AsyncGenerator[None]:
        """Whoever follows stops waiting for messages and lets this go first."""
        self._hurried += 1
        try:
            async with self._turn:
                if note is not None:
                    self.sync.note = note
                yield
        finally:
            self._hurried -= 1
