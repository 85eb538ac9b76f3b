"""A database that was closed, backed up and restored, under the switch: nothing has to follow any more."""

from tidegate.errors import CheckFailed
from tidegate.postgres.bookkeeping import Names, ensure_bookkeeping, is_ours, read_note, write_note
from tidegate.postgres.fence import Fence, at_once
from tidegate.postgres.rights import GIVE_BACK
from tidegate.postgres.server import Server
from tidegate.postgres.store import DatabaseStore
from tidegate.postgres.vacuum import still_vacuum, vacuum_again

__all__ = ["RESTORED", "RestoredStore", "close_source", "source_closed"]

CLOSED = "closed"

RESTORED = "restored"
"""The note on the target: the id of the backup that was restored to its end."""


class RestoredStore(DatabaseStore):
    """Its source was closed before the backup, and a switch that is given up doesn't open it: what would be written
    then would be in no backup. Whoever takes back the closing opens it.
    """

    async def arm(self) -> None:
        """Raises CheckFailed if nothing was restored."""
        if await read_note(self._to, RESTORED) is None:
            raise CheckFailed("nothing is restored there", where=self._to.where, mend="restore the backup first")
        await self._prepare()

    async def lag(self) -> int:
        await self._mirror_slot.keep_up()
        return 0

    async def drain(self, deadline: float) -> None:
        """All was there before the target was compared with the source."""

    async def _carry_the_rest(self) -> None:
        await self._carry_sequences()

    async def reopen(self) -> None:
        await self.fencing.open()
        await self._disarm()


async def close_source(source: Server, names: Names, deadline: float) -> None:
    """Nobody but the migration writes there any more, until the move is removed. `deadline` is on time.monotonic().

    Raises CheckFailed, DeadlinePassed after having opened it again; Unreachable, Refused.
    """
    fence = Fence(source)
    await ensure_bookkeeping(source, names)
    async with source.session() as session:
        try:
            await still_vacuum(session)
            await fence.prepare()
            await fence.close(session, deadline)
            await write_note(session, CLOSED, True)
        except BaseException:
            await at_once(session, f"{GIVE_BACK}; delete from tidegate.note where key = '{CLOSED}'")
            await vacuum_again(session)
            raise
        finally:
            await fence.open()


async def source_closed(source: Server, names: Names) -> bool:
    return await is_ours(source, names) and await read_note(source, CLOSED) is not None
