"""The shop's service: one copy in each cloud, behind the edge.

    python -m tidegate.lab.shop.service --cloud aws --instance shop-aws-1 --endpoints FILE --port PORT

Every answer says which copy served it (x-shop-cloud) and whose stores it used (x-shop-primary).
"""

import argparse
import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import obstore
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tidegate.lab.shop.receipt import receipt, receipt_key
from tidegate.lab.shop.stores import Current, Stores, follow, in_use

__all__ = ["application", "main"]

Handler = Callable[[Request, Stores], Awaitable[Response]]
BROKEN = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.AdminShutdownError,
    OSError,
    TimeoutError,
    obstore.exceptions.BaseError,
)

QUEUE_SECONDS = 15
"""How long a request waits for its turn at the database: all that a switch has held come at once."""

PLACE = """
with placed as (insert into shop.orders (write_id, customer_id) values ($1, $2) returning id),
    goods as (insert into shop.order_lines select id, line, product, quantity
        from placed, unnest($3::bigint[], $4::integer[]) with ordinality as each (product, quantity, line))
insert into shop.events (what, detail) select 'ordered', jsonb_build_object('order', id) from placed
"""


class Shop:
    def __init__(self, cloud: str) -> None:
        self.cloud = cloud
        self.current = Current()
        self.errors = 0.0

    def served(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """A handler with stores, faults, and an answer also when a store doesn't."""

        async def serve(request: Request) -> Response:
            async with in_use(self.current) as stores:
                if stores is None or stores.pool is None:
                    return PlainTextResponse("no stores yet", 503)
                if self.errors and random.random() < self.errors:
                    response: Response = PlainTextResponse("a fault was asked for", 500)
                else:
                    try:
                        response = await handler(request, stores)
                    except BROKEN as error:
                        logging.getLogger("shop").warning("%s %s: %r", request.method, request.url.path, error)
                        response = PlainTextResponse("a store doesn't answer", 503)
                response.headers["x-shop-cloud"] = self.cloud
                response.headers["x-shop-primary"] = stores.primary
                return response

        return serve

    async def faults(self, request: Request) -> Response:
        """`errors`: the share of requests that fail from now on."""
        self.errors = float((await request.json())["errors"])
        return JSONResponse({"errors": self.errors})


async def healthz(request: Request) -> Response:
    del request
    return PlainTextResponse("ok")


@asynccontextmanager
async def session(stores: Stores) -> AsyncGenerator[Any]:
    """A session that answers: one that died while it was idle is replaced. Nothing is ever sent twice."""
    for _ in range(3):
        connection = await stores.pool.acquire(timeout=QUEUE_SECONDS)
        try:
            await connection.execute("select 1")
        except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError, asyncpg.AdminShutdownError):
            await stores.pool.release(connection)
            continue
        try:
            yield connection
        finally:
            await stores.pool.release(connection)
        return
    raise ConnectionError("no session stays open")


async def catalog(request: Request, stores: Stores) -> Response:
    page = int(request.query_params.get("page", "0"))
    rows = await stores.pool.fetch(
        "select sku, title, price from shop.products order by id limit 20 offset $1", page * 20
    )
    return JSONResponse([[row["sku"], row["title"], str(row["price"])] for row in rows])


async def product(request: Request, stores: Stores) -> Response:
    row = await stores.pool.fetchrow(
        "select title, price from shop.products where sku = $1", request.path_params["sku"]
    )
    return JSONResponse([row["title"], str(row["price"])]) if row else PlainTextResponse("no such product", 404)


async def order(request: Request, stores: Stores) -> Response:
    """The receipt first: what is acknowledged has both, and a failure leaves an object that nobody asks for."""
    document = await request.json()
    write_id, customer = document["write_id"], document["customer"]
    lines = [(int(product), int(quantity)) for product, quantity in document["lines"]]
    body = receipt(write_id, customer, lines)
    assert stores.objects is not None, "the shop has a bucket"
    await obstore.put_async(stores.objects, receipt_key(write_id), body, attributes={"Content-Type": "text/plain"})
    goods = [product for product, _ in lines], [quantity for _, quantity in lines]
    async with session(stores) as connection:
        await connection.execute(PLACE, write_id, customer, *goods)
    return Response(body, 201, media_type="text/plain")


async def own_orders(request: Request, stores: Stores) -> Response:
    rows = await stores.pool.fetch(
        "select write_id from shop.orders where customer_id = $1 order by id desc limit 500",
        int(request.query_params["customer"]),
    )
    return JSONResponse([str(row["write_id"]) for row in rows])


async def order_receipt(request: Request, stores: Stores) -> Response:
    assert stores.objects is not None, "the shop has a bucket"
    try:
        found = await obstore.get_async(stores.objects, receipt_key(request.path_params["write_id"]))
    except FileNotFoundError:
        return PlainTextResponse("no such receipt", 404)
    return Response(bytes(await found.bytes_async()), media_type="text/plain")


def application(cloud: str, instance: str, endpoints: Path) -> Starlette:
    shop = Shop(cloud)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        following = asyncio.create_task(follow(shop.current, endpoints, instance))
        yield
        following.cancel()

    routes = [
        Route("/healthz", healthz),
        Route("/faults", shop.faults, methods=["POST"]),
        Route("/catalog", shop.served(catalog)),
        Route("/catalog/{sku}", shop.served(product)),
        Route("/orders", shop.served(own_orders), methods=["GET"]),
        Route("/orders", shop.served(order), methods=["POST"]),
        Route("/orders/{write_id}/receipt", shop.served(order_receipt)),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def main() -> None:
    parser = argparse.ArgumentParser(prog="service", description="One copy of the sample workload's service.")
    for name in ("--cloud", "--instance", "--endpoints", "--port"):
        parser.add_argument(name, required=True)
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    uvicorn.run(
        application(given.cloud, given.instance, Path(given.endpoints)),
        host="127.0.0.1",
        port=int(given.port),
        backlog=4096,
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
