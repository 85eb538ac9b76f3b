"""What would make the move fail, looked for before it starts. Reads facts; judges them without the servers."""

from collections.abc import Collection
from typing import Any

from pydantic import BaseModel, ConfigDict

from tidegate.errors import TidegateError
from tidegate.postgres.binaries import client
from tidegate.postgres.bookkeeping import RELEASE, Names, is_ours, other_runs, read_note
from tidegate.postgres.catalog import copied_tables, is_empty, published_tables, roles
from tidegate.postgres.schema import login_roles
from tidegate.postgres.server import Connection, Server, statement
from tidegate.runbook.step import Finding

__all__ = ["DatabaseFacts", "SideFacts", "judge", "read_facts"]

SLOTS_NEEDED = 1
WORKERS_NEEDED = 2


class SideFacts(BaseModel):
    """`unalterable`: logins of the application that ours can't close. `foreign`: whose tables it can't change."""

    model_config = ConfigDict(frozen=True)

    version: int
    wal_level: str
    free_slots: int
    free_senders: int
    logical_workers: int
    prepared: int
    replication_allowed: bool
    sees_sessions: bool
    unalterable: list[str] = []
    foreign: list[str] = []


class DatabaseFacts(BaseModel):
    """`keyless`, `unlogged`: tables that logical replication can't carry as they are.

    `unfenced`: as whom the workload logs in, and whom a fence doesn't close. `other_runs`: whose bookkeeping is
    there, by side. `settings`: of the database and of its roles, which aren't the same on azure; no value, as it
    may be a secret.
    """

    model_config = ConfigDict(frozen=True)

    aws: SideFacts
    azure: SideFacts
    tables: int
    rows: int
    bytes: int
    keyless: list[str]
    unlogged: list[str]
    always_triggers: list[str]
    large_objects: int
    missing_extensions: list[str]
    unfenced: list[str]
    target_empty: bool
    other_runs: dict[str, list[str]] = {}
    settings: list[str] = []
    pg_dump: str
    findings: list[Finding] = []


SIDE = """
select current_setting('server_version_num')::int / 10000, current_setting('wal_level'),
    current_setting('max_replication_slots')::int - (select count(*) from pg_catalog.pg_replication_slots)::int,
    current_setting('max_wal_senders')::int - (select count(*) from pg_catalog.pg_stat_replication)::int,
    current_setting('max_logical_replication_workers')::int,
    (select count(*) from pg_catalog.pg_prepared_xacts where database = current_database())::int,
    (select rolsuper or rolreplication or pg_catalog.pg_has_role(oid, 'pg_create_subscription', 'member')
        from pg_catalog.pg_roles where rolname = current_user),
    pg_catalog.pg_has_role('pg_read_all_stats', 'usage')
"""
SIDE_BEFORE_16 = SIDE.replace(" or pg_catalog.pg_has_role(oid, 'pg_create_subscription', 'member')", "")

UNALTERABLE = """select r.rolname from pg_catalog.pg_roles r join pg_catalog.pg_roles me on me.rolname = current_user
where r.rolname = any(%s) and not me.rolsuper and not (me.rolcreaterole and
    (current_setting('server_version_num')::int < 160000 or pg_catalog.pg_has_role(r.oid, 'member with admin option')))
order by 1"""
FOREIGN = """select distinct pg_catalog.pg_get_userbyid(c.relowner) from pg_catalog.pg_class c
where c.oid = any(%s::int8[]::oid[]) and not pg_catalog.pg_has_role(c.relowner, 'usage') order by 1"""

SETTINGS = """select case when r.oid is null then '' else 'role ' || pg_catalog.quote_ident(r.rolname) end ||
    case when s.setdatabase = 0 and r.oid is null then 'every role' when s.setdatabase = 0 then ''
        when r.oid is null then 'the database' else ' in the database' end,
    pg_catalog.unnest(s.setconfig)
from pg_catalog.pg_db_role_setting s left join pg_catalog.pg_roles r on r.oid = s.setrole
where s.setdatabase in (0, (select oid from pg_catalog.pg_database where datname = current_database()))
    and (s.setrole = 0 or r.rolname = any(%s))"""

NAMED = """select pg_catalog.format('%I.%I', n.nspname, c.relname) from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname not in ('pg_catalog', 'information_schema', 'tidegate') and n.nspname !~ '^pg_(toast|temp)' and """


