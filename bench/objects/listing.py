"""Two sides of 1,000,000 equal objects listed and compared: `tidegate objects verify` and `rclone check`.

rclone compares S3's ETags with Azure's Content-MD5s, as they stand in the listings, 16 folders at once. It needs
minutes, so it is measured once. Fewer checkers make it slower and smaller; to print both listings with `rclone lsf`, to
sort and to compare them takes the same CPU seconds. That both tools do compare is shown first, on 1,000 objects, one of
which has another content and the same size: both must find it.
"""

import statistics
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Options, Used, cpu_seconds, run, say
from bench.objects.commands import BUCKET, CONTAINER, Command, Places, rclone, tidegate
from bench.objects.copies import verdict
from bench.objects.fastcloud import Fastcloud

__all__ = ["main"]

KEYS = 1_000_000
FEW = 1_000
RATE, MEMORY = 150_000, 150
"""At least so many keys a second; under so many MiB."""
OURS, PEER = "tidegate objects verify", "rclone check"
METHODS: dict[str, Callable[[Places], Command]] = {
    OURS: lambda places: tidegate(places, "verify"),
    PEER: lambda places: rclone(places, "check"),
}
DIFFERENT = {OURS: 4, PEER: 1}
"""The exit code that says so."""


@dataclass(frozen=True)
class Cost:
    """`servers`: CPU seconds of both sides together."""

    used: Used
    servers: float
    requests: int


def main(options: Options) -> None:
    keys = max(1, round(KEYS * options.scale))
    costs: dict[str, list[Cost]] = {method: [] for method in METHODS}
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name, Fastcloud(Path(name)) as cloud:
        cloud.mirror(BUCKET, CONTAINER, FEW)
        cloud.write_blob(CONTAINER, f"p07/obj-{7:07}.bin", b"changed!")
        for method in METHODS:
            _finds(method, cloud)
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name, Fastcloud(Path(name)) as cloud:
        say(f"  writing {keys:,} objects on both sides")
        cloud.mirror(BUCKET, CONTAINER, keys)
        for turn in range(options.times):
            for method in METHODS if turn == 0 else (OURS,):
                costs[method].append(_measured(method, cloud))
                say(f"  {method}: {costs[method][-1].used.wall:.2f} s, CPU {costs[method][-1].used.cpu:.2f} s")
    _print(keys, costs)


def _measured(method: str, cloud: Fastcloud) -> Cost:
    before, servers = cloud.served().requests, cpu_seconds(cloud.pid)
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        command = METHODS[method](Places(Path(folder), cloud.s3_url, cloud.blob_url))
        used, _ = run(command.argv, command.environment)
    return Cost(used, cpu_seconds(cloud.pid) - servers, cloud.served().requests - before - 1)


def _finds(method: str, cloud: Fastcloud) -> None:
    """Raises RuntimeError if it takes the sides for equal, which they aren't."""
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        command = METHODS[method](Places(Path(folder), cloud.s3_url, cloud.blob_url))
        ended = subprocess.run(command.argv, env=command.environment, capture_output=True, check=False)
    if ended.returncode != DIFFERENT[method]:
        raise RuntimeError(
            f"{method} doesn't find the one blob that differs: {ended.returncode} {ended.stderr[-500:]!r}"
        )


def _print(keys: int, costs: dict[str, list[Cost]]) -> None:
    print(f"{keys:,} equal objects on each side; medians of {len(costs[OURS])}\n")
    print("| method | wall s | keys/s | CPU s | peak MiB | servers' CPU s | requests | every wall |")
    print("|---|---|---|---|---|---|---|---|")
    for method, values in costs.items():
        wall = _median(values, _wall)
        print(
            f"| {method} | {wall:.2f} | {keys / wall:,.0f} | {_median(values, lambda cost: cost.used.cpu):.2f} "
            f"| {_median(values, _memory):.0f} | {_median(values, lambda cost: cost.servers):.2f} "
            f"| {values[0].requests:,} | {', '.join(f'{value.used.wall:.2f}' for value in values)} |"
        )
    rate, memory = keys / _median(costs[OURS], _wall), _median(costs[OURS], _memory)
    print("\n| what | ours | bound |\n|---|---|---|")
    print(f"| keys a second | {rate:,.0f} | at least {RATE:,}: {verdict(rate >= RATE)} |")
    print(f"| peak MiB | {memory:.0f} | under {MEMORY}: {verdict(memory < MEMORY)} |")
    print(f"| times rclone's speed | {_median(costs[PEER], _wall) / _median(costs[OURS], _wall):.2f} | none |")
    print("\nOne blob of 1,000 changed, of the same size: both found it.\n", flush=True)


def _median(values: Sequence[Cost], of: Callable[[Cost], float]) -> float:
    return statistics.median(of(each) for each in values)


def _wall(cost: Cost) -> float:
    return cost.used.wall


def _memory(cost: Cost) -> float:
    return cost.used.memory
