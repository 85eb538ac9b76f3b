"""What the move knows for certain, in a file that outlives the process: SQLite, write-ahead log.

An object stands in `objects` once the other side has answered that it has it. A key stands in `pending` from
before anything is done about it until the outcome is known; with the marks of what may have been sent in that time,
and to which cloud. So what a try without an answer has written is told apart from what somebody else has, and from
the original.
"""

import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from tidegate.errors import LeaseHeld, LocalFault
from tidegate.runbook.migration import Cloud

__all__ = ["Manifest", "Row"]

PAGE = 1000
SCHEMA = """
create table if not exists objects (key text primary key, size int, md5 text, aws text, azure text, properties text,
    ours int, seen real, rung text, checksum text, version text, name text) without rowid;
create table if not exists conflicts (key text primary key, why text) without rowid;
create table if not exists pending (key text primary key, sent text) without rowid;
create table if not exists state (name text primary key, value text) without rowid;
"""
VERSION = 1
TABLES = {"objects", "pending", "state"}
UPSERT = "insert or replace into objects values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
COLUMNS = "key, size, md5, aws, azure, properties, ours, seen, rung, checksum, version, name"


class Row(NamedTuple):
    """An object that is the same on both sides: `aws` and `azure` are its ETags. `ours`: the run wrote the blob.

    `seen`: as of when, by S3's clock, it was read there; 0 if it was read on Azure. `md5`: of the content, in hex;
    empty if nobody has computed it. `rung`: what proved that both are the same (objects/ladder.py). `checksum`:
    S3's own of the whole, as ALGORITHM:BASE64. `version`: S3's, if the bucket has any. `name`: the blob's, if it
    isn't the key.
    """

    key: str
    size: int
    md5: str
    aws: str
    azure: str
    properties: str
    ours: bool
    seen: float = 0.0
    rung: str = ""
    checksum: str = ""
    version: str = ""
    name: str = ""

    def etag(self, cloud: Cloud) -> str:
        return self.aws if cloud == "aws" else self.azure


