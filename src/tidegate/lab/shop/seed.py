"""Fills the shop: roles, schema, rows and receipts, on AWS alone.

python -m tidegate.lab.shop.seed --dsn DSN --password REF --s3 URL --bucket NAME --app-password REF ...

Passwords and keys are references; the bucket exists.
"""

import argparse
import asyncio
import random
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import obstore
from obstore.store import S3Store

from tidegate.lab.shop.receipt import receipt, receipt_key
from tidegate.secret import resolve

__all__ = ["customers", "main"]

COUNTRIES = ("SE", "DE", "US", "FR", "JP", "BR", "IN", "GB", "ES", "PL", "NL", "CA")
PRODUCTS = 500
PUTS = 16
SHARES = {"customers": 0.05, "orders": 0.25, "order_lines": 0.5, "events": 0.2}
"""What part of the rows each table gets."""

GRANTS = """
create role shop_owner nologin;
create role shop_app login password {app};
create role shop_worker login password {worker};
grant usage on schema shop to shop_app, shop_worker;
grant select, insert, update, delete on all tables in schema shop to shop_app;
grant usage, select on all sequences in schema shop to shop_app;
grant select, update on shop.orders to shop_worker;
grant select, insert on shop.settlements, shop.events to shop_worker;
grant usage, select on all sequences in schema shop to shop_worker;
create trigger order_total after insert on shop.order_lines for each row execute function shop.add_to_total();
alter schema shop owner to shop_owner;
analyze;
"""


def customers(rows: int) -> int:
    """How many of so many rows are customers, numbered from 1."""
    return max(1, int(rows * SHARES["customers"]))


async def seed(arguments: argparse.Namespace) -> None:
    connection = await asyncpg.connect(arguments.dsn, password=resolve(arguments.password))
    try:
        chance = random.Random(1)
        await connection.execute((Path(__file__).with_name("schema.sql")).read_text())
        orders = await _rows(connection, arguments.rows, chance)
        app, worker = (_literal(resolve(ref)) for ref in (arguments.app_password, arguments.worker_password))
        await connection.execute(GRANTS.format(app=app, worker=worker))
        await _receipts(arguments, orders[: arguments.objects])
    finally:
        await connection.close()


async def _rows(connection: Any, rows: int, chance: random.Random) -> list[tuple[str, int]]:
    """(write id, customer) of every order."""
    counts = {table: max(1, int(rows * share)) for table, share in SHARES.items()}
    began = datetime(2025, 6, 1, tzinfo=UTC)

    async def load(table: str, columns: list[str], records: Any) -> None:
        await connection.copy_records_to_table(table, schema_name="shop", columns=columns, records=records)

    customers = counts["customers"]
    profiles = ('{"newsletter": true}', '{"newsletter": false, "tier": 1.0}', "{}")
    await load(
        "customers",
        ["name", "country", "profile"],
        [(f"Customer {i}", chance.choice(COUNTRIES), profiles[i % 3]) for i in range(customers)],
    )
    await load(
        "products",
        ["sku", "title", "price"],
        [(f"sku-{i:04}", f"Product {i}", round(chance.uniform(1, 200), 2)) for i in range(PRODUCTS)],
    )
    orders = [
        (str(uuid.UUID(int=chance.getrandbits(128), version=4)), 1 + i % customers) for i in range(counts["orders"])
    ]
    settled = [
        (write_id, customer, 100_000 + i, "settled", began + timedelta(seconds=30 * i))
        for i, (write_id, customer) in enumerate(orders)
    ]
    await load("orders", ["write_id", "customer_id", "invoice", "status", "placed_at"], settled)
    await connection.execute(f"select setval('shop.invoice_numbers', {100_000 + len(orders)})")
    lines = counts["order_lines"]
    await load(
        "order_lines",
        ["order_id", "line", "product_id", "quantity"],
        [(1 + i % len(orders), 1 + i // len(orders), 1 + chance.randrange(PRODUCTS), 1 + i % 4) for i in range(lines)],
    )
    events = [(began + timedelta(minutes=7 * i), "browsed", f'{{"page": {i % 40}}}') for i in range(counts["events"])]
    await load("events", ["at", "what", "detail"], events)
    return orders


async def _receipts(arguments: argparse.Namespace, orders: list[tuple[str, int]]) -> None:
    store = S3Store(
        arguments.bucket,
        endpoint=arguments.s3,
        region=arguments.region,
        access_key_id=resolve(arguments.access_key),
        secret_access_key=resolve(arguments.secret_key),
        client_options={"allow_http": True},
    )
    waiting = list(reversed(orders))

    async def put() -> None:
        while waiting:
            write_id, customer = waiting.pop()
            body = receipt(write_id, customer, [(1, 1)])
            await obstore.put_async(store, receipt_key(write_id), body, attributes={"Content-Type": "text/plain"})

    await asyncio.gather(*(put() for _ in range(PUTS)))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def main() -> None:
    parser = argparse.ArgumentParser(prog="seed", description="Fill the sample workload's stores on AWS.")
    for name in ("dsn", "password", "app-password", "worker-password"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("s3", "region", "bucket", "access-key", "secret-key"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--objects", type=int, default=2_000)
    asyncio.run(seed(parser.parse_args()))


if __name__ == "__main__":
    main()
