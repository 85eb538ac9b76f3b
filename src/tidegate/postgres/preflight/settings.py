"""A server's settings and what is left of its limits: log level, slots, senders, workers, timeouts, read-only.

One slot and its sender, and one apply worker, are needed on either side: one direction is active at a time. Tables
are never synchronized by the subscription, so max_sync_workers_per_subscription plays no part.
"""

from tidegate.postgres.bookkeeping import Names
from tidegate.postgres.preflight.check import Asked, judged
from tidegate.postgres.preflight.providers import Provider, set_parameter
from tidegate.postgres.server import Connection
from tidegate.runbook.migration import Cloud
from tidegate.runbook.step import Finding

__all__ = ["SettingsFacts", "judge_settings", "read_settings"]

NEEDED = 1
WORKERS_NEEDED = 2
"""An apply worker may start again while the one before is still ending."""
PATIENT_SECONDS = 600
"""A timeout of a session that is at least so long ends nothing that a small database needs."""

SETTINGS = """
select pg_catalog.pg_is_in_recovery() as standby, current_setting('wal_level') as wal_level,
    current_setting('default_transaction_read_only')::bool as read_only,
    current_setting('max_replication_slots')::int - (select count(*) from pg_catalog.pg_replication_slots
        where not pg_catalog.starts_with(slot_name, %(ours)s))::int as free_slots,
    current_setting('max_wal_senders')::int - (select count(*) from pg_catalog.pg_stat_replication
        where not pg_catalog.starts_with(coalesce(application_name, ''), %(ours)s))::int as free_senders,
    coalesce(current_setting('max_active_replication_origins', true), current_setting('max_replication_slots'))::int
        - (select count(*) from pg_catalog.pg_subscription
            where not pg_catalog.starts_with(subname, %(ours)s))::int as free_origins,
    current_setting('max_logical_replication_workers')::int - (select count(*) from pg_catalog.pg_stat_subscription
        where pid is not null and not pg_catalog.starts_with(subname, %(ours)s))::int as free_workers,
    current_setting('max_worker_processes')::int - (select count(*) from pg_catalog.pg_stat_activity
        where backend_type not in ('client backend', 'walsender', 'autovacuum launcher', 'autovacuum worker', 'startup',
            'checkpointer', 'background writer', 'walwriter', 'archiver', 'walreceiver', 'logger', 'io worker',
            'walsummarizer', 'slotsync worker', 'parallel worker', 'logical replication apply worker',
            'logical replication parallel worker', 'logical replication tablesync worker',
            'logical replication worker'))::int as free_processes,
    coalesce((select pg_catalog.jsonb_object_agg(name, setting::bigint / 1000.0) from pg_catalog.pg_settings
        where name in ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout',
            'idle_session_timeout') and setting <> '0'), '{}') as timeouts,
    (select case unit when 'min' then 60 else 1 end * setting::bigint from pg_catalog.pg_settings
        where name = 'idle_replication_slot_timeout' and setting <> '0') as slot_timeout
"""


class SettingsFacts(Asked):
    """`free_*`: of the server's limits, what others than this run have left. Timeouts: seconds, those that are set."""

    standby: bool
    wal_level: str
    read_only: bool
    free_slots: int
    free_senders: int
    free_origins: int
    free_workers: int
    free_processes: int
    timeouts: dict[str, float]
    slot_timeout: int | None


async def read_settings(connection: Connection, names: Names) -> SettingsFacts:
    cursor = await connection.execute(SETTINGS, {"ours": names.publication})
    row = await cursor.fetchone()
    assert row is not None, "the query answers with one row"
    return SettingsFacts(**dict(zip(SettingsFacts.model_fields, row, strict=True)))


def judge_settings(
    cloud: Cloud, where: str, provider: Provider, facts: SettingsFacts, login: str, seconds: float
) -> list[Finding]:
    """`seconds`: that the copy is expected to take."""

    def parameter(name: str, value: object, *, restart: bool = True) -> str:
        return set_parameter(provider, name, value, restart=restart)

    logical = facts.wal_level == "logical"
    room = (
        f"{facts.free_slots} replication slots, {facts.free_senders} senders and {facts.free_origins} origins "
        f"are free on {cloud}"
    )
    few = min(facts.free_slots, facts.free_senders, facts.free_origins) < NEEDED
    workers = f"{facts.free_workers} logical replication workers, {facts.free_processes} processes are free on {cloud}"
    busy = facts.free_workers < WORKERS_NEEDED or facts.free_processes < NEEDED
    patience = max(PATIENT_SECONDS, 4 * seconds)
    short = sorted(name for name, limit in facts.timeouts.items() if limit < patience)
    limits = ", ".join(f"{name} is {facts.timeouts[name]:g} s" for name in short)
    return [
        judged(
            f"{cloud}.primary",
            where,
            f"{cloud} is a primary",
            wrong=f"the server on {cloud} is a replica: nothing can be published or written there"
            if facts.standby
            else "",
            mend="give the primary's address",
        ),
        judged(
            f"{cloud}.writable",
            where,
            f"the login writes on {cloud} unless told otherwise",
            wrong=f"default_transaction_read_only is on for the login on {cloud}" if facts.read_only else "",
            mend="reset it where it is set: ALTER DATABASE, ALTER ROLE, or the server (a full disk sets it on Azure)",
        ),
        judged(
            f"{cloud}.wal_level",
            where,
            f"wal_level is logical on {cloud}",
            wrong="" if logical else f"wal_level is {facts.wal_level} on {cloud}; logical replication needs logical",
            mend=parameter("wal_level", "logical"),
        ),
        judged(
            f"{cloud}.slots",
            where,
            room,
            wrong=room if few else "",
            mend="drop slots that nobody uses, or raise max_replication_slots and max_wal_senders "
            "(from 18 on, max_active_replication_origins too)",
        ),
        judged(
            f"{cloud}.workers",
            where,
            workers,
            wrong=f"{workers}; {WORKERS_NEEDED} and {NEEDED} are needed" if busy else "",
            mend=parameter("max_logical_replication_workers and max_worker_processes", "more than are in use"),
        ),
        judged(
            f"{cloud}.timeouts",
            where,
            f"no timeout ends the copy on {cloud}",
            wrong=f"{limits} on {cloud}: it may end the copy, which is given {patience:,.0f} s" if short else "",
            mend="; ".join(f"ALTER ROLE {login} SET {name} = 0" for name in short),
        ),
    ]
