"""A database that was closed, backed up and restored, under the switch: nothing has to follow any more."""

from tidegate.errors import CheckFailed
from tidegate.postgres.bookkeeping import read_note
from tidegate.postgres.store import DatabaseStore

__all__ = ["RESTORED", "RestoredStore"]

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
