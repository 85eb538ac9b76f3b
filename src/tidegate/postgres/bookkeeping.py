"""What a move keeps in the databases themselves, in the schema `tidegate`, and what its objects are called.

marker      written on the owner, waited for on the other side: all before it has been applied
ownership   who owns the writes, by epoch: the row that commits the switch
fence       what was taken away from the application's roles, to be given back exactly
note        proofs that later steps rely on: the target was empty, the copy is complete
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from tidegate.postgres.server import Connection, Server, statement
from tidegate.runbook.migration import Cloud

__all__ = ["Names", "ensure_bookkeeping", "has_bookkeeping", "read_note", "write_note"]

SCHEMA = """
create schema if not exists tidegate;
create table if not exists tidegate.marker (id text primary key, at timestamptz not null default clock_timestamp());
create table if not exists tidegate.ownership (
    run text not null, epoch integer primary key, owner text not null, at timestamptz not null default now());
create table if not exists tidegate.fence (kind text, subject text, before jsonb not null, primary key (kind, subject));
create table if not exists tidegate.note (key text primary key, value jsonb not null);
"""


@dataclass(frozen=True, slots=True)
class Names:
    """What the run's objects are called: no two runs or stores on one server collide."""

    tag: str

    @classmethod
    def of(cls, run: str, store: str) -> "Names":
        return cls(hashlib.sha256(f"{run}/{store}".encode()).hexdigest()[:10])

    @property
    def publication(self) -> str:
        return f"tidegate_{self.tag}"

    @property
    def role(self) -> str:
        """The replication role, made for the run and dropped afterwards."""
        return f"tidegate_{self.tag}_replication"

    def stream(self, into: Cloud) -> str:
        """The subscription on `into`, and its slot on the other side."""
        return f"tidegate_{self.tag}_{into}"


async def ensure_bookkeeping(server: Server) -> None:
    async with server.session() as connection:
        await connection.execute(statement(SCHEMA))


async def has_bookkeeping(server: Server) -> bool:
    return bool(await server.value("select to_regclass('tidegate.note') is not null"))


async def read_note(server: Server, key: str) -> Any:
    if not await has_bookkeeping(server):
        return None
    return await server.value("select value from tidegate.note where key = %s", key)


async def write_note(connection: Connection, key: str, value: object) -> None:
    await connection.execute(
        "insert into tidegate.note values (%s, %s) on conflict (key) do update set value = excluded.value",
        (key, json.dumps(value)),
    )
