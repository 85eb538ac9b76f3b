"""Whether memory grows with the number of objects: 10,000 and 100,000 x 1 KiB, once each."""

from bench.measure import Options
from bench.objects.copies import Bounds, side_by_side
from bench.objects.sites import Data

__all__ = ["main"]


def main(options: Options) -> None:
    for each in (Data(10_000, 2**10), Data(100_000, 2**10)):
        data = each.scaled(options.scale)
        side_by_side(f"{data}", data, 1, Bounds())
