"""Triggers that fire on applied changes, and event triggers that fire on what a move changes in the schema.

The apply worker runs with session_replication_role = replica: triggers ENABLE ALWAYS and ENABLE REPLICA fire in it,
though they fired at the source already. What an event trigger does can't be known: it may refuse our DDL.
"""

from tidegate.postgres.catalog import NOT_OF_AN_EXTENSION, OURS
from tidegate.postgres.preflight.check import Asked, all_rows, judged, listed
from tidegate.postgres.server import Connection
from tidegate.runbook.migration import Cloud
from tidegate.runbook.step import Finding

__all__ = ["Triggers", "judge_event_triggers", "judge_triggers", "read_event_triggers", "read_triggers"]

TRIGGERS = f"""
select pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.quote_ident(t.tgname),
    case t.tgenabled when 'A' then 'ALWAYS' else 'REPLICA' end
from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where t.tgenabled in ('A', 'R') and not t.tgisinternal and {OURS} and {NOT_OF_AN_EXTENSION}
    and not exists (select 1 from pg_catalog.pg_trigger root where root.tgenabled = t.tgenabled
        and root.oid = (pg_catalog.to_jsonb(t) ->> 'tgparentid')::oid) order by 1, 2
"""
EVENT_TRIGGERS = """
select pg_catalog.quote_ident(t.evtname) || ' (' || t.evtevent || ')' from pg_catalog.pg_event_trigger t
where t.evtenabled <> 'D' and not exists (select 1 from pg_catalog.pg_depend e where e.objid = t.oid
    and e.classid = 'pg_catalog.pg_event_trigger'::regclass and e.deptype = 'e') order by 1
"""


class Triggers(Asked):
    """`firing`: (table, trigger, mode)."""

    firing: list[tuple[str, str, str]]


async def read_triggers(connection: Connection) -> Triggers:
    return Triggers(firing=[(table, name, mode) for table, name, mode in await all_rows(connection, TRIGGERS)])


async def read_event_triggers(connection: Connection) -> list[str]:
    return [row[0] for row in await all_rows(connection, EVENT_TRIGGERS)]


def judge_triggers(where: str, facts: Triggers) -> Finding:
    names = [f"{name} on {table} (ENABLE {mode})" for table, name, mode in facts.firing]
    mends = [f"ALTER TABLE {table} ENABLE TRIGGER {name}" for table, name, _ in facts.firing[:6]]
    return judged(
        "triggers",
        where,
        "no trigger fires on applied changes",
        wrong=f"triggers would fire on applied changes too, twice in all: {listed(names)}" if names else "",
        mend="; ".join(mends) + ", so that they fire for the application alone",
    )


def judge_event_triggers(cloud: Cloud, where: str, names: list[str]) -> Finding:
    return judged(
        f"{cloud}.event_triggers",
        where,
        f"no event trigger fires on {cloud}",
        wrong=f"event triggers fire on what is created and altered on {cloud}, and may refuse it: {listed(names)}"
        if names
        else "",
        mend="ALTER EVENT TRIGGER ... DISABLE while the move goes on, or approve if they let everything pass",
        verdict="inconclusive",
    )
