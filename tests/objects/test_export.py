"""A manifest as a file: nothing is lost on the way there and back, nothing half done is left."""

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tidegate.cli.objects.manifest import manifest as command
from tidegate.errors import LocalFault, UsageError
from tidegate.objects.export import Snapshot, export, export_to
from tidegate.objects.formats import Record, read, writer
from tidegate.objects.manifest import Manifest, Row

KINDS = ("csv", "parquet")
few = settings(max_examples=25)
texts = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from('"\r\n,;=\t \\\0\ufeff')), max_size=12
)
keys = texts.filter(bool)
sizes = st.one_of(st.none(), st.integers(0, 2**63 - 1))
states = st.sampled_from(["done", "pending", "conflict"])
records = st.builds(Record, keys, texts, texts, sizes, texts, texts, texts, texts, texts, states, texts)
HARD = [
    Record(key, "", "", 1, "e", "b", "m", "", "", "done", "") for key in ("\n", "\r", '"', ",", "=1+1", "a\r\nb", "é")
]


def in_order(found) -> list[Record]:
    return [record for _, record in sorted({each.key.encode(): each for each in found}.items())]


def written(path: Path, found: list[Record], kind: str) -> Path:
    with path.open("wb") as file, writer(file, kind, dict) as write:
        write(found)
    return path


def row(key: str, **change) -> Row:
    return Row(key, 7, "md5", "aws-etag", "azure-etag", "", ours=True, rung="etag-md5")._replace(**change)


def conflict(manifest: Manifest, key: str, why: str) -> None:
    manifest._execute("insert into conflicts values (?, ?)", (key, why))


@pytest.fixture
def manifest(tmp_path):
    manifest = Manifest(tmp_path / "receipts.objects.sqlite")
    manifest.set_state(phase="flow", owner="aws")
    yield manifest
    manifest.close()


@pytest.fixture
def filled(manifest):
    """One of each: done, done and pending again, pending only, a conflict only, a name that Blob holds as another."""
    manifest.record([row("a", version="v1", checksum="CRC64NVME:AAA="), row("c"), row("é\\", name="é%5C")], [], [])
    manifest.pend({"b": "", "c": ""}, "azure")
    manifest.intend("c", "5d41402a", "azure")
    conflict(manifest, "x\ny", "a control character")
    return manifest


@pytest.mark.parametrize("kind", KINDS)
@given(found=st.lists(records, max_size=12).map(in_order))
@example(found=in_order(HARD))
@few
def test_what_is_written_is_read_back_exactly(kind, found):
    with tempfile.TemporaryDirectory() as folder:
        assert [*read(written(Path(folder) / "record", found, kind))] == found


@given(known=st.sets(keys, max_size=6), pending=st.sets(keys, max_size=6), conflicts=st.sets(keys, max_size=6))
@few
def test_each_key_of_the_three_tables_is_there_once_in_order(known, pending, conflicts):
    with tempfile.TemporaryDirectory() as folder:
        manifest = Manifest(Path(folder) / "manifest.sqlite")
        manifest.record([row(key) for key in known], [], [])
        pending |= set(list(known)[::2])
        manifest.pend(dict.fromkeys(pending, ""), "azure")
        for key in conflicts:
            conflict(manifest, key, "why")
        with Snapshot.open(manifest.path) as snapshot:
            found = [record for batch in snapshot.records() for record in batch]
        manifest.close()
    assert [each.key for each in found] == sorted(known | pending | conflicts, key=str.encode)
    for each in found:
        assert each.state == ("conflict" if each.key in conflicts else "pending" if each.key in pending else "done")
        assert (each.size, each.etag_s3) == ((7, "aws-etag") if each.key in known else (None, ""))


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_says_what_is_known_and_what_not(filled, tmp_path, kind):
    out = tmp_path / f"record.{kind}"
    with Snapshot.open(filled.path) as snapshot:
        assert export(snapshot, out, kind) == 5
    proved = ("md5", "", "etag-md5")
    assert [*read(out)] == [
        Record("a", "", "v1", 7, "aws-etag", "azure-etag", "md5", "CRC64NVME:AAA=", "etag-md5", "done", ""),
        Record("b", "", "", None, "", "", "", "", "", "pending", ""),
        Record("c", "", "", 7, "aws-etag", "azure-etag", *proved, "pending", "may have been written: azure/5d41402a"),
        Record("x\ny", "", "", None, "", "", "", "", "", "conflict", "a control character"),
        Record("é\\", "é%5C", "", 7, "aws-etag", "azure-etag", *proved, "done", ""),
    ]


