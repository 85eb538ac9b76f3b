"""Proof that two databases hold the same rows: compared inside the servers, by hashed chunks."""

from tidegate.postgres.verify.compare import compare
from tidegate.postgres.verify.comparison import TableReport, Uncompared, VerifyReport
from tidegate.postgres.verify.progress import Progress

__all__ = ["Progress", "TableReport", "Uncompared", "VerifyReport", "compare"]
