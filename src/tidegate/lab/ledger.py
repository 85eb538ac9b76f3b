"""What the load generator saw: every answer, one JSON object a line. Kept outside of all that is under test.

    {"event": "began", "at", "rate"}
    {"event": "answered" | "acknowledged" | "away" | "failed",
     "at", "what", "user", "ms", "status", "cloud", "primary", ...}
    {"event": "ended", "at", "requests"}

`at` is Unix time in seconds, when the answer was there. `cloud` served it, `primary` owned the stores that it used.
An acknowledged write has its `id` and the SHA-256 of its `receipt`; a failure says `why`. Who was told to come
back later was turned `away`.
"""

import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tidegate.runbook.migration import Cloud

__all__ = ["Answer", "Ledger", "read_ledger"]


@dataclass(frozen=True, slots=True)
class Answer:
    """`cloud` and `primary` are empty where nobody answered."""

    at: float
    what: str
    failed: bool
    away: bool
    ms: float
    cloud: str
    primary: str
    id: str = ""
    receipt: str = ""
    why: str = ""


@dataclass(slots=True)
class Ledger:
    answers: list[Answer] = field(default_factory=list[Answer])
    complete: bool = False
    """Whether the load generator has closed it."""

    @property
    def acknowledged(self) -> list[Answer]:
        """Writes, in the order of their acknowledgement."""
        return [answer for answer in self.answers if answer.receipt and not answer.failed]

    @property
    def failed(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.failed]

    @property
    def away(self) -> list[Answer]:
        """Those that were told of a maintenance."""
        return [answer for answer in self.answers if answer.away]

    def writes_stopped(self) -> float | None:
        """Seconds from the last acknowledgement by AWS's stores to the first by Azure's. None: there was none."""
        return self.handover("aws", "azure")

    def handover(self, old: Cloud, new: Cloud) -> float | None:
        writes = self.acknowledged
        first = next((i for i, write in enumerate(writes) if write.primary == new), None)
        if first is None:
            return None
        last = max((write.at for write in writes[:first] if write.primary == old), default=None)
        return None if last is None else writes[first].at - last

    def last_from(self, cloud: Cloud, since: float) -> float | None:
        """When this cloud answered for the last time, if it was after `since`."""
        return max((answer.at for answer in self.answers if answer.cloud == cloud and answer.at > since), default=None)

    def per_second(self) -> list[dict[str, float]]:
        """Requests, failures and the slowest answer in milliseconds, for each second with any."""
        seconds = itertools.groupby(self.answers, key=lambda answer: int(answer.at))
        samples: list[dict[str, float]] = []
        for second, group in seconds:
            answers = list(group)
            failed = sum(answer.failed for answer in answers)
            slow = max(answer.ms for answer in answers)
            samples.append({"at": second, "requests": len(answers), "failed": failed, "slow": slow})
        return samples


def read_ledger(file: Path) -> Ledger:
    """Also while it is written: a last line that isn't whole yet is left out. Raises OSError."""
    ledger = Ledger()
    with file.open() as lines:
        for line in lines:
            if not line.endswith("\n"):
                break
            document = cast("dict[str, Any]", json.loads(line))
            if document["event"] == "ended":
                ledger.complete = True
            elif document["event"] != "began":
                ledger.answers.append(_answer(document))
    return ledger


def _answer(document: dict[str, Any]) -> Answer:
    names = ("what", "ms", "cloud", "primary", "id", "receipt", "why")
    fields: dict[str, Any] = {"cloud": "", "primary": ""}
    fields |= {name: document[name] for name in names if name in document}
    event = document["event"]
    return Answer(at=document["at"], failed=event == "failed", away=event == "away", **fields)
