"""How far a copy is, from the planner's estimates and the tables' sizes at the source."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tidegate.postgres.catalog import Table
from tidegate.postgres.indexes import Index

__all__ = ["Meter", "Progress", "seldom"]

INTERVAL = 0.5
"""Seconds between two reports at least."""
SETTLED = 0.02
"""The share of the work that has to be done before a time left is more than a guess."""


def seldom(note: Callable[[str], None]) -> Callable[[str], None]:
    """`note`, but not of what comes too soon after the last one."""
    last = 0.0

    def pass_on(text: str) -> None:
        nonlocal last
        if (at := time.monotonic()) - last >= INTERVAL:
            last = at
            note(text)

    return pass_on


@dataclass(frozen=True, slots=True)
class Progress:
    """`bytes` have come over the wire so far. `rows_expected` is an estimate of the planner's, and so is `rows` for a
    table that is under way. `left`: seconds until the last index is there; None while nobody can tell.
    """

    tables: int
    tables_expected: int
    indexes: int
    indexes_expected: int
    rows: int
    rows_expected: int
    bytes: int
    seconds: float
    left: float | None

    @property
    def rate(self) -> float:
        """Bytes per second, on average."""
        return self.bytes / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        rows = f"{self.rows:,} of about {max(self.rows, self.rows_expected):,} rows"
        left = "" if self.left is None else f", about {self.left:,.0f} s left"
        return (
            f"copied {self.tables} of {self.tables_expected} tables, {self.indexes} of {self.indexes_expected} "
            f"indexes, {rows}, {self.bytes / 2**20:,.1f} MiB at {self.rate / 2**20:,.1f} MiB/s{left}"
        )


@dataclass(slots=True)
class _Part:
    """A table under way: what has come, of what is expected."""

    table: Table
    bytes: int = 0

    @property
    def share(self) -> float:
        """A row's binary form is about as large as the row itself; nobody knows before the end."""
        return min(self.bytes / self.table.size, 0.99) if self.table.size else 0.0


@dataclass(slots=True)
class Meter:
    """Counts, and reports now and then."""

    tables: Sequence[Table]
    indexes: Sequence[Index]
    report: Callable[[Progress], None]
    bytes: int = 0
    _rows: int = 0
    _done: int = 0
    _built: int = 0
    _weight: float = 0
    _under_way: dict[int, _Part] = field(default_factory=dict[int, _Part])
    _began: float = field(default_factory=time.monotonic)
    _reported: float = 0.0

    def begin(self, table: Table) -> None:
        self._under_way[table.oid] = _Part(table)

    def came(self, table: Table, size: int) -> None:
        """`size` bytes of its rows."""
        self.bytes += size
        self._under_way[table.oid].bytes += size
        self._report()

    def copied(self, table: Table, rows: int) -> None:
        del self._under_way[table.oid]
        self._rows += rows
        self._done += 1
        self._weight += table.size
        self._report()

    def built(self, index: Index) -> None:
        self._built += 1
        self._weight += index.size
        self._report()

    def finish(self) -> None:
        """The last report is exact."""
        self._reported = 0.0
        self._report()

    @property
    def now(self) -> Progress:
        parts = self._under_way.values()
        whole = sum(table.size for table in self.tables) + sum(index.size for index in self.indexes)
        share = (self._weight + sum(part.share * part.table.size for part in parts)) / whole if whole else 1.0
        seconds = time.monotonic() - self._began
        return Progress(
            tables=self._done,
            tables_expected=len(self.tables),
            indexes=self._built,
            indexes_expected=len(self.indexes),
            rows=self._rows + sum(int(part.share * part.table.rows) for part in parts),
            rows_expected=sum(table.rows for table in self.tables),
            bytes=self.bytes,
            seconds=seconds,
            left=seconds * (1 - share) / share if share > SETTLED else None,
        )

    def _report(self) -> None:
        if (at := time.monotonic()) - self._reported >= INTERVAL:
            self._reported = at
            self.report(self.now)
