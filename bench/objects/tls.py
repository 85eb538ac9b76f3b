"""Small and large objects over TLS, both tools; there is no bound yet.

Both servers have an ECDSA certificate (P-256). On two cores what TLS costs the servers is part of the wall, for both
tools.
"""

from bench.measure import Options
from bench.objects import sites
from bench.objects.copies import Bounds, side_by_side
from bench.objects.large import LARGE
from bench.objects.small import LATENCY, SMALL

__all__ = ["main"]


def main(options: Options) -> None:
    for latency, each in ((0.0, SMALL), (LATENCY, SMALL), *((0.0, each) for each in LARGE)):
        data = each.scaled(options.scale)
        title = f"{data}, TLS" + (", 20 ms" if latency else "")
        side_by_side(title, data, options.times, Bounds(), latency=latency, site=sites.tls)
