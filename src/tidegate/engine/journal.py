"""Append-only, hash-chained events of runs, in one SQLite file. The source of status, board, report and audit.

Each event's digest covers its content and the digest before it in the same run, so that a changed, removed
or inserted event shows (`verify`). The holder of a run's lease appends under its epoch, in one transaction
with the check that the epoch is still the lease's; commands are appended by any process, without one.
"""

import hashlib
import json
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from tidegate.errors import LeaseHeld, LocalFault, TidegateError, UsageError

__all__ = ["Event", "Store"]

SCHEMA = """
create table if not exists lease (run text primary key, epoch integer not null);
create table if not exists event (
    seq integer primary key, run text not null, at real not null, kind text not null,
    stage text not null, step text not null, data text not null, epoch integer, digest text not null);
create index if not exists event_run on event (run, seq);
"""


@dataclass(frozen=True, slots=True)
class Event:
    """`at` is Unix time in seconds; `stage` and `step` are empty for what concerns the whole run."""

    seq: int
    run: str
    at: float
    kind: str
    stage: str
    step: str
    data: JsonValue
    digest: str

    def figure(self, key: str) -> JsonValue:
        """One field of `data`; None if `data` is no object or hasn't got it."""
        return self.data.get(key) if isinstance(self.data, dict) else None


class Store:
    """All runs of one folder (`.tidegate/`). Raises LocalFault if the file can't be opened, read or written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "journal.db"
        with self._explained():
            folder.mkdir(parents=True, exist_ok=True)
            self.db = sqlite3.connect(self.path, isolation_level=None, timeout=10, check_same_thread=False)
            self.db.execute("pragma journal_mode=wal")
            self.db.execute("pragma synchronous=full")
            self.db.executescript(SCHEMA)

    def close(self) -> None:
        self.db.close()

    def append(
        self, run: str, kind: str, data: JsonValue = None, *, stage: str = "", step: str = "", epoch: int | None = None
    ) -> Event:
        """Raises LeaseHeld if `epoch` is given and another process has taken the run over since."""
        text = json.dumps(data, separators=(",", ":"))  # in its order: that of stores and components means something
        with self._explained(), self._transaction():
            if epoch is not None:
                row = self.db.execute("select epoch from lease where run = ?", (run,)).fetchone()
                if row is None or row[0] != epoch:
                    raise LeaseHeld(
                        "another process drives this run now", where=run, mend="look with `tidegate status`"
                    )
            last = self.db.execute(
                "select digest from event where run = ? order by seq desc limit 1", (run,)
            ).fetchone()
            at = time.time()
            digest = _digest(last[0] if last else "", run, at, kind, stage, step, text, epoch)
            row = self.db.execute(
                "insert into event (run, at, kind, stage, step, data, epoch, digest) values (?, ?, ?, ?, ?, ?, ?, ?) "
                "returning seq",
                (run, at, kind, stage, step, text, epoch, digest),
            ).fetchone()
        return Event(row[0], run, at, kind, stage, step, data, digest)

    def events(self, run: str, after: int = 0) -> list[Event]:
        with self._explained():
            rows = self.db.execute(
                "select seq, run, at, kind, stage, step, data, digest from event "
                "where run = ? and seq > ? order by seq",
                (run, after),
            ).fetchall()
        return [
            Event(seq, name, at, kind, stage, step, json.loads(data), digest)
            for seq, name, at, kind, stage, step, data, digest in rows
        ]

    def runs(self) -> list[str]:
        """Every run's id, the newest first."""
        with self._explained():
            rows = self.db.execute("select run from event group by run order by min(seq) desc").fetchall()
        return [row[0] for row in rows]

    def find(self, run: str | None) -> str:
        """The run of this id, or of which this is the only prefix; without one, the newest. Raises UsageError."""
        runs = self.runs()
        if not runs:
            raise UsageError("there is no run here yet", where=str(self.folder), mend="start one with `tidegate run`")
        if run is None:
            return runs[0]
        matches = [name for name in runs if name.startswith(run)]
        if run in matches:
            return run
        if len(matches) != 1:
            why = f"{len(matches)} runs begin with {run!r}" if matches else f"there is no run {run!r}"
            raise UsageError(why, where=str(self.folder), mend=f"the runs are: {', '.join(runs[:10])}")
        return matches[0]

    def verify(self, run: str) -> None:
        """Raises TidegateError at the first event that isn't what was written."""
        before = ""
        with self._explained():
            rows = self.db.execute(
                "select run, at, kind, stage, step, data, epoch, digest, seq from event where run = ? order by seq",
                (run,),
            ).fetchall()
        for row in rows:
            before = _digest(before, *row[:7])
            if before != row[7]:
                raise TidegateError(
                    f"event {row[8]} is not what was written, or one before it is missing",
                    where=str(self.path),
                    mend="don't rely on this journal; find out who changed it",
                )

    def take_over(self, run: str) -> int:
        """The new epoch; appends under an older one are refused from now on. Call it with the run's lock held."""
        with self._explained(), self._transaction():
            row = self.db.execute(
                "insert into lease values (?, 1) on conflict (run) do update set epoch = epoch + 1 returning epoch",
                (run,),
            ).fetchone()
        return int(row[0])

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self.db.execute("begin immediate")
        try:
            yield
            self.db.execute("commit")
        except BaseException:
            if self.db.in_transaction:  # a full disk has SQLite roll back by itself
                self.db.execute("rollback")
            raise

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise LocalFault(
                f"the journal can't be used: {error}",
                where=str(self.path),
                mend="see to the disk's space and the folder's permissions, then `tidegate resume`",
            ) from error


def _digest(before: str, *content: object) -> str:
    return hashlib.sha256(json.dumps([before, *content]).encode()).hexdigest()
