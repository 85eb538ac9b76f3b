"""What a move keeps in the databases themselves, in the schema `tidegate`, and what its objects are called.

marker      written on the owner, waited for on the other side: all before it has been applied
ownership   who owns the writes, by epoch: the row that commits the switch
fence       what was taken away from the application's roles, to be given back exactly
note        proofs that later steps rely on: the target was empty, the copy is complete; and whose they all are
kept        the tables that are complete while a copy isn't, each written in the transaction that completes it
meeting     written on the source, waited for on the target: where the streams of an interrupted copy become one

It belongs to one run. What another run has noted proves nothing to this one, and is not this one's to remove:
it may be the only trace of writes that a forced rollback has left behind.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from tidegate.errors import Refused
from tidegate.postgres.server import Connection, Server, literal, statement
from tidegate.runbook.migration import Cloud

__all__ = [
    "RELEASE",
    "Names",
    "ensure_bookkeeping",
    "is_ours",
    "other_runs",
    "read_note",
    "refuse_others",
    "write_note",
]

RELEASE = (
    "finish that run or roll it back; if it is over, and nothing that it left here is needed, "
    "drop its slots and then the database, or only the schema tidegate, by hand"
)
"""How a side that is another run's becomes free."""

SCHEMA = """
create schema if not exists tidegate;
create table if not exists tidegate.marker (id text primary key, at timestamptz not null default clock_timestamp());
create table if not exists tidegate.ownership (
    run text not null, epoch integer primary key, owner text not null, at timestamptz not null default now());
create table if not exists tidegate.fence (kind text, subject text, before jsonb not null, primary key (kind, subject));
create table if not exists tidegate.note (key text primary key, value jsonb not null);
create table if not exists tidegate.kept (relation int8 primary key, name text not null, slot text not null,
    since pg_lsn not null, shape text not null, size int8 not null, indexed boolean not null default false);
create table if not exists tidegate.meeting (id text not null);
"""


@dataclass(frozen=True, slots=True)
class Names:
    """What the run's objects are called: no two runs or stores on one server collide."""

    run: str
    store: str

    @property
    def tag(self) -> str:
        return hashlib.sha256(f"{self.run}/{self.store}".encode()).hexdigest()[:10]

    @property
    def publication(self) -> str:
        return f"tidegate_{self.tag}"

    @property
    def meeting(self) -> str:
        """The publication of tidegate.meeting alone."""
        return f"{self.publication}_meeting"

    @property
    def role(self) -> str:
        """The replication role, made for the run and dropped afterwards."""
        return f"tidegate_{self.tag}_replication"

    def stream(self, into: Cloud) -> str:
        """The subscription on `into`, and its slot on the other side."""
        return f"tidegate_{self.tag}_{into}"

    def slot(self, attempt: int) -> str:
        """Of the first copy's attempts, counted from 1: of the first the one that the stream goes on from."""
        return self.stream("azure") if attempt == 1 else f"{self.stream('azure')}_{attempt}"

    def part(self, slot: str) -> str:
        """The subscription and the publication of what was complete as of the slot, until the streams are one."""
        return f"{slot}_part"


async def ensure_bookkeeping(server: Server, names: Names) -> None:
    """Made together with the note of whose it is: no crash leaves the one without the other. Raises Refused."""
    await refuse_others(server, names)
    owner = literal(json.dumps({"run": names.run, "store": names.store}))
    async with server.session() as connection:
        await connection.execute(
            statement(f"{SCHEMA} insert into tidegate.note values ('run', {owner}) on conflict do nothing")
        )
    await refuse_others(server, names)  # another may have been faster


async def refuse_others(server: Server, names: Names) -> None:
    """Raises Refused if this side is another run's."""
    if others := await other_runs(server, names):
        raise Refused(
            f"the database belongs to {' and '.join(others)}",
            where=server.where,
            mend=RELEASE,
        )


async def other_runs(server: Server, names: Names) -> list[str]:
    """Whose bookkeeping, or ownership row, is on this side, but for ours; in words."""
    if not await server.value("select to_regnamespace('tidegate') is not null"):
        return []
    noted = await read_note(server, "run")
    if noted and noted["run"] == names.run and noted["store"] != names.store:
        return [f"store {noted['store']} of the same run"]
    runs = {noted["run"]} if noted else set[str]()
    if await server.value("select to_regclass('tidegate.ownership') is not null"):
        runs |= {run for (run,) in await server.rows("select run from tidegate.ownership")}
    return [f"run {run}" for run in sorted(runs - {names.run})] if runs else ["an unknown run"]


async def is_ours(server: Server, names: Names) -> bool:
    return await read_note(server, "run") == {"run": names.run, "store": names.store}


async def read_note(server: Server, key: str) -> Any:
    """None if nothing of the kind has been noted."""
    if not await server.value("select to_regclass('tidegate.note') is not null"):
        return None
    return await server.value("select value from tidegate.note where key = %s", key)


async def write_note(connection: Connection, key: str, value: object) -> None:
    await connection.execute(
        "insert into tidegate.note values (%s, %s) on conflict (key) do update set value = excluded.value",
        (key, json.dumps(value)),
    )
