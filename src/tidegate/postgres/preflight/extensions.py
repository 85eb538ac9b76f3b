"""Extensions: whether azure has them, in which version, and rows of theirs that a dump of the schema leaves behind."""

import re

from psycopg import sql

from tidegate.postgres.preflight.check import Asked, all_rows, judged, listed
from tidegate.postgres.server import Connection, literal, statement
from tidegate.runbook.step import Finding

__all__ = ["ExtensionFacts", "judge_extensions", "read_extensions"]

IN_USE = "select extname::text, extversion from pg_catalog.pg_extension where extname <> 'plpgsql' order by 1"
AVAILABLE = """
select name::text, coalesce(installed_version, default_version) from pg_catalog.pg_available_extensions
"""
CONFIGURED = """
select e.extname::text, pg_catalog.format('%I.%I', n.nspname, c.relname), e.extcondition[i]
from pg_catalog.pg_extension e, pg_catalog.generate_subscripts(e.extconfig, 1) i,
    pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid = e.extconfig[i] and c.relkind in ('r', 'p')
    and pg_catalog.has_table_privilege(c.oid, 'SELECT') order by 1, 2
"""
"""extcondition: which rows are a user's (pg_extension_config_dump)."""


class ExtensionFacts(Asked):
    """Versions by name. `configured`: (extension, table) with rows of users'."""

    in_use: dict[str, str]
    available: dict[str, str]
    configured: list[tuple[str, str]]


async def read_extensions(here: Connection, there: Connection) -> ExtensionFacts:
    in_use = dict(await all_rows(here, IN_USE))
    available = {name: version for name, version in await all_rows(there, AVAILABLE) if name in in_use}
    return ExtensionFacts(in_use=in_use, available=available, configured=await _configured(here))


async def _configured(connection: Connection) -> list[tuple[str, str]]:
    tables = await all_rows(connection, CONFIGURED)
    if not tables:
        return []
    looks = [
        f"select {literal(extension)}, {literal(table)} where exists (select 1 from {table} {condition})"
        for extension, table, condition in tables
    ]
    cursor = await connection.execute(sql.SQL(" union all ").join(map(statement, looks)))
    return [(extension, table) for extension, table in await cursor.fetchall()]


def judge_extensions(where: str, facts: ExtensionFacts) -> list[Finding]:
    missing = sorted(facts.in_use.keys() - facts.available.keys())
    older = [
        f"{name} {facts.in_use[name]} (azure: {version})"
        for name, version in facts.available.items()
        if _number(version) < _number(facts.in_use[name])
    ]
    rows = [f"{table} of {extension}" for extension, table in facts.configured]
    return [
        judged(
            "extensions",
            where,
            "every extension is available on azure",
            wrong=f"not available on azure: {listed(missing)}" if missing else "",
            mend="DROP EXTENSION on aws if nothing needs it, or choose a server that has it",
        ),
        judged(
            "extension_versions",
            where,
            "no extension is older on azure",
            wrong=f"older on azure, where the schema may use what isn't there: {listed(older)}" if older else "",
            mend="see what is used of the newer version, then approve; or choose a server that has it",
            verdict="inconclusive",
        ),
        judged(
            "extension_rows",
            where,
            "no rows are kept in an extension's tables",
            wrong=f"rows in tables of extensions aren't copied: {listed(rows)}" if rows else "",
            mend="write them again on azure after the copy (jobs of pg_cron, rules of partman), then approve",
            verdict="inconclusive",
        ),
    ]


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