def test_csv_is_what_other_programs_read(filled, tmp_path):
    filled.record([row("=1+1")], [], [])
    out = tmp_path / "record.csv"
    with Snapshot.open(filled.path) as snapshot:
        export(snapshot, out, "csv")
    data = out.read_bytes()
    header = b"key,name,version,size,etag_s3,etag_blob,md5,checksum,rung,state,note\r\n"
    assert data.startswith(header + b"=1+1,,,7,")
    assert b'\r\n"x\ny",,,,,,,,,conflict,a control character\r\n' in data
    with out.open(newline="", encoding="utf-8") as file:
        assert [each["key"] for each in csv.DictReader(file)] == ["=1+1", "a", "b", "c", "x\ny", "é\\"]


def test_parquet_says_what_it_is_and_how_it_is_sorted(filled, tmp_path):
    import pyarrow.parquet as pq

    filled.set_state(aws="s3://receipts", azure="azure://account/receipts")
    out = tmp_path / "record.parquet"
    with Snapshot.open(filled.path) as snapshot:
        export(snapshot, out, "parquet")
    with pq.ParquetFile(out) as file:
        said = {k.decode(): v.decode() for k, v in file.metadata.metadata.items() if k.startswith(b"tidegate.")}
        group = file.metadata.row_group(0)
        types = {field.name: str(field.type) for field in file.schema_arrow}
    assert said.pop("tidegate.made_by").startswith("tidegate ")
    assert said.pop("tidegate.made_at").endswith("+00:00")
    assert said == {
        "tidegate.record": "1",
        "tidegate.s3": "s3://receipts",
        "tidegate.blob": "azure://account/receipts",
        "tidegate.records": "5",
        "tidegate.objects": "3",
        "tidegate.bytes": "21",
        "tidegate.pending": "2",
        "tidegate.conflicts": "1",
    }
    assert types == dict.fromkeys(Record._fields, "string") | {"size": "int64"}
    assert group.sorting_columns == (pq.SortingColumn(0),)
    assert group.column(0).compression == "ZSTD"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", [None, b"the last one"])
def test_an_export_that_fails_leaves_what_was_there(filled, tmp_path, monkeypatch, kind, before):
    folder = tmp_path / "out"
    folder.mkdir()
    out = folder / f"record.{kind}"
    if before:
        out.write_bytes(before)

    def fail(_):
        yield HARD
        raise KeyboardInterrupt

    monkeypatch.setattr(Snapshot, "records", fail)
    with Snapshot.open(filled.path) as snapshot, pytest.raises(KeyboardInterrupt):
        export(snapshot, out, kind)
    assert [each.read_bytes() for each in folder.iterdir()] == ([before] if before else [])


