"""One object brought from the side that owns it to the other, on the condition of what is known of that."""

import hashlib
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Literal, NamedTuple

from tidegate.errors import TidegateError
from tidegate.objects.checksums import big_endian, crc64
from tidegate.objects.manifest import Row
from tidegate.objects.sending import Damaged, Moved, Sending
from tidegate.objects.side import LARGE, Changed, Got, Left, Listed

__all__ = ["Errand", "Order", "Outcome", "Way"]

TRIES = 5

Way = Literal["follow", "late", "home"]
"""follow: all that changed at the source is done at the target.
late: the target owns the writes; what came to the source too late is added, nothing is taken away.
home: the source owned the writes and is given up; nothing is taken away at the target.
"""


class Outcome(NamedTuple):
    """`row` is what is known now; None: neither side has it. `conflict`: why nothing was done."""

    key: str
    row: Row | None
    conflict: str = ""
    copied: int | None = None
    """Bytes, if it was."""
    deleted: bool = False


class Order(NamedTuple):
    """What many errands have in common.

    `intend` keeps a key and the mark of what is about to be written. `may_delete` is asked before what is gone at the
    source is deleted. `dry`: nothing is written.
    """

    sending: Sending
    way: Way
    intend: Callable[[str, str], None]
    may_delete: Callable[[], bool]
    dry: bool = False


