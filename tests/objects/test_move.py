import asyncio
import hashlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tidegate.errors import DeadlinePassed, Refused, RollbackIncomplete, Unreachable
from tidegate.objects.bucket import BucketMove
from tidegate.objects.events import Depth, Events
from tidegate.objects.s3 import S3Side
from tidegate.objects.side import LARGE
from tidegate.objects.wire import Pool

PATIENCE = 60


def quiet(text: str) -> None:
    pass


async def until(holds: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await holds():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def followed(move: BucketMove) -> AsyncIterator[None]:
    task = asyncio.create_task(move.follow(quiet))
    try:
        yield
    finally:
        task.cancel()


async def turn(move: BucketMove, source: str) -> None:
    """The switch of this one store, as the state machine does it."""
    store = move.store(source)
    await store.arm()
    deadline = time.monotonic() + 30
    await store.fence(deadline)
    await store.drain(deadline)
    await store.seal(deadline)
    await store.open()
    await store.release()
    await store.close()


KILLED = """
import asyncio, os, pathlib, signal, sys
from tidegate.objects.bucket import BucketMove
from tidegate.objects.wire import Pool
from tidegate.runbook.migration import Bucket
ask, done = Pool.ask, []
async def dies(self, head, *arguments, **options):
    answer = await ask(self, head, *arguments, **options)
    done.extend([answer] if b"x-ms-blob-type" in head else [])
    if len(done) == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
Pool.ask = dies
manifest = pathlib.Path(sys.argv[2]) / "receipts.objects.sqlite"
move = BucketMove("receipts", Bucket.model_validate_json(sys.argv[1]), manifest)
asyncio.run(move.copy(print))
"""
"""A process that is killed at its 20th object, which Azure has and nobody noted."""


def instead_of_put(patch, act) -> None:
    """`act(key, put)` wherever a whole blob is put; `put()` does it."""
    ask = Pool.ask

    async def asked(self, head, *arguments, **options):
        if b"x-ms-blob-type" not in head:
            return await ask(self, head, *arguments, **options)
        key = head.split(b" ", 2)[1].decode().rpartition("/")[2]
        return await act(key, lambda: ask(self, head, *arguments, **options))

    patch.setattr(Pool, "ask", asked)


class Killed(Exception):
    pass


def dies(*_: object) -> None:
    raise Killed


def wrong(report) -> tuple[list[str], list[str], list[str]]:
    return report.keys("missing"), report.keys("extra"), report.keys("different")


NOTHING = ([], [], [])


async def same(receipts) -> bool:
    return await receipts.on("azure") == await receipts.on("aws")


async def test_content_properties_and_metadata_are_copied(receipts):
    receipts.put(
        "a.txt.gz",
        b"\x1f\x8bnot really",
        ContentType="text/plain; charset=utf-8",
        ContentEncoding="gzip",
        CacheControl="max-age=60",
        ContentDisposition='attachment; filename="a.txt"',
        ContentLanguage="sv",
        Metadata={"order-id": "7", "plain": "two  words"},
    )
    await receipts.move().copy(quiet)
    here, there = await receipts.aws.get("a.txt.gz"), await receipts.azure.get("a.txt.gz")
    assert there.properties == here.properties
    assert there.properties.headers["content-encoding"] == "gzip"
    assert there.properties.metadata["order-id"] == "7"
    assert (there.body, there.md5) == (b"\x1f\x8bnot really", hashlib.md5(b"\x1f\x8bnot really").hexdigest())


async def test_any_name_and_size_is_copied(receipts):
    names = ["dir/", "a//b", "/lead", "x", "x/y", "uni-é-日本/🧾", "sp +%25#?&='", "CASE", "case", "~._-", "\uffe0"]
    for name in names:
        receipts.put(name, b"" if name.endswith("/") else name.encode())
    receipts.put("large", bytes(range(256)) * (LARGE // 256) + b"and a little")
    move = receipts.move()
    await move.copy(quiet)
    assert await same(receipts)
    assert set(await receipts.on("azure")) == {*names, "large"}
    report = await move.verify(quiet)
    assert (report.objects, wrong(report)) == (len(names) + 1, NOTHING)


async def test_a_large_object_travels_both_ways_in_parts(receipts):
    body = bytes(range(256)) * (LARGE // 256) + b"the end"
    upload = receipts.s3.create_multipart_upload(Bucket=receipts.name, Key="large", Metadata={"a": "b"})["UploadId"]
    where = {"Bucket": receipts.name, "Key": "large", "UploadId": upload}
    parts = [
        {"PartNumber": i, "ETag": receipts.s3.upload_part(**where, PartNumber=i, Body=part)["ETag"]}
        for i, part in enumerate([body[:LARGE], body[LARGE:]], 1)
    ]
    receipts.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    move = receipts.move()
    await move.copy(quiet)
    assert (await receipts.azure.stat("large")).md5 == hashlib.md5(body).hexdigest()
    assert (await receipts.azure.get("large")).properties.metadata == {"a": "b"}
    assert wrong(await move.verify(quiet)) == NOTHING
    await turn(move, "aws")
    await receipts.put_on_azure("back", b"!" + body)
    await turn(move, "azure")
    assert (await receipts.on("aws"))["back"] == b"!" + body
    assert wrong(await move.verify(quiet)) == NOTHING


async def test_an_interrupted_copy_is_resumed_where_it_was(receipts, monkeypatch):
    for i in range(40):
        receipts.put(f"{i}", b"%d" % i)
    done = []

    async def breaks(key, put):
        if len(done) >= 25:
            raise Unreachable("gone", where="azure")
        done.append(key)
        return await put()

    with monkeypatch.context() as patch:
        instead_of_put(patch, breaks)
        with pytest.raises(Unreachable):
            await receipts.move().copy(quiet)
    assert not await receipts.move().copied()
    again = []

    async def counts(key, put):
        again.append(key)
        return await put()

    instead_of_put(monkeypatch, counts)
    await receipts.move().copy(quiet)
    assert set(again) | set(done) == {f"{i}" for i in range(40)}
    assert not set(again) & set(done)
    await receipts.move().copy(quiet)
    assert await same(receipts)


async def test_a_process_killed_between_an_answer_and_its_record_leaves_nothing_wrong(receipts, monkeypatch):
    for i in range(6):
        receipts.put(f"{i}", b"%d" % i)
    killed = receipts.move()
    monkeypatch.setattr(killed.manifest, "record", dies)  # its answers came, its notes were never made
    monkeypatch.setattr("tidegate.objects.carrier.OFTEN", 3600)
    with pytest.raises(Killed):
        await killed.copy(quiet)
    assert len(await receipts.on("azure")) == 6
    receipts.put("3", b"written again")
    receipts.delete("4")
    move = receipts.move()
    await move.copy(quiet)
    async with followed(move):
        await until(lambda: same(receipts))
    assert wrong(await move.verify(quiet)) == NOTHING
    await move.remove()
    assert not await receipts.azure.exists()


async def test_a_killed_process_is_taken_over_from_by_another(receipts):
    for i in range(150):
        receipts.put(f"{i}", b"%d" % i)
    arguments = [sys.executable, "-c", KILLED, receipts.spec.model_dump_json(), str(receipts.folder)]
    child = await asyncio.create_subprocess_exec(*arguments)
    assert await child.wait() == -signal.SIGKILL
    assert 0 < len(await receipts.on("azure")) < 150
    receipts.put("0", b"changed since")
    move = receipts.move()
    await move.copy(quiet)
    await move.store("aws").drain(time.monotonic() + 30)
    assert wrong(await move.verify(quiet)) == NOTHING
    assert await same(receipts)
    await receipts.move().remove()
    assert not await receipts.azure.exists()


async def test_a_write_whose_answer_was_lost_is_known_as_the_runs_own(receipts, monkeypatch):
    await receipts.azure.create()
    receipts.put("1", b"1")

    async def lost(_, put):
        await put()
        raise Unreachable("the answer was lost", where="azure")

    with monkeypatch.context() as patch:
        instead_of_put(patch, lost)
        with pytest.raises(Unreachable):
            await receipts.move().copy(quiet)
    receipts.put("1", b"newer")
    move = receipts.move()
    await move.copy(quiet)
    assert await receipts.on("azure") == {"1": b"newer"}
    await move.remove()
    assert await receipts.on("azure") == {}


async def test_what_somebody_else_wrote_at_the_target_is_never_overwritten(receipts):
    receipts.put("1", b"1")
    move = receipts.move()
    await move.copy(quiet)
    await receipts.put_on_azure("1", b"precious")
    receipts.put("1", b"changed")
    notes = []
    move.sync.note = notes.append
    for _ in range(2):
        await move.store("aws").drain(time.monotonic() + 30)
    move.manifest.pend({"1": ""}, "azure")  # as one that was killed before it sent anything
    await move.store("aws").drain(time.monotonic() + 30)
    assert await receipts.on("azure") == {"1": b"precious"}
    assert len(notes) == 1
    assert "by somebody else" in notes[0]
    assert wrong(await move.verify(quiet)) == ([], [], ["1"])


async def test_an_object_that_is_overwritten_while_it_is_copied_arrives_as_it_is_last(receipts, monkeypatch):
    receipts.put("large", b"1" * (LARGE + 1))
    receipts.put("small", b"1")
    part, get = S3Side.part, S3Side.get

    async def overwritten(self, key, etag, start, size):
        if start and not overwrites:
            overwrites.append(key)
            receipts.put("large", b"2" * (LARGE + 1))
            receipts.put("small", b"2")
        return await part(self, key, etag, start, size)

    overwrites = []
    monkeypatch.setattr(S3Side, "part", overwritten)
    move = receipts.move()
    await move.copy(quiet)
    async with followed(move):
        await until(lambda: same(receipts))
    assert overwrites == ["large"]
    assert {body[:1] for body in (await receipts.on("azure")).values()} == {b"2"}
    assert get is S3Side.get


@pytest.mark.parametrize("events", [True, False])
async def test_changes_follow(make_receipts, events):
    receipts = make_receipts(events=events)
    for i in range(5):
        receipts.put(f"{i}", b"%d" % i)
    move = receipts.move()
    await move.copy(quiet)
    async with followed(move):
        receipts.put("new", b"new")
        receipts.put("1", b"overwritten")
        receipts.delete("2")
        await until(lambda: same(receipts))
        receipts.put("2", b"again")
        receipts.delete("new")
        await until(lambda: same(receipts))
    assert set(await receipts.on("azure")) == {"0", "1", "2", "3", "4"}


async def test_metadata_alone_follow_where_events_tell_of_them(receipts):
    receipts.put("a", b"a", Metadata={"n": "1"})
    move = receipts.move()
    await move.copy(quiet)
    source = {"Bucket": receipts.name, "Key": "a"}
    receipts.s3.copy_object(**source, CopySource=source, Metadata={"n": "2"}, MetadataDirective="REPLACE")
    await move.store("aws").drain(time.monotonic() + 30)
    assert (await receipts.azure.get("a")).properties.metadata == {"n": "2"}


async def test_lag_counts_what_the_queue_still_tells(receipts):
    move = receipts.move()
    await move.copy(quiet)
    await move.store("aws").drain(time.monotonic() + 30)
    for i in range(3):
        receipts.put(f"{i}")
    assert await receipts.move().lag() == 3
    async with followed(move):
        await until(lambda: same(receipts))
    assert await move.lag() == 0


async def test_a_change_whose_message_died_with_another_process_is_found(receipts):
    move = receipts.move()
    await move.copy(quiet)
    receipts.put("told", b"once")
    assert await receipts.move().events.receive(3)
    await move.store("aws").drain(time.monotonic() + 30)
    assert await same(receipts)


async def test_what_others_took_from_the_queue_before_the_switch_is_not_listed_for_while_requests_are_held(receipts):
    move = receipts.move()
    await move.copy(quiet)
    receipts.put("told", b"once")
    assert await receipts.move().events.receive(3)
    store = move.store("aws")
    await store.arm()
    notes = []
    move.sync.note = notes.append
    receipts.put("later", b"later")
    await store.drain(time.monotonic() + 30)
    assert await same(receipts)
    receipts.put("taken", b"meanwhile")
    assert await receipts.move().events.receive(3)
    assert notes == []
    await store.drain(time.monotonic() + 30)
    assert await same(receipts)
    assert notes == ["some messages don't come: everything is listed instead"]


async def test_a_message_that_is_given_twice_at_once_is_deleted_once(receipts, monkeypatch):
    move = receipts.move()
    await move.copy(quiet)
    call = Events._call

    async def twice(self, action, fields):
        answer = await call(self, action, fields)
        return {"Messages": answer["Messages"] * 2} if "Messages" in answer else answer

    monkeypatch.setattr(Events, "_call", twice)
    receipts.put("1", b"1")
    await move.store("aws").drain(time.monotonic() + 30)
    assert await same(receipts)
    assert await move.events.depth() == Depth(waiting=0, hidden=0)


async def test_what_a_killed_process_has_deleted_already_is_taken_for_deleted(silent_receipts):
    receipts = silent_receipts
    receipts.put("1", b"1")
    move = receipts.move()
    await move.copy(quiet)
    receipts.delete("1")
    move.manifest.pend({"1": ""}, "azure")
    await receipts.delete_on_azure("1")
    swept = await move.sync.sweep("aws")
    assert (swept.deleted, swept.conflicts) == (1, 0)
    assert (move.manifest.row("1"), move.manifest.sent("azure")) == (None, {})


async def test_planted_differences_are_found_while_others_write(receipts):
    for i in range(20):
        receipts.put(f"{i}", b"receipt %d" % i)
    move = receipts.move()
    await move.copy(quiet)

    async def writes() -> None:
        n = 0
        while True:
            n += 1
            await asyncio.to_thread(receipts.put, f"busy-{n % 3}", b"%d" % n)

    async with followed(move):
        writing = asyncio.create_task(writes())
        await asyncio.sleep(0.2)
        assert wrong(await move.verify(quiet)) == NOTHING
        await receipts.put_on_azure("3", b"receipt X")
        await receipts.put_on_azure("foreign", b"x")
        await receipts.delete_on_azure("4")
        found = await move.verify(quiet)
        writing.cancel()
    assert wrong(found) == ([], ["foreign"], ["3"])  # what only was missing has been brought over again


async def test_to_azure_and_back_nothing_is_lost(receipts):
    for i in range(5):
        receipts.put(f"{i}", b"%d" % i)
    move = receipts.move()
    await move.copy(quiet)
    async with followed(move):
        receipts.put("last", b"before the switch")
        await turn(move, "aws")
        assert (await receipts.on("azure"))["last"] == b"before the switch"
        assert await move.lag() == 0
        await receipts.put_on_azure("new", b"on azure", metadata={"by-whom": "azure"})
        await receipts.put_on_azure("1", b"overwritten on azure")
        await receipts.delete_on_azure("2")
        await until(lambda: same(receipts))
        await receipts.put_on_azure("3", b"the last on azure")
        await turn(move, "azure")
        assert await same(receipts)
        assert (await receipts.aws.get("new")).properties.metadata == {"by-whom": "azure"}
        receipts.put("3", b"on aws again")
        await until(lambda: same(receipts))
    assert set(await receipts.on("aws")) == {"0", "1", "3", "4", "last", "new"}
    assert wrong(await move.verify(quiet)) == NOTHING


async def test_another_process_goes_on_in_the_direction_that_was_reached(receipts):
    receipts.put("1", b"1")
    await receipts.move().copy(quiet)
    await turn(receipts.move(), "aws")
    receipts.put("1", b"an old event")
    await receipts.put_on_azure("1", b"newer, on the side that owns now")
    again = receipts.move()
    assert again.owner == "azure"
    async with followed(again):
        await receipts.put_on_azure("2", b"2")
        await until(lambda: receipts.aws.stat("2"))
    assert (await receipts.on("azure"))["1"] == b"newer, on the side that owns now"
    assert wrong(await again.verify(quiet)) == ([], [], ["1"])


async def test_sealed_nothing_is_followed_by_any_process_until_the_source_is_reopened(receipts):
    receipts.put("1", b"1")
    move = receipts.move()
    await move.copy(quiet)
    store = move.store("aws")
    await store.arm()
    await store.drain(time.monotonic() + 30)
    await store.seal(time.monotonic() + 30)
    await move.close()  # as when its process dies
    again = receipts.move()
    async with followed(again):
        receipts.put("2", b"2")
        await asyncio.sleep(0.5)
        assert await receipts.azure.stat("2") is None
        await again.store("aws").reopen()
        await until(lambda: same(receipts))
    assert again.owner == "aws"


async def test_a_drain_that_takes_too_long_says_so(receipts):
    move = receipts.move()
    await move.copy(quiet)
    with pytest.raises(DeadlinePassed, match=r"receipts on azure .*took too long"):
        await move.store("aws").drain(time.monotonic())


async def test_settled_what_came_too_late_is_added_where_azure_has_nothing_newer(receipts):
    for name in ("untouched", "newer", "gone"):
        receipts.put(name, b"old")
    move = receipts.move()
    await move.copy(quiet)
    await turn(move, "aws")
    for name in ("late", "untouched", "newer", "gone"):
        receipts.put(name, b"late")
    await receipts.put_on_azure("newer", b"newer")
    await receipts.delete_on_azure("gone")
    report = await receipts.move().settle(quiet)
    assert await receipts.on("azure") == {"late": b"late", "untouched": b"late", "newer": b"newer"}
    assert wrong(report) == ([], ["gone"], ["newer"])


async def test_settled_twice_all_is_the_same(receipts):
    for i in range(5):
        receipts.put(f"{i}", b"%d" % i)
    move = receipts.move()
    await move.copy(quiet)
    await turn(move, "aws")
    await receipts.put_on_azure("new", b"new")
    for _ in range(2):
        report = await move.settle(quiet)
        assert (report.objects, wrong(report)) == (6, NOTHING)


async def test_removed_both_sides_are_as_before(receipts):
    receipts.put("1", b"1")
    move = receipts.move()
    await move.remove()
    await move.copy(quiet)
    await move.remove()
    await move.remove()
    assert not await receipts.azure.exists()
    assert await receipts.on("aws") == {"1": b"1"}
    await move.copy(quiet)
    assert await same(receipts)


async def test_removed_after_a_rollback_what_azure_got_too_late_has_come_home(receipts):
    receipts.put("1", b"1")
    move = receipts.move()
    await move.copy(quiet)
    await turn(move, "aws")
    await receipts.put_on_azure("2", b"2")
    await turn(move, "azure")
    await receipts.put_on_azure("3", b"too late")
    await receipts.move().remove()
    assert await receipts.on("aws") == {"1": b"1", "2": b"2", "3": b"too late"}
    assert not await receipts.azure.exists()


async def test_removed_from_a_container_that_was_there_only_its_own_blobs_go(receipts):
    await receipts.azure.create()
    for name in ("1", "2", "3"):
        receipts.put(name)
    move = receipts.move()
    await move.copy(quiet)
    await receipts.put_on_azure("foreign", b"x")
    await receipts.put_on_azure("2", b"overwritten by somebody else")
    await move.remove()
    assert await receipts.on("azure") == {"foreign": b"x", "2": b"overwritten by somebody else"}


async def test_while_azure_owns_the_writes_nothing_is_removed(receipts):
    receipts.put("1", b"1")
    move = receipts.move()
    await move.copy(quiet)
    await turn(move, "aws")
    with pytest.raises(RollbackIncomplete, match="azure owns the writes"):
        await move.remove()
    assert await receipts.on("azure") == {"1": b"1"}


async def test_finished_the_mirror_is_over(receipts):
    receipts.put("1", b"1")
    move = receipts.move()
    await move.copy(quiet)
    await turn(move, "aws")
    await move.disarm()
    await move.disarm()
    async with followed(receipts.move()):
        await receipts.put_on_azure("2", b"2")
        await asyncio.sleep(0.5)
    assert await receipts.on("aws") == {"1": b"1"}
    assert await move.copied()


async def test_without_azures_database_what_blob_still_gives_comes_home(receipts):
    receipts.put("1", b"1")
    receipts.put("2", b"2")
    move = receipts.move()
    await move.copy(quiet)
    await turn(move, "aws")
    await receipts.put_on_azure("3", b"3")
    await receipts.put_on_azure("1", b"changed")
    await receipts.delete_on_azure("2")
    await move.force_home(quiet)
    await move.force_home(quiet)
    assert await receipts.on("aws") == {"1": b"changed", "2": b"2", "3": b"3"}
    assert receipts.move().owner == "aws"
    await move.remove(target_gone=True)


async def test_without_azure_at_all_aws_owns_the_writes(receipts):
    receipts.put("1", b"1")
    await receipts.move().copy(quiet)
    await turn(receipts.move(), "aws")
    notes = []
    move = receipts.move(azure={"endpoint": "http://127.0.0.1:1/devstoreaccount1"})
    await move.force_home(notes.append)
    assert "azure" in notes[0]
    assert move.owner == "aws"
    await move.remove(target_gone=True)
    assert await receipts.on("aws") == {"1": b"1"}


async def test_a_container_that_vanished_is_not_taken_for_deleted_objects(receipts):
    receipts.put("1", b"1")
    move = receipts.move()
    await move.copy(quiet)
    await turn(move, "aws")
    await receipts.azure.drop()
    with pytest.raises(Refused, match="ContainerNotFound"):
        await move.follow(quiet)
    assert await receipts.on("aws") == {"1": b"1"}


async def test_a_target_with_anything_in_it_is_refused_and_left_alone(receipts):
    await receipts.azure.create()
    await receipts.put_on_azure("precious", b"x")
    receipts.put("1", b"1")
    with pytest.raises(Refused, match="isn't empty"):
        await receipts.move().copy(quiet)
    await receipts.move().remove()
    assert await receipts.on("azure") == {"precious": b"x"}


async def test_names_that_azure_can_not_hold_are_refused_by_name(receipts):
    receipts.put("fine")
    receipts.put("bs\\z")
    receipts.put("dot.")
    with pytest.raises(Refused, match=r"(?s)2 objects can't be copied: .*bs.*backslash.*dot\..*rename"):
        await receipts.move().copy(quiet)
    assert not await receipts.move().copied()
    receipts.delete("bs\\z")
    receipts.delete("dot.")
    await receipts.move().copy(quiet)
    assert await same(receipts)


async def test_one_object_that_is_refused_holds_up_no_other(receipts, monkeypatch):
    for i in range(5):
        receipts.put(f"{i}", b"%d" % i)

    async def leased(key, put):
        if key == "2":
            raise Refused("the server refused: 412 LeaseIdMissing", where="azure")
        return await put()

    with monkeypatch.context() as patch:
        instead_of_put(patch, leased)
        with pytest.raises(Refused, match="LeaseIdMissing"):
            await receipts.move().copy(quiet)
    assert set(await receipts.on("azure")) == {"0", "1", "3", "4"}
    await receipts.move().copy(quiet)
    assert await same(receipts)


async def test_a_switch_that_never_came_leaves_changes_followed(silent_receipts):
    receipts = silent_receipts
    move = receipts.move()
    await move.copy(quiet)
    store = move.store("aws")
    await store.arm()
    await store.close()
    async with followed(move):
        receipts.put("1", b"1")
        await until(lambda: same(receipts))
