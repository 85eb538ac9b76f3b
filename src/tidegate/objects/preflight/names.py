"""Names, in one pass over a sorted listing, in constant memory: held as they are, folded, or in each other's way.

Blob keeps a leading / and //, and a name that ends with /, in a flat namespace. In a hierarchical one a name is a path:
a file and a directory can't share it, // is one /, and a name that ends with / is a directory. Sources: "Naming and
Referencing Containers, Blobs, and Metadata" and "Azure Data Lake Storage hierarchical namespace", learn.microsoft.com.
"""

import re
from collections.abc import Callable

from pydantic import Field

from tidegate.objects.names import refused_by_blob
from tidegate.objects.preflight.check import Asked, Asks, counted, judged, listed, url_of
from tidegate.objects.signing import Request
from tidegate.runbook.step import Finding

__all__ = ["NameFacts", "Names", "folded", "judge_names", "judge_paths", "read_collisions"]

KEPT = 100
"""Names that are kept to be shown, and looked up under what they would become."""
DEEPEST = 61
"""Segments in a hierarchical namespace: 63, with the container's and the host's."""


class NameFacts(Asked):
    """`refused`: the first keys that Blob can't hold, with the reason; `collisions`: of those, two that become one.

    `mapped`: keys whose blobs are called otherwise. `both`: keys that are a file and a folder of others. `sorted`: the
    listing was, or `both` isn't complete.
    """

    refused: dict[str, str] = Field(default_factory=dict[str, str])
    refused_count: int = 0
    mapped: int = 0
    collisions: list[tuple[str, str]] = Field(default_factory=list[tuple[str, str]])
    both: list[str] = Field(default_factory=list[str])
    both_count: int = 0
    leading: int = 0
    doubled: int = 0
    folders: int = 0
    deep: int = 0
    sorted: bool = True


class Names:
    """`see` takes the keys in order. `refuses`: why a key can't be held; `named`: what the blob is called."""

    def __init__(self, refuses: Callable[[str], str] = refused_by_blob, named: Callable[[str], str] = str) -> None:
        self._refuses, self._named = refuses, named
        self._refused: dict[str, str] = {}
        self._both: list[str] = []
        self._refused_count = self._both_count = self._mapped = 0
        self._leading = self._doubled = self._folders = self._deep = 0
        self._sorted = True
        self._last = ""
        self._open: list[tuple[str, bool]] = []
        """Keys that the present one begins with, each with whether it was told: `a!` sorts between `a` and `a/b`."""

    def see(self, key: str) -> None:
        name = self._named(key)
        self._mapped += name != key
        if why := self._refuses(key):
            self._refused_count += 1
            if len(self._refused) < KEPT:
                self._refused[key] = why
        self._leading += name.startswith("/")
        self._doubled += "//" in name
        self._folders += name.endswith("/")
        self._deep += name.count("/") >= DEEPEST
        self._sorted &= key > self._last or not self._last
        self._last = key
        self._nest(key)

    def _nest(self, key: str) -> None:
        while self._open and not key.startswith(self._open[-1][0]):
            self._open.pop()
        for place, (above, told) in enumerate(self._open):
            # `a/` is the folder itself, not a file beside it
            if not told and key.startswith(f"{above}/"):
                self._open[place] = (above, True)
                self._both_count += 1
                self._both += [above] if len(self._both) < KEPT else []
        if not key.endswith("/"):
            self._open.append((key, False))

    def facts(self) -> NameFacts:
        return NameFacts(
            refused=self._refused,
            refused_count=self._refused_count,
            mapped=self._mapped,
            both=self._both,
            both_count=self._both_count,
            leading=self._leading,
            doubled=self._doubled,
            folders=self._folders,
            deep=self._deep,
            sorted=self._sorted,
        )


def folded(key: str) -> str:
    """What Blob, or a client's path handling before it, makes of a name that it doesn't hold as it is."""
    segments: list[str] = []
    for segment in key.replace("\\", "/").split("/"):
        if segment == "..":
            segments[-1:] = []
        elif segment != ".":
            segments.append(re.sub(r"\.+$", "", segment))
    return "/".join(segments)


async def read_collisions(aws: Asks, facts: NameFacts) -> NameFacts:
    """Of the kept names that can't be held: which would become the name of another object."""
    found: list[tuple[str, str]] = []
    seen: dict[str, str] = {}
    for key in facts.refused:
        name = folded(key)
        if name in seen:
            found.append((seen[name], key))
        elif name and name != key:
            answer = await aws.ask(Request("HEAD", url_of(aws, name)), {200, 400, 403, 404})
            if answer.status in {200, 400}:  # 400: there, encrypted with a customer's key
                found.append((name, key))
        seen.setdefault(name, key)
    return facts.model_copy(update={"collisions": found})


def judge_names(where: str, facts: NameFacts) -> list[Finding]:
    """`where`: the target."""
    refused = listed([f"{key!r} ({why})" for key, why in facts.refused.items()], facts.refused_count)
    odd = " and ".join(filter(None, (_some(facts.leading, "begin with /"), _some(facts.doubled, "hold //"))))
    mapped = f"; {facts.mapped:,} under a name that tells the key" if facts.mapped else ""
    clients = f"; {odd}: Blob keeps them, but some client libraries cut slashes off" if odd else ""
    return [
        judged(
            "names",
            where,
            f"Blob can hold every name{mapped}{clients}",
            wrong=f"Blob can't hold {counted(facts.refused_count, 'name')} unchanged: {refused}"
            if facts.refused_count
            else "",
            mend="rename these objects on AWS, or have names mapped (names: map, --map-names)",
        ),
        judged(
            "names.folded",
            where,
            "no two names would become one",
            wrong=f"two names would become one: {listed([f'{one!r} and {two!r}' for one, two in facts.collisions])}"
            if facts.collisions
            else "",
            mend="rename one of each on AWS",
        ),
    ]


def judge_paths(where: str, facts: NameFacts, hierarchical: bool | None) -> Finding:
    """What a hierarchical namespace can't hold; `hierarchical`: whether it is one, None if nobody may know."""
    both = listed([repr(key) for key in facts.both], facts.both_count)
    wrong = [
        _some(facts.both_count, f"are a file, and a folder of others ({both})"),
        _some(facts.doubled, "hold //, which becomes /"),
        _some(facts.leading, "begin with /, which is cut off"),
        _some(facts.folders, "end with /, which makes them directories"),
        _some(facts.deep, f"have more than {DEEPEST} segments"),
        "" if facts.sorted else "the listing isn't sorted, so not every file that is a folder too was seen",
    ]
    said = "; ".join(filter(None, wrong))
    if hierarchical is False:
        return judged("names.paths", where, "the account's namespace is flat")
    known = "the account's namespace is hierarchical"
    unknown = "whether the account's namespace is hierarchical may not be read"
    return judged(
        "names.paths",
        where,
        f"{known if hierarchical else unknown}; every name is a path of its own",
        wrong=f"{known if hierarchical else f'{unknown}; if it is'}: {said}" if said else "",
        mend="take an account without a hierarchical namespace, or rename these objects on AWS",
        verdict="fail" if hierarchical else "inconclusive",
    )


def _some(count: int, what: str) -> str:
    return f"{count:,} names {what}" if count else ""
