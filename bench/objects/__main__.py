"""The figures of the objects plane, measured: `make bench-objects`, or `python -m bench.objects [PART...]`.

A part is a module of this package, named in PARTS, with

    def main(options: Options) -> None

It starts what it needs, prints its tables to stdout (progress to stderr), and leaves nothing behind. Without a name all
run, in this order. Nothing is asserted about a figure: the exit code is 0 also when a bound is missed; but a copy that
isn't whole, looked at from outside, ends the run. tidegate and rclone are measured in one run, one after the other, in
alternating order: only their ratio means much on a machine that does other work too, and the CPU seconds more than the
wall.
"""

import argparse
import importlib
import os
import subprocess

from bench.measure import Options
from bench.objects.commands import RCLONE

PARTS = ("small", "large", "listing", "memory", "azurite", "tls", "workers", "outcomes")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.objects", description="The figures of the objects plane.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--times", type=int, default=3, help="how often what has a median is measured")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of objects")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no part is called {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}")
    version = subprocess.run([RCLONE, "version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    print(f"{os.cpu_count()} cores for clients and servers; {version}", flush=True)
    for part in given.parts or PARTS:
        print(f"\n## {part}\n", flush=True)
        importlib.import_module(f"bench.objects.{part}").main(Options(times=given.times, scale=given.scale))


if __name__ == "__main__":
    main()
