"""An exported manifest, and what has become of the objects since."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.cli.objects.against import verify_against
from tidegate.errors import CheckFailed, UsageError
from tidegate.objects.audit import Audited, audit, compare
from tidegate.objects.export import Snapshot, export
from tidegate.objects.formats import Record, writer
from tidegate.objects.side import Listed

few = settings(max_examples=100)
facts = st.tuples(st.integers(0, 1), st.sampled_from("ef"))  # size, ETag
names = st.sampled_from(["a", "b", "ab", "a/b", "é", "z", "\n"])
listings = st.dictionaries(names, facts, max_size=6)


def record(key: str, **change) -> Record:
    return Record(key, "", "", 1, "e", "e", "", "", "etag-md5", "done", "")._replace(**change)


def in_order(found):
    return sorted(found, key=lambda each: each.key.encode())


async def pages(found) -> AsyncIterator:
    found = in_order(found)
    for start in range(0, len(found), 2):
        yield found[start : start + 2]


def compared(recorded, here, there) -> list[Audited]:
    async def collect():
        renamed = {each.name: each for each in recorded if each.name}
        batches = compare(pages(recorded), pages(here), pages(there), renamed)
        return [each async for batch in batches for each in batch]

    return asyncio.run(collect())


def listed(listing) -> list[Listed]:
    return [Listed(key, size, etag) for key, (size, etag) in listing.items()]


@given(recorded=listings, here=listings, there=listings)
@few
def test_each_object_is_judged_once_on_each_side(recorded, here, there):
    wanted = set()
    for cloud, listing in (("aws", here), ("azure", there)):
        for key in recorded.keys() | listing.keys():
            if key not in recorded:
                wanted.add((key, cloud, "new"))
            elif key not in listing:
                wanted.add((key, cloud, "missing"))
            else:
                wanted.add((key, cloud, "same" if listing[key] == recorded[key] else "changed"))
    records = [record(key, size=size, etag_s3=etag, etag_blob=etag) for key, (size, etag) in recorded.items()]
    found = [each[:3] for each in compared(records, listed(here), listed(there))]
    assert len(found) == len(set(found))
    assert set(found) == wanted


def test_what_was_never_proved_is_not_the_same():
    unsure = [
        record("p", size=None, etag_s3="", etag_blob="", state="pending"),
        record("c", size=None, etag_s3="", etag_blob="", state="conflict", note="a backslash"),
    ]
    found = compared(unsure, [Listed("c", 1, "e"), Listed("p", 1, "e")], [])
    assert {each.verdict for each in found} == {"unproved"}
    assert {each.why for each in found} == {
        "conflict when the record was made: a backslash",
        "pending when the record was made",
    }


def test_a_pending_one_whose_sides_are_as_proved_before_is_the_same():
    found = compared([record("p", state="pending")], [Listed("p", 1, "e")], [Listed("p", 1, "e")])
    assert [each.verdict for each in found] == ["same", "same"]


@pytest.mark.parametrize("tells", ["names", "keys"])
def test_a_blob_of_another_name_is_the_object_that_the_record_says(tells):
    recorded = [record("b\\", name="b_x005c_"), record("m."), record("m\\", name="A"), record("gone\\", name="z")]
    here = [Listed(each.key, 1, "e") for each in recorded]
    named = {"A": "m\\", "b_x005c_": "b\\"} if tells == "keys" else {}
    there = [Listed(named.get(key, key), 1, etag) for key, etag in (("A", "e"), ("b_x005c_", "f"), ("m.", "e"))]
    found = sorted(each[:3] for each in compared(recorded, here, there) if each.cloud == "azure")
    assert found == [
        ("b\\", "azure", "changed"),
        ("gone\\", "azure", "missing"),
        ("m.", "azure", "same"),
        ("m\\", "azure", "same"),
    ]


def test_what_changed_is_told_with_what_was_recorded():
    recorded = [record("etag", md5="5d41"), record("size")]
    here = [Listed("etag", 1, "e"), Listed("size", 2000, "f")]
    there = [Listed("etag", 1, "f", "5d41"), Listed("size", 1, "e")]
    told = {each.key: each.why for each in compared(recorded, here, there) if each.verdict == "changed"}
    assert told == {
        "etag": "ETag f, recorded: e (the MD5 is the recorded one)",
        "size": "2,000 bytes, recorded: 1",
    }


class Unordered:
    """A side that lists in an order of its own."""

    def __init__(self, side) -> None:
        self.side = side

    async def pages(self) -> AsyncIterator[list[Listed]]:
        yield [each async for page in self.side.pages() for each in page][::-1]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
async def test_a_record_is_audited_after_the_sides_have_changed(receipts, tmp_path, capsys, kind):
    for key in ("a", "b/c", "gone", "kept", 'é, "x"', "over"):
        receipts.put(key)
    move = receipts.move()
    await move.copy(lambda _: None)
    out = tmp_path / f"record.{kind}"
    with Snapshot.open(move.manifest.path) as snapshot:
        export(snapshot, out, kind)
    await verify_against(out, receipts.aws, receipts.azure, as_json=False)
    assert "6 objects recorded" in capsys.readouterr().out
    receipts.put("over", b"another")
    receipts.put("new")
    receipts.delete("gone")
    await receipts.delete_on_azure("kept")
    await receipts.put_on_azure("a", b"longer than before")
    for azure in (receipts.azure, Unordered(receipts.azure)):
        report = await audit(out, receipts.aws, azure)
        assert {each[:3] for each in report.first} == {
            ("a", "azure", "changed"),
            ("gone", "aws", "missing"),
            ("kept", "azure", "missing"),
            ("new", "aws", "new"),
            ("over", "aws", "changed"),
        }
        assert report.counts["aws"] == {"same": 4, "missing": 1, "new": 1, "changed": 1}
        assert report.counts["azure"] == {"same": 4, "missing": 1, "changed": 1}
    with pytest.raises(CheckFailed, match="5 differences from the record") as caught:
        await verify_against(out, receipts.aws, receipts.azure, as_json=True)
    assert caught.value.exit_code == 4
    said = json.loads(capsys.readouterr().out)
    assert (said["recorded"], said["differences"], said["azure"]["changed"]) == (6, 5, 1)
    assert said["first"][0] == {
        "key": "a",
        "side": "azure",
        "verdict": "changed",
        "why": "18 bytes, recorded: 7",
    }


async def test_a_file_that_is_no_record_is_refused_before_a_server_is_asked(tmp_path):
    path = tmp_path / "record.csv"
    with path.open("wb") as file, writer(file, "csv", dict) as write:
        write([record("b"), record("a")])
    with pytest.raises(UsageError, match="line 3: 'a' isn't in the order"):
        await audit(path, None, None)
