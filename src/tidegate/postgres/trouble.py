"""What is wrong with a stream: found by looking, told with the mend, before somebody waits for it in vain.

Logical replication is silent about most of it: a worker that fails is started again, and fails again, and only the
server's log tells; a new table isn't followed; a row that was to be changed and isn't there is passed over.
"""

import asyncio
import time
from typing import Any

from tidegate.postgres.bookkeeping import Names
from tidegate.postgres.drift import drift, read_shape
from tidegate.postgres.server import Server, literal

__all__ = ["WORKER", "failures", "find_trouble", "why_not"]

WORKER = """from pg_catalog.pg_stat_subscription s left join pg_catalog.pg_stat_activity a on a.pid = s.pid
where s.subname = %s and s.pid is not null and s.relid is null order by s.last_msg_receipt_time desc nulls last limit 1
"""
RESTART_SECONDS = 6.0
"""A worker that has ended is started again within wal_retrieve_retry_interval, by default 5 s."""
STEADY_SECONDS = 1.0
"""A worker that runs, and hasn't failed, for so long works."""
CAUGHT_UP_SECONDS = 2.0
AGAIN = "replication can't go on from where it was: remove the copy, and replicate again"

NOT_READY = """
select r.srrelid::regclass::text from pg_catalog.pg_subscription_rel r
join pg_catalog.pg_subscription s on s.oid = r.srsubid where s.subname = %s and r.srsubstate <> 'r' order by 1
"""
EMPTY = """
select pg_catalog.format('%I.%I', n.nspname, c.relname) from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname not in ('pg_catalog', 'information_schema', 'tidegate') and n.nspname !~ '^pg_(toast|temp)'
    and c.relpersistence = 'p' and c.relkind = 'r' and pg_catalog.pg_relation_size(c.oid) = 0
"""


async def find_trouble(source: Server, target: Server, names: Names, calm: int, *, minor: bool) -> str | None:
    """What is wrong; None if nothing is. In less than ten seconds, mostly at once.

    `calm`: failures of the apply worker that are known to be over; `minor`: also what harms nobody but the way back.
    Raises Unreachable, Refused.
    """
    name = names.stream(target.cloud)
    if why := await stopped(source, target, name):
        return why
    shapes = [await read_shape(server, names.publication) for server in (source, target)]
    if apart := [each.text for each in drift(shapes[0], shapes[1], names) if minor or not each.minor]:
        return "; ".join(apart)
    if not await _works(target, name, calm):
        return await why_not(source, target, name)
    if copying := [row[0] for row in await target.rows(NOT_READY, name)]:
        return (
            f"{', '.join(copying)} is still being copied to {target.cloud} by the subscription: if that takes long, "
            f"see the log of {target.cloud}'s server"
        )
    if passed_over := await _passed_over(target, name):
        return passed_over
    if emptied := await _emptied(source, target, name):
        return (
            f"{', '.join(emptied)} has rows on {source.cloud}, none on {target.cloud}, though all changes are there: "
            "somebody emptied it; see by a comparison what is missing, and replicate again"
        )
    return None


async def why_not(source: Server, target: Server, name: str) -> str:
    """The first thing that is wrong on the way from the source's slot to the target's worker."""
    if why := await stopped(source, target, name):
        return why
    count = await failures(target, name)
    conflicts = ", ".join(f"{kind} {n} times" for kind, n in (await _conflicts(target, name)).items())
    failed = f", and one has failed {count} times" if count else ""
    failed += f" (conflicts: {conflicts})" if conflicts else ""
    mend = (
        f"; the log of {target.cloud}'s server names the row or the cause: mend that, for a conflict delete the row "
        "that is in the way, and the stream goes on by itself"
        if count
        else ""
    )
    worker = await target.rows(f"select a.wait_event_type, a.wait_event {WORKER}", name)
    if not worker:
        most = await target.value("show max_logical_replication_workers")
        return f"no apply worker runs on {target.cloud}{failed} (max_logical_replication_workers is {most}){mend}"
    state = await source.value(
        "select r.state from pg_catalog.pg_stat_replication r join pg_catalog.pg_replication_slots s "
        "on s.active_pid = r.pid where s.slot_name = %s",
        name,
    )
    waits = f"waits for {': '.join(worker[0])}" if worker[0][0] else "is busy"
    return f"the apply worker on {target.cloud} {waits}{failed}; its sender on {source.cloud}: {state or 'none'}{mend}"


