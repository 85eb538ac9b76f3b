"""A manifest's record as a file, in Parquet or CSV: written in batches, read back exactly, in the order of the keys.

CSV is RFC 4180 in UTF-8, with a header line. Parquet needs pyarrow, which is imported only then.
"""

import csv
import importlib
import importlib.util
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, cast, get_args

from tidegate.errors import LocalFault, UsageError
from tidegate.runbook.migration import Cloud

__all__ = ["Kind", "Record", "State", "kind_of", "read", "writer"]

Kind = Literal["parquet", "csv"]
State = Literal["done", "pending", "conflict"]
Write = Callable[[Sequence["Record"]], None]

FORMAT = "1"
PARQUET_MAGIC = b"PAR1"
FEW_VALUES = ["rung", "state", "note"]
"""Columns of which a Parquet file keeps a dictionary."""
BATCH = 1000
LONGEST_FIELD = 2**20
STATES = get_args(State)
BUFFER = 2**16


class Record(NamedTuple):
    """A row of the file. `size`: bytes; None if neither side has answered yet. ETags are without their quotes.

    `name`: the blob's, if it isn't the key. `version`: S3's. `md5`: in hex. `checksum`: S3's, as ALGORITHM:BASE64.
    `rung`: what proved that both sides hold the same. `note`: why it is a conflict, or what may have been written.
    """

    key: str
    name: str
    version: str
    size: int | None
    etag_s3: str
    etag_blob: str
    md5: str
    checksum: str
    rung: str
    state: State
    note: str

    def etag(self, cloud: Cloud) -> str:
        return self.etag_s3 if cloud == "aws" else self.etag_blob


WIDTH, SIZE = len(Record._fields), Record._fields.index("size")


def kind_of(path: Path) -> Kind:
    """By the name's ending. Raises UsageError."""
    for kind in get_args(Kind):
        if path.suffix.lower() == f".{kind}":
            return kind
    raise UsageError("the ending tells no format", where=str(path), mend="name it .parquet or .csv, or give --format")


@contextmanager
def writer(file: BinaryIO, kind: Kind, about: Callable[[], Mapping[str, str]]) -> Generator[Write]:
    """Gives what takes a batch of records. `about`: asked at the end, and kept in Parquet's metadata."""
    yield from _csv_writer(file) if kind == "csv" else _parquet_writer(file, about)


def read(path: Path) -> Generator[Record]:
    """Every record, in the order of the keys' UTF-8 bytes.

    Raises UsageError with the line or row if this is no whole file of records in that order, LocalFault if the file
    can't be read.
    """
    before: str | None = None
    try:
        with path.open("rb") as file:
            parquet = file.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
        for place, record in _read_parquet(path) if parquet else _read_csv(path):
            if why := _wrong(record, before):
                raise _unusable(f"{'row' if parquet else 'line'} {place:,}: {why}", path)
            before = record.key
            yield record
    except OSError as error:
        raise LocalFault(f"it can't be read: {error.strerror}", where=str(path), mend="see to the file") from None


def _csv_writer(file: BinaryIO) -> Generator[Write]:
    text = TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        rows = csv.writer(text, lineterminator="\r\n", strict=True)
        rows.writerow(Record._fields)
        yield rows.writerows
        text.flush()
    finally:
        text.detach()  # the file is the caller's


def _read_csv(path: Path) -> Iterator[tuple[int, Record]]:
    csv.field_size_limit(LONGEST_FIELD)
    line = 0
    try:
        with path.open("rb") as file:
            # decoded line by line, so that an error has its line
            rows = csv.reader((each.decode() for each in file), strict=True)
            _check_columns(next(rows, list[str]()), path, "line 1")
            _check_end(path)
            line = rows.line_num
            for values in rows:
                if len(values) != WIDTH:
                    raise _unusable(f"line {line + 1:,}: {len(values)} fields instead of {WIDTH}", path)
                key, name, version, size, *rest = values
                yield line + 1, Record(key, name, version, _size(size), *cast("tuple[Any, ...]", rest))
                line = rows.line_num
    except (csv.Error, UnicodeDecodeError) as error:
        what = "this isn't UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise _unusable(f"line {line + 1:,}: {what}", path) from None


