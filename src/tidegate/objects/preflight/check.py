"""How a check says its verdict, and how its facts are asked for."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, Protocol
from xml.etree import ElementTree as ET

from pydantic import BaseModel, ConfigDict

from tidegate.objects.http import Answer, refused
from tidegate.objects.signing import Request, encoded
from tidegate.runbook.step import Finding, Verdict

__all__ = [
    "Asked",
    "Asks",
    "Setting",
    "counted",
    "duration",
    "elements",
    "judged",
    "listed",
    "read_setting",
    "size",
    "text",
    "url_of",
]

SHOWN = 5
"""Names in a message."""
NO_SUCH_SETTING = {"NotImplemented", "UnsupportedArgument", "UnsupportedOperation"}
"""What servers call an error about a setting that they don't have."""


class Asked(BaseModel):
    """What the servers have answered."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Asks(Protocol):
    """Either side. `url`: of the bucket or container; `prefix`: of the keys that are moved, not in the keys here."""

    where: str
    url: str
    prefix: str

    async def ask(self, request: Request, fine: set[int], at_most: int | None = None) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Setting:
    """denied: the server doesn't tell this login. none: it has no such thing. `body`: of one that is set."""

    state: Literal["set", "unset", "denied", "none"]
    body: bytes = b""


async def read_setting(side: Asks, name: str) -> Setting:
    """A sub-resource of the bucket, such as `lifecycle`. Raises Refused where the bucket isn't there."""
    answer = await side.ask(Request("GET", side.url, {name: ""}), {200, 400, 403, 404, 405, 501})
    if answer.code == "NoSuchBucket":
        raise refused(answer, side.where)
    if answer.status == 501 or answer.code in NO_SUCH_SETTING:
        return Setting("none")
    if answer.status == 200:
        return Setting("set", answer.body or b"")
    # 405: the bucket's policy is told to nobody of another account
    return Setting("unset" if answer.status == 404 else "denied")


def judged(
    check: str, where: str, message: str, *, wrong: str = "", mend: str = "", verdict: Verdict = "fail"
) -> Finding:
    """A pass that says `message`; but if there is anything `wrong`, that, with its `mend`, as a `verdict`."""
    if wrong:
        return Finding(check=check, verdict=verdict, message=wrong, where=where, mend=mend)
    return Finding(check=check, verdict="pass", message=message, where=where)


def elements(body: bytes, name: str) -> list[ET.Element]:
    """All of this name, in any namespace, at any depth. None in a body that is no XML."""
    try:
        root = ET.fromstring(body)  # noqa: S314 - from the server itself
    except ET.ParseError:
        return []
    return [each for each in root.iter() if each.tag.rpartition("}")[2] == name]


def text(element: ET.Element, name: str) -> str:
    """Of a child, in any namespace; empty if there is none."""
    return element.findtext(f"{{*}}{name}") or ""


def url_of(side: Asks, key: str) -> str:
    return f"{side.url}/{encoded(side.prefix + key, '/')}"


def listed(names: Collection[str], count: int | None = None) -> str:
    """A few of them; `count`: how many there are if `names` isn't all."""
    more = (count or len(names)) - min(SHOWN, len(names))
    return ", ".join(list(names)[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def size(count: float) -> str:
    """Of bytes."""
    for unit, power in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 2**power:
            return f"{count / 2**power:,.1f} {unit}"
    return f"{count:,.0f} B"


def duration(seconds: float) -> str:
    """In the largest unit that fits."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{max(1, round(seconds))} s"
