"""The ledger against the stores that own the writes: is every acknowledged write there, once, with its receipt?"""

import asyncio
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import asyncpg
import obstore

from tidegate.errors import Unreachable
from tidegate.lab.book import BUCKET, AddressBook
from tidegate.lab.ledger import Answer, Ledger
from tidegate.lab.sample import REGION
from tidegate.lab.shop.receipt import receipt_key
from tidegate.lab.shop.stores import ObjectStore, object_store
from tidegate.runbook.migration import Cloud
from tidegate.secret import resolve

__all__ = ["Audit", "audit"]

READERS = 16
COUNT = "select write_id::text, count(*) from shop.orders where write_id = any($1::uuid[]) group by 1"


@dataclass(slots=True)
class Audit:
    """Ids of writes. `doubled` covers those too that were never acknowledged."""

    acknowledged: int
    lost: list[str] = field(default_factory=list[str])
    doubled: list[str] = field(default_factory=list[str])
    receipts_wrong: list[str] = field(default_factory=list[str])


async def audit(ledger: Ledger, book: AddressBook, owner: Cloud) -> Audit:
    """Look every write up on the side that owns them now. Raises Unreachable."""
    found = await _counts(book, owner, {answer.id for answer in ledger.answers if answer.id})
    acknowledged = ledger.acknowledged
    return Audit(
        acknowledged=len(acknowledged),
        lost=[write.id for write in acknowledged if write.id not in found],
        doubled=[write for write, count in found.items() if count > 1],
        receipts_wrong=await _wrong_receipts(_objects(book, owner), [w for w in acknowledged if w.id in found]),
    )


async def _counts(book: AddressBook, owner: Cloud, ids: Iterable[str]) -> dict[str, int]:
    password = resolve(book.database_password.of(owner))
    dsn = f"postgresql://postgres@{book.database.of(owner)}/shop"
    try:
        connection = await asyncpg.connect(dsn, password=password, timeout=10)
        try:
            rows = await connection.fetch(COUNT, list(ids))
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresError) as error:
        raise Unreachable(f"the ledger can't be compared: {error}", where=f"orders on {owner}") from None
    return {str(row["write_id"]): int(row["count"]) for row in rows}


async def _wrong_receipts(store: ObjectStore, writes: list[Answer]) -> list[str]:
    waiting, wrong = list(writes), list[str]()

    async def read() -> None:
        while waiting:
            write = waiting.pop()
            try:
                found = await obstore.get_async(store, receipt_key(write.id))
                body = bytes(await found.bytes_async())
            except (FileNotFoundError, obstore.exceptions.BaseError):
                body = b""
            if hashlib.sha256(body).hexdigest() != write.receipt:
                wrong.append(write.id)

    await asyncio.gather(*(read() for _ in range(READERS)))
    return wrong


def _objects(book: AddressBook, owner: Cloud) -> ObjectStore:
    endpoint = book.objects.of(owner)
    if owner == "aws":
        keys = {"access_key": book.access_key, "secret_key": book.secret_key}
        return object_store({"kind": "s3", "bucket": BUCKET, "region": REGION, "endpoint": endpoint, **keys})
    account = {"account": book.account, "container": BUCKET, "key": book.account_key}
    return object_store({"kind": "blob", "endpoint": endpoint, **account})
