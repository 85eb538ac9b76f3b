"""What objects can be on S3 that is hard to bring to Blob unchanged: it goes over whole, or is left and named."""

import gzip
import hashlib
import json
from datetime import UTC, datetime

import pytest

from tidegate.errors import Refused
from tidegate.objects.parts import spans
from tidegate.objects.side import LARGE
from tidegate.objects.signing import Request, encoded

MIB = 2**20
SHA1_OF_PARTS = {"ChecksumAlgorithm": "SHA1", "ChecksumType": "COMPOSITE"}
FAITHFUL = ["dir/", "a//b", "/lead", "//", ".hidden", "a.b/..c", "trailing ", "a:b?c#d%2F", "+&=é", "Case", "case"]
UNFAITHFUL = ["bs\\z", "./here", "../up", "a/../b", "a/./b", "dot.", "dir./x", "bell\x07", "tab\t", "del\x7f", "c1\x85"]


def quiet(text: str) -> None:
    pass


def refused(swept) -> dict[str, str]:
    return {each.key: each.conflict for each in swept.first}


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


async def archive(receipts, key: str) -> None:
    url = f"{receipts.azure.url}/{encoded(key, '/')}"
    await receipts.azure.ask(Request("PUT", url, {"comp": "tier"}, {"x-ms-access-tier": "Archive"}), {200})


# names


async def test_names_that_both_sides_hold_are_the_same_there(silent_receipts):
    receipts = silent_receipts
    for name in FAITHFUL:
        receipts.put(name, name.encode())
    swept = await receipts.move().add(quiet)
    assert (swept.copied, swept.conflicts) == (len(FAITHFUL), 0)
    assert await receipts.on("azure") == {name: name.encode() for name in FAITHFUL}


async def test_names_that_blob_would_change_are_left_and_named_each_and_the_rest_is_copied(silent_receipts):
    receipts = silent_receipts
    for name in (*UNFAITHFUL, "fine"):
        receipts.put(name)
    copied = await receipts.tidegate("copy", "--json")
    assert copied.code == 4
    said = json.loads(copied.out)
    assert (said["copied"], said["conflicts"]) == (1, len(UNFAITHFUL))
    assert {each["key"] for each in said["first_conflicts"]} == set(UNFAITHFUL)
    assert all("can't hold its name" in each["why"] for each in said["first_conflicts"])
    assert set(await receipts.on("azure")) == {"fine"}
    assert receipts.move().manifest.conflicts(100).keys() == set(UNFAITHFUL)


async def test_mapped_such_names_go_there_and_back_and_the_manifest_tells_how(silent_receipts):
    receipts = silent_receipts
    names = {*UNFAITHFUL, "_x005c_", "plain"}
    for name in names:
        receipts.put(name, name.encode())
    copied = await receipts.tidegate("copy", "--map-names")
    assert copied.code == 0, copied.err
    there = await receipts.on("azure")
    assert len(there) == len(names)
    assert {"bs_x005c_z", "dot_x002e_", "_x005f_x005c_", "plain"} < there.keys()
    move = receipts.move(names="map")
    assert {key: move.manifest.row(key).name for key in ("bs\\z", "_x005c_", "plain")} == {
        "bs\\z": "bs_x005c_z",
        "_x005c_": "_x005f_x005c_",
        "plain": "",
    }
    await receipts.put_on_azure("bs_x005c_z", b"changed")
    await receipts.put_on_azure("new_x005c_", b"new")
    await receipts.delete_on_azure("dot_x002e_")
    assert refused(await move.keep(quiet, "azure")) == {}
    expected = {name: name.encode() for name in names - {"dot."}} | {"bs\\z": b"changed", "new\\": b"new"}
    assert await receipts.on("aws") == expected
    assert (await move.verify(quiet)).equal


async def test_a_blob_whose_name_no_key_is_mapped_to_is_named_instead_of_forgotten(silent_receipts):
    receipts = silent_receipts
    receipts.put("_x005c_", b"held as _x005f_x005c_")
    move = receipts.move(names="map")
    await move.add(quiet)
    await receipts.put_on_azure("_x005c__x005f_.", b"written by others")
    await receipts.put_on_azure("_x0041_", b"written by others")
    for command in (move.keep(quiet, "azure"), move.verify(quiet)):
        with pytest.raises(Refused, match="no key is mapped to the name '_x0041_'"):
            await command


async def test_names_as_long_as_s3_has_them_fit(silent_receipts):
    receipts = silent_receipts
    longest = ["a" * 1024, "é" * 512, "🧾" * 256]
    for name in longest:
        receipts.put(name)
    assert refused(await receipts.move().add(quiet)) == {}
    assert set(await receipts.on("azure")) == set(longest)
    await receipts.put_on_azure("é" * 1024, b"2,048 bytes long")
    assert list(refused(await receipts.move().keep(quiet, "azure")).values()) == [
        "aws can't hold its name: longer than 1024 bytes"
    ]
    assert set(await receipts.on("aws")) == set(longest)


