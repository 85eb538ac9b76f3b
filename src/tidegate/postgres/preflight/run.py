"""What the run itself needs: an empty target, both sides to itself, a fence that closes, PostgreSQL's own programs."""

from collections.abc import Collection

from tidegate.errors import TidegateError
from tidegate.postgres.binaries import client
from tidegate.postgres.bookkeeping import RELEASE, Names, is_ours, other_runs, read_note
from tidegate.postgres.catalog import is_empty, roles
from tidegate.postgres.preflight.check import Asked, all_rows, judged, listed
from tidegate.postgres.server import Connection, Server
from tidegate.runbook.migration import Cloud
from tidegate.runbook.step import Finding

__all__ = ["RunFacts", "judge_run", "read_run"]

CLOUDS: tuple[Cloud, Cloud] = ("aws", "azure")

SETTINGS = """select case when r.oid is null then '' else 'role ' || pg_catalog.quote_ident(r.rolname) end ||
    case when s.setdatabase = 0 and r.oid is null then 'every role' when s.setdatabase = 0 then ''
        when r.oid is null then 'the database' else ' in the database' end,
    pg_catalog.unnest(s.setconfig)
from pg_catalog.pg_db_role_setting s left join pg_catalog.pg_roles r on r.oid = s.setrole
where s.setdatabase in (0, (select oid from pg_catalog.pg_database where datname = current_database()))
    and (s.setrole = 0 or r.rolname = any(%s))"""


class RunFacts(Asked):
    """`unfenced`: as whom the workload logs in, and whom a fence doesn't close. `other_runs`: by side.

    `settings`: of the database and of its roles, which aren't the same on azure; no value, as it may be a secret.
    `programs`: why PostgreSQL's own can't be used; empty if they can.
    """

    unfenced: list[str]
    target_empty: bool
    other_runs: dict[Cloud, list[str]]
    settings: list[str]
    programs: tuple[str, str]


async def read_run(
    servers: tuple[Server, Server], sessions: tuple[Connection, Connection], users: Collection[str], names: Names
) -> RunFacts:
    here, there = sessions
    kept = [role.name for role in await roles(here)]
    wanted, got = await all_rows(here, SETTINGS, kept), await all_rows(there, SETTINGS, kept)
    version = int((await all_rows(there, "show server_version_num"))[0][0]) // 10_000
    return RunFacts(
        unfenced=sorted(set(users) - set(kept)),
        # A move that was begun has proved it before it copied anything.
        target_empty=await is_empty(there) or await _proved_empty(servers[1], names),
        other_runs={server.cloud: found for server in servers if (found := await other_runs(server, names))},
        settings=sorted({f"{setting.partition('=')[0]} of {of}" for of, setting in set(wanted) - set(got)}),
        programs=_programs(version),
    )


async def _proved_empty(server: Server, names: Names) -> bool:
    return await is_ours(server, names) and await read_note(server, "empty") is not None


def _programs(version: int) -> tuple[str, str]:
    """What is wrong, and its mend."""
    try:
        client("pg_dump", version)
        client("pg_restore", version)
    except TidegateError as error:
        return error.why, error.mend
    return "", ""


def judge_run(wheres: dict[Cloud, str], version: int, facts: RunFacts) -> list[Finding]:
    """`version`: of PostgreSQL on azure."""
    found = [
        judged(
            "fence",
            wheres["aws"],
            "whoever the workload logs in as can be kept out",
            wrong=f"the workload logs in as {listed(facts.unfenced)}, whom the fence can't keep out: a superuser, a "
            "replication role, the migration's own login, or nobody with rights here"
            if facts.unfenced
            else "",
            mend="give it a login of its own",
        ),
        judged(
            "settings",
            wheres["azure"],
            "no setting of database or roles is missing",
            wrong=f"settings don't move: {', '.join(facts.settings)}" if facts.settings else "",
            mend="make them on azure with ALTER DATABASE or ALTER ROLE ... SET, or approve to go without",
            verdict="inconclusive",
        ),
        judged(
            "empty",
            wheres["azure"],
            "the database on azure is empty",
            wrong="" if facts.target_empty else "the database on azure isn't empty",
            mend="give an empty database",
        ),
    ]
    for cloud in CLOUDS:
        others = " and ".join(facts.other_runs.get(cloud, []))
        found.append(
            judged(
                f"{cloud}.run",
                wheres[cloud],
                f"no other run works on the database on {cloud}",
                wrong=f"the database on {cloud} belongs to {others}" if others else "",
                mend=RELEASE,
            )
        )
    why, mend = facts.programs
    found.append(judged("pg_dump", "", f"pg_dump for version {version} is there", wrong=why, mend=mend))
    return found
