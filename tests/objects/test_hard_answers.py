"""Servers that lie, fail half-way or hold something back, and objects that change under the reader."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tidegate.errors import TidegateError, Unreachable
from tidegate.objects.side import LARGE

MIB = 2**20
Ask = Callable[[], Awaitable[bytes]]
Change = Callable[[str, Ask], Awaitable[bytes]]


def quiet(text: str) -> None:
    pass


def refused(swept) -> dict[str, str]:
    return {each.key: each.conflict for each in swept.first}


@asynccontextmanager
async def before(url: str, change: Change) -> AsyncIterator[str]:
    """A server before another one. `change` is given a request's first line, and what asks that other one; its answer
    is what the client gets.
    """
    host, port = url.removeprefix("http://").split(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((int(each[15:]) for each in head.split(b"\r\n") if each.startswith(b"content-length:")), 0)
            body = await reader.readexactly(length)

            async def ask() -> bytes:
                answers, asks = await asyncio.open_connection(host, int(port))
                asks.write(head[:-2] + b"connection: close\r\n\r\n" + body)
                answer = await answers.read(-1)
                asks.close()
                return answer

            writer.write(await change(head.split(b"\r\n")[0].decode(), ask))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):  # the client has gone
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


def answer(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode()


def error(status: str, code: str) -> bytes:
    return answer(status, f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>')


def reads(line: str, key: str) -> bool:
    """It asks for the content."""
    method, target, _ = line.split(" ")
    return method == "GET" and target.endswith(f"/{key}")


@pytest.fixture
def hurried(monkeypatch) -> None:
    monkeypatch.setattr("tidegate.objects.http.PAUSES", (0.0, 0.0))


async def test_a_body_that_ends_too_early_is_asked_for_again(silent_receipts, hurried):
    receipts = silent_receipts
    receipts.put("small", b"small" * 100)
    receipts.put("large", b"large" * (LARGE // 5 + 100))
    cut = []

    async def change(line: str, ask: Ask) -> bytes:
        whole = await ask()
        if reads(line, "small") or reads(line, "large"):
            cut.append(line)
            return whole[:-50] if cut.count(line) == 1 else whole
        return whole

    async with before(receipts.spec.aws.endpoint, change) as url:
        move = receipts.move(aws={"endpoint": url})
        swept = await move.add(quiet)
    assert (swept.copied, {cut.count(line) for line in cut}) == (2, {2, 3})
    assert await receipts.on("azure") == await receipts.on("aws")


async def test_what_comes_damaged_never_counts(silent_receipts, hurried):
    receipts = silent_receipts
    receipts.put("small", b"small" * 100)
    receipts.put("large", b"large" * (LARGE // 5 + 1))
    receipts.put_in_parts("parts", bytes(5 * MIB), bytes(5 * MIB))
    receipts.put("fine", b"fine")
    damaged = set()

    async def change(line: str, ask: Ask) -> bytes:
        whole = await ask()
        if reads(line, "small") or reads(line, "large") or (reads(line, "parts") and line not in damaged):
            damaged.add(line)
            return whole[:-1] + bytes([whole[-1] ^ 1])
        return whole

    async with before(receipts.spec.aws.endpoint, change) as url:
        with pytest.raises(TidegateError, match="didn't arrive as its checksum says"):
            await receipts.move(aws={"endpoint": url}).add(quiet)
    # what came damaged once was read again
    assert await receipts.on("azure") == {"fine": b"fine", "parts": bytes(10 * MIB)}


@pytest.mark.parametrize("times", [1, 1000])
async def test_a_200_that_carries_an_error_is_no_upload(silent_receipts, hurried, times):
    receipts = silent_receipts
    receipts.put("1")
    failed = []

    async def change(line: str, ask: Ask) -> bytes:
        if line.startswith("POST") and "uploadId" in line and len(failed) < times:
            failed.append(line)
            return error("200 OK", "InternalError")
        return await ask()

    async with before(receipts.spec.aws.endpoint, change) as url:
        move = receipts.move(aws={"endpoint": url})
        await move.add(quiet)
        await receipts.put_in_blocks("large", bytes(LARGE + 1))
        if times == 1:
            assert refused(await move.keep(quiet, "azure")) == {}
        else:
            with pytest.raises(Unreachable, match="InternalError"):
                await move.keep(quiet, "azure")
    assert failed
    assert ("large" in await receipts.on("aws")) == (times == 1)
    assert "Uploads" not in receipts.s3.list_multipart_uploads(Bucket=receipts.name)


NO_LISTING = [
    error("200 OK", "InternalError"),
    answer("200 OK", "<html><body>Log in first</body></html>"),
    answer("200 OK", ""),
    answer("200 OK", "<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>true</IsTruncated></ListBucketResult>"),
]


@pytest.mark.parametrize("listing", NO_LISTING)
async def test_what_is_no_listing_is_not_taken_for_an_empty_bucket(silent_receipts, listing):
    receipts = silent_receipts
    lies = False

    async def change(line: str, ask: Ask) -> bytes:
        return listing if lies and "list-type=2" in line else await ask()

    receipts.put("1")
    async with before(receipts.spec.aws.endpoint, change) as url:
        move = receipts.move(aws={"endpoint": url})
        await move.add(quiet)
        lies = True
        for command in (move.keep(quiet, "aws"), move.verify(quiet)):
            with pytest.raises(TidegateError, match="its listing can't be read"):
                await command
    assert set(await receipts.on("azure")) == {"1"}


async def test_what_a_customers_own_key_encrypts_is_named_and_the_rest_copied(silent_receipts):
    receipts = silent_receipts
    for name, body in (("fine", b"x"), ("theirs", b"x"), ("large theirs", bytes(LARGE + 1))):
        receipts.put(name, body)

    async def change(line: str, ask: Ask) -> bytes:  # C: docs.aws.amazon.com, "Using SSE-C"; moto encrypts nothing
        if "theirs" not in line:
            return await ask()
        return answer("400 Bad Request", "") if line.startswith("HEAD") else error("400 Bad Request", "InvalidRequest")

    async with before(receipts.spec.aws.endpoint, change) as url:
        swept = await receipts.move(aws={"endpoint": url}).add(quiet)
    assert refused(swept).keys() == {"theirs", "large theirs"}
    assert all("SSE-C" in why for why in refused(swept).values())
    assert set(await receipts.on("azure")) == {"fine"}


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize("change_to", [b"2", None])
async def test_what_is_overwritten_or_deleted_between_its_listing_and_its_end_is_noticed(
    silent_receipts, parts, change_to
):
    receipts = silent_receipts
    size = LARGE + MIB
    receipts.put("small", b"1")
    if parts:
        receipts.put_in_parts("large", b"1" * 5 * MIB, b"1" * (size - 5 * MIB))
    else:
        receipts.put("large", b"1" * size)
    asked = []

    async def change(line: str, ask: Ask) -> bytes:
        for key, length, at in (("small", 1, 1), ("large", size, 2)):  # large: before its second part is read
            asked.append(key if reads(line, key) else "")
            if asked[-1] and asked.count(key) == at:
                if change_to is None:
                    receipts.delete(key)
                else:
                    receipts.put(key, change_to * length)
        return await ask()

    async with before(receipts.spec.aws.endpoint, change) as url:
        move = receipts.move(aws={"endpoint": url})
        assert refused(await move.add(quiet)) == {}
        assert asked.count("large") >= 2
        assert await receipts.on("azure") == await receipts.on("aws")
        assert (await move.verify(quiet)).equal


async def test_metadata_that_http_can_not_tell_are_not_dropped_unseen(silent_receipts):
    receipts = silent_receipts
    receipts.put("a")

    async def change(line: str, ask: Ask) -> bytes:  # C: docs.aws.amazon.com, "GetObject"
        told = b"\r\nx-amz-missing-meta: 1\r\n" if line.split(" ")[1].endswith("/a") else b"\r\n"
        return (await ask()).replace(b"\r\n", told, 1)

    async with before(receipts.spec.aws.endpoint, change) as url:
        assert refused(await receipts.move(aws={"endpoint": url}).add(quiet)).keys() == {"a"}
