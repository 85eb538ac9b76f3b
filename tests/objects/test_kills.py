"""Copies that are killed at any moment, and given again: nothing missing, nothing wrong, next to nothing done twice."""

import random
import re
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench.objects.fastcloud import Fastcloud, missing

from objects.running import Commands, Link, contents

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")

HOWS = ("stream", "server")
BUCKET = "receipts"
MIB = 2**20


@pytest.fixture(scope="module")
def cloud(server_folder) -> Iterator[Fastcloud]:
    with Fastcloud(server_folder / f"fastcloud-{uuid.uuid4().hex[:6]}") as cloud:
        cloud.seed(BUCKET, 2000, 1024)
        yield cloud


@pytest.fixture
def commands(cloud, tmp_path) -> Commands:
    return Commands(tmp_path, BUCKET, f"copy-{uuid.uuid4().hex[:8]}", cloud.s3_url, cloud.blob_url)


def until_done(commands: Commands, verb: str, *options: str) -> None:
    done = commands.run(verb, *options)
    assert done.exit_code == 0, done.output


def moments(cloud: Fastcloud, count: int, kills: int, chance: random.Random) -> Iterator[Callable[[], bool]]:
    """Once so many objects have been put, in order; each somewhere between two requests, or in one."""
    before = cloud.served().puts
    for at in sorted(chance.randrange(count) for _ in range(kills)):
        yield lambda at=at: cloud.served().puts - before > at


def copied_twice(
    commands: Commands, cloud: Fastcloud, count: int, kills: int, chance: random.Random, *how: str
) -> tuple[int, int]:
    """How often it was killed, and the puts beyond one for each object."""
    before, killed = cloud.served().puts, 0
    for when in moments(cloud, count, kills, chance):
        killed += commands.killed(when, *how)
    until_done(commands, *how)
    assert commands.different() == []
    assert commands.recorded == (count, 0)
    return killed, cloud.served().puts - before - count


def test_a_killed_copy_is_resumed_without_doing_it_twice(commands, cloud):
    cloud.delay(0.005)
    before = cloud.served().puts
    for how, when in zip(HOWS, moments(cloud, 2000, 2, random.Random()), strict=True):
        commands.killed(when, "copy", "--how", how)
    until_done(commands, "copy")
    assert commands.different() == []
    assert commands.recorded == (2000, 0)
    assert 2000 <= cloud.served().puts - before < 2000 + 20


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("how", HOWS)
def test_fifty_kills_of_copies_of_20000_objects(server_folder, tmp_path, how, capsys):
    count, together, kills = 20_000, 0, 0
    with Fastcloud(server_folder / f"kills-{how}", latency=0.002) as cloud:
        cloud.seed(BUCKET, count, 1024)
        while kills < 50:
            commands = Commands(tmp_path / f"{kills}", BUCKET, f"copy-{kills}", cloud.s3_url, cloud.blob_url)
            seed = random.randrange(2**32)
            killed, twice = copied_twice(commands, cloud, count, 5, random.Random(seed), "copy", "--how", how)
            with capsys.disabled():
                print(f"\n{how}: {killed} kills, {twice} of {count:,} objects copied twice (seed {seed})", flush=True)
            assert 0 <= twice < count / 100 * max(killed, 1)
            kills, together = kills + killed, together + twice
    with capsys.disabled():
        print(f"{how}: {kills} kills, {together} copied twice: {together / kills:.2f} for each kill")


@pytest.mark.slow
def test_a_killed_copy_of_large_objects_goes_on_with_those_that_are_missing(commands, cloud):
    commands.bucket = f"large-{uuid.uuid4().hex[:8]}"
    cloud.seed(commands.bucket, 3, 40 * MIB)
    cloud.delay(0.02)
    before = cloud.served()
    for at in (2, 9):  # reads, of five for each
        assert commands.killed(lambda at=at: cloud.served().gets - before.gets > at, "copy", "--how", "stream")
    cloud.delay(0)
    until_done(commands, "copy", "--how", "stream")
    assert commands.different() == []
    assert cloud.served().puts - before.puts == 3


@pytest.mark.slow
def test_what_is_killed_between_two_parts_is_no_blob(receipts, tmp_path, moto, azurite):
    """S3 has no MD5 of one in parts: it goes over in blocks, and those of a dead process aren't among them."""
    body = random.randbytes(24 * MIB)
    in_parts(receipts, "parts", body)
    with Link(moto.url) as link:
        commands = Commands(tmp_path, receipts.name, receipts.name, link.url, azurite.url)
        assert commands.killed(lambda: link.passed > 10 * MIB, "copy", "--how", "stream")
        until_done(commands, "copy", "--how", "stream")
        assert commands.sides(contents) == [{"parts": body}] * 2
    assert commands.recorded == (1, 0)


def in_parts(receipts, key: str, body: bytes) -> None:
    where = {"Bucket": receipts.name, "Key": key}
    where["UploadId"] = receipts.s3.create_multipart_upload(**where)["UploadId"]
    parts = []
    for number, start in enumerate(range(0, len(body), 6 * MIB), 1):
        etag = receipts.s3.upload_part(**where, PartNumber=number, Body=body[start : start + 6 * MIB])["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    receipts.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})


def test_a_killed_sync_neither_forgets_a_change_nor_a_deletion(receipts, tmp_path, moto, azurite):
    for number in range(80):
        receipts.put(f"{number:03}", b"%d" % number)
    with Link(azurite.url) as link:
        commands = Commands(tmp_path, receipts.name, receipts.name, moto.url, link.url)
        assert commands.killed(lambda: link.passed > 30_000, "sync", "--once")
        for number in range(0, 80, 4):
            receipts.put(f"{number:03}", b"%d, changed" % number)
            receipts.delete(f"{number + 1:03}")
            receipts.put(f"{number + 1:03}, new", b"new")
        at = link.passed + 15_000
        assert commands.killed(lambda: link.passed > at, "sync", "--once")
        until_done(commands, "sync", "--once")
        assert commands.different() == []
    assert commands.recorded == (80, 0)


@pytest.mark.slow
def test_memory_stays_the_same_whatever_the_number_of_objects(server_folder, tmp_path, capsys):
    count = 50_000
    with Fastcloud(server_folder / "memory") as cloud:
        cloud.seed(BUCKET, count, 1024)
        commands = Commands(tmp_path, BUCKET, "copy", cloud.s3_url, cloud.blob_url)
        for verb, *options in (("copy", "--how", "stream"), ("verify",), ("copy",)):
            peak = peak_of(commands, verb, *options)
            with capsys.disabled():
                print(f"\n{verb} {' '.join(options)}: {peak / MIB:.0f} MiB at most for {count:,} objects", flush=True)
            assert peak < 200 * MIB
        commands.manifest.unlink()
        commands.container = "by-server"
        peak = peak_of(commands, "copy", "--how", "server")
        with capsys.disabled():
            print(f"\ncopy --how server: {peak / MIB:.0f} MiB at most", flush=True)
        assert peak < 200 * MIB


def peak_of(commands: Commands, verb: str, *options: str) -> int:
    """The bytes that a process of its own had in memory at most; as of a moment before it ended."""
    peak = 0
    with commands.begin(verb, *options, stdout=subprocess.DEVNULL) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
            peak = int(found[1]) * 1024 if found else peak
            time.sleep(0.02)
        _, said = process.communicate()
    assert process.returncode == 0, said
    return peak
