"""A run as somebody sees it who reads its journal again and again."""

from dataclasses import dataclass, field

from tidegate.engine.journal import Event, Store
from tidegate.engine.state import RunState, fold

__all__ = ["Watch"]

SILENT = 5.0
"""Seconds without figures after which the last ones no longer count."""


@dataclass
class Watch:
    store: Store
    run: str
    state: RunState = field(init=False)
    told: str = ""
    """The last remark of what runs beside the steps."""

    def __post_init__(self) -> None:
        events = self.store.events(self.run)
        self.state = fold(events)
        self._hear(events)

    def look(self) -> list[Event]:
        """What has been journalled since the last look."""
        last = self.state.last
        events = self.store.events(self.run, after=last.seq if last else 0)
        fold(events, self.state)
        self._hear(events)
        return events

    @property
    def writes_at_risk(self) -> bool:
        """It is paused since going back would lose writes: only a forced rollback is left."""
        paused = self.state.paused
        return paused is not None and isinstance(paused.data, dict) and "writes" in paused.data

    def traffic(self, now: float) -> Event | None:
        """The last figures, unless they are old."""
        last = self.state.traffic[-1] if self.state.traffic else None
        return last if last and now - last.at < SILENT else None

    def _hear(self, events: list[Event]) -> None:
        for event in events:
            if event.kind == "noted":
                self.told = str(event.figure("text"))
