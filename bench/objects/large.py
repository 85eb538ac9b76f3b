"""Objects of which the bytes count: 1,000 x 1 MiB, and 4 x 256 MiB.

Fastcloud keeps every byte here, rather than drop what it is given: all of it is read again and hashed.
"""

from bench.measure import Options
from bench.objects.copies import Bounds, side_by_side
from bench.objects.sites import Data

__all__ = ["LARGE", "main"]

LARGE = (Data(1_000, 2**20), Data(4, 256 * 2**20))


def main(options: Options) -> None:
    for each in LARGE:
        data = each.scaled(options.scale)
        side_by_side(f"{data}", data, options.times, Bounds(speed=1.2, cpu=0.6))
