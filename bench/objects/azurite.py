"""Between two other servers: `rclone serve s3` to Azurite, 2,000 x 4 KiB and 100 x 1 MiB.

Azurite is the limit, at about 1,000 blobs a second; it copies from no URL, so all goes through the client.
"""

from bench.measure import Options
from bench.objects import sites
from bench.objects.copies import PEER, STREAM, Bounds, side_by_side
from bench.objects.sites import Data

__all__ = ["main"]


def main(options: Options) -> None:
    for each in (Data(2_000, 4 * 2**10), Data(100, 2**20)):
        data = each.scaled(options.scale)
        side_by_side(
            f"{data}, rclone serve s3 to Azurite",
            data,
            options.times,
            Bounds(),
            site=sites.azurite,
            methods=(STREAM, PEER),
        )
