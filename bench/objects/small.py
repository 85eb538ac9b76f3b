"""Many small objects: 10,000 x 4 KiB, without latency and with 20 ms added to every request."""

from bench.measure import Options
from bench.objects.copies import Bounds, side_by_side
from bench.objects.sites import Data

__all__ = ["SMALL", "main"]

SMALL = Data(10_000, 4 * 2**10)
LATENCY = 0.02


def main(options: Options) -> None:
    data = SMALL.scaled(options.scale)
    side_by_side(f"{data}", data, options.times, Bounds(speed=2.5, cpu=1 / 3))
    side_by_side(f"{data}, 20 ms", data, options.times, Bounds(speed=4), latency=LATENCY)