async def read_facts(aws: Server, azure: Server, users: Collection[str], names: Names) -> DatabaseFacts:
    """`users`: as whom the workload logs in; `names`: of the run that asks.

    Raises Unreachable or Refused, naming the side.
    """
    async with azure.session() as there, aws.session() as here:
        logins = await login_roles(here)
        source, target = await _side(here, logins), await _side(there, logins)
        empty = await is_empty(there)
        available = {row[0] for row in await _all(there, "select name from pg_catalog.pg_available_extensions")}
        tables = await published_tables(here)
        extensions = [row[0] for row in await _all(here, "select extname from pg_catalog.pg_extension")]
        facts = DatabaseFacts(
            aws=source,
            azure=target,
            tables=len(tables),
            rows=sum(table.rows for table in tables),
            bytes=(await _all(here, "select pg_catalog.pg_database_size(current_database())"))[0][0],
            keyless=[row[0] for row in await _all(here, NAMED + _KEYLESS)],
            unlogged=[row[0] for row in await _all(here, NAMED + "c.relkind = 'r' and c.relpersistence = 'u'")],
            always_triggers=[row[0] for row in await _all(here, NAMED + _ALWAYS)],
            large_objects=(await _all(here, "select count(*) from pg_catalog.pg_largeobject_metadata"))[0][0],
            settings=await _settings_left(here, there),
            missing_extensions=sorted(set(extensions) - available),
            unfenced=sorted(set(users) - {role.name for role in await roles(here)}),
            # A move that was begun has proved it before it copied anything.
            target_empty=empty or await _proved_empty(azure, names),
            other_runs={server.cloud: found for server in (aws, azure) if (found := await other_runs(server, names))},
            pg_dump=_pg_dump(target.version),
        )
    return facts.model_copy(update={"findings": judge(facts)})


_KEYLESS = """c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence = 'p' and c.relreplident <> 'f'
and not exists (select 1 from pg_catalog.pg_index i where i.indrelid = c.oid
    and (i.indisprimary and c.relreplident = 'd' or i.indisreplident))
and not exists (select 1 from pg_catalog.pg_depend e where e.objid = c.oid and e.deptype = 'e') order by 1"""
_ALWAYS = """exists (select 1 from pg_catalog.pg_trigger t where t.tgrelid = c.oid and t.tgenabled = 'A') order by 1"""


