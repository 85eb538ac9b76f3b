"""The container and its account: there or to be made, empty, not kept from changing, flat or hierarchical."""

import asyncio
import re
import time
from typing import Literal

from pydantic import Field

from tidegate.objects.blob import BlobSide
from tidegate.objects.preflight.check import Asked, judged
from tidegate.objects.signing import Request
from tidegate.runbook.step import Finding

__all__ = ["TargetFacts", "judge_target", "read_target"]

NAME = re.compile(r"(\$root|\$web|\$logs|(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*)")
"""Of a container."""
ASKED = 1
"""Requests for each place at once, to see how fast the account answers."""


class TargetFacts(Asked):
    """`hierarchical`: the account's namespace; None if this login may not know. `kind`: of account; empty likewise.

    `kept`: what keeps the container's blobs from being changed or deleted.
    """

    container: str
    state: Literal["absent", "empty", "ours", "full"]
    hierarchical: bool | None
    kind: str = ""
    kept: list[str] = Field(default_factory=list[str])
    requests_per_second: float = 0.0


async def read_target(azure: BlobSide, *, begun: bool, at_once: int) -> TargetFacts:
    """`begun`: the run has proved the container empty before."""
    container = Request("HEAD", azure.url, {"restype": "container"})
    answer = await azure.ask(container, {200, 404})
    there = answer.status == 200
    state: Literal["absent", "empty", "ours", "full"] = "ours" if begun else "empty"
    if there and not begun and await azure.holds_anything():
        state = "full"
    headers = answer.headers
    held = {"x-ms-has-immutability-policy": "an immutability policy", "x-ms-has-legal-hold": "a legal hold"}
    account = await _account(azure)
    places = asyncio.Semaphore(at_once)

    async def ask() -> None:
        async with places:
            await azure.ask(container, {200, 404})

    began = time.monotonic()
    await asyncio.gather(*(ask() for _ in range(ASKED * at_once)))
    hierarchical = account.get("x-ms-is-hns-enabled")
    return TargetFacts(
        container=azure.spec.container,
        state=state if there else "absent",
        hierarchical=None if hierarchical is None else hierarchical == "true",
        kind=account.get("x-ms-account-kind", ""),
        kept=[what for name, what in held.items() if headers.get(name) == "true"],
        requests_per_second=ASKED * at_once / (time.monotonic() - began),
    )


async def _account(azure: BlobSide) -> dict[str, str]:
    """A SAS may only do for the container."""
    found: dict[str, str] = {}
    for url in (f"{azure.url.rpartition('/')[0]}/", azure.url):
        query = {"restype": "account", "comp": "properties"}
        answer = await azure.ask(Request("GET", url, query), {200, 400, 401, 403, 404, 409})
        if answer.status == 200:
            found = answer.headers
            if "x-ms-is-hns-enabled" in found:
                break
    return found


def judge_target(where: str, facts: TargetFacts, *, beside: bool) -> list[Finding]:
    """`beside`: the copy may go beside what the container has."""
    state = {"absent": "the container will be made", "empty": "the container is empty", "ours": "the run has begun it"}
    return [
        judged(
            "empty",
            where,
            state.get(facts.state, ""),
            wrong="the container on azure isn't empty" if facts.state == "full" else "",
            mend="give an empty one, or none" + (", or go on: what is there stays as it is" if beside else ""),
            verdict="inconclusive" if beside else "fail",
        ),
        judged(
            "container",
            where,
            "the container's name is one that Azure takes",
            wrong="" if NAME.fullmatch(facts.container) else f"{facts.container!r} can't be a container's name",
            mend="3 to 63 small letters, digits and single hyphens, beginning and ending with a letter or digit",
        ),
        judged(
            "immutable",
            where,
            "no policy keeps blobs from being changed or deleted",
            wrong=f"the container has {' and '.join(facts.kept)}: blobs can be made, but not changed or deleted"
            if facts.kept
            else "",
            mend="take another container, and set the policy after the migration",
        ),
        judged(
            "account",
            where,
            f"the account holds block blobs ({facts.kind or 'its kind may not be read'})",
            wrong="an account of kind FileStorage holds no blobs" if facts.kind == "FileStorage" else "",
            mend="take an account of kind StorageV2 or BlockBlobStorage",
        ),
    ]
