"""Copies side by side: tidegate from server to server, tidegate through itself, and rclone, each proved whole."""

import sqlite3
import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Used, run, say
from bench.objects.arrival import SAMPLE, prove
from bench.objects.commands import Command, Places, rclone, tidegate
from bench.objects.sites import Data, OpenSite, plain

__all__ = ["BLOCK", "METHODS", "OURS", "PEER", "STREAM", "Bounds", "Cost", "copied", "side_by_side", "verdict"]

SERVER, STREAM, PEER = "tidegate, server to server", "tidegate, through itself", "rclone"
OURS = (SERVER, STREAM)
METHODS: dict[str, Callable[[Places], Command]] = {
    SERVER: lambda places: tidegate(places, "copy", "--how", "server"),
    STREAM: lambda places: tidegate(places, "copy", "--how", "stream"),
    PEER: lambda places: rclone(places, "copy"),
}
BLOCK = 4 * 2**20
"""Bytes up to which rclone puts an object whole."""


@dataclass(frozen=True)
class Cost:
    """`requests`: that the servers saw, together; None if they don't count.

    `rungs`: of the verification ladder, with the number of objects that stand on each, as tidegate's manifest has them.
    """

    used: Used
    requests: int | None
    rungs: dict[str, int]


@dataclass(frozen=True)
class Bounds:
    """`speed`: at least so many times rclone's. `cpu`: at most this share of rclone's seconds. None: only printed.

    `memory`: under so many MiB, of ours alone.
    """

    speed: float | None = None
    cpu: float | None = None
    memory: float = 200


def side_by_side(
    title: str,
    data: Data,
    times: int,
    bounds: Bounds,
    *,
    latency: float = 0.0,
    site: OpenSite = plain,
    methods: Sequence[str] = tuple(METHODS),
) -> None:
    """Measures, alternating, and prints. Every blob of more than a MiB is read again afterwards, of others a sample."""
    costs: dict[str, list[Cost]] = {method: [] for method in methods}
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        for turn in range(times):
            for method in methods if turn % 2 == 0 else reversed(methods):
                cost = copied(Path(folder) / "site", METHODS[method], data, latency=latency, site=site)
                costs[method].append(cost)
                say(f"  {title}: {method}: {cost.used.wall:.2f} s, CPU {cost.used.cpu:.2f} s")
    _print(title, data, costs, bounds)


def copied(
    folder: Path, method: Callable[[Places], Command], data: Data, *, latency: float = 0.0, site: OpenSite = plain
) -> Cost:
    """One copy. `folder` must not exist. Raises RuntimeError if it fails, or if not all has arrived."""
    with site(folder, data, latency) as at:
        before = at.requests()
        command = method(at.places)
        used, _ = run(command.argv, command.environment)
        after = at.requests()
        if at.cloud is not None:
            at.cloud.delay(0)  # the proof isn't measured
        prove(at.s3, at.blob, data.count, read=data.count if data.size >= 2**20 else SAMPLE)
        requests = None if before is None or after is None else after - before - 1
        return Cost(used, requests, _rungs(at.places.manifest))


def verdict(met: bool) -> str:
    return "met" if met else "not met"


def _print(title: str, data: Data, costs: dict[str, list[Cost]], bounds: Bounds) -> None:
    large = data.size >= 2**20
    amount, unit = (data.count * data.size / 2**20, "MiB/s") if large else (data.count, "objects/s")
    print(f"{title}; medians of {len(next(iter(costs.values())))}, all proved whole from outside\n")
    print(f"| method | wall s | {unit} | CPU s | peak MiB | requests | verified by itself | every wall |")
    print("|---|---|---|---|---|---|---|---|")
    for method, values in costs.items():
        wall, cpu, memory = _median(values, _wall), _median(values, _cpu), _median(values, _memory)
        requests = "" if values[0].requests is None else f"{_median(values, _requests):,.0f}"
        walls = ", ".join(f"{value.used.wall:.2f}" for value in values)
        print(
            f"| {method} | {wall:.2f} | {amount / wall:,.0f} | {cpu:.2f} | {memory:.0f} | {requests} "
            f"| {_verified(method, values[-1], data)} | {walls} |"
        )
    print("\n| against rclone | speed | bound | CPU seconds | bound | peak MiB, bound |")
    print("|---|---|---|---|---|---|")
    for method, values in costs.items():
        if method == PEER:
            continue
        speed = _median(costs[PEER], _wall) / _median(values, _wall)
        share = _median(values, _cpu) / _median(costs[PEER], _cpu)
        least = "none" if bounds.speed is None else f"at least {bounds.speed:g}: {verdict(speed >= bounds.speed)}"
        most = "none" if bounds.cpu is None else f"at most {bounds.cpu:.2g}: {verdict(share <= bounds.cpu)}"
        under = f"under {bounds.memory:g}: {verdict(_median(values, _memory) < bounds.memory)}"
        print(f"| {method} | {speed:.2f} times | {least} | {share:.2f} | {most} | {under} |")
    print(flush=True)


def _rungs(manifest: Path) -> dict[str, int]:
    """Empty if there is no manifest: rclone keeps none."""
    if not manifest.exists():
        return {}
    with closing(sqlite3.connect(f"file:{manifest}?mode=ro", uri=True)) as db:
        return dict(db.execute("select rung, count(*) from objects group by rung"))


def _verified(method: str, cost: Cost, data: Data) -> str:
    """What the method itself says; see `commands` for rclone's."""
    if method == PEER:
        return "MD5, by the server" if data.size <= BLOCK else "blocks as sent; the whole's MD5 only claimed"
    return ", ".join(f"{rung or 'nothing'}: {count:,}" for rung, count in cost.rungs.items()) or "nothing"


def _median(values: Sequence[Cost], of: Callable[[Cost], float]) -> float:
    return statistics.median(of(each) for each in values)


def _wall(cost: Cost) -> float:
    return cost.used.wall


def _cpu(cost: Cost) -> float:
    return cost.used.cpu


def _memory(cost: Cost) -> float:
    return cost.used.memory


def _requests(cost: Cost) -> float:
    return cost.requests or 0