async def stopped(source: Server, target: Server, name: str) -> str:
    """Empty unless slot or subscription is missing, or can't go on by itself."""
    slot = await source.rows("select wal_status from pg_catalog.pg_replication_slots where slot_name = %s", name)
    if not slot:
        return f"there is no slot {name} on {source.cloud}: {AGAIN}"
    if slot[0][0] == "lost":
        return f"the slot {name} on {source.cloud} has lost its log, beyond max_slot_wal_keep_size: {AGAIN}"
    if slot[0][0] == "unreserved":
        return (
            f"the slot {name} on {source.cloud} is losing its log (max_slot_wal_keep_size): raise it now, "
            "or have the target catch up before the next checkpoint"
        )
    query = "select subenabled from pg_catalog.pg_subscription where subname = %s"
    subscription = await target.rows(query, name)
    if not subscription:
        return f"there is no subscription {name} on {target.cloud}: replicate makes it"
    if not subscription[0][0]:
        return f"the subscription {name} on {target.cloud} is disabled: ALTER SUBSCRIPTION {name} ENABLE"
    return ""


async def failures(target: Server, name: str) -> int | None:
    """Of the apply worker, so far. None before PostgreSQL 15, which doesn't count them."""
    if not await _counts(target):
        return None
    query = "select apply_error_count from pg_catalog.pg_stat_subscription_stats where subname = %s"
    return int(await target.value(query, name) or 0)


async def _works(target: Server, name: str, calm: int) -> bool:
    """The worker is there; if it isn't, or has failed, it is there soon, and stays without failing again."""
    until, seen, since = time.monotonic() + RESTART_SECONDS, None, time.monotonic()
    while True:
        now = (await target.value(f"select s.pid {WORKER}", name), await failures(target, name))
        if now[0] is not None and (now[1] is not None and now[1] <= calm):
            return True
        if now[0] is None or now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > STEADY_SECONDS:
            return True
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.1)


async def _passed_over(target: Server, name: str) -> str:
    """Changes for which there was no row. Counted since PostgreSQL 18."""
    found = {kind: n for kind, n in (await _conflicts(target, name)).items() if kind.endswith("missing")}
    if not found:
        return ""
    return (
        f"changes found no row on {target.cloud} ({', '.join(f'{kind} {n} times' for kind, n in found.items())}): rows "
        "were deleted there; see by a comparison what is missing, and replicate again"
    )


async def _conflicts(target: Server, name: str) -> dict[str, int]:
    """By kind, those that have happened. Counted since PostgreSQL 18."""
    if not await _counts(target):
        return {}
    query = "select to_jsonb(s) from pg_catalog.pg_stat_subscription_stats s where subname = %s"
    row: dict[str, Any] = await target.value(query, name) or {}
    return {key.removeprefix("confl_"): int(n) for key, n in row.items() if key.startswith("confl_") and n}


async def _counts(target: Server) -> bool:
    return bool(await target.value("select to_regclass('pg_catalog.pg_stat_subscription_stats') is not null"))


async def _emptied(source: Server, target: Server, name: str) -> list[str]:
    """Tables that are empty on the target although the source has rows, and has sent all of them."""
    candidates = await _with_rows(source, [row[0] for row in await target.rows(EMPTY)])
    if not candidates:
        return []
    sent = await source.value("select pg_catalog.pg_current_wal_flush_lsn()::text")
    query = "select confirmed_flush_lsn >= %s::pg_lsn from pg_catalog.pg_replication_slots where slot_name = %s"
    until = time.monotonic() + CAUGHT_UP_SECONDS
    while not await source.value(query, sent, name):
        if time.monotonic() > until:
            return []  # nobody knows yet
        await asyncio.sleep(0.1)
    still = {row[0] for row in await target.rows(EMPTY)}
    return await _with_rows(source, [table for table in candidates if table in still])


async def _with_rows(server: Server, tables: list[str]) -> list[str]:
    if not tables:
        return []
    query = " union all ".join(f"select {literal(table)} where exists (select from {table})" for table in tables)
    return [row[0] for row in await server.rows(query)]
