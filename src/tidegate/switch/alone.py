"""One database whose writes move by itself: no workload stands before it, its fence alone keeps its users off."""

from collections.abc import Callable
from dataclasses import dataclass

from tidegate.errors import CheckFailed, Refused
from tidegate.postgres.database import DatabaseMove
from tidegate.postgres.proof import Proof
from tidegate.postgres.verify import VerifyReport
from tidegate.runbook.migration import Cloud, other
from tidegate.switch.front import Nobody
from tidegate.switch.store import Ownership
from tidegate.switch.switch import MARGIN, Parties, Timings, abandon, committed, switch

__all__ = ["Turn", "turn"]


@dataclass(frozen=True, slots=True)
class Turn:
    """`epoch`: of the ownership row. `timings`: as far as this process has done it.

    `proof`: of the whole content, as it was at the switch, or live where another process has committed it.
    """

    owner: Cloud
    epoch: int
    timings: Timings
    proof: VerifyReport


async def turn(
    move: DatabaseMove,
    owner: Cloud,
    *,
    seconds: float,
    lag: int,
    stopping: Callable[[], bool],
    note: Callable[[str], None],
) -> Turn:
    """Move the writes to `owner`, or finish or take back first what an earlier process has left half done.

    `seconds`: within which it commits, from the first closed login; past it the source is reopened. `lag`: in bytes,
    at or below which logins are closed. Raises CheckFailed, DeadlinePassed, Unreachable, Refused.
    """
    if not await move.streams():
        raise Refused("nothing streams", where=move.where("azure"), mend="`tidegate postgres replicate` first")
    now = await move.ownership()
    done = now is not None and now.owner == owner
    epoch = (now.epoch if now else 0) + (0 if done else 1)
    if now is None and owner == "aws":
        raise CheckFailed("aws owns the writes", where=move.where("aws"), mend="`abort` takes a copy back")
    store = move.store(other(owner), epoch)
    parties = Parties([store], store, Nobody(), {store.name: lag})
    ownership = Ownership(move.run, epoch, owner)
    try:
        if not await committed(store, ownership):
            await abandon(parties)
        timings = await switch(parties, ownership, hold=seconds / MARGIN, stopping=stopping, note=note)
        note(f"{owner} owns the writes (epoch {epoch}); the content is compared as it was at that moment")
        proof: Proof = await store.prove(note)
    finally:
        await store.close()
    if proof.report is None:
        note(proof.inconclusive)
    return Turn(owner, epoch, timings, proof.report or await move.verify(note))
