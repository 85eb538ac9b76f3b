"""What changes, lies or gets in the way while objects are copied or kept up: noticed, and never overwritten unseen."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tidegate.errors import TidegateError, Unreachable
from tidegate.objects.side import LARGE
from tidegate.objects.signing import Request, encoded

MIB = 2**20
Ask = Callable[[], Awaitable[bytes]]
Change = Callable[[str, Ask], Awaitable[bytes]]
OTHERS = "it was written on {} by somebody else"


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


async def in_blocks_without_md5(receipts, key: str, body: bytes) -> None:
    """As programs write that know no MD5."""
    url = f"{receipts.azure.url}/{encoded(key, '/')}"
    await receipts.azure.ask(Request("PUT", url, {"comp": "block", "blockid": "YQ=="}, {}, body), {201})
    listed = b"<BlockList><Latest>YQ==</Latest></BlockList>"
    headers = {"x-ms-blob-content-type": "binary/octet-stream"}
    await receipts.azure.ask(Request("PUT", url, {"comp": "blocklist"}, headers, listed), {201})


# answers that aren't what they seem


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
    assert await receipts.on("azure") == {"fine": b"fine"}


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
        await in_blocks_without_md5(receipts, "large", bytes(LARGE + 1))
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


# changes while an object is on its way


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


async def test_a_same_size_overwrite_in_the_same_second_is_noticed(silent_receipts):
    receipts = silent_receipts
    receipts.put("a", b"1")
    move = receipts.move()
    await move.add(quiet)
    receipts.put("a", b"2")
    await move.keep(quiet, "aws")
    assert await receipts.on("azure") == {"a": b"2"}


async def test_two_writers_of_a_large_blob_never_mix_their_blocks(make_receipts):
    first, second = make_receipts(events=False), make_receipts(events=False)
    for receipts, byte in ((first, b"1"), (second, b"2")):
        receipts.put_in_parts("large", byte * 5 * MIB, byte * 5 * MIB)
    one, other = first.move(), second.move(azure={"container": first.name})
    swept = await asyncio.gather(one.add(quiet), other.add(quiet))
    assert sorted(each.copied for each in swept) == [0, 1]
    loser = next(each for each in swept if not each.copied)
    assert refused(loser) == {"large": OTHERS.format("azure")}
    assert (await first.on("azure"))["large"] in {b"1" * 10 * MIB, b"2" * 10 * MIB}


async def test_what_another_program_writes_in_blocks_of_its_own_is_left_to_it(silent_receipts):
    receipts = silent_receipts
    receipts.put_in_parts("large", b"1" * 5 * MIB, b"1" * 5 * MIB)
    move = receipts.move()
    await move.add(quiet)
    url = f"{receipts.azure.url}/{encoded('large', '/')}"
    await receipts.azure.ask(Request("PUT", url, {"comp": "block", "blockid": "c2hvcnQ="}, {}, b"theirs"), {201})
    receipts.put_in_parts("large", b"2" * 5 * MIB, b"2" * 5 * MIB)
    assert "another program" in refused(await move.keep(quiet, "aws"))["large"]
    assert (await receipts.on("azure"))["large"] == b"1" * 10 * MIB


# what Blob has already


async def test_what_blob_has_is_adopted_if_it_is_the_same_and_stays_if_it_is_not(silent_receipts):
    receipts = silent_receipts
    await receipts.azure.create()
    plain = {"headers": {"content-type": "binary/octet-stream"}}
    for key in ("same", "different", "other properties"):
        receipts.put(key, b"1")
    receipts.put("same in blocks", b"1" * (LARGE + 1))
    receipts.put("new", b"1")
    await receipts.put_on_azure("same", b"1", **plain)
    await receipts.put_on_azure("different", b"2", **plain)
    await receipts.put_on_azure("other properties", b"1", headers={"content-type": "text/plain"})
    await receipts.put_on_azure("besides", b"x")
    await in_blocks_without_md5(receipts, "same in blocks", b"1" * (LARGE + 1))
    copied = await receipts.tidegate("copy", "--json")
    assert copied.code == 4, copied.err
    said = json.loads(copied.out)
    assert said["copied"] == 1
    assert {each["key"]: each["why"] for each in said["first_conflicts"]} == {
        "different": OTHERS.format("azure"),
        "other properties": "azure has it with other properties",
    }
    assert (await receipts.on("azure"))["different"] == b"2"
    rows = {key: receipts.move().manifest.row(key) for key in ("same", "same in blocks", "new")}
    assert {key: row.ours for key, row in rows.items()} == {"same": False, "same in blocks": False, "new": True}
    await receipts.move().remove()
    assert (await receipts.on("azure")).keys() == {"same", "different", "other properties", "besides", "same in blocks"}


async def test_properties_that_change_before_a_killed_copy_goes_on_arrive(silent_receipts, monkeypatch):
    receipts = silent_receipts
    receipts.put("a", b"a", CacheControl="max-age=1")
    killed = receipts.move()

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(killed.manifest, "record", dies)  # its answer came, its note was never made
    with pytest.raises(KeyboardInterrupt):
        await killed.add(quiet)
    assert set(await receipts.on("azure")) == {"a"}
    receipts.put("a", b"a", CacheControl="max-age=2")
    assert refused(await receipts.move().add(quiet)) == {}
    assert (await receipts.azure.get("a")).properties.headers["cache-control"] == "max-age=2"


# the way back


async def test_after_a_copy_what_changes_on_blob_comes_to_s3_and_nothing_echoes(silent_receipts):
    receipts = silent_receipts
    for key in ("kept", "changed", "deleted", "changed on both", "deleted on blob", "deleted on s3", "deleted on both"):
        receipts.put(key, b"1")
    assert (await receipts.tidegate("copy")).code == 0
    for key in ("changed", "new", "changed on both", "deleted on s3"):
        await receipts.put_on_azure(key, b"azure")
    for key in ("deleted", "deleted on blob", "deleted on both"):
        await receipts.delete_on_azure(key)
    for key in ("changed on both", "deleted on blob"):
        receipts.put(key, b"aws")
    for key in ("deleted on s3", "deleted on both"):
        receipts.delete(key)
    back = await receipts.tidegate("sync", "--once", "--reverse", "--json")
    said = json.loads(back.out)
    assert (back.code, said["copied"], said["deleted"]) == (4, 3, 2), back.out
    assert {each["key"]: each["why"] for each in said["first_conflicts"]} == {
        "changed on both": OTHERS.format("aws"),
        "deleted on blob": "deleted, but changed on aws",
    }
    expected = {"kept": b"1", "changed": b"azure", "new": b"azure", "deleted on s3": b"azure"}
    assert await receipts.on("aws") == expected | {"changed on both": b"aws", "deleted on blob": b"aws"}
    receipts.delete("changed on both")
    receipts.delete("deleted on blob")
    assert (await receipts.tidegate("sync", "--once", "--reverse")).code == 0
    for direction in ((), ("--reverse",)):
        echo = await receipts.tidegate("sync", "--once", "--json", *direction)
        assert (echo.code, json.loads(echo.out)["copied"], json.loads(echo.out)["deleted"]) == (0, 0, 0)
    assert await receipts.on("aws") == await receipts.on("azure")


@pytest.mark.parametrize("way", ["forward", "reverse"])
async def test_more_deletions_than_are_allowed_are_none(silent_receipts, way):
    receipts = silent_receipts
    for i in range(4):
        receipts.put(f"{i}")
    move = receipts.move()
    await move.add(quiet)
    for i in range(3):
        if way == "forward":
            receipts.delete(f"{i}")
        else:
            await receipts.delete_on_azure(f"{i}")
    options = ("--once", "--json", *(("--reverse",) if way == "reverse" else ()))
    target = "azure" if way == "forward" else "aws"
    held = await receipts.tidegate("sync", *options, "--max-deletions", "2")
    assert (held.code, json.loads(held.out)["withheld_deletions"]) == (4, 3)
    assert "weren't deleted" in held.err
    assert len(await receipts.on(target)) == 4
    allowed = await receipts.tidegate("sync", *options, "--max-deletions", "3")
    assert (allowed.code, json.loads(allowed.out)["deleted"]) == (0, 3)
    assert set(await receipts.on(target)) == {"3"}


# without effect


async def test_a_dry_run_says_what_would_be_done_and_does_nothing(silent_receipts):
    receipts = silent_receipts
    receipts.put("fine", b"1234")
    receipts.put("large", bytes(LARGE + 1))
    receipts.put("dot.")
    dry = await receipts.tidegate("copy", "--dry-run", "--json")
    said = json.loads(dry.out)
    assert (dry.code, said["copied"], said["bytes"], said["conflicts"]) == (4, 2, LARGE + 5, 1)
    assert not await receipts.azure.exists()
    assert not receipts.folder.exists()
    receipts.delete("dot.")
    assert (await receipts.tidegate("copy")).code == 0
    receipts.put("fine", b"5678")
    receipts.put("new", b"new")
    record = receipts.manifest.read_bytes()
    dry = await receipts.tidegate("copy", "--dry-run", "--json")
    assert (dry.code, json.loads(dry.out)["copied"]) == (0, 2)
    assert (await receipts.on("azure")).keys() == {"fine", "large"}
    assert (await receipts.on("azure"))["fine"] == b"1234"
    assert receipts.manifest.read_bytes() == record