def _check_end(path: Path) -> None:
    """Every line ends as one, also the last: else it may be a part of one."""
    with path.open("rb") as file:
        file.seek(-1, 2)
        if file.read() != b"\n":
            raise _unusable("the last line has no end: the file isn't whole", path)


def _arrow(name: str) -> Any:
    if importlib.util.find_spec("pyarrow") is None:
        mend = "pip install 'tidegate[parquet]', or use CSV"
        raise UsageError("Parquet needs pyarrow, which isn't installed", where="--format parquet", mend=mend)
    return importlib.import_module(name)


def _parquet_writer(file: BinaryIO, about: Callable[[], Mapping[str, str]]) -> Generator[Write]:
    arrow, parquet = _arrow("pyarrow"), _arrow("pyarrow.parquet")
    types = [arrow.int64() if name == "size" else arrow.string() for name in Record._fields]
    fields = [arrow.field(*each, nullable=each[0] == "size") for each in zip(Record._fields, types, strict=True)]
    schema = arrow.schema(fields)

    def write(records: Sequence[Record]) -> None:
        columns = [arrow.array([each[at] for each in records], kind) for at, kind in enumerate(types)]
        to.write_batch(arrow.record_batch(columns, schema=schema))

    with parquet.ParquetWriter(
        file,
        schema,
        compression="zstd",
        use_dictionary=FEW_VALUES,
        sorting_columns=[parquet.SortingColumn(0)],
        write_page_checksum=True,
    ) as to:
        yield write
        to.add_key_value_metadata({"tidegate.record": FORMAT} | {f"tidegate.{k}": v for k, v in about().items()})


def _read_parquet(path: Path) -> Iterator[tuple[int, Record]]:
    arrow, parquet = _arrow("pyarrow"), _arrow("pyarrow.parquet")
    row = 0
    try:
        # without its buffer ahead, which would hold the whole file
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER, page_checksum_verification=True) as table:
            metadata: dict[bytes, bytes] = table.metadata.metadata or {}
            made = metadata.get(b"tidegate.record", FORMAT.encode()).decode()
            if made != FORMAT:
                raise _unusable(f"a later tidegate has made it (format {made})", path)
            _check_columns(table.schema_arrow.names, path, "its schema")
            for field in table.schema_arrow:
                kinds = ("int64",) if field.name == "size" else ("string", "large_string")
                if str(field.type) not in kinds:
                    raise _unusable(f"its schema: {field.name} is {field.type} instead of {kinds[0]}", path)
            for batch in table.iter_batches(BATCH, use_threads=False):
                columns = [column.to_pylist() for column in batch.columns]
                for at, column in enumerate(columns):
                    if at != SIZE and None in column:
                        columns[at] = [value or "" for value in column]
                for record in map(Record._make, zip(*columns, strict=True)):
                    row += 1
                    yield row, record
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        first = str(error).partition("\n")[0].rstrip(".")
        raise _unusable(f"after row {row:,}: it isn't whole: {first}", path) from None


def _check_columns(found: Sequence[str], path: Path, place: str) -> None:
    if tuple(found) == Record._fields:
        return
    missing = [name for name in Record._fields if name not in found]
    unknown = [repr(name[:40]) for name in found if name not in Record._fields]
    if len(missing) == len(Record._fields):
        raise _unusable(f"{place}: it is no record of objects", path)
    why = f"unknown columns: {', '.join(unknown)}" if unknown else f"missing columns: {', '.join(missing)}"
    raise _unusable(f"{place}: {why if unknown or missing else 'the columns are in another order'}", path)


def _size(text: str) -> int | None:
    """-1 if it is no number."""
    return None if not text else int(text) if text.isascii() and text.isdigit() else -1


def _wrong(record: Record, before: str | None) -> str:
    """Why it can't stand after that key; empty if it can. Code points are in the order of their UTF-8 bytes."""
    if record.size is not None and record.size < 0:
        return "the size is no number of bytes"
    if record.state not in STATES:
        return f"the state is none of {', '.join(STATES)}"
    if before is not None and record.key <= before:
        return f"{record.key!r} " + (
            "is there twice" if record.key == before else "isn't in the order of the keys' UTF-8 bytes"
        )
    return ""


def _unusable(why: str, path: Path) -> UsageError:
    return UsageError(why, where=str(path), mend="give a file as `tidegate objects manifest --export` writes it")
