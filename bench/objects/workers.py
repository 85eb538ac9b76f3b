"""One worker against two, on PostgreSQL: 40,000 x 4 KiB, 100 ms added to every request, so that cores aren't the limit.

The workers wait for work before the copy begins; the copy itself lists, shares out and records, and copies nothing.
"""

import statistics
import sys
import tempfile
from pathlib import Path

from bench.measure import Options, cpu_seconds, run, say
from bench.objects.arrival import prove
from bench.objects.commands import environment, tidegate
from bench.objects.copies import verdict
from bench.objects.sites import Data, plain
from tidegate.lab.servers.postgres import Postgres
from tidegate.lab.servers.process import Process

__all__ = ["main"]

DATA = Data(40_000, 4 * 2**10)
LATENCY = 0.1
BOUND = 1.6
READY = "takes tasks from"
"""Said by a worker when it does."""
DATABASE = "queue_{turn}_{count}"


def main(options: Options) -> None:
    data = DATA.scaled(options.scale)
    walls: dict[int, list[float]] = {1: [], 2: []}
    used: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server's own user has to reach it
        server = Postgres(folder / "queue", 18)
        try:
            for turn in range(options.times):
                for count in (1, 2) if turn % 2 == 0 else (2, 1):
                    store = server.create_database(DATABASE.format(turn=turn, count=count))
                    wall, cpu = _copied(folder / "site", store, server.password_ref, count, data)
                    walls[count].append(wall)
                    used[count].append(cpu)
                    say(f"  workers: {count}: {wall:.2f} s, CPU {cpu:.2f} s")
        finally:
            server.kill()
    _print(data, walls, used)


def _copied(folder: Path, store: str, password: str, count: int, data: Data) -> tuple[float, float]:
    """Wall seconds of the copy, CPU seconds of the workers meanwhile."""
    with plain(folder, data, LATENCY) as at:
        secrets = environment(at.places) | {"TIDEGATE_QUEUE_PASSWORD": password}
        workers: list[Process] = []
        try:
            for number in range(count):
                argv = [sys.executable, "-m", "tidegate", "worker", "--store", store]
                workers.append(Process("worker", argv, folder / f"worker-{number}.log", env=secrets))
            for worker in workers:
                worker.wait_until(lambda log=worker.log: READY in log.read_text(errors="replace"))
            before = [cpu_seconds(worker.pid) for worker in workers]
            used, _ = run(tidegate(at.places, "copy", store=store).argv, secrets)
            cpu = sum(cpu_seconds(worker.pid) for worker in workers) - sum(before)
        finally:
            for worker in workers:
                worker.kill()
        assert at.cloud is not None
        at.cloud.delay(0)
        prove(at.s3, at.blob, data.count)
        return used.wall, cpu


def _print(data: Data, walls: dict[int, list[float]], used: dict[int, list[float]]) -> None:
    print(f"{data}, 100 ms; medians of {len(walls[1])}, all proved whole from outside\n")
    print("| workers | wall s | objects/s | their CPU s | every wall |\n|---|---|---|---|---|")
    for count, values in walls.items():
        wall = statistics.median(values)
        every = ", ".join(f"{value:.2f}" for value in values)
        print(f"| {count} | {wall:.2f} | {data.count / wall:,.0f} | {statistics.median(used[count]):.2f} | {every} |")
    ratio = statistics.median(walls[1]) / statistics.median(walls[2])
    print(f"\nTwo are {ratio:.2f} times as fast as one; at least {BOUND}: {verdict(ratio >= BOUND)}\n", flush=True)
