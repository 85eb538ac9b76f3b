"""The network between the clouds: delayed, in order, cuttable."""

import asyncio
import contextlib
import random
import socket
import time

import pytest

from tidegate.errors import TidegateError
from tidegate.lab.servers.process import free_port
from tidegate.lab.servers.wan import Wan


@contextlib.asynccontextmanager
async def echo():
    """A server that sends back what it gets, and its end too."""

    async def answer(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        writer.close()

    port = free_port()
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    yield port
    server.close()


@contextlib.contextmanager
def wan(folder, delay, **targets):
    there = Wan(folder, targets, delay)
    try:
        yield there
    finally:
        there.stop()


async def exchange(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_what_goes_in_comes_out_in_order_and_whole(tmp_path):
    data = random.Random(1).randbytes(40_000_000)
    async with echo() as target:
        with wan(tmp_path, 0.01, link=target) as there:
            answers = await asyncio.gather(*(exchange(there.port("link"), data[i:]) for i in range(3)))
    assert answers == [data[i:] for i in range(3)]


async def test_each_direction_takes_its_delay(tmp_path):
    async with echo() as target:
        with wan(tmp_path, 0.1, link=target) as there:
            begin = time.monotonic()
            assert await exchange(there.port("link"), b"there and back") == b"there and back"
    assert time.monotonic() - begin >= 0.2


async def test_a_cut_link_breaks_its_connections_and_resets_new_ones_until_it_is_healed(tmp_path):
    async with echo() as target:
        with wan(tmp_path, 0, cut=target, whole=target) as there:
            reader, writer = await asyncio.open_connection("127.0.0.1", there.port("cut"))
            writer.write(b"before")
            assert await reader.readexactly(6) == b"before"
            there.cut("cut")
            there.cut("cut")
            with pytest.raises(ConnectionError):
                await reader.readexactly(1)
            writer.close()
            with pytest.raises(ConnectionError):
                await exchange(there.port("cut"), b"during")
            assert there.cut_links() == ["cut"]
            assert await exchange(there.port("whole"), b"beside it") == b"beside it"
            there.heal("cut")
            assert await exchange(there.port("cut"), b"after") == b"after"
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def test_behind_a_link_a_dead_server_refuses(tmp_path):
    with wan(tmp_path, 0, link=free_port()) as there, pytest.raises(ConnectionError):
        await exchange(there.port("link"), b"hello")


def test_a_link_that_is_not_there_is_named(tmp_path):
    with wan(tmp_path, 0, link=free_port()) as there, pytest.raises(TidegateError, match="no link sea") as told:
        there.cut("sea")
    assert "link" in told.value.mend


def test_it_leaves_nothing_listening(tmp_path):
    with wan(tmp_path, 0, link=free_port()) as there:
        port = there.port("link")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
