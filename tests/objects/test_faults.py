"""Answers that come late, cut short, not at all or wrong: all is done in the end, and nothing is wrong."""

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest
from bench.objects.fastcloud import Fastcloud, missing

from objects.running import Asked, Between, Commands, Link, Said, contents, given_up_after, refusal, sometimes

COUNT = 150
MIB = 2**20
WAYS = ("cut", "reset", "stall")
fast = pytest.mark.skipif(missing() is not None, reason=missing() or "")


@pytest.fixture(scope="module")
def ill(server_folder) -> Iterator[Fastcloud]:
    """Every twentieth request is answered with 503."""
    with Fastcloud(server_folder / f"fastcloud-{uuid.uuid4().hex[:6]}", fault=0.05) as cloud:
        cloud.seed("receipts", 2000, 1024)
        yield cloud


@pytest.fixture(scope="module")
def well(server_folder) -> Iterator[Fastcloud]:
    with Fastcloud(server_folder / f"fastcloud-{uuid.uuid4().hex[:6]}") as cloud:
        cloud.seed("receipts", COUNT, 1024)
        cloud.seed("large", 2, 16 * MIB)
        yield cloud


def between(cloud: Fastcloud, tmp_path, bucket: str = "receipts") -> Commands:
    return Commands(tmp_path, bucket, f"copy-{uuid.uuid4().hex[:8]}", cloud.s3_url, cloud.blob_url)


def all_is_well(commands: Commands, count: int) -> None:
    assert commands.different() == []
    assert commands.recorded == (count, 0)


@fast
def test_refusals_for_a_moment_are_tried_again_and_counted(ill, tmp_path):
    commands = between(ill, tmp_path)
    done = commands.run("copy", "--how", "stream")
    assert done.exit_code == 0, done.output
    [retries] = re.findall(
        r"2,000 objects, .* copied .*; 0 were there; (\d+) requests had to be tried again", done.stdout
    )
    assert int(retries) > 0
    all_is_well(commands, 2000)
    proved = commands.run("verify", "--json")
    assert proved.exit_code == 0, proved.output
    found = json.loads(proved.stdout)
    assert (found["objects"], found["rungs"]) == (2000, {"the MD5s in both listings": 2000})


@fast
def test_retries_are_told_in_json_also_of_copies_that_azure_makes(ill, tmp_path):
    commands = between(ill, tmp_path)
    done = commands.run("copy", "--json", "--how", "server")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["copied"], told["conflicts"]) == (2000, 0)
    assert told["retries"] > 0
    all_is_well(commands, 2000)


@fast
@pytest.mark.parametrize("side", ["source", "target"])
def test_connections_that_break_anywhere(well, tmp_path, monkeypatch, side):
    """In the middle of requests and answers, or before either."""
    commands = between(well, tmp_path)
    right = replace(commands)
    with given_up_after(0.3, monkeypatch), Link(commands.s3 if side == "source" else commands.blob) as link:
        link.harm = sometimes(0.3, WAYS, 10_000)
        setattr(commands, "s3" if side == "source" else "blob", link.url)
        done = commands.run("copy", "--how", "stream")
    assert done.exit_code == 0, done.output
    assert link.harmed > 0
    all_is_well(right, COUNT)


@fast
@pytest.mark.parametrize("side", ["source", "target"])
def test_connections_that_break_under_large_objects(well, tmp_path, monkeypatch, side):
    commands = between(well, tmp_path, "large")
    right = replace(commands)
    with given_up_after(0.5, monkeypatch), Link(commands.s3 if side == "source" else commands.blob) as link:
        link.harm = sometimes(0.4, WAYS, 4 * MIB)
        setattr(commands, "s3" if side == "source" else "blob", link.url)
        done = commands.run("copy", "--how", "stream")
    assert done.exit_code == 0, done.output
    assert link.harmed > 0
    all_is_well(right, 2)


@fast
def test_a_network_that_is_slow_is_not_taken_for_one_that_is_silent(well, tmp_path, monkeypatch):
    """A body leaves for longer than a silence may take, and nothing comes meanwhile."""
    well.seed("slow", 1, 7 * MIB)
    commands = between(well, tmp_path, "slow")
    right = replace(commands)
    with given_up_after(0.5, monkeypatch), Link(commands.blob, slow=4 * MIB) as link:
        commands.blob = link.url
        done = commands.run("copy", "--json", "--how", "stream")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["retries"] == 0
    all_is_well(right, 1)


# what comes whole, and is wrong


