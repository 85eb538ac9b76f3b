"""What the plane asks of a server: every request signed, tried again while that may help, and its failure explained."""

import asyncio
import random
import re
import socket
import ssl
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from html import unescape
from typing import NamedTuple

from tidegate.errors import Refused, TidegateError, Unreachable
from tidegate.objects.credentials import EXPIRED, Credentials
from tidegate.objects.signing import Request
from tidegate.objects.wire import Broken, Origin, Pool

__all__ = ["TRY_AGAIN", "Answer", "Asker", "Http", "condition", "refused"]

PAUSES = (0.05, 0.2, 0.8, 1.6)
"""Seconds between the tries, about."""
LONGER = (3.2, 6.4, 12.8)
"""More of them for a server that is there and asks for patience."""
BUSY = {429, 503}
PATIENCE = 45.0
"""Seconds after which nothing is tried again."""
TRY_AGAIN = {408, 429, 500, 502, 503, 504}
FAILED = re.compile(rb"\s*(<\?xml[^>]*\?>)?\s*<Error>")
"""S3 begins to answer 200 before it has put the parts together, and says then that it couldn't."""
DENIED = {400, 401, 403}
CLOCK = 300
"""Seconds by which this machine's clock may differ from a server's; either cloud bears 15 minutes."""
NOT_THERE = {"NoSuchBucket", "ContainerNotFound", "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"}


class Answer(NamedTuple):
    """Header names are in lower case. `body` is None if it was longer than what was asked for at most."""

    status: int
    headers: dict[str, str]
    body: bytes | None
    retried: bool = False
    """An earlier try may have had its effect, and only its answer was lost."""

    @property
    def etag(self) -> str:
        """Without its quotes."""
        return self.headers.get("etag", "").strip('"')

    @property
    def code(self) -> str:
        """The error's name, as either cloud writes it; empty if there is none."""
        return self.headers.get("x-ms-error-code") or _element(self.body or b"", "Code")


class Http:
    """The connections to all servers. `close` may be followed by more requests. `retries`: requests asked again."""

    def __init__(self) -> None:
        self.retries = 0
        self._pools: dict[str, Pool] = {}
        self._context: ssl.SSLContext | None = None

    def pool(self, base: str) -> Pool:
        """To the server at which a URL points."""
        found = self._pools.get(base)
        if found is None:
            origin = Origin.of(base)
            if origin.secure and self._context is None:
                self._context = ssl.create_default_context()
            found = self._pools[base] = Pool(origin, self._context if origin.secure else None)
        return found

    async def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
        await asyncio.sleep(0)  # what was aborted says so in the loop's next round


