"""Credentials that are got when they are first needed, kept while they are good, and got anew before they expire."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from tidegate.errors import TidegateError
from tidegate.objects.signing import Signer

__all__ = ["EXPIRED", "NEVER", "Clock", "Credentials", "Granted"]

Clock = Callable[[], float]
"""Unix seconds."""
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidAuthenticationInfo"}
"""The codes by which AWS and Azure say that a token was good once."""

NEVER = float("inf")
MOMENT = 5.0
"""Seconds in which answers to requests that were signed before still come in, and a failure stands for all who ask."""
PAUSE = 30.0
"""Seconds until the next try, when new ones can't be had and the old ones still are good."""


@dataclass(frozen=True, slots=True)
class Granted:
    """`renew`: when to ask for new ones. `expires`: when these are no good any more. Unix seconds."""

    signer: Signer
    renew: float = NEVER
    expires: float = NEVER


class Credentials:
    """`grant` may block, for it runs in a thread; it raises InvalidMigration, Refused or Unreachable.

    It is told whether to get them anew: there are none yet, or a server says that they have expired.
    """

    def __init__(self, grant: Callable[[bool], Granted], clock: Clock = time.time) -> None:
        self._grant, self._clock = grant, clock
        self._granted: Granted | None = None
        self._since = -NEVER
        self._failure: TidegateError | None = None
        self._getting = asyncio.Lock()

    async def signer(self) -> Signer:
        """Cheap unless new ones are due."""
        granted = self._granted
        if granted is None or self._clock() >= granted.renew:
            async with self._getting:
                granted = self._granted
                if granted is None or self._clock() >= granted.renew:
                    granted = await self._renewed(granted)
        return granted.signer

    def forget(self) -> None:
        """A server said that they have expired: the next signer is a new one.

        Not if they are new already: then the answer was to a request that was signed before.
        """
        if self._clock() - self._since >= MOMENT:
            self._granted = None

    async def _renewed(self, old: Granted | None) -> Granted:
        if self._failure is not None and self._clock() - self._since < MOMENT:
            raise self._failure
        self._failure = None
        try:
            new = await asyncio.to_thread(self._grant, old is None)
        except TidegateError as error:
            now = self._clock()
            if old is None or now >= old.expires:
                self._failure, self._since = error, now
                raise
            new = Granted(old.signer, min(now + PAUSE, old.expires), old.expires)
        self._granted, self._since = new, self._clock()
        return new