@pytest.fixture
def commands(receipts, moto, azurite, tmp_path) -> Commands:
    for number in range(8):
        receipts.put(f"{number}", b"receipt %d" % number)
    return Commands(tmp_path, receipts.name, receipts.name, moto.url, azurite.url)


def damaged(asked: Asked, said: Said) -> Said:
    return replace(said, body=b"X" + said.body[1:]) if asked.path.endswith("/5") and said.body else said


def shorter(asked: Asked, said: Said) -> Said:
    return (
        replace(said, headers=said.headers | {"Content-Length": str(len(said.body) - 1)}, body=said.body[:-1])
        if asked.path.endswith("/5") and said.body
        else said
    )


@pytest.mark.parametrize(
    ("edit", "why"),
    [(damaged, "5 didn't arrive as its checksum says"), (shorter, "5 comes with 8 bytes, and is listed with 9")],
)
def test_a_content_that_is_not_what_it_should_be_is_never_kept(commands, edit, why):
    right = replace(commands)
    with Between(commands.s3) as source:
        commands.s3, source.edit = source.url, edit
        done = commands.run("copy")
        assert done.exit_code == 1
        assert "objects on aws" in done.stderr
        assert why in done.stderr
        source.edit = lambda _, said: said
        assert right.different() == ["5"]
        again = commands.run("copy")
        assert again.exit_code == 0, again.output
    all_is_well(right, 8)


def test_a_content_that_is_damaged_on_its_way_once_is_read_again(commands):
    right, times = replace(commands), []

    def once(asked: Asked, said: Said) -> Said:
        if asked.method == "GET" and asked.path.endswith("/5") and not times:
            times.append(asked)
            return damaged(asked, said)
        return said

    with Between(commands.s3) as source:
        commands.s3, source.edit = source.url, once
        done = commands.run("copy")
    assert done.exit_code == 0, done.output
    assert times
    all_is_well(right, 8)


def test_an_object_of_another_length_than_the_listing_says(receipts, commands):
    """Of one without an MD5, nothing else would tell."""
    where = {"Bucket": receipts.name, "Key": "parts"}
    upload = where | {"UploadId": receipts.s3.create_multipart_upload(**where)["UploadId"]}
    etag = receipts.s3.upload_part(**upload, PartNumber=1, Body=b"receipt in parts")["ETag"]
    receipts.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    right = replace(commands)

    def half(asked: Asked, said: Said) -> Said:
        if "/parts" not in asked.path:
            return said
        headers = {name: value for name, value in said.headers.items() if "checksum" not in name.lower()}
        return replace(said, headers=headers | {"Content-Length": "7"}, body=said.body[:7])

    with Between(commands.s3) as source:
        commands.s3, source.edit = source.url, half
        done = commands.run("copy")
        assert done.exit_code == 1, done.output
        assert "parts comes with 7 bytes, and is listed with 16" in done.stderr
        assert right.different() == ["parts"]
        source.edit = lambda _, said: said
        assert commands.run("copy").exit_code == 0
    assert right.sides(contents)[1]["parts"] == b"receipt in parts"


def test_garbage_instead_of_http_now_and_then(commands):
    right, garbled = replace(commands), []

    def garbage(asked: Asked) -> Said | None:
        if asked.number % 3:
            return None
        garbled.append(asked)
        return Said(200, {"content-length": "no number"}, b"SSH-2.0-OpenSSH_9.6")

    with Between(commands.blob) as target:
        commands.blob, target.rule = target.url, garbage
        done = commands.run("copy", "--json")
    assert done.exit_code == 0, done.output
    assert garbled
    assert json.loads(done.stdout)["retries"] > 0
    all_is_well(right, 8)


def test_a_server_that_asks_for_patience_gets_it(commands, monkeypatch):
    """Longer than one that says nothing, and as long as that lasts."""
    monkeypatch.setattr("tidegate.objects.http.PAUSES", (0.001,) * 4)
    monkeypatch.setattr("tidegate.objects.http.LONGER", (0.01,) * 3)
    right, refused = replace(commands), list[Asked]()

    def slow_down(asked: Asked) -> Said | None:
        if asked.path.endswith("/5") and len(refused) < 6:
            refused.append(asked)
            return refusal(503, "SlowDown")
        return None

    with Between(commands.s3) as source:
        commands.s3, source.rule = source.url, slow_down
        done = commands.run("copy", "--how", "stream", "--json")
    assert done.exit_code == 0, done.output
    assert len(refused) == 6
    assert json.loads(done.stdout)["retries"] == 6
    all_is_well(right, 8)
