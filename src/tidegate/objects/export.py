"""What a manifest knows, read as it stands at one moment: summed up, or written out as a file.

The manifest is only read, also while a copy writes it; a file that isn't there isn't made.
"""

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

from tidegate.errors import LocalFault, UsageError
from tidegate.files import replacing
from tidegate.objects.formats import Kind, Record, writer

__all__ = ["SHOWN", "Snapshot", "Summary", "export", "export_to"]

SHOWN = 5
ROWS = 10_000
"""Records in memory at a time, and in a row group of Parquet."""
TABLES = {"objects", "pending", "conflicts", "state"}

# each key once, merged from three tables that are in its order: nothing is sorted, nothing is kept
STATE = """
    case when c.why is not null then 'conflict' when p.sent is not null then 'pending' else 'done' end,
    coalesce(c.why, case p.sent when '' then '' else 'may have been written: ' || p.sent end, '')
"""
RECORDS = f"""
select o.key, o.name, o.version, o.size, o.aws, o.azure, o.md5, o.checksum, o.rung, {STATE}
    from objects o left join pending p on p.key = o.key left join conflicts c on c.key = o.key
union all
select p.key, '', '', null, '', '', '', '', '', {STATE}
    from pending p left join conflicts c on c.key = p.key where not exists (select 1 from objects where key = p.key)
union all
select c.key, '', '', null, '', '', '', '', '', 'conflict', c.why
    from conflicts c where not exists (select 1 from objects where key = c.key)
    and not exists (select 1 from pending where key = c.key)
order by 1
"""


@dataclass(frozen=True, slots=True)
class Summary:
    """`rungs`: objects by what proved them, most first. `owner`, `phase`: empty if the move hasn't come so far.

    `aws`, `azure`: the sides' names, if the move has noted them. `conflicts`: the first SHOWN, each with the reason.
    """

    objects: int
    bytes: int
    pending: int
    conflict_count: int
    owner: str
    phase: str
    aws: str
    azure: str
    rungs: dict[str, int] = field(default_factory=dict[str, int])
    conflicts: dict[str, str] = field(default_factory=dict[str, str])


class Snapshot:
    """A manifest as it stood when this was opened. Everything raises LocalFault if the file can't be read."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path, self._connection = path, connection

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Generator["Snapshot"]:
        """Raises UsageError if it is no manifest."""
        mend = "give the file that copy or sync keeps: what its --manifest names, or one in .tidegate/objects"
        if not path.is_file():
            raise UsageError("there is no such manifest", where=str(path), mend=mend)
        with _explained(path):
            # not mode=ro: that leaves the log's files behind, and can't read without them
            opened = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=10)
        with closing(opened) as connection:
            with _explained(path):
                connection.execute("pragma query_only = on")
                connection.execute("begin")
                try:
                    found = {name for (name,) in connection.execute("select name from sqlite_master")}
                except sqlite3.DatabaseError as error:
                    if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
                        raise
                    found = set[str]()
            if not found >= TABLES:
                raise UsageError("this is no manifest of objects", where=str(path), mend=mend)
            yield cls(path, connection)

    def summary(self) -> Summary:
        rungs = self._all("select rung, count(*), sum(size) from objects group by rung order by 2 desc, 1")
        [(pending,)] = self._all("select count(*) from pending")
        [(conflicts,)] = self._all("select count(*) from conflicts")
        state: dict[str, str] = dict(self._all("select name, value from state"))
        return Summary(
            objects=sum(count for _, count, _ in rungs),
            bytes=sum(size or 0 for _, _, size in rungs),
            pending=pending,
            conflict_count=conflicts,
            **{name: state.get(name, "") for name in ("owner", "phase", "aws", "azure")},
            rungs={rung or "": count for rung, count, _ in rungs},
            conflicts=dict(self._all(f"select key, why from conflicts order by key limit {SHOWN}")),
        )

    def records(self) -> Iterator[list[Record]]:
        """In the order of the keys' UTF-8 bytes, up to ROWS at a time."""
        with _explained(self.path):
            found = self._connection.execute(RECORDS)
        while True:
            with _explained(self.path):
                rows = found.fetchmany(ROWS)
            if not rows:
                return
            yield [Record._make(row) for row in rows]

    def _all(self, query: str) -> list[tuple[Any, ...]]:
        with _explained(self.path):
            return self._connection.execute(query).fetchall()


def export(snapshot: Snapshot, out: Path, kind: Kind) -> int:
    """Returns the number of records. `out` is whole or not there. Raises LocalFault, UsageError."""
    if out.exists() and out.samefile(snapshot.path):
        raise UsageError("the export would take the manifest's place", where=str(out), mend="give another name")
    with replacing(out) as file:
        return export_to(file, snapshot, kind)


def export_to(file: BinaryIO, snapshot: Snapshot, kind: Kind) -> int:
    """The same into a file that is open."""
    count = 0

    def about() -> dict[str, str]:
        """What Parquet's metadata say of the file."""
        found = snapshot.summary()
        return {
            "made_by": f"tidegate {version('tidegate')}",
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "s3": found.aws,
            "blob": found.azure,
            "records": str(count),
            "objects": str(found.objects),
            "bytes": str(found.bytes),
            "pending": str(found.pending),
            "conflicts": str(found.conflict_count),
        }

    with writer(file, kind, about) as write:
        for records in snapshot.records():
            write(records)
            count += len(records)
    return count


@contextmanager
def _explained(path: Path) -> Generator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LocalFault(
            f"the manifest can't be read: {error}", where=str(path), mend="see to the file and its permissions"
        ) from error
