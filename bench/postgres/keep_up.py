"""Whether native replication keeps up: pgbench at a rate for a while, and how far behind the copy is meanwhile and at
the end, in seconds, by heartbeats.
"""

import argparse
import asyncio
import math
import statistics
import time

from bench.postgres.load import Route, pgbench, sites
from tidegate.postgres.database import DatabaseMove
from tidegate.postgres.replication import Stream

__all__ = ["add_options", "main"]

LOOK = 1.0


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tps", type=int, default=1000, help="pgbench's transactions per second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--scale", type=int, default=10, help="pgbench's: 1 is 100,000 rows")


def main(options: argparse.Namespace) -> None:
    asyncio.run(_measure(options))


async def _measure(options: argparse.Namespace) -> None:
    with sites(options.scale) as site:
        move = DatabaseMove("bench", site.spec, "bench")
        await move.replicate(lambda _: None)
        stream = move.store("aws", 1).forward
        count = "select count(*) from pgbench_history"
        lags: list[float] = []
        with pgbench(site, Route(), options.tps, clients=8):
            began = time.monotonic()
            while time.monotonic() < began + options.seconds:
                await asyncio.sleep(LOOK)
                lags.append(await _seconds(stream))
        took = time.monotonic() - began
        end = await _seconds(stream, options.seconds)
        done = int(site.query("aws", count)[0][0])
        await move.close()
    load = f"pgbench at {options.tps} tps for {options.seconds:g} s"
    print(f"| what ({load}) | goal | measured | values |\n|---|---|---|---|")
    values = ", ".join(f"{each:.2f}" for each in lags[-10:])
    print(f"| lag at the end | under 1 s | {lags[-1]:.3f} s | {values} |")
    print(f"| lag meanwhile, median and maximum | | {statistics.median(lags):.3f} s, {max(lags):.3f} s | |")
    print(f"| lag once the load has ended | | {end:.3f} s | |")
    print(f"| transactions per second | {options.tps} | {done / took:.0f} | |")


async def _seconds(stream: Stream, patience: float = 1.0) -> float:
    lag = await stream.lag_seconds(patience)
    return math.inf if lag is None else lag


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="bench.postgres.keep_up", description=__doc__)
    add_options(parser)
    main(parser.parse_args())
