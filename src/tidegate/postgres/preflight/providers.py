"""What Amazon RDS, Aurora and Azure Flexible Server do otherwise than PostgreSQL, and how things are mended there.

No live cloud was asked. These rest on the providers' documentation, each where it is used:

RDS, Aurora   `rds.logical_replication = 1` and a reboot make wal_level logical; nobody is a superuser, `rds_superuser`
              and `rds_replication` stand in for it; `rds.force_ssl` refuses connections without TLS; pg_authid can't
              be read. Aurora has a function aurora_version() and storage that grows by itself.
Azure         `azure.extensions` lists what CREATE EXTENSION may make; some extensions need their library in
              shared_preload_libraries too; `azure_pg_admin` stands in for a superuser, and still needs ALTER ROLE ...
              REPLICATION; `require_secure_transport` refuses connections without TLS; max_worker_processes of 16 or
              more is recommended for logical replication; storage begins at 32 GiB, and the server goes read-only at
              95 % of it, or when less than 5 GiB are left.

Measured are only the names by which a setting or a role is found, on servers on which these were planted.
"""

from typing import Literal

from tidegate.postgres.preflight.check import Asked, judged, listed, one_row
from tidegate.postgres.server import Connection, Server
from tidegate.postgres.tls import peer_options
from tidegate.runbook.migration import Cloud
from tidegate.runbook.step import Finding

__all__ = [
    "AZURE_ROOM",
    "Provider",
    "ProviderFacts",
    "grant_replication",
    "judge_provider",
    "read_provider",
    "set_parameter",
]

Provider = Literal["rds", "aurora", "azure", "plain"]

AZURE_ROOM = 27 * 2**30
"""Bytes that the smallest Flexible Server (32 GiB) takes before it may go read-only."""
AZURE_WORKERS = 16

NEED_PRELOADING = frozenset(
    [
        *("age", "anon", "auto_explain", "azure_storage", "credcheck", "login_hook", "pg_cron", "pg_failover_slots"),
        *("pg_hint_plan", "pg_partman", "pg_prewarm", "pg_squeeze", "pg_stat_statements", "pgaudit", "pglogical"),
        "timescaledb",
    ]
)
LIBRARIES = {"pg_partman": "pg_partman_bgw"}
"""Where it isn't called as the extension is."""

PROVIDER = """
select case when pg_catalog.to_regproc('pg_catalog.aurora_version') is not null then 'aurora'
    when current_setting('rds.logical_replication', true) is not null
        or exists (select 1 from pg_catalog.pg_roles where rolname = 'rdsadmin') then 'rds'
    when current_setting('azure.extensions', true) is not null
        or exists (select 1 from pg_catalog.pg_roles where rolname = 'azure_pg_admin') then 'azure'
    else 'plain' end as provider,
    coalesce(current_setting('rds.force_ssl', true) in ('1', 'on')
        or current_setting('require_secure_transport', true) = 'on', false) as only_tls,
    current_setting('azure.extensions', true) as allowed,
    (select setting from pg_catalog.pg_settings where name = 'shared_preload_libraries') as preloaded,
    current_setting('max_worker_processes')::int as worker_processes
"""


class ProviderFacts(Asked):
    """`peer_sslmode`: with which the other cloud's server will connect. `preloaded`: None if it may not be read."""

    provider: Provider
    only_tls: bool
    peer_sslmode: str
    allowed: list[str] | None
    preloaded: list[str] | None
    worker_processes: int


async def read_provider(connection: Connection, server: Server) -> ProviderFacts:
    row = await one_row(connection, PROVIDER)
    for key in ("allowed", "preloaded"):
        row[key] = None if row[key] is None else [each.strip().lower() for each in row[key].split(",") if each.strip()]
    return ProviderFacts(peer_sslmode=peer_options(server.host, server.given)["sslmode"], **row)


def judge_provider(cloud: Cloud, where: str, facts: ProviderFacts, extensions: list[str]) -> list[Finding]:
    """`extensions`: those in use, that azure has to make too."""
    found: list[Finding] = []
    if facts.only_tls:
        plain = facts.peer_sslmode in ("disable", "allow")
        wrong = f"{cloud} takes only TLS, and the other side is to connect with sslmode={facts.peer_sslmode}"
        mend = f"leave sslmode out of the dsn for {cloud}, or write sslmode=require"
        found.append(judged(f"{cloud}.tls", where, f"TLS is used on {cloud}", wrong=wrong if plain else "", mend=mend))
    if facts.provider == "azure":
        few = facts.worker_processes < AZURE_WORKERS
        wrong = f"max_worker_processes is {facts.worker_processes} on {cloud}; logical replication is to have 16 there"
        mend = set_parameter("azure", "max_worker_processes", AZURE_WORKERS, restart=True)
        enough = f"max_worker_processes is {facts.worker_processes} on {cloud}"
        found.append(judged(f"{cloud}.worker_processes", where, enough, wrong=wrong if few else "", mend=mend))
    if cloud == "azure" and facts.provider == "azure":
        found += _judge_extensions(where, facts, extensions)
    return found


def _judge_extensions(where: str, facts: ProviderFacts, extensions: list[str]) -> list[Finding]:
    refused = [] if facts.allowed is None else [each for each in extensions if each not in facts.allowed]
    allow_list = judged(
        "allow_list",
        where,
        "azure.extensions allows every extension",
        wrong=f"azure.extensions doesn't allow {listed(refused)}" if refused else "",
        mend=set_parameter("azure", "azure.extensions", f"all that it lists, and {', '.join(refused)}"),
    )
    needed = {LIBRARIES.get(each, each) for each in extensions if each in NEED_PRELOADING}
    if facts.preloaded is None:
        unseen = f"whether {listed(needed)} is loaded at start on azure can't be read" if needed else ""
        mend = "grant pg_monitor, or look at shared_preload_libraries in the portal"
        message = "no extension has to be loaded at start on azure"
        return [allow_list, judged("preload", where, message, wrong=unseen, mend=mend, verdict="inconclusive")]
    absent = sorted(needed - set(facts.preloaded))
    preload = judged(
        "preload",
        where,
        "what extensions need at start is loaded on azure",
        wrong=f"not loaded at start on azure: {listed(absent)}" if absent else "",
        mend=set_parameter(
            "azure", "shared_preload_libraries", f"all that it lists, and {', '.join(absent)}", restart=True
        ),
    )
    return [allow_list, preload]


def set_parameter(provider: Provider, name: str, value: object, *, restart: bool = False) -> str:
    """In words, where and how a server's parameter is changed."""
    if provider in ("rds", "aurora"):
        group = "the cluster's parameter group" if provider == "aurora" else "the instance's parameter group"
        if name == "wal_level":
            return f"set rds.logical_replication = 1 in {group}, and reboot"
        return f"set {name} to {value} in {group}" + (", and reboot" if restart else "")
    if provider == "azure":
        return f"set the server parameter {name} to {value}" + (", and restart the server" if restart else "")
    return f"set {name} to {value} in postgresql.conf" + (", and restart" if restart else ", and reload")


def grant_replication(provider: Provider, login: str) -> str:
    """`login` is quoted."""
    return f"GRANT rds_replication TO {login}" if provider in ("rds", "aurora") else f"ALTER ROLE {login} REPLICATION"
