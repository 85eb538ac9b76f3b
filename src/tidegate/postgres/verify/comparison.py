"""What a comparison found, table by table, as values, lines and JSON."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from tidegate.files import write
from tidegate.postgres.verify.hashes import Method

__all__ = ["TableReport", "Uncompared", "VerifyReport"]

BITS = 128


@dataclass(frozen=True, slots=True)
class TableReport:
    """Of one table, or of all large objects.

    `mismatched`: rows that are missing, extra or different; at least so many, if chunks that differ are `unexplored`.
    `differing`: the keys of a few of them, as text. `content`: the sum of the hashes of the owner's rows, whatever the
    chunks were.
    """

    name: str
    rows: int
    chunks: int
    differing: tuple[str, ...] = ()
    difference: str = ""
    mismatched: int = 0
    unexplored: int = 0
    method: Method = "counted"
    content: int = 0

    @property
    def equal(self) -> bool:
        return not self.difference

    @property
    def hash(self) -> str:
        """32 hexadecimal digits; of no rows they are 0."""
        return f"{self.content % 2**BITS:0{BITS // 4}x}"

    @property
    def line(self) -> str:
        how = f"{self.chunks:,} {self.method}" if self.method != "counted" else "counted only"
        verdict = "equal" if self.equal else f"DIFFERS: {self.difference}"
        return f"{self.name}: {self.rows:,} rows, {how}, hash {self.hash}, {verdict}"

    def document(self) -> dict[str, JsonValue]:
        return {
            "table": self.name,
            "rows": self.rows,
            "method": self.method,
            "chunks": self.chunks,
            "hash": self.hash,
            "verdict": "equal" if self.equal else "different",
            "difference": self.difference,
            "mismatched": self.mismatched,
            "differing": list(self.differing),
            "unexplored_chunks": self.unexplored,
        }


@dataclass(frozen=True, slots=True)
class Uncompared:
    """`reason`: why its content can't be, or needn't be, the same."""

    name: str
    reason: str


@dataclass(slots=True)
class VerifyReport:
    tables: list[TableReport] = field(default_factory=list[TableReport])
    uncompared: list[Uncompared] = field(default_factory=list[Uncompared])

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    @property
    def mismatched(self) -> list[TableReport]:
        return [table for table in self.tables if not table.equal]

    @property
    def equal(self) -> bool:
        return not self.mismatched

    def lines(self) -> list[str]:
        """For people: a line for each table, then for what was not compared."""
        return [
            *(table.line for table in self.tables),
            *(f"{each.name}: not compared: {each.reason}" for each in self.uncompared),
        ]

    def document(self) -> dict[str, JsonValue]:
        return {
            "verdict": "equal" if self.equal else "different",
            "rows": self.rows,
            "tables": [table.document() for table in self.tables],
            "not_compared": [{"name": each.name, "reason": each.reason} for each in self.uncompared],
        }

    def write(self, path: Path) -> None:
        """As JSON, whole or not at all. Raises LocalFault."""
        write(path, json.dumps(self.document(), indent=2, ensure_ascii=False) + "\n")
