"""Who else replicates or holds transactions here: publications, slots, subscriptions, prepared transactions.

A subscription's worker is no client: a fence doesn't keep it out. A consumer of another slot (change data capture)
would go on reading a source that nobody writes any more.
"""

from tidegate.postgres.preflight.check import Asked, judged, listed, one_row
from tidegate.postgres.preflight.providers import Provider, set_parameter
from tidegate.postgres.server import Connection
from tidegate.runbook.migration import Cloud
from tidegate.runbook.step import Finding

__all__ = ["NeighbourFacts", "judge_consumers", "judge_neighbours", "judge_prepared", "read_neighbours"]

NEIGHBOURS = """
select
    array(select pg_catalog.quote_ident(pubname) from pg_catalog.pg_publication
        where not pg_catalog.starts_with(pubname, 'tidegate_') order by 1) as publications,
    array(select slot_name::text from pg_catalog.pg_replication_slots where database = current_database()
        and not pg_catalog.starts_with(slot_name, 'tidegate_') order by 1) as slots,
    array(select pg_catalog.quote_ident(subname) from pg_catalog.pg_subscription where subenabled
        and subdbid = (select oid from pg_catalog.pg_database where datname = current_database())
        and not pg_catalog.starts_with(subname, 'tidegate_') order by 1) as subscriptions,
    array(select pg_catalog.quote_ident(subname) from pg_catalog.pg_subscription where not subenabled
        and subdbid = (select oid from pg_catalog.pg_database where datname = current_database())
        and not pg_catalog.starts_with(subname, 'tidegate_') order by 1) as disabled,
    array(select gid from pg_catalog.pg_prepared_xacts where database = current_database() order by prepared)
        as prepared,
    current_setting('max_prepared_transactions')::int as prepared_limit
"""


class NeighbourFacts(Asked):
    """Of this database, and of no run of tidegate. `subscriptions`: enabled ones; `prepared`: transactions' names."""

    publications: list[str]
    slots: list[str]
    subscriptions: list[str]
    disabled: list[str]
    prepared: list[str]
    prepared_limit: int


async def read_neighbours(connection: Connection) -> NeighbourFacts:
    return NeighbourFacts(**await one_row(connection, NEIGHBOURS))


def judge_neighbours(cloud: Cloud, where: str, facts: NeighbourFacts) -> list[Finding]:
    still = f"{len(facts.prepared)} prepared transactions are open on {cloud}: {listed(facts.prepared)}"
    found = [
        judged(
            f"{cloud}.subscriptions",
            where,
            f"no other subscription writes to the database on {cloud}",
            wrong=f"subscriptions write to the database on {cloud}, and no fence keeps them out: "
            f"{listed(facts.subscriptions)}"
            if facts.subscriptions
            else "",
            mend="ALTER SUBSCRIPTION ... DISABLE, once its publisher sends to azure, or for good",
        ),
        judged(
            f"{cloud}.prepared",
            where,
            f"no prepared transaction on {cloud}",
            wrong=still if facts.prepared else "",
            mend="commit or roll them back: COMMIT PREPARED, ROLLBACK PREPARED",
        ),
    ]
    if facts.disabled:
        wrong = f"disabled subscriptions on {cloud} don't move: {listed(facts.disabled)}"
        mend = "drop them, or make them on azure afterwards"
        found.append(
            judged(f"{cloud}.disabled_subscriptions", where, "", wrong=wrong, mend=mend, verdict="inconclusive")
        )
    return found


def judge_consumers(where: str, source: NeighbourFacts) -> Finding:
    """Of the source: who reads its changes would read none after the switch."""
    readers = [f"publication {name}" for name in source.publications] + [f"slot {name}" for name in source.slots]
    return judged(
        "consumers",
        where,
        "nobody else reads the changes of the database on aws",
        wrong=f"others read the changes of the database on aws, and will see none after the switch: {listed(readers)}"
        if readers
        else "",
        mend="make them on azure before its users come, and point their readers there; or drop what nobody reads",
        verdict="inconclusive",
    )


def judge_prepared(where: str, provider: Provider, source: NeighbourFacts, target: NeighbourFacts) -> Finding:
    allowed = f"max_prepared_transactions is {source.prepared_limit} on aws, {target.prepared_limit} on azure"
    fewer = target.prepared_limit < source.prepared_limit
    return judged(
        "prepared_limit",
        where,
        allowed,
        wrong=f"{allowed}: whoever uses two-phase commit may be refused there" if fewer else "",
        mend=set_parameter(provider, "max_prepared_transactions", source.prepared_limit, restart=True)
        + ", or approve if nobody uses them",
        verdict="inconclusive",
    )
