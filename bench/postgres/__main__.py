"""The figures of the PostgreSQL plane, measured: `make bench-postgres`, or `python -m bench.postgres [PART...]`.

A part is a module of this package, named in PARTS, with

    def main(options) -> None

with `times` and `scale` among its options, or with those that its `add_options` names, at their defaults:
`python -m bench.postgres.PART --help`. It starts what it needs, prints its table to stdout (progress to stderr), and
leaves nothing behind. Without a name all run, in this order. Nothing is asserted: the exit code is 0 also when a bound
is missed. A method and its peer are measured in one run, one after the other, in alternating order: only their ratio
means much on a machine that does other work too.
"""

import argparse
import importlib

from bench.measure import Options

PARTS = ("copy", "verify", "turns", "keep_up")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.postgres", description="The figures of the PostgreSQL plane.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--times", type=int, default=3, help="how often what has a median is measured")
    parser.add_argument("--scale", type=float, default=1.0, help="of the data: 1 is about 1 GB, 5M rows in one table")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no part is called {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}")
    for part in given.parts or PARTS:
        module = importlib.import_module(f"bench.postgres.{part}")
        options = Options(times=given.times, scale=given.scale)
        if hasattr(module, "add_options"):
            own = argparse.ArgumentParser()
            module.add_options(own)
            options = own.parse_args([])
        print(f"\n## {part}\n", flush=True)
        module.main(options)


if __name__ == "__main__":
    main()
