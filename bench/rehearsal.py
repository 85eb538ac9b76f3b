"""The figures of a rehearsal, measured: `make bench`, or `python -m bench.rehearsal [--times 5]`.

Each row: what is measured, the bound, what was measured, and every single value. Nothing is asserted; the exit
code is 0 also when a bound is missed. Everything runs on this machine at the same time, so its other work shows.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHORT = ("--bake", "1.5", "--watch", "1.5")
"""The full data, less waiting: the switch and the guard don't depend on how long health is watched before."""
LOOK = 0.2


@dataclass(frozen=True)
class Rehearsed:
    """`memory`: the peak of the tidegate process alone, in MiB."""

    exit_code: int
    figures: dict[str, Any]
    memory: float


def rehearse(scenario: str, *options: str) -> Rehearsed:
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        argv = [
            *(sys.executable, "-m", "tidegate", "--store", f"{folder}/store", "rehearse", "--plain"),
            *("--scenario", scenario, "--json", str(figures), *options),
        ]
        print(f"  {scenario} {' '.join(options)}", file=sys.stderr, flush=True)
        log, peak = Path(folder) / "log", 0.0
        with log.open("w") as output:
            process = subprocess.Popen(argv, stdout=output, stderr=output)
            while process.poll() is None:
                peak = max(peak, _peak(process.pid))
                time.sleep(LOOK)
        if not figures.exists():
            sys.exit(f"{scenario} gave no figures:\n{log.read_text()[-2000:]}")
        return Rehearsed(process.returncode, json.loads(figures.read_text()), peak)


def _peak(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    line = next((line for line in status.splitlines() if line.startswith("VmHWM")), "VmHWM: 0 kB")
    return int(line.split()[1]) / 1024


def help_seconds() -> float:
    began = time.perf_counter()
    subprocess.run([Path(sys.executable).with_name("tidegate"), "--help"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def row(what: str, bound: str, values: Sequence[float], unit: str = "s") -> None:
    middle = statistics.median(values)
    print(f"| {what} | {bound} | {middle:.3g} {unit} | {', '.join(f'{value:.3g}' for value in values)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.rehearsal", description="The figures of a rehearsal.")
    parser.add_argument("--times", type=int, default=5, help="how often what has a median is measured")
    times = parser.parse_args().times
    print("| what | bound | median | values |\n|---|---|---|---|", flush=True)
    row("tidegate --help", "under 0.3 s", [help_seconds() for _ in range(times)])
    whole = rehearse("incremental")
    row("default rehearsal, in all", "under 180 s", [whole.figures["seconds"]["total"]])
    switches = [rehearse("incremental", *SHORT) for _ in range(times)]
    window = rehearse("window", *SHORT)
    row("writes stopped at the switch", "median under 0.5 s", [_seconds(r, "writes_stopped") for r in switches])
    smooth = [whole, *switches, window]
    row("failed requests, incremental and window", "0", [r.figures["requests"]["failed"] for r in smooth], "")
    faults = [rehearse("fault-before-switch", *SHORT) for _ in range(times)]
    row("fault at 25 % to decision", "median under 5 s", [_seconds(r, "detect") for r in faults])
    after = rehearse("fault-after-switch", *SHORT)
    rolled = [*faults, after]
    row("decision to the last answer from Azure", "under 0.5 s", [_seconds(r, "rollback") for r in rolled])
    every = [*smooth, *rolled]
    wrong = [r.figures["writes"]["lost"] + r.figures["writes"]["duplicated"] for r in every]
    row("acknowledged writes lost or duplicated", "0", wrong, "")
    row("memory of the tidegate process", "under 200 MiB", [r.memory for r in every], "MiB")
    row("exit codes", "0", [r.exit_code for r in every], "")


def _seconds(rehearsed: Rehearsed, key: str) -> float:
    value = rehearsed.figures["seconds"][key]
    return float("nan") if value is None else float(value)


if __name__ == "__main__":
    main()
