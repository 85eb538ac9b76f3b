"""How processes of the lab are told what to do: JSON lines on a unix socket.

A request is `{"verb": ..., ...}`, its answer `{"answer": ...}` or `{"error": {"kind", "why", "where", "mend"}}`.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from tidegate import errors
from tidegate.errors import TidegateError, Unreachable, UsageError

__all__ = ["Handler", "call", "described", "listen", "revived"]

Handler = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Verb and arguments in, answer out."""

LONGEST = 100
"""A unix socket's path has room for 107 bytes."""


async def listen(path: Path, handle: Handler) -> asyncio.Server:
    """Serve until closed. A TidegateError of `handle` becomes the caller's. Raises TidegateError for a long path."""
    _short(path)

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(json.dumps(await _answer(line, handle)).encode() + b"\n")
                await writer.drain()
        writer.close()

    path.unlink(missing_ok=True)
    return await asyncio.start_unix_server(converse, path)


def call(path: Path, verb: str, *, timeout: float = 60, **arguments: Any) -> Any:
    """The answer. Raises Unreachable if nobody listens there, TidegateError if the other side says so."""
    _short(path)
    try:
        with socket.socket(socket.AF_UNIX) as connection, contextlib.ExitStack() as files:
            connection.settimeout(timeout)
            connection.connect(str(path))
            connection.sendall(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
            line = files.enter_context(connection.makefile("rb")).readline()
    except OSError as error:
        raise Unreachable(f"nobody answers: {error.strerror or error}", where=str(path)) from None
    if not line:
        raise Unreachable("it ended while it was asked", where=str(path))
    document = cast("dict[str, Any]", json.loads(line))
    if error := document.get("error"):
        raise revived(error)
    return document["answer"]


def described(error: TidegateError) -> dict[str, str]:
    return {"kind": type(error).__name__, "why": error.why, "where": error.where, "mend": error.mend}


def revived(document: dict[str, str]) -> TidegateError:
    """The error again, of the same kind."""
    kinds: dict[str, type[TidegateError]] = {name: getattr(errors, name) for name in errors.__all__}
    return kinds[document["kind"]](document["why"], where=document["where"], mend=document["mend"])


async def _answer(line: bytes, handle: Handler) -> dict[str, Any]:
    try:
        arguments = cast("dict[str, Any]", json.loads(line))
        return {"answer": await handle(arguments.pop("verb"), arguments)}
    except TidegateError as error:
        return {"error": described(error)}
    except (KeyError, TypeError, ValueError) as error:
        return {"error": described(UsageError(f"this can't be done: {error!r}", where="lab"))}


def _short(path: Path) -> None:
    if len(str(path).encode()) > LONGEST:
        raise TidegateError("this path is too long for a socket", where=str(path), mend="choose a shorter folder")