class Asker:
    """Asks one server, whose URLs begin with `base`. `where` names it in errors."""

    def __init__(self, http: Http, base: str, where: str, credentials: Credentials) -> None:
        self.http, self.base, self.where = http, base, where
        self.credentials = credentials

    async def ask(self, request: Request, fine: set[int], at_most: int | None = None) -> Answer:
        """One of the `fine` answers. Raises Unreachable, or Refused for any other. No longer body is read."""
        failing, why, tries, pauses = 0.0, "", 0, PAUSES
        renewed = fresh = False
        while True:
            try:
                answer = await self._once(request, at_most, fresh=fresh)
                if answer.status == 200 and request.method == "POST" and FAILED.match(answer.body or b""):
                    answer = answer._replace(status=500)
                if answer.status in DENIED and not renewed and answer.code in EXPIRED:
                    renewed = True
                    self.credentials.forget()
                    continue
                if answer.status in fine:
                    return answer._replace(retried=True) if why else answer
                if answer.status not in TRY_AGAIN and answer.code != "RequestTimeout":
                    raise refused(answer, self.where)
                why = f"it answers {answer.status} {answer.code}".rstrip()
                if answer.status in BUSY:
                    pauses = PAUSES + LONGER
            except ssl.SSLCertVerificationError as error:
                raise Unreachable(
                    f"its certificate isn't trusted: {error.verify_message}",
                    where=self.where,
                    mend="mend its TLS, or name its authority in SSL_CERT_FILE",
                ) from None
            except ssl.SSLError as error:
                raise Unreachable(f"no TLS: {_first_line(error)}", where=self.where, mend="mend its TLS") from None
            except Broken as error:
                why = _first_line(error)
                if error.clean and not fresh:  # a kept connection that was closed while nobody asked
                    fresh = True
                    continue
                fresh = True
            except socket.gaierror as error:
                why = f"its name {Origin.of(self.base).address} isn't known here ({error.strerror})"
            except (OSError, TimeoutError) as error:
                why = _first_line(error)
            failing = failing or time.monotonic()  # what a long transfer took before it broke isn't counted
            if tries >= len(pauses) or time.monotonic() - failing > PATIENCE:
                break
            self.http.retries += 1
            await asyncio.sleep(pauses[tries] * random.uniform(0.7, 1.3))
            tries += 1
        raise Unreachable(
            f"the server doesn't answer: {why}", where=self.where, mend="see whether it runs and can be reached"
        )

    async def _once(self, request: Request, at_most: int | None, *, fresh: bool) -> Answer:
        signer = await self.credentials.signer()
        pool = self.http.pool(self.base)
        headers = signer.sign(request, datetime.now(UTC))
        url = request.full_url
        if signer.query:
            url += ("&" if request.query else "?") + signer.query
        target = url[url.index("/", 8) :] if "/" in url[8:] else "/"
        lines = [f"{request.method} {target} HTTP/1.1\r\nhost: {pool.origin.host}\r\naccept-encoding: identity"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if request.size or request.method in {"PUT", "POST"}:
            lines.append(f"content-length: {request.size}")
        head = "\r\n".join(lines) + "\r\n\r\n"
        if head.count("\n") != len(lines) + 3 or head.count("\r") != len(lines) + 3:
            raise Refused("a header has a line break in it", where=self.where, mend="rename it, or change its metadata")
        raw = await pool.ask(
            head.encode("utf-8", "surrogateescape"),
            request.stream.open() if request.stream else request.body,
            head_only=request.method == "HEAD",
            at_most=at_most,
            fresh=fresh,
        )
        return Answer(raw.status, raw.headers, raw.body)


def condition(over: str | None) -> dict[str, str]:
    """The header of a write over the object with this ETag; None: only where there is none."""
    return {"if-none-match": "*"} if over is None else {"if-match": f'"{over}"'}


def refused(answer: Answer, where: str) -> TidegateError:
    """What a server's no means, and what mends it."""
    code = answer.code
    message = _element(answer.body or b"", "Message").split("\n")[0]
    no = "refused" if answer.status >= 300 else "did something else than was asked for"
    why = f"the server {no}: {answer.status} {code}".rstrip() + (f": {message}" if message else "")
    region = answer.headers.get("x-amz-bucket-region", "")
    ahead = _ahead(answer.headers.get("date", ""))
    detail = _element(answer.body or b"", "AuthenticationErrorDetail")
    if "Skewed" in code or (answer.status == 403 and "date header" in f"{message} {detail}".lower()):
        mend = "set this machine's clock"
    elif answer.status in DENIED and abs(ahead) > CLOCK:  # an answer to HEAD has no text that says so
        mend = f"set this machine's clock: it is {abs(ahead) / 60:.0f} minutes {'ahead' if ahead > 0 else 'behind'}"
    elif code in NOT_THERE:
        mend = "correct its name, or create it"
    elif answer.status in {301, 307, 400} and (region or "egion" in message or "Redirect" in code):
        mend = f"correct the region: the bucket is in {region}" if region else "correct the region"
    elif code in EXPIRED:
        mend = "the credentials have expired: log in again, then give the command again"
    elif answer.status in {401, 403}:
        mend = "check the keys, and what they may do"
    elif answer.status == 507 or code in {"AccountQuotaExceeded", "InsufficientStorage"}:
        mend = "make room, then give the command again"
    else:
        mend = "see what the answer says"
    return Refused(why, where=where, mend=mend)


def _ahead(date: str) -> float:
    """Seconds by which this machine's clock is ahead of a server's."""
    try:
        return time.time() - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return 0.0


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
