"""Figures: what goes over, the room for it, connections, and the log that the source keeps while it is copied.

A disk's free room is told by no SQL. On Azure a small database is known to fit: no Flexible Server is smaller than
32 GiB. How much log a server writes is looked at twice within a moment, and taken from pg_stat_wal (from 14 on)
where that has counted for an hour at least.
"""

import asyncio
import time

from tidegate.postgres.preflight.check import Asked, all_rows, judged, one_row, size
from tidegate.postgres.preflight.providers import AZURE_ROOM, Provider, set_parameter
from tidegate.postgres.server import Connection
from tidegate.runbook.migration import Cloud
from tidegate.runbook.step import Finding

__all__ = [
    "LogFacts",
    "RoomFacts",
    "begin_log",
    "copy_seconds",
    "end_log",
    "judge_connections",
    "judge_log",
    "judge_room",
    "read_room",
]

COPY_BYTES = 25 * 2**20
"""Per second, between two clouds; to be surpassed. On one machine five times as many were measured."""
MOMENT = 0.25
MEANINGFUL = 3600
CONNECTIONS = 8
"""Two jobs with a session each, the snapshot's, pg_dump or pg_restore with two, and control."""
LOG_DISK = 2**30
INDEX_AND_LOG = 1.5
"""Of the database's size: new indexes are compact, but the log of the load stands beside them for a while."""

ROOM = """
select pg_catalog.pg_database_size(current_database()) as bytes,
    (select coalesce(pg_catalog.sum(pg_catalog.pg_database_size(d.oid)), 0)::int8 from pg_catalog.pg_database d
        where d.datallowconn and pg_catalog.has_database_privilege(d.oid, 'CONNECT')) as server_bytes,
    least(current_setting('max_connections')::int
            - case when r.rolsuper then 0 else current_setting('superuser_reserved_connections')::int
                + coalesce(current_setting('reserved_connections', true)::int, 0) end - busy.everybody,
        case when d.datconnlimit < 0 or r.rolsuper then 1000000 else d.datconnlimit - busy.here end,
        case when r.rolconnlimit < 0 then 1000000 else r.rolconnlimit - busy.ours end)::int as free_connections,
    current_setting('max_connections')::int as connections
from pg_catalog.pg_roles r, pg_catalog.pg_database d,
    (select count(*) as everybody, count(*) filter (where datname = current_database()) as here,
        count(*) filter (where usename = current_user) as ours
    from pg_catalog.pg_stat_activity where datid is not null
        and coalesce(backend_type, 'client backend') = 'client backend') busy
where r.rolname = current_user and d.datname = current_database()
"""
POSITION = """
select case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
    else pg_catalog.pg_current_wal_lsn() end - '0/0'::pg_lsn as position
"""
MEAN = """
select age::float8, (wal_bytes / nullif(age, 0))::float8
from (select wal_bytes, extract(epoch from now() - stats_reset) as age from pg_catalog.pg_stat_wal) counted
"""


class RoomFacts(Asked):
    """Bytes of this database, and of all on the server that the login may enter; connections that it may open yet."""

    bytes: int
    server_bytes: int
    free_connections: int
    connections: int


class LogFacts(Asked):
    """`rate`: bytes of log per second. `cap`: bytes that a slot may keep. `long`: the rate is no moment's alone."""

    rate: float
    cap: int | None
    long: bool


async def read_room(connection: Connection) -> RoomFacts:
    return RoomFacts(**await one_row(connection, ROOM))


async def begin_log(connection: Connection) -> tuple[float, float]:
    """The first look: when, and how far the log had come."""
    return time.monotonic(), float((await one_row(connection, POSITION))["position"])


async def end_log(connection: Connection, version: int, first: tuple[float, float]) -> LogFacts:
    await asyncio.sleep(max(0.0, first[0] + MOMENT - time.monotonic()))
    now, position = await begin_log(connection)
    rate = (position - first[1]) / (now - first[0])
    age, mean = (await all_rows(connection, MEAN))[0] if version >= 14 else (None, None)
    long = age is not None and age >= MEANINGFUL
    cap = await all_rows(
        connection,
        "select pg_catalog.pg_size_bytes(setting || unit) from pg_catalog.pg_settings "
        "where name = 'max_slot_wal_keep_size' and setting <> '-1'",
    )
    return LogFacts(rate=max(rate, mean) if long and mean else rate, cap=cap[0][0] if cap else None, long=long)


def copy_seconds(room: RoomFacts) -> float:
    return room.bytes / COPY_BYTES


def judge_connections(cloud: Cloud, where: str, provider: Provider, room: RoomFacts) -> Finding:
    message = f"{room.free_connections} of {room.connections} connections are free for the login on {cloud}"
    few = room.free_connections < CONNECTIONS
    return judged(
        f"{cloud}.connections",
        where,
        message,
        wrong=f"{message}; {CONNECTIONS} are needed" if few else "",
        mend=f"end idle sessions, raise a limit of the role or the database, or "
        f"{set_parameter(provider, 'max_connections', 'a higher number', restart=True)}",
    )


def judge_log(where: str, provider: Provider, log: LogFacts, bytes_: int, slot_timeout: int | None) -> list[Finding]:
    """Of the source: its slot isn't read while the rows are copied."""
    seconds = bytes_ / COPY_BYTES
    kept = log.rate * seconds
    told = f"{size(log.rate)} of log per second on aws, about {size(kept)} while {size(bytes_)} are copied"
    raise_cap = set_parameter(provider, "max_slot_wal_keep_size", "-1, or several times that")
    if log.cap is not None and 2 * kept > log.cap:
        wrong = f"{told}; a slot keeps no more than {size(log.cap)}, and would be lost"
        found = judged("wal_kept", where, told, wrong=wrong, mend=raise_cap)
    elif log.cap is not None and log.cap < bytes_ and not log.long:
        wrong = f"{told}, seen for a moment; a slot keeps no more than {size(log.cap)}, less than the database's size"
        found = judged("wal_kept", where, told, wrong=wrong, mend=raise_cap, verdict="inconclusive")
    elif log.cap is None and provider == "rds" and kept > LOG_DISK:
        wrong = f"{told}; no cap keeps it from filling the disk, whose room SQL doesn't tell"
        mend = f"compare FreeStorageSpace of the instance with {size(2 * kept)}"
        found = judged("wal_kept", where, told, wrong=wrong, mend=mend, verdict="inconclusive")
    else:
        found = judged("wal_kept", where, told)
    if slot_timeout is None:
        return [found]
    idle = f"idle_replication_slot_timeout is {slot_timeout} s on aws"
    brief = slot_timeout < 4 * seconds
    return [
        found,
        judged(
            "slot_timeout",
            where,
            idle,
            wrong=f"{idle}: the slot, which isn't read while the rows are copied, may be lost" if brief else "",
            mend=set_parameter(provider, "idle_replication_slot_timeout", 0),
        ),
    ]


def judge_room(where: str, provider: Provider, source: RoomFacts, target: RoomFacts) -> list[Finding]:
    """Nothing where nothing can be known."""
    if provider not in ("azure", "rds"):
        return []
    needed = int(source.bytes * INDEX_AND_LOG)
    message = f"about {size(needed)} are needed on azure, beside {size(target.server_bytes)} that are there"
    fits = provider == "azure" and needed + target.server_bytes <= AZURE_ROOM
    wrong = "" if fits else f"{message}; SQL doesn't tell the room"
    mend = f"see that the storage has {size(needed)} free, or grows by itself (storage autogrow)"
    return [judged("room", where, message, wrong=wrong, mend=mend, verdict="inconclusive")]
