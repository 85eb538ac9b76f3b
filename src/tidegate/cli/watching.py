"""A run as somebody sees it who reads its journal again and again."""

from dataclasses import dataclass, field

from tidegate.engine.journal import Event, Store
from tidegate.engine.state import RunState, fold

__all__ = ["Watch"]

SILENT = 5.0
"""Seconds without figures after which the last ones no longer count."""


@dataclass
class Watch:
    """`gates`: what waits for approval, and why; several steps of a stage may wait at once."""

    store: Store
    run: str
    state: RunState = field(init=False)
    gates: dict[str, str] = field(default_factory=dict[str, str])
    paused: Event | None = None
    told: str = ""
    """The last remark of what runs beside the steps."""

    def __post_init__(self) -> None:
        events = self.store.events(self.run)
        self.state = fold(events)
        for event in events:
            self._follow(event)

    def look(self) -> list[Event]:
        """What has been journalled since the last look."""
        last = self.state.last
        events = self.store.events(self.run, after=last.seq if last else 0)
        fold(events, self.state)
        for event in events:
            self._follow(event)
        return events

    @property
    def writes_at_risk(self) -> bool:
        """It is paused since going back would lose writes: only a forced rollback is left."""
        paused = self.paused
        return paused is not None and isinstance(paused.data, dict) and "writes" in paused.data

    def traffic(self, now: float) -> Event | None:
        """The last figures, unless they are old."""
        last = self.state.traffic[-1] if self.state.traffic else None
        return last if last and now - last.at < SILENT else None

    def _follow(self, event: Event) -> None:
        match event.kind:
            case "waiting":
                self.gates[str(event.figure("gate"))] = str(event.figure("reason") or "")
            case "passed":
                self.gates.pop(str(event.figure("gate")), None)
            case "paused":
                self.paused = event
            case "begun" | "decided" | "finished":
                self.gates.clear()
                self.paused = None
            case "continued":
                self.paused = None
            case "noted":
                self.told = str(event.figure("text"))
            case _:
                pass