class Errand:
    """`listed`: as the source had the object a moment ago, if that is known. `row`: what is known of it. `half_done`:
    marks of what earlier tries may have written.
    """

    __slots__ = ("half_done", "key", "listed", "order", "row", "sending", "way")

    def __init__(
        self, order: Order, key: str, listed: Listed | None, row: Row | None, half_done: Collection[str]
    ) -> None:
        self.order, self.sending = order, order.sending
        self.way: Way = order.way
        self.key, self.listed, self.row, self.half_done = key, listed, row, half_done

    async def run(self) -> Outcome:
        """Raises Damaged, Unreachable, Refused."""
        damaged = False
        for _ in range(TRIES):
            with suppress(Moved, Changed):
                try:
                    return await self._look()
                except Left as left:
                    return Outcome(self.key, self.row, left.why)
                except Damaged:  # once is an accident on the way
                    if damaged:
                        raise
                    damaged = True
        raise TidegateError(f"{self.key} changes faster than it can be read", where=self.sending.source.where)

    async def _look(self) -> Outcome:
        source, target = self.sending.source, self.sending.target
        if self.half_done and (outcome := await self._already()) is not None:
            return outcome
        size = self.listed.size if self.listed else 0
        server = self.sending.server
        by_here = size <= LARGE and (server is None or not server.wants(size)) and not self.order.dry
        got = await (source.get if by_here else source.look)(self.key)
        if got is None:
            return await self._gone()
        if self.listed is not None and self.listed.etag == got.etag and size != got.size:
            raise Damaged(f"{self.key} comes with {got.size:,} bytes, and is listed with {size:,}", source)
        if self._known(got):
            return Outcome(self.key, self.row)
        if got.unreadable:
            return Outcome(self.key, self.row, got.unreadable)
        if why := target.refuses(self.key):
            return Outcome(self.key, self.row, f"{target.cloud} can't hold its name: {why}")
        if why := target.unfit(got.properties):
            return Outcome(self.key, self.row, why)
        return await (self._would_write(got) if self.order.dry else self._write(got))

    async def _would_write(self, got: Got) -> Outcome:
        there = await self.sending.target.stat(self.key)
        if (there and there.etag) == self._known_there:
            return Outcome(self.key, self.row, copied=got.size)
        if there is not None and there.md5 is not None and there.md5 in {got.md5, *self.half_done}:
            return Outcome(self.key, self.row)
        return Outcome(self.key, self.row, f"it was written on {self.sending.target.cloud} by somebody else")

    async def _already(self) -> Outcome | None:
        """An earlier try's write may have had its effect: then nothing is sent again."""
        there = await self.sending.target.look(self.key)
        if there is None or there.md5 is None or there.md5 not in self.half_done:
            return None
        got = await self.sending.source.look(self.key)
        if got is None or got.md5 != there.md5 or got.properties.fingerprint != there.properties.fingerprint:
            return None
        if self.row is not None and self.row.properties != got.properties.fingerprint:
            return None
        return Outcome(self.key, self._row(got, there.etag, there.md5, "md5", ours=True))

    def _known(self, got: Got) -> bool:
        """S3's ETag stays the same when only the metadata change."""
        if self.row is None or self.half_done:
            return False
        return (self.row.etag(self.sending.source.cloud), self.row.properties) == (
            got.etag,
            got.properties.fingerprint,
        )

    @property
    def _known_there(self) -> str | None:
        return self.row.etag(self.sending.target.cloud) if self.row else None

    async def _gone(self) -> Outcome:
        if self.way != "follow":
            return Outcome(self.key, self.row)
        target, etag = self.sending.target, self._known_there
        if self.half_done:  # what is there may be this run's although its ETag was never recorded
            there = await target.stat(self.key)
            if there and await self._mark(there) in self.half_done:
                etag = there.etag
        if etag is None:
            return Outcome(self.key, None)
        if self.order.dry:
            return Outcome(self.key, None, deleted=True)
        if not self.order.may_delete():
            return Outcome(self.key, self.row, f"deleted, but still on {target.cloud}: too many are at once")
        try:
            await target.delete(self.key, etag)
        except Changed:  # also the answer where a process that was killed has deleted it already
            if await target.stat(self.key) is not None:
                return Outcome(self.key, self.row, f"deleted, but changed on {target.cloud}")
        return Outcome(self.key, None, deleted=True)

    async def _write(self, got: Got) -> Outcome:
        target, over = self.sending.target, self._known_there
        sent = rung = ""

        def intend(mark: str, by: str) -> None:
            nonlocal sent, rung
            sent, rung = mark, by
            self.order.intend(self.key, mark)

        for _ in range(TRIES):
            try:
                written = await self.sending.send(self.key, got, over, intend)
            except Changed as changed:
                there = await target.stat(self.key)
                if there is None:
                    if self.way == "late":
                        return Outcome(self.key, self.row, f"came late, and was deleted on {target.cloud}")
                    over = None
                    continue
                mark = await self._mark(there, sent)
                half_done = mark in self.half_done
                if mark == sent:
                    ours = half_done or changed.retried or bool(self.row and self.row.ours)
                    # a Content-MD5 may be what somebody says, not what Azure has checked
                    if not ours and there.md5 is not None and await self._read_mark(there, sent) != sent:
                        return Outcome(self.key, self.row, f"what {target.cloud} has isn't what its Content-MD5 says")
                    if await self._carries(got):
                        return Outcome(self.key, self._row(got, there.etag, there.md5 or "", rung, ours=ours))
                    if not ours:
                        return Outcome(self.key, self.row, f"{target.cloud} has it with other properties")
                if not half_done or self.way == "late":
                    return Outcome(self.key, self.row, f"it was written on {target.cloud} by somebody else")
                over = there.etag
            else:
                row = self._row(got, written.etag, written.md5, rung, ours=target.cloud == "azure")
                return Outcome(self.key, row, copied=got.size)
        raise TidegateError(f"{self.key} is written by somebody else all the time", where=target.where)

    async def _carries(self, got: Got) -> bool:
        """What the target has is described as the source's is."""
        there = await self.sending.target.look(self.key)
        return there is not None and there.properties.fingerprint == got.properties.fingerprint

    async def _mark(self, there: Listed, sent: str = "") -> str:
        """Of what the target holds; read if it can't say."""
        return there.md5 if there.md5 is not None else await self._read_mark(there, sent)

    async def _read_mark(self, there: Listed, sent: str) -> str:
        digest, crc = hashlib.md5(usedforsecurity=False), 0
        for start in range(0, there.size, LARGE):
            part = await self.sending.target.part(self.key, there.etag, start, min(LARGE, there.size - start))
            digest.update(part)
            crc = crc64(part, crc)
        by_crc = f"crc64nvme:{big_endian(crc)}"
        return by_crc if by_crc == sent or by_crc in self.half_done else digest.hexdigest()

    def _row(self, got: Got, there: str, md5: str, rung: str, *, ours: bool) -> Row:
        source, target = self.sending.source, self.sending.target
        from_aws = source.cloud == "aws"
        aws, azure = (got.etag, there) if from_aws else (there, got.etag)
        checksum = next((f"{name}:{value}" for name, value in got.checksums.items()), "")
        name = (target if from_aws else source).name(self.key)
        return Row(
            *(self.key, got.size, md5, aws, azure, got.properties.fingerprint, ours),
            *(got.seen if from_aws else 0.0, rung, checksum, got.version, "" if name == self.key else name),
        )
