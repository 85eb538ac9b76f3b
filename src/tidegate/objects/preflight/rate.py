"""How long the copy will take, at the rate at which a few objects were read here."""

import asyncio
import time
from collections.abc import Sequence

from tidegate.objects.preflight.check import Asked, Asks, counted, duration, judged, size, url_of
from tidegate.objects.preflight.sample import Looked
from tidegate.objects.side import LARGE
from tidegate.objects.signing import Request
from tidegate.runbook.step import Finding

__all__ = ["RateFacts", "estimate", "judge_rate", "read_rate"]

SECONDS, BYTES, OBJECTS = 3.0, 64 * 2**20, 64
"""At most, of reading."""
SPREAD = 2.0
"""What azure takes to write isn't measured."""


class RateFacts(Asked):
    """What was read. `source`, `target`: requests per second that either side answered, so many `at_once`."""

    objects: int
    bytes: int
    seconds: float
    at_once: int
    source: float
    target: float


async def read_rate(aws: Asks, sample: Sequence[Looked], at_once: int, source: float, target: float) -> RateFacts:
    """The largest of the sample first, each at most its first LARGE bytes."""
    waiting = sorted((each for each in sample if each.readable and each.size), key=lambda each: each.size)
    objects = done = 0

    async def read() -> None:
        nonlocal objects, done
        while waiting and done < BYTES and objects < OBJECTS:
            each = waiting.pop()
            headers = {"range": f"bytes=0-{LARGE - 1}"} if each.size > LARGE else {}
            answer = await aws.ask(
                Request("GET", url_of(aws, each.key), headers=headers), {200, 206, 403, 404, 416}, LARGE
            )
            if answer.status in {200, 206} and answer.body is not None:
                objects, done = objects + 1, done + len(answer.body)

    began = time.monotonic()
    try:
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*(read() for _ in range(min(at_once, BYTES // LARGE))))
    except TimeoutError:
        pass  # what was read by then is the measure
    seconds = max(time.monotonic() - began, 1e-3)
    return RateFacts(objects=objects, bytes=done, seconds=seconds, at_once=at_once, source=source, target=target)


def estimate(facts: RateFacts, objects: int, count: int) -> tuple[float, float] | None:
    """Seconds, at least and at most, for so many objects and bytes; None if nothing was measured.

    Each object costs a request at either side, one after the other. At least: bytes flow while others are asked for. At
    most: one after the other, and azure half as fast.
    """
    if not facts.source or not facts.target or (count and not facts.bytes):
        return None
    asking = objects * (1 / facts.source + 1 / facts.target)
    flowing = count / (facts.bytes / facts.seconds) if count else 0.0
    return max(asking, flowing), SPREAD * (asking + flowing)


def judge_rate(where: str, facts: RateFacts, objects: int, count: int) -> Finding:
    found = estimate(facts, objects, count)
    shortest, longest = (duration(each) for each in found or (0.0, 0.0))
    speed = facts.bytes / facts.seconds
    return judged(
        "time",
        where,
        f"the copy takes about {shortest} to {longest}, if this machine does it alone: aws answered "
        f"{facts.source:,.0f} requests a second and azure {facts.target:,.0f}, {facts.at_once} at once; "
        f"{counted(facts.objects, 'object')} of {size(facts.bytes)} were read at {size(speed)} a second; "
        "writing wasn't measured",
        wrong="" if found or not objects else "how long the copy takes isn't known: no object could be read",
        mend="see why none can be read",
        verdict="inconclusive",
    )