async def test_a_prefix_counts_for_the_length_of_a_name(silent_receipts):
    receipts = silent_receipts
    receipts.put("a" * 1024)
    swept = await receipts.move(azure={"prefix": "below/"}).add(quiet)
    assert "longer than 1024 characters" in refused(swept)["a" * 1024]
    receipts.put("\\" * 200)
    receipts.delete("a" * 1024)
    swept = await receipts.move(azure={"prefix": "below/"}, names="map").add(quiet)
    assert "longer than 1024 characters" in refused(swept)["\\" * 200]


# what goes with the content


async def test_headers_and_metadata_go_there_and_come_back(silent_receipts):
    receipts = silent_receipts
    body = gzip.compress(b"text")
    receipts.put(
        "page.html",
        body,
        ContentType="text/html; charset=utf-8",
        ContentEncoding="gzip",
        CacheControl="public, max-age=60",
        ContentDisposition="attachment; filename*=UTF-8''%C3%A9.html",
        ContentLanguage="sv, en",
        Expires=datetime(2030, 1, 1, tzinfo=UTC),
        WebsiteRedirectLocation="/elsewhere",
        Metadata={"order-id": "7", "9lives": "cat", "a.b": "", "UPPER": "Case"},
    )
    here = await receipts.aws.get("page.html")
    assert here.properties.headers.keys() >= {"expires", "x-amz-website-redirect-location"}
    move = receipts.move()
    await move.add(quiet)
    there = await receipts.azure.get("page.html")
    assert (there.body, there.properties) == (body, here.properties)
    await receipts.azure.delete("page.html", there.etag)
    await receipts.azure.put("page.html", body + b"\0", md5(body + b"\0"), there.properties, None)
    assert refused(await move.keep(quiet, "azure")) == {}
    back = await receipts.aws.get("page.html")
    assert (back.body, back.properties) == (body + b"\0", here.properties)


async def test_metadata_beyond_ascii_go_as_s3_gives_them(silent_receipts):
    receipts = silent_receipts
    encoded = "=?UTF-8?B?w6nDqQ==?="  # C: "Working with object metadata": encoded by RFC 2047 when it isn't ASCII
    receipts.put("a", Metadata={"name": encoded})
    await receipts.move().add(quiet)
    assert (await receipts.azure.get("a")).properties.metadata == {"name": encoded}


async def test_metadata_up_to_each_sides_limit(silent_receipts):
    receipts = silent_receipts
    receipts.put("fits", Metadata={"a": "v" * 2047})
    receipts.put("swells", Metadata={"-" * 1200: "v"})  # each hyphen becomes seven characters
    assert list(refused(await receipts.move().add(quiet)).items()) == [
        ("swells", "its metadata are 8,401 bytes long, Blob takes 8,192")
    ]
    await receipts.put_on_azure("too much", b"x", metadata={"a": "v" * 2048})
    swept = await receipts.move().keep(quiet, "azure")
    assert refused(swept)["too much"] == "its metadata are 2,049 bytes long, S3 takes 2,048"
    assert "too much" not in await receipts.on("aws")


