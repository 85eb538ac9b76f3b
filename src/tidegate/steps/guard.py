"""The engine's questions about health, answered by the edge's counters and the stores themselves."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tidegate.errors import LocalFault
from tidegate.files import write
from tidegate.health.guard import Breach, watch
from tidegate.runbook.migration import Cloud
from tidegate.steps.workload import Workload

__all__ = ["Loss", "at_risk", "breach"]

ASKED = 3
"""How often a silent server is asked before it is taken for gone."""
EVERY = 0.5


@dataclass(frozen=True, slots=True)
class Loss:
    """Acknowledged writes that only the dead target had. `writes` is None without a witness."""

    text: str
    writes: int | None
    file: str


async def breach(workload: Workload, note: Callable[[str], None]) -> Breach:
    """Return on evidence of harm, and only then. Going back is no help if AWS's own servers are ill."""
    found = await watch(workload.edge, workload.migration.objectives, note, workload.usual())
    if found.verdict == "roll back" and not await _answers(workload, "aws"):
        return Breach("pause", f"{found.reason}; but AWS's database doesn't answer either", found.segment)
    return found


async def at_risk(workload: Workload, folder: Path) -> Loss | None:
    """Once Azure may own the writes: what would be lost without its database. None as long as that answers.

    Raises LocalFault if the witness can't be read, or the list not written.
    """
    if await _answers(workload, "azure"):
        return None
    last = await workload.lead.last_heartbeat("aws")
    since = f"since {last:%H:%M:%S.%f} UTC" if last else "since the switch"
    witness = workload.migration.witness
    if witness is None:
        text = f"Azure's database is gone; every write that it acknowledged {since} is at risk"
        return Loss(text, None, "")
    ids = await _missing(workload, Path(witness.file), witness.store, witness.query)
    listed = folder / f"{workload.run}-at-risk.txt"
    lines = "".join(f"{each}\n" for each in ids)
    write(listed, lines)
    digest = hashlib.sha256(lines.encode()).hexdigest()[:12]
    text = (
        f"Azure's database is gone; {len(ids)} acknowledged writes {since} are at risk, listed in {listed} ({digest})"
    )
    return Loss(text, len(ids), str(listed))


async def _missing(workload: Workload, file: Path, store: str, query: str) -> list[str]:
    """The witnessed writes that AWS hasn't got, after the mirror has applied all that it received."""
    database = workload.databases[store]
    await database.mirror_applied()
    acknowledged = await asyncio.to_thread(_acknowledged, file)
    present = await database.present("aws", query, acknowledged)
    return [each for each in acknowledged if each not in present]


def _acknowledged(file: Path) -> list[str]:
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise LocalFault(
            f"the witness can't be read: {error.strerror}", where=str(file), mend="see to the file's permissions"
        ) from None
    ids: list[str] = []
    for line in lines:
        try:
            event = cast("dict[str, object]", json.loads(line))
        except ValueError:
            continue  # the last line of a log that is being written
        if event.get("event") == "acknowledged":
            ids.append(str(event["id"]))
    return ids


async def _answers(workload: Workload, cloud: Cloud) -> bool:
    for attempt in range(ASKED):
        if await workload.answers(cloud):
            return True
        if attempt < ASKED - 1:
            await asyncio.sleep(EVERY)
    return False
