"""What each side says of one object, and what stays of a connection."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from objects.running import Asked, Between, Said, refusal
from tidegate.errors import Refused, Unreachable
from tidegate.objects.blob import BlobSide, NotFromThere
from tidegate.objects.from_url import WHOLE, FromUrl
from tidegate.objects.http import Http
from tidegate.objects.lane import Lane
from tidegate.objects.s3 import S3Side
from tidegate.objects.sending import Damaged, Sending
from tidegate.objects.side import Changed, Got, Left, Listed, Mismatch, Properties, Written
from tidegate.objects.wire import Origin, Pool

MD5 = "0123456789abcdef" * 2


def quiet(text: str) -> None:
    pass


def got(size: int = 1, body: bytes | None = None, **of: object) -> Got:
    return Got(*("etag", size, MD5, Properties(), body))._replace(**of)


# events


async def test_events_name_keys_as_the_listing_does(receipts):
    """Without the bucket's prefix; what is outside it is nobody's business."""
    for key in ("shop/a", "shop/", "other/b"):
        receipts.put(key)
    events = receipts.move(aws={"prefix": "shop/"}).events
    heard = [each for _ in range(3) for each in await events.receive(1)]
    assert [key for message in heard for key, _ in message.changes or ()] == ["a"]


# a bucket


@pytest.fixture
def between(moto) -> Iterator[Between]:
    with Between(moto.url) as between:
        yield between


@pytest.fixture
def bucket(silent_receipts, between) -> S3Side:
    spec = silent_receipts.spec.aws.model_copy(update={"endpoint": between.url})
    return S3Side("receipts", spec, silent_receipts.http)


@pytest.mark.parametrize(
    ("refused", "why"), [(refusal(400, "InvalidRequest"), "SSE-C"), (refusal(403, "AccessDenied"), "may not be read")]
)
async def test_what_only_its_owner_may_read_is_left(bucket, between, refused, why):
    between.rule = lambda _: refused
    for ask in (bucket.stat, bucket.look, bucket.get):
        with pytest.raises(Left, match=why):
            await ask("a")


async def test_where_head_alone_is_refused_it_is_asked_twice(silent_receipts, bucket, between):
    silent_receipts.put("a")
    between.rule = lambda asked: refusal(403, "AccessDenied") if asked.method == "HEAD" else None
    with pytest.raises(Refused):
        await bucket.look("a")
    assert between.asked == 3


async def test_one_object_that_may_not_be_read_keeps_no_other_from_being_copied(silent_receipts, between):
    receipts = silent_receipts
    for key in ("fine", "theirs"):
        receipts.put(key)
    between.rule = lambda asked: refusal(403, "AccessDenied") if asked.path.endswith("/theirs") else None
    swept = await receipts.move(aws={"endpoint": between.url}).add(quiet)
    assert [each.key for each in swept.first] == ["theirs"]
    assert set(await receipts.on("azure")) == {"fine"}


async def one_part() -> AsyncIterator[bytes]:
    yield b"x"


async def settled() -> str:
    return MD5


def completes(asked: Asked) -> bool:
    return asked.method == "POST" and "uploadId" in asked.path


async def test_parts_that_were_put_together_without_an_answer_may_be_ours(bucket, between):
    lost = [refusal(500, "InternalError"), refusal(404, "NoSuchUpload")]
    between.edit = lambda asked, said: lost.pop(0) if completes(asked) else said
    with pytest.raises(Changed) as changed:
        await bucket.put_parts("a", one_part(), Properties(), None, settled)
    assert changed.value.retried


async def test_an_upload_that_can_not_be_given_up_does_not_hide_why_it_should_be(bucket, between):
    between.rule = lambda asked: (
        refusal(412, "PreconditionFailed")
        if completes(asked)
        else refusal(403, "AccessDenied")
        if asked.method == "DELETE"
        else None
    )
    with pytest.raises(Changed):
        await bucket.put_parts("a", one_part(), Properties(), None, settled)


# a container


@pytest.fixture
def before_azure(azurite) -> Iterator[Between]:
    with Between(azurite.url) as between:
        yield between


@pytest.fixture
def container(silent_receipts, before_azure) -> BlobSide:
    spec = silent_receipts.spec.azure.model_copy(update={"endpoint": before_azure.url})
    return BlobSide("receipts", spec, silent_receipts.http)


@pytest.mark.parametrize(
    "code", [(409, "SnapshotsPresent"), (409, "BlobImmutableDueToPolicy"), (412, "LeaseIdMissing")]
)
async def test_a_blob_that_is_kept_is_left(container, before_azure, code):
    before_azure.rule = lambda _: refusal(*code)
    with pytest.raises(Left, match=code[1]):
        await container.delete("a", "etag")


async def test_azure_keeps_the_md5_of_what_it_reads_itself(container, before_azure):
    asked = []
    before_azure.rule = lambda each: asked.append(each) or Said(201, {"etag": '"e"'}, b"")
    await container.put_from("a", "http://there/a", MD5, Properties(), None)
    kept = asked[0].headers["x-ms-blob-content-md5"]
    assert kept == asked[0].headers["x-ms-source-content-md5"] == "ASNFZ4mrze8BI0VniavN7w=="


# from one to the other


class There:
    """Implements what FromUrl needs of either side. `says`: to each request, in turn; the last one always."""

    cloud, where, most_parts = "azure", "there", 50_000

    def __init__(self, *says: Exception | None, there: Listed | None = None) -> None:
        self.says, self.there, self.asked, self.retries = list(says), there, 0, 0
        self.http = self

    async def presigned(self, key: str, seconds: int, version: str) -> str:
        return "http://here/a"

    async def put_from(self, *_: object) -> Written:
        self.asked += 1
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if said is not None:
            raise said
        return Written("etag", MD5)

    async def stat(self, key: str) -> Listed | None:
        return self.there


def sends(there: There, what: Got, **how: bool):
    server = FromUrl(there, there, 0, **how)  # pyright: ignore[reportArgumentType]
    return server.send("a", what, None, lambda *_: None)


async def test_what_azure_does_not_read_in_time_passes_by_here(monkeypatch):
    late = Unreachable("nothing came for 30 s")
    assert await sends(There(late), got()) is None
    with pytest.raises(Changed) as changed:  # it has, after all
        await sends(There(late, there=Listed("a", 1, "etag")), got())
    assert changed.value.retried
    there = There(None)
    assert await sends(there, got(WHOLE + 1)) is None
    assert there.asked == 0


async def test_what_azure_alone_can_not_copy_is_left(monkeypatch):
    monkeypatch.setattr("tidegate.objects.from_url.PAUSES", (0.0, 0.0))
    busy = NotFromThere("503 ServerBusy")
    assert await sends(There(busy, None), got(), alone=True)
    for there, what in ((There(busy), got()), (There(None), got(md5=None)), (There(None), got(WHOLE + 1))):
        with pytest.raises(Left, match="Azure can't copy it by itself: "):
            await sends(there, what, alone=True)


async def test_a_target_that_finds_every_try_damaged_is_told_of():
    class Spoils(There):
        async def put(self, *_: object) -> Written:
            raise Mismatch

    body = b"x"
    what = got(body=body, md5="9dd4e461268c8034f5c8564e155c67a6")
    with pytest.raises(Damaged):
        await Sending(There(), Spoils()).send("a", what, None, lambda *_: None)  # pyright: ignore[reportArgumentType]


async def test_the_short_way_is_for_etags_that_can_be_an_md5(silent_receipts):
    lane = Lane(silent_receipts.aws, silent_receipts.azure)
    assert lane.takes(Listed("a", 1, MD5, MD5))
    assert not lane.takes(Listed("a", 1, "z" * 32, "z" * 32))
    assert not lane.takes(Listed("a", 1, "e"))


# a connection


@asynccontextmanager
async def server(answer: bytes) -> AsyncIterator[tuple[Pool, list[int]]]:
    """It answers as soon as a request has begun, and reads no more of it; and its connections."""
    connections: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(len(connections))
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer)
                if b"403" in answer:
                    await asyncio.sleep(0.1)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass
        finally:
            writer.close()

    http = Http()
    listening = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**16)
    try:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        assert Origin.of(url).port
        yield http.pool(url), connections
    finally:
        await http.close()
        listening.close()
        await listening.wait_closed()


HEAD = b"PUT / HTTP/1.1\r\nhost: h\r\n\r\n"


async def test_a_connection_with_the_rest_of_a_body_on_it_is_not_used_again():
    async with server(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n") as (pool, connections):
        assert (await pool.ask(HEAD, bytes(64 * 2**20))).status == 403
        assert (await pool.ask(HEAD)).status == 403
        assert len(connections) == 2


async def test_a_body_that_is_refused_half_way_is_closed():
    closed = []

    async def body() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(2**20)
                await asyncio.sleep(0)
        finally:
            closed.append(True)

    async with server(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n") as (pool, _):
        assert (await pool.ask(HEAD, body())).status == 403
        assert closed == [True]


async def test_what_follows_an_answer_is_nobodys():
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    async with server(answer + answer.replace(b"OK", b"OK\r\nx-surplus: 1")) as (pool, connections):
        for _ in range(2):
            raw = await pool.ask(HEAD)
            assert (raw.status, raw.body, "x-surplus" in raw.headers) == (200, b"ok", False)
        assert len(connections) == 2