async def test_ten_tags_go_there_and_come_back(silent_receipts):
    receipts = silent_receipts
    tags = {f"k{i} +-./:=_": f"v{i} +-./:=_" for i in range(9)} | {"empty": ""}
    receipts.put("a")
    tagging = {"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}
    receipts.s3.put_object_tagging(Bucket=receipts.name, Key="a", Tagging=tagging)
    move = receipts.move()
    assert refused(await move.add(quiet)) == {}
    assert (await receipts.azure.get("a")).properties.tags == tags
    await receipts.put_on_azure("b", b"b", tags=tags)
    await move.keep(quiet, "azure")
    assert (await receipts.aws.get("b")).properties.tags == tags


async def test_tags_that_blob_can_not_hold_are_refused_or_left_at_wish(silent_receipts):
    receipts = silent_receipts
    for name, tags in (("mail", "to=a%40b"), ("é", "%C3%A9=1"), ("fine", "a=b")):
        receipts.put(name, Tagging=tags)
    assert refused(await receipts.move().add(quiet)) == {
        "mail": "Blob takes no such tag as to=a@b",
        "é": "Blob takes no such tag as é=1",
    }
    assert set(await receipts.on("azure")) == {"fine"}
    left = await receipts.tidegate("copy", "--leave-tags")
    assert left.code == 0, left.err
    assert set(await receipts.on("azure")) == {"mail", "é", "fine"}
    assert (await receipts.azure.get("mail")).properties.tags == {}


# contents, and what S3 knows of them


async def test_nothing_is_an_object_too(silent_receipts):
    receipts = silent_receipts
    receipts.put("empty", b"")
    receipts.put_in_parts("empty in a part", b"")
    move = receipts.move()
    await move.add(quiet)
    assert await receipts.on("azure") == {"empty": b"", "empty in a part": b""}
    assert (await move.verify(quiet)).equal


@pytest.mark.parametrize(
    ("checksums", "rung"),
    [
        ({"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"}, "crc64nvme"),
        ({"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}, "crc32"),
        ({"ChecksumAlgorithm": "SHA256", "ChecksumType": "COMPOSITE"}, "parts"),
    ],
)
async def test_an_object_in_parts_is_proved_by_what_s3_knows_of_it_and_gets_its_md5(silent_receipts, checksums, rung):
    receipts = silent_receipts
    body = bytes(range(256)) * (5 * MIB // 256)
    receipts.put_in_parts("parts", body, b"the end", **checksums)
    move = receipts.move()
    await move.add(quiet)
    assert move.manifest.row("parts").rung == rung
    assert move.manifest.row("parts").md5 == md5(body + b"the end")
    listed = [each async for page in receipts.azure.pages() for each in page]
    assert listed[0].md5 == md5(body + b"the end")  # so that a later audit is a listing
    report = await move.compare(quiet, lambda _: None, read=True)
    assert (dict(report.rungs), report.equal) == ({rung: 1}, True)


async def test_parts_of_different_sizes_are_read_twice(silent_receipts):
    receipts = silent_receipts
    receipts.put_in_parts("parts", bytes(5 * MIB), bytes(6 * MIB), b"the end", **SHA1_OF_PARTS)
    move = receipts.move()
    await move.add(quiet)
    assert move.manifest.row("parts").rung == "read"


async def test_the_etag_of_what_kms_encrypts_is_not_taken_for_an_md5(silent_receipts):
    receipts = silent_receipts
    receipts.put("kms", b"secret", ServerSideEncryption="aws:kms")
    move = receipts.move()
    await move.add(quiet)
    assert move.manifest.row("kms").rung not in {"", "md5"}
    assert (await receipts.azure.stat("kms")).md5 == md5(b"secret")


def test_no_object_has_more_blocks_than_a_blob_may():
    largest = 50_000 * 4000 * MIB
    for size in (0, 1, LARGE, LARGE * 50_000, LARGE * 50_000 + 1, 5 * 2**40, largest):
        found = spans(size, LARGE, 50_000)
        assert len(found) <= 50_000
        assert max((length for _, length in found), default=0) <= 4000 * MIB
        ends = [start + length for start, length in found]
        assert [start for start, _ in found] == [0, *ends][: len(found)]
        assert ends[-1:] == ([size] if size else [])


# what S3 gives only on conditions


async def test_what_is_archived_is_named_and_copied_once_it_is_restored(silent_receipts):
    receipts = silent_receipts
    receipts.put("cold", b"cold", StorageClass="GLACIER")
    receipts.put("colder", bytes(LARGE + 1), StorageClass="DEEP_ARCHIVE")
    receipts.put("at hand", b"x", StorageClass="GLACIER_IR")
    for dry in (True, False):
        swept = await receipts.move().add(quiet, dry=dry)
        assert (swept.copied, refused(swept)) == (
            1,
            dict.fromkeys(("cold", "colder"), "it is archived: restore it first"),
        )
    for name in ("cold", "colder"):
        receipts.s3.restore_object(Bucket=receipts.name, Key=name, RestoreRequest={"Days": 1})
    assert refused(await receipts.move().add(quiet)) == {}
    assert (await receipts.on("azure")).keys() == {"cold", "colder", "at hand"}


async def test_what_was_archived_on_blob_is_named_on_the_way_back(silent_receipts):
    receipts = silent_receipts
    receipts.put("1")
    move = receipts.move()
    await move.add(quiet)
    for name, body in (("cold", b"x"), ("large and cold", bytes(LARGE + 1)), ("warm", b"x")):
        await receipts.put_on_azure(name, body)
    for name in ("cold", "large and cold"):
        await archive(receipts, name)
    assert refused(await move.keep(quiet, "azure")) == dict.fromkeys(
        ("cold", "large and cold"), "it is archived: rehydrate it first"
    )
    assert set(await receipts.on("aws")) == {"1", "warm"}


async def test_versions_are_not_copied_but_the_current_ones_and_a_delete_marker_is_no_object(silent_receipts):
    receipts = silent_receipts
    receipts.put("null version", b"from before")
    receipts.put("overwritten", b"from before")
    receipts.s3.put_bucket_versioning(Bucket=receipts.name, VersioningConfiguration={"Status": "Enabled"})
    for name, body in (("overwritten", b"now"), ("twice", b"1"), ("twice", b"2"), ("deleted", b"x")):
        receipts.put(name, body)
    receipts.delete("deleted")
    move = receipts.move()
    await move.add(quiet)
    assert await receipts.on("azure") == {"null version": b"from before", "overwritten": b"now", "twice": b"2"}
    current = receipts.s3.head_object(Bucket=receipts.name, Key="twice")["VersionId"]
    assert move.manifest.row("twice").version == current
    receipts.delete("twice")
    latest = receipts.s3.head_object(Bucket=receipts.name, Key="overwritten")["VersionId"]
    receipts.s3.delete_object(Bucket=receipts.name, Key="overwritten", VersionId=latest)
    await move.keep(quiet, "aws")
    assert await receipts.on("azure") == {"null version": b"from before", "overwritten": b"from before"}
