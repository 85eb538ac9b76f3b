"""How far a comparison has come, told to whoever waits, at most twice a second."""

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Meter", "Progress"]

TOLD_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Progress:
    """Rows of the owner. `estimated`: the planner's number of all of them, or the rows so far if they are more."""

    tables: int
    all_tables: int
    rows: int
    estimated: int
    seconds: float

    @property
    def rate(self) -> float:
        """Rows a second, on each side."""
        return self.rows / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """None: nobody knows yet."""
        return (self.estimated - self.rows) / self.rate if self.rate else None

    def __str__(self) -> str:
        text = f"compared {self.tables} of {self.all_tables} tables, {self.rows:,} rows"
        if self.tables == self.all_tables or self.seconds_left is None:
            return text
        return f"{text} of about {self.estimated:,}, {self.rate:,.0f} a second, {self.seconds_left:,.0f} s left"


class Meter:
    """Counts, and tells both callbacks: the first time, then not more often than is read, and at the end."""

    def __init__(
        self, tables: int, estimated: int, note: Callable[[str], None], progress: Callable[[Progress], None] | None
    ) -> None:
        self.all_tables, self.estimated, self.note, self.progress = tables, estimated, note, progress
        self.tables = self.rows = 0
        self.began = time.monotonic()
        self._told: float | None = None

    def count(self, rows: int, tables: int = 0) -> None:
        self.rows += rows
        self.tables += tables
        now = time.monotonic()
        if self._told is None or now - self._told >= TOLD_SECONDS or (tables and self.tables == self.all_tables):
            self._told = now
            self._tell(now - self.began)

    def _tell(self, seconds: float) -> None:
        estimated = max(self.estimated, self.rows)
        progress = Progress(self.tables, self.all_tables, self.rows, estimated, seconds)
        self.note(str(progress))
        if self.progress is not None:
            self.progress(progress)