def judge(facts: DatabaseFacts) -> list[Finding]:
    """One observation per check. Pure."""
    found: list[Finding] = []

    def check(name: str, message: str, wrong: str) -> None:
        verdict = "fail" if wrong else "pass"
        found.append(Finding(check=name, verdict=verdict, message=wrong or message))

    newer = facts.azure.version >= facts.aws.version
    versions = f"{facts.aws.version} to {facts.azure.version}"
    check("versions", f"PostgreSQL {versions}", "" if newer else f"PostgreSQL {versions}: a step back loses features")
    for cloud, side in (("aws", facts.aws), ("azure", facts.azure)):
        logical = side.wal_level == "logical"
        wrong = f"wal_level is {side.wal_level} on {cloud}; set it to logical (on RDS: rds.logical_replication = 1)"
        check(f"{cloud}.wal_level", f"wal_level is logical on {cloud}", "" if logical else wrong)
        enough = min(side.free_slots, side.free_senders) >= SLOTS_NEEDED
        room = f"{side.free_slots} replication slots and {side.free_senders} senders are free on {cloud}"
        check(f"{cloud}.slots", room, "" if enough else f"{room}; raise max_replication_slots and max_wal_senders")
        workers = f"{side.logical_workers} logical replication workers on {cloud}"
        few = side.logical_workers < WORKERS_NEEDED
        check(f"{cloud}.workers", workers, f"{workers}; raise max_logical_replication_workers" if few else "")
        right = f"the login may replicate on {cloud}"
        denied = f"the login may not replicate on {cloud}; grant rds_replication, or ALTER ROLE ... REPLICATION"
        check(f"{cloud}.rights", right, "" if side.replication_allowed else denied)
        blind = f"the login doesn't see other sessions on {cloud}; grant pg_monitor"
        check(f"{cloud}.sessions", f"the login sees sessions on {cloud}", "" if side.sees_sessions else blind)
        closed = f"the login may not alter {', '.join(side.unalterable)} on {cloud}; grant it these WITH ADMIN OPTION"
        can_close = f"the application's logins can be closed on {cloud}"
        check(f"{cloud}.logins", can_close, closed if side.unalterable else "")
        others = f"the login can't act for {', '.join(side.foreign)} on {cloud}, who owns tables; grant membership"
        check(
            f"{cloud}.owners", f"the login can act for whoever owns tables on {cloud}", others if side.foreign else ""
        )
        open_ones = f"{side.prepared} prepared transactions are open on {cloud}; commit or roll them back"
        check(f"{cloud}.prepared", f"no prepared transaction on {cloud}", open_ones if side.prepared else "")
    keyless = f"without a key, changes can't be carried: {', '.join(facts.keyless)}; add one, or REPLICA IDENTITY FULL"
    check("keys", f"{facts.tables} tables, each with a key or a full identity", keyless if facts.keyless else "")
    unlogged = f"unlogged tables aren't replicated: {', '.join(facts.unlogged)}; ALTER TABLE ... SET LOGGED"
    check("unlogged", "no unlogged table", unlogged if facts.unlogged else "")
    always = f"triggers ENABLE ALWAYS would fire twice: {', '.join(facts.always_triggers)}"
    check("triggers", "no trigger fires on applied changes", always if facts.always_triggers else "")
    large = f"{facts.large_objects} large objects: logical replication doesn't carry them"
    check("large_objects", "no large objects", large if facts.large_objects else "")
    beyond = (
        f"the workload logs in as {', '.join(facts.unfenced)}, whom the fence can't keep out: a superuser, a "
        "replication role, the migration's own login, or nobody with rights here; give it a login of its own"
    )
    check("fence", "whoever the workload logs in as can be kept out", beyond if facts.unfenced else "")
    apart = (
        f"settings don't move: {', '.join(facts.settings)}; make them on azure with ALTER DATABASE or ALTER ROLE "
        "... SET, or approve to go without"
    )
    found.append(
        Finding(check="settings", verdict="inconclusive", message=apart)
        if facts.settings
        else Finding(check="settings", verdict="pass", message="no setting of database or roles is missing")
    )
    lacking = f"not available on azure: {', '.join(facts.missing_extensions)}; add them to azure.extensions"
    check("extensions", "every extension is available on azure", lacking if facts.missing_extensions else "")
    check("empty", "the database on azure is empty", "" if facts.target_empty else "the database on azure isn't empty")
    for cloud in ("aws", "azure"):
        others = " and ".join(facts.other_runs.get(cloud, []))
        taken = f"the database on {cloud} belongs to {others}; {RELEASE}"
        check(f"{cloud}.run", f"no other run works on the database on {cloud}", taken if others else "")
    check("pg_dump", f"pg_dump for version {facts.azure.version} is there", facts.pg_dump)
    return found


async def _side(connection: Connection, logins: list[str]) -> SideFacts:
    version = int((await _all(connection, "show server_version_num"))[0][0]) // 10_000
    row = (await _all(connection, SIDE if version >= 16 else SIDE_BEFORE_16))[0]
    tables = [table.oid for table in await copied_tables(connection)]
    return SideFacts(
        **dict(zip(SideFacts.model_fields, row, strict=False)),
        unalterable=[row[0] for row in await _all(connection, UNALTERABLE, logins)],
        foreign=[row[0] for row in await _all(connection, FOREIGN, tables)],
    )


async def _all(connection: Connection, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    return await (await connection.execute(statement(query), parameters or None)).fetchall()


async def _settings_left(here: Connection, there: Connection) -> list[str]:
    names = [role.name for role in await roles(here)]
    wanted, got = await _all(here, SETTINGS, names), await _all(there, SETTINGS, names)
    return sorted({f"{setting.partition('=')[0]} of {of}" for of, setting in set(wanted) - set(got)})


async def _proved_empty(server: Server, names: Names) -> bool:
    return await is_ours(server, names) and await read_note(server, "empty") is not None


def _pg_dump(version: int) -> str:
    """Empty if it is there, else why not."""
    try:
        client("pg_dump", version)
        client("pg_restore", version)
    except TidegateError as error:
        return f"{error.why}; {error.mend}"
    return ""