class Manifest:
    """Opened by the first call; reading what was never written makes no file. Raises LocalFault if it can't be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._lock: TextIO | None = None
        self._pending: dict[str, tuple[str, ...]] = {}
        self._conflicts = False

    def hold(self) -> None:
        """No other process may, until this is closed or its process dies. Raises LeaseHeld, which names it."""
        if self._lock is not None:
            return
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = self._lock_path.open("a+")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.truncate(0)
                file.write(str(os.getpid()))
                file.flush()
            except BaseException as error:
                file.seek(0)
                holder = file.read().strip() or "(unknown)"
                with suppress(OSError):  # what a full disk didn't take is written once more
                    file.close()
                if isinstance(error, BlockingIOError):
                    raise LeaseHeld(
                        f"process {holder} works with it",
                        where=str(self.path),
                        mend="wait until it ends, or give each pair of sides its own --manifest",
                    ) from None
                raise
        self._lock = file

    @property
    def held(self) -> bool:
        """Whether another process works with it."""
        if self._lock is not None or not self._lock_path.exists():
            return False
        with self._explained(), self._lock_path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    @property
    def _lock_path(self) -> Path:
        """The same one for whatever names the file has."""
        path = self.path.resolve()
        return path.with_name(f"{path.name}.lock")

    @property
    def there(self) -> bool:
        return self._connection is not None or self.path.exists()

    def state(self, name: str) -> str | None:
        if not self.there:
            return None
        found = self._execute("select value from state where name = ?", (name,))
        return found[0][0] if found else None

    def set_state(self, **values: str) -> None:
        """Durable when this returns, also through a power cut."""
        self._execute("pragma synchronous = full")
        with self._transaction() as db:
            db.executemany("insert or replace into state values (?, ?)", values.items())
        self._execute("pragma synchronous = normal")

    @property
    def pending(self) -> AbstractSet[str]:
        """The keys."""
        if self._connection is None and self.path.exists():
            self._open()
        return self._pending.keys()

    def sent(self, target: Cloud) -> dict[str, tuple[str, ...]]:
        """The pending keys, each with the marks of what may have been written there."""
        begins = f"{target}/"
        return {
            key: tuple(mark.removeprefix(begins) for mark in self._pending[key] if mark.startswith(begins))
            for key in self.pending
        }

    def pend(self, marks: Mapping[str, str], target: Cloud) -> None:
        """Each key with the mark of what will be written there, if that is known already; else it is empty."""
        self._open()
        known = self._pending
        new: dict[str, tuple[str, ...]] = {}
        for key, mark in marks.items():
            sent, added = known.get(key), f"{target}/{mark}"
            if sent is None or (mark and added not in sent):
                new[key] = (*(sent or ()), added) if mark else ()
        if new:
            values = [(key, " ".join(sent)) for key, sent in new.items()]
            with self._transaction() as db:
                db.executemany("insert or replace into pending values (?, ?)", values)
            self._pending |= new

    def intend(self, key: str, mark: str, target: Cloud) -> None:
        """What is about to be written there."""
        sent, added = self._pending.get(key, ()), f"{target}/{mark}"
        if added not in sent:
            sent = (*sent, added)
            self._execute("insert or replace into pending values (?, ?)", (key, " ".join(sent)))
            self._pending[key] = sent

    def record(
        self, rows: Sequence[Row], gone: Sequence[str], over: Sequence[str], conflicts: Mapping[str, str] | None = None
    ) -> None:
        """`over`: nothing is left to be done about these. `conflicts`: why nothing was done about some of them."""
        with self._transaction() as db:
            if rows:
                db.executemany(UPSERT, rows)
            db.executemany("delete from objects where key = ?", [(key,) for key in gone])
            db.executemany("delete from pending where key = ?", [(key,) for key in over])
            if self._conflicts:
                db.executemany("delete from conflicts where key = ?", [(key,) for key in over])
            if conflicts:
                db.executemany("insert or replace into conflicts values (?, ?)", conflicts.items())
                self._conflicts = True
        for key in over:
            self._pending.pop(key, None)

    @property
    def looks_mapped(self) -> bool:
        """A key among the objects would have another name if keys were mapped (names.py)."""
        like = "select 1 from objects where key glob '*_x[0-9a-f][0-9a-f][0-9a-f][0-9a-f]*' limit 1"
        return bool(self.there and self._execute(like))

    def forget(self, keys: Sequence[str]) -> None:
        """As if they had never been copied."""
        with self._transaction() as db:
            db.executemany("delete from objects where key = ?", [(key,) for key in keys])

    def row(self, key: str) -> Row | None:
        if not self.there:
            return None
        found = self._execute(f"select {COLUMNS} from objects where key = ?", (key,))
        return _row(found[0]) if found else None

    async def pages(self, after: str = "") -> AsyncIterator[list[Row]]:
        """In the order of the keys' UTF-8 bytes; what changes meanwhile may or may not be among them."""
        query = f"select {COLUMNS} from objects where key > ? order by key limit {PAGE}"
        while self.there and (found := self._execute(query, (after,))):
            yield [_row(each) for each in found]
            after = found[-1][0]

    def conflicts(self, most: int = -1) -> dict[str, str]:
        """The keys about which nothing could be done, with the reason; perhaps only the first."""
        if not self.there:
            return {}
        return dict(self._execute(f"select key, why from conflicts order by key limit {most}"))

    def count(self) -> int:
        """Of objects."""
        return int(self._execute("select count(*) from objects")[0][0]) if self.there else 0

    def clear(self) -> None:
        """As if nothing had ever been done."""
        if self.there:
            with self._transaction() as db:
                for table in ("objects", "pending", "state", "conflicts"):
                    db.execute(f"delete from {table}")
            self._pending.clear()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, isolation_level=None, timeout=10)
            try:
                self._only_ours(connection)
                connection.execute("pragma journal_mode = wal")
                # a killed process loses nothing; after a power cut the last moments' objects are looked at again
                connection.execute("pragma synchronous = normal")
                connection.executescript(f"begin;{SCHEMA}pragma user_version = {VERSION};commit;")
                found = connection.execute("select key, sent from pending").fetchall()
            except BaseException:
                connection.close()
                raise
        self._pending = {key: tuple(sent.split()) for key, sent in found}
        self._conflicts = True  # perhaps
        self._connection = connection
        return connection

    def _only_ours(self, connection: sqlite3.Connection) -> None:
        """Raises LocalFault if it is another program's: nothing is written into that."""
        try:
            tables = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
                raise
            tables = {""}
        if tables and not tables & TABLES:
            raise LocalFault("it isn't a manifest", where=str(self.path), mend="give another --manifest")
        [[version]] = connection.execute("pragma user_version").fetchall() if tables != {""} else [[0]]
        if tables and version != VERSION:
            raise LocalFault(
                f"it is a manifest of another version ({version}, not {VERSION})",
                where=str(self.path),
                mend="end with the tidegate that began, or give another --manifest",
            )

    def _execute(self, query: str, parameters: Sequence[str] = ()) -> list[tuple[Any, ...]]:
        db = self._open()
        with self._explained():
            return db.execute(query, parameters).fetchall()

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        db = self._open()
        with self._explained():
            db.execute("begin immediate")
            try:
                yield db
                db.execute("commit")
            except BaseException:
                if db.in_transaction:  # a full disk has SQLite roll back by itself
                    db.execute("rollback")
                raise

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise LocalFault(
                f"the record of its objects can't be used: {error}",
                where=str(self.path),
                mend="see to the disk's space and the file's permissions",
            ) from error


def _row(found: tuple[Any, ...]) -> Row:
    row = Row._make(found)
    return row if row.ours is True else row._replace(ours=bool(row.ours))
