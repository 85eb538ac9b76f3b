"""Turns back and forth under load: how long writes stop, and whether any that was acknowledged is lost or doubled.

pgbench and writers of the application load the owner, autovacuum is busy on both sides. Writes are stopped from the
last acknowledgement on the old owner to the first on the new one, by the writers' own ledger.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections import Counter
from itertools import pairwise

from bench.postgres.load import Acknowledged, Route, Site, Writers, pgbench, sites
from tidegate.postgres.database import DatabaseMove
from tidegate.runbook.migration import other
from tidegate.switch.store import Ownership

__all__ = ["add_options", "main"]

PHASES = ("arm", "fence", "drain", "seal", "commit", "release")
SECONDS = 30


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--tps", type=int, default=300, help="pgbench's transactions per second")
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--scale", type=int, default=5, help="pgbench's: 1 is 100,000 rows")
    parser.add_argument("--rest", type=float, default=1.0, help="seconds from one turn to the next")
    parser.add_argument("--show", action="store_true", help="each turn by phases")


def main(options: argparse.Namespace) -> None:
    asyncio.run(_measure(options))


async def _measure(options: argparse.Namespace) -> None:
    with sites(options.scale, busy_autovacuum=True) as site:
        move = DatabaseMove("bench", site.spec, "bench")
        route = Route()
        await move.replicate(lambda _: None)
        with pgbench(site, route, options.tps), Writers(site, route, options.writers) as writers:
            phases = await _turns(move, route, writers, options)
        await move.close()
        _print(writers.ledger(), phases, site, route, options)


async def _turns(
    move: DatabaseMove, route: Route, writers: Writers, options: argparse.Namespace
) -> list[dict[str, float]]:
    phases: list[dict[str, float]] = []
    await writers.progress()
    for turn in range(1, options.turns + 1):
        await asyncio.sleep(options.rest)
        phases.append(await _turn(move, route, turn))
        await writers.progress()
        if options.show:
            print("  " + ", ".join(f"{k} {v * 1000:.1f} ms" for k, v in phases[-1].items()), file=sys.stderr)
    return phases


async def _turn(move: DatabaseMove, route: Route, epoch: int) -> dict[str, float]:
    """Seconds by phase."""
    seconds: dict[str, float] = {}
    store = move.store(route.cloud, epoch)
    deadline = time.monotonic() + SECONDS
    ownership = Ownership("bench", epoch, store.target)
    work = {
        "arm": store.arm,
        "fence": lambda: store.fence(deadline),
        "drain": lambda: store.drain(deadline),
        "seal": lambda: store.seal(deadline),
        "commit": lambda: store.commit(ownership),
        "release": store.release,
    }
    try:
        for phase in PHASES:
            began = time.monotonic()
            await work[phase]()
            seconds[phase] = time.monotonic() - began
            if phase == "arm":
                await store.lag()
            if phase == "commit":
                route.lead_to(store.target)
    finally:
        await store.close()
    return seconds


def stops(ledger: list[Acknowledged]) -> list[float]:
    """Seconds from the last acknowledgement on one side to the first on the other, turn by turn."""
    return [(after.at - before.at) / 1e9 for before, after in pairwise(ledger) if before.cloud != after.cloud]


def _print(
    ledger: list[Acknowledged],
    phases: list[dict[str, float]],
    site: Site,
    route: Route,
    options: argparse.Namespace,
) -> None:
    stopped = sorted(stops(ledger))
    there = Counter(key for (key,) in site.query(route.cloud, "select key from acknowledged"))
    lost = sum(1 for each in ledger if each.key not in there)
    doubled = sum(count - 1 for count in there.values())
    torn = site.query(
        route.cloud,
        "select (select sum(tbalance) from pgbench_tellers) - (select coalesce(sum(delta), 0) from pgbench_history)",
    )
    load = f"{options.turns} turns, {options.tps} tps and {options.writers} writers, autovacuum busy"
    values = ", ".join(f"{each * 1000:.0f}" for each in stopped)
    print(f"| what ({load}) | goal | measured | values |\n|---|---|---|---|")
    print(f"| writes stopped, median | under 200 ms | {statistics.median(stopped) * 1000:.0f} ms | {values} |")
    print(f"| writes stopped, maximum | under 1,000 ms | {stopped[-1] * 1000:.0f} ms | {len(stopped)} turns |")
    print(f"| acknowledged writes lost or doubled | 0 | {lost} and {doubled} | of {len(ledger):,} |")
    print(f"| pgbench's tellers and history apart | 0 | {torn[0][0]} | {other(route.cloud)} to {route.cloud} last |")
    for phase in PHASES:
        each = sorted(seconds[phase] * 1000 for seconds in phases)
        print(f"| {phase} | | {statistics.median(each):.1f} ms | at most {each[-1]:.1f} ms |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="bench.postgres.turns", description=__doc__)
    add_options(parser)
    main(parser.parse_args())
