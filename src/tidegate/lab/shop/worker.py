"""Settles orders: a writer that no edge sees, active in one cloud at a time.

python -m tidegate.lab.shop.worker --cloud aws --instance settler-aws-1 --endpoints FILE
"""

import argparse
import asyncio
import logging
from pathlib import Path

import asyncpg

from tidegate.lab.shop.stores import Current, follow, in_use

__all__ = ["main", "settle"]

BATCH = 20
PAUSE = 0.05

SETTLE = """
with due as (select id from shop.orders where status = 'placed' order by id limit $1 for update skip locked),
    settled as (insert into shop.settlements (order_id, settled_by) select id, $2 from due returning order_id)
update shop.orders set status = 'settled' where id in (select order_id from settled)
"""


async def settle(current: Current, instance: str) -> None:
    """A batch in one transaction, then the next. Inactive, it has no session at all."""
    while True:
        async with in_use(current) as stores:
            if stores is not None and stores.active and stores.pool is not None:
                try:
                    await stores.pool.execute(SETTLE, BATCH, instance)
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                    logging.getLogger("settler").warning("%s", error)
        await asyncio.sleep(PAUSE)


async def work(instance: str, endpoints: Path) -> None:
    current = Current()
    await asyncio.gather(follow(current, endpoints, instance), settle(current, instance))


def main() -> None:
    parser = argparse.ArgumentParser(prog="worker", description="The sample workload's worker in one cloud.")
    for name in ("--cloud", "--instance", "--endpoints"):
        parser.add_argument(name, required=True)
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(work(given.instance, Path(given.endpoints)))


if __name__ == "__main__":
    main()
