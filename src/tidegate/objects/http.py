"""The plane's one HTTP session: every request signed, tried again while that may help, and its failure explained."""

import asyncio
import io
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from html import unescape

import aiohttp
from yarl import URL

from tidegate.errors import Refused, TidegateError, Unreachable
from tidegate.objects.credentials import EXPIRED, Credentials
from tidegate.objects.signing import Request, Signer

__all__ = ["Answer", "Asker", "Http", "refused"]

CONNECTIONS = 48
TIMEOUT = aiohttp.ClientTimeout(total=120, sock_connect=10, sock_read=30)
PAUSES = (0.05, 0.2, 0.8)
"""Seconds between the tries."""
PATIENCE = 45.0
"""Seconds after which nothing is tried again."""
TRY_AGAIN = {408, 429, 500, 502, 503, 504}
NOT_THERE = {"NoSuchBucket", "ContainerNotFound", "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"}
BARE = {"Accept-Encoding": "identity"}
"""Bodies pass as they are stored."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is None if it was longer than what was asked for at most."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None
    retried: bool = False
    """An earlier try may have had its effect, and only its answer was lost."""

    @property
    def code(self) -> str:
        """The error's name, as either cloud writes it; empty if there is none."""
        return self.headers.get("x-ms-error-code") or _element(self.body or b"", "Code")


class Http:
    """Opened by the first request; `close` may be followed by more requests."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS),
                timeout=TIMEOUT,
                auto_decompress=False,
                headers=BARE,
                skip_auto_headers=("Content-Type", "User-Agent"),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


class Asker:
    """Asks one server. `where` names it in errors."""

    def __init__(self, http: Http, where: str, credentials: Credentials) -> None:
        self.http, self.where = http, where
        self._credentials = credentials

    async def ask(self, request: Request, fine: set[int], at_most: int | None = None) -> Answer:
        """One of the `fine` answers. Raises Unreachable, or Refused for any other. No longer body is read."""
        began, why, renewed = time.monotonic(), "", False
        for pause in (*PAUSES, None):
            try:
                answer = await self._once(request, await self._credentials.signer(), at_most)
                if answer.status in fine:
                    return replace(answer, retried=bool(why))
                if answer.code in EXPIRED and not renewed:
                    self._credentials.forget()
                    renewed = True
                elif answer.status not in TRY_AGAIN and answer.code != "RequestTimeout":
                    raise refused(answer, self.where)
                why = f"it answers {answer.status} {answer.code}".rstrip()
            except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
                raise Unreachable(
                    f"its certificate isn't trusted: {_first_line(error)}", where=self.where, mend="mend its TLS"
                ) from None
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                why = _first_line(error)
            if pause is None or time.monotonic() - began > PATIENCE:
                break
            await asyncio.sleep(pause)
        raise Unreachable(
            f"the server doesn't answer: {why}", where=self.where, mend="see whether it runs and can be reached"
        )

    async def _once(self, request: Request, signer: Signer, at_most: int | None) -> Answer:
        url = request.full_url
        if signer.query:
            url += ("&" if request.query else "?") + signer.query
        async with self.http.session.request(
            request.method,
            URL(url, encoded=True),
            headers=signer.sign(request, datetime.now(UTC)),
            data=io.BytesIO(request.body) if request.body else None,
            allow_redirects=False,
        ) as response:
            if at_most is not None and response.status < 300 and (response.content_length or 0) > at_most:
                response.close()
                return Answer(response.status, response.headers, None)
            return Answer(response.status, response.headers, await response.read())


def refused(answer: Answer, where: str) -> TidegateError:
    """What a server's no means, and what mends it."""
    code = answer.code
    message = _element(answer.body or b"", "Message").split("\n")[0]
    why = f"the server refused: {answer.status} {code}".rstrip() + (f": {message}" if message else "")
    if "Skewed" in code:
        mend = "set this machine's clock"
    elif code in NOT_THERE:
        mend = "correct its name, or create it"
    elif answer.status in {301, 307, 400} and ("Region" in message or "Redirect" in code):
        mend = "correct the region"
    elif answer.status in {401, 403}:
        mend = "check the keys, and what they may do"
    else:
        mend = "see what the answer says"
    return Refused(why, where=where, mend=mend)


def _element(body: bytes, name: str) -> str:
    """The text of an XML element (or of a field that JSON calls by the same name) in an error's short body."""
    text = body[:4096].decode(errors="replace")
    match = re.search(rf"<{name}>([^<]*)</{name}>", text)
    if match:
        return unescape(match[1]).strip()
    names = {"Code": "__type", "Message": "message"}
    match = re.search(rf'"{names.get(name, name)}"\s*:\s*"([^"]*)"', text)
    return match[1].rpartition("#")[2] if match else ""


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