def test_a_killed_export_leaves_no_file_of_that_name(filled, tmp_path):
    program = f"""
import os, signal
from pathlib import Path
from tidegate.objects.export import Snapshot, export
records = Snapshot.records
def killed(snapshot):
    yield from records(snapshot)
    os.kill(os.getpid(), signal.SIGKILL)
Snapshot.records = killed
with Snapshot.open(Path({str(filled.path)!r})) as snapshot:
    export(snapshot, Path({str(tmp_path / "record.csv")!r}), "csv")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == -9, done.stderr
    assert not (tmp_path / "record.csv").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_is_full_is_named(filled, kind):
    with Snapshot.open(filled.path) as snapshot, pytest.raises(LocalFault) as caught:
        export(snapshot, Path("/dev/full"), kind)
    assert str(caught.value).startswith("/dev/full: it can't be written: No space left on device\n")


def test_a_csv_file_that_was_cut_off_is_refused_or_ends_with_a_whole_record(tmp_path):
    """Whole lines at the end may be gone unnoticed: an audit finds their objects as new."""
    found, refused = in_order(HARD), 0
    whole = written(tmp_path / "whole.csv", found, "csv").read_bytes()
    cut = tmp_path / "cut.csv"
    for length in range(len(whole)):
        cut.write_bytes(whole[:length])
        try:
            assert [*read(cut)] == found[: len([*read(cut)])]
        except UsageError:
            refused += 1
    assert refused == len(whole) - len(found)


def test_a_parquet_file_that_was_cut_off_is_refused(tmp_path):
    whole = written(tmp_path / "whole.parquet", in_order(HARD), "parquet").read_bytes()
    cut = tmp_path / "cut.parquet"
    for length in range(4, len(whole), 97):
        cut.write_bytes(whole[:length])
        with pytest.raises(UsageError, match="after row 0: it isn't whole"):
            list(read(cut))


HEADER = ",".join(Record._fields)
LINE = "a,,,1,e,b,m,,,done,"
VALID = {name: ["1", "2", "1"] for name in Record._fields} | {"state": ["done"] * 3, "size": [1, 2, None]}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "line 1: it is no record of objects"),
        ("SQLite format 3\0", "line 1: it is no record of objects"),
        ("\n", "line 1: it is no record of objects"),
        (f"{HEADER},owner\r\n", "line 1: unknown columns: 'owner'"),
        (f"{HEADER.replace('md5', 'sha1')}\r\n", "line 1: unknown columns: 'sha1'"),
        (f"{HEADER.removesuffix(',note')}\r\n", "line 1: missing columns: note"),
        (f"{HEADER.replace('key,name', 'name,key')}\r\n", "line 1: the columns are in another order"),
        (f"{HEADER}\r\n{LINE}", "the last line has no end: the file isn't whole"),
        (f"{HEADER}\r\n{LINE}\r\na,\r\n", "line 3: 2 fields instead of 11"),
        (f'{HEADER}\r\n{LINE}\r\n"b\r\n', "line 3: unexpected end of data"),
        (f"{HEADER}\r\n{LINE.replace('1', 'one')}\r\n", "line 2: the size is no number of bytes"),
        (f"{HEADER}\r\n{LINE.replace('1', '-1')}\r\n", "line 2: the size is no number of bytes"),
        (f"{HEADER}\r\n{LINE.replace('done', 'over')}\r\n", "line 2: the state is none of done, pending, conflict"),
        (f"{HEADER}\r\n{LINE}\r\n{LINE}\r\n", "line 3: 'a' is there twice"),
        (f'{HEADER}\r\n"b\n"{LINE[1:]}\r\n{LINE}\r\n', "line 4: 'a' isn't in the order of the keys' UTF-8 bytes"),
        (f"{HEADER}\r\n{LINE.replace('a', chr(0xDCE9))}\r\n", "line 2: this isn't UTF-8"),
    ],
)
def test_what_is_no_record_is_refused_with_the_line(tmp_path, text, why):
    path = tmp_path / "record.csv"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UsageError) as caught:
        list(read(path))
    mend = "give a file as `tidegate objects manifest --export` writes it"
    assert str(caught.value) == f"{path}: {why}\n  {mend}"


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"key": ["a"]}, "its schema: missing columns: name, "),
        ({"animal": ["cat"]}, "its schema: it is no record of objects"),
        (VALID | {"size": ["1", "2", "3"]}, "its schema: size is string instead of int64"),
        (VALID | {"md5": [1, 2, 3]}, "its schema: md5 is int64 instead of string"),
        (VALID | {"size": [1, -2, None]}, "row 2: the size is no number of bytes"),
        (VALID, "row 3: '1' isn't in the order of the keys' UTF-8 bytes"),
    ],
)
def test_what_is_no_record_is_refused_with_the_row(tmp_path, columns, why):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "record.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(UsageError) as caught:
        list(read(path))
    assert str(caught.value).startswith(f"{path}: {why}")


def test_a_record_of_a_later_format_and_a_damaged_one_are_refused(tmp_path):
    import pyarrow.parquet as pq

    path = written(tmp_path / "record.parquet", in_order(HARD), "parquet")
    data = bytearray(path.read_bytes())
    data[data.index(b"\x28\xb5\x2f\xfd") + 20] ^= 1  # in the first zstd frame
    path.write_bytes(data)
    with pytest.raises(UsageError, match="after row 0: it isn't whole"):
        list(read(path))
    written(path, in_order(HARD), "parquet")
    pq.write_table(pq.read_table(path).replace_schema_metadata({"tidegate.record": "2"}), path)
    with pytest.raises(UsageError, match=r"a later tidegate has made it \(format 2\)"):
        list(read(path))


def test_parquet_without_pyarrow_says_what_to_install(filled, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with Snapshot.open(filled.path) as snapshot, pytest.raises(UsageError, match=r"pip install 'tidegate\[parquet\]'"):
        export(snapshot, tmp_path / "record.parquet", "parquet")
    assert [each.suffix for each in tmp_path.iterdir() if "record" in each.name] == []


def test_a_copy_that_goes_on_is_neither_disturbed_nor_seen(filled, tmp_path):
    with Snapshot.open(filled.path) as snapshot:
        filled.record([row("late")], ["a"], ["b"])
        assert snapshot.summary().objects == 3
        with (tmp_path / "record.csv").open("wb") as file:
            assert export_to(file, snapshot, "csv") == 5
    assert "late" not in (tmp_path / "record.csv").read_text(encoding="utf-8")


def tidegate(*words: object):
    return CliRunner().invoke(command, [str(word) for word in words])


def test_the_summary_names_what_is_proved_and_what_is_not(filled):
    for number in range(6):
        conflict(filled, f"z{number}", "a backslash")
    filled.set_state(aws="s3://receipts")
    said = tidegate("--manifest", filled.path).stdout
    assert said == (
        f"{filled.path}: 3 objects, 21 B\n"
        "  from  s3://receipts\n"
        "  aws owns the writes; phase: flow\n"
        "             3  etag-md5\n"
        "             2  pending\n"
        "             7  conflicts\n"
        "                'x\\ny': a control character\n"
        + "".join(f"                'z{number}': a backslash\n" for number in range(4))
        + "                and more: --export has them all\n"
    )
    document = json.loads(tidegate("--manifest", filled.path, "--json").stdout)
    assert (document["rungs"], document["pending"], document["conflicts"]) == ({"etag-md5": 3}, 2, 7)
    assert document["first_conflicts"][0] == {"key": "x\ny", "why": "a control character"}
    assert (document["owner"], document["phase"], document["azure"]) == ("aws", "flow", None)


def test_the_ending_or_the_option_tells_the_format(filled, tmp_path):
    for out, options in (("r.PARQUET", ()), ("r.csv", ()), ("r.txt", ("--format", "csv"))):
        done = tidegate("--manifest", filled.path, "--export", tmp_path / out, *options, "--json")
        assert json.loads(done.stdout) == {"exported": str(tmp_path / out), "records": 5}
        assert len([*read(tmp_path / out)]) == 5
    stdout = tidegate("--manifest", filled.path, "--export", "-", "--format", "csv").stdout_bytes
    assert stdout == (tmp_path / "r.csv").read_bytes()


def test_what_can_not_be_meant_is_a_usage_error(filled, tmp_path):
    other = tmp_path / "other.sqlite"
    other.write_text("this is no database" * 100)
    for words, why in (
        (["--manifest", tmp_path / "nowhere"], "there is no such manifest"),
        (["--manifest", other], "this is no manifest of objects"),
        (["--manifest", filled.path, "--export", "r.txt"], "the ending tells no format"),
        (["--manifest", filled.path, "--format", "csv"], "nothing to be written"),
        (["--manifest", filled.path, "--export", "-"], "only CSV goes to stdout"),
        (["--manifest", filled.path, "--export", "-", "--format", "csv", "--json"], "stdout is the export's"),
        (["--manifest", filled.path, "--export", filled.path, "--format", "csv"], "take the manifest's place"),
    ):
        done = tidegate(*words)
        assert isinstance(done.exception, UsageError), words
        assert why in str(done.exception)
    assert not (tmp_path / "nowhere").exists()
