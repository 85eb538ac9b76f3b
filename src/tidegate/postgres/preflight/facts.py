"""All that is asked of both servers, and the judgement of it."""

from collections.abc import Collection

from tidegate.postgres.bookkeeping import Names
from tidegate.postgres.catalog import copied_tables
from tidegate.postgres.preflight.capacity import (
    LogFacts,
    RoomFacts,
    begin_log,
    copy_seconds,
    end_log,
    judge_connections,
    judge_log,
    judge_room,
    read_room,
)
from tidegate.postgres.preflight.check import Asked, all_rows, judged
from tidegate.postgres.preflight.collations import CollationFacts, judge_collations, read_collations
from tidegate.postgres.preflight.contents import ContentsFacts, judge_contents, read_contents
from tidegate.postgres.preflight.extensions import ExtensionFacts, judge_extensions, read_extensions
from tidegate.postgres.preflight.identity import IdentityFacts, judge_identity, read_identity
from tidegate.postgres.preflight.neighbours import (
    NeighbourFacts,
    judge_consumers,
    judge_neighbours,
    judge_prepared,
    read_neighbours,
)
from tidegate.postgres.preflight.providers import ProviderFacts, judge_provider, read_provider
from tidegate.postgres.preflight.rights import (
    ReadingFacts,
    RightsFacts,
    judge_reading,
    judge_rights,
    read_reading,
    read_rights,
)
from tidegate.postgres.preflight.roles import RoleFacts, judge_roles, read_roles
from tidegate.postgres.preflight.run import RunFacts, judge_run, read_run
from tidegate.postgres.preflight.settings import SettingsFacts, judge_settings, read_settings
from tidegate.postgres.preflight.triggers import (
    Triggers,
    judge_event_triggers,
    judge_triggers,
    read_event_triggers,
    read_triggers,
)
from tidegate.postgres.schema import login_roles
from tidegate.postgres.server import Connection, Server
from tidegate.postgres.side_by_side import side_by_side
from tidegate.runbook.migration import Cloud
from tidegate.runbook.step import Finding

__all__ = ["DatabaseFacts", "SideFacts", "SourceFacts", "judge", "read_facts"]

OLDEST = 12
"""Of PostgreSQL: before it there are no generated columns, and catalogs that are asked here lack columns."""


OF_THE_STREAM = frozenset({"wal_kept", "slot_timeout"})
"""Checks of what nobody needs from AWS who doesn't follow it."""


class SideFacts(Asked):
    """Of either side. `where`: as errors name it."""

    where: str
    version: int
    provider: ProviderFacts
    settings: SettingsFacts
    room: RoomFacts
    rights: RightsFacts
    neighbours: NeighbourFacts
    event_triggers: list[str]


class SourceFacts(Asked):
    """Of what goes over."""

    identity: IdentityFacts
    contents: ContentsFacts
    triggers: Triggers
    reading: ReadingFacts
    roles: RoleFacts
    extensions: ExtensionFacts
    collations: CollationFacts
    log: LogFacts


class DatabaseFacts(Asked):
    """`versions`: of PostgreSQL, by cloud. Nothing else is asked where one of them is too old.

    `followed`: whether AWS's changes are to be streamed; a mirror of Azure's is in any case.
    """

    versions: dict[Cloud, int]
    wheres: dict[Cloud, str]
    followed: bool = True
    aws: SideFacts | None = None
    azure: SideFacts | None = None
    source: SourceFacts | None = None
    run: RunFacts | None = None
    findings: tuple[Finding, ...] = ()


async def read_facts(
    aws: Server,
    azure: Server,
    users: Collection[str],
    names: Names,
    passwords: Collection[str] = (),
    *,
    followed: bool = True,
) -> DatabaseFacts:
    """`users`: as whom the workload logs in; `names`: of the run that asks; `passwords`: roles that it has one for.

    Raises Unreachable or Refused, naming the side.
    """
    async with azure.session() as there, aws.session() as here:
        versions: dict[Cloud, int] = {"aws": await _version(here), "azure": await _version(there)}
        facts = DatabaseFacts(versions=versions, wheres={"aws": aws.where, "azure": azure.where}, followed=followed)
        if min(versions.values()) >= OLDEST:
            log = await begin_log(here)
            logins = await login_roles(here)
            ours, theirs = await side_by_side(
                _side(here, aws, versions["aws"], logins, names), _side(there, azure, versions["azure"], logins, names)
            )
            source = await _source(here, there, versions, frozenset(passwords), log, ours.room.bytes)
            run = await read_run((aws, azure), (here, there), users, names)
            facts = facts.model_copy(update={"aws": ours, "azure": theirs, "source": source, "run": run})
    return facts.model_copy(update={"findings": tuple(judge(facts))})


async def _version(connection: Connection) -> int:
    return int((await all_rows(connection, "show server_version_num"))[0][0]) // 10_000


async def _side(connection: Connection, server: Server, version: int, logins: list[str], names: Names) -> SideFacts:
    return SideFacts(
        where=server.where,
        version=version,
        provider=await read_provider(connection, server),
        settings=await read_settings(connection, names),
        room=await read_room(connection),
        rights=await read_rights(connection, logins),
        neighbours=await read_neighbours(connection),
        event_triggers=await read_event_triggers(connection),
    )


async def _source(
    here: Connection,
    there: Connection,
    versions: dict[Cloud, int],
    passwords: frozenset[str],
    log: tuple[float, float],
    size: int,
) -> SourceFacts:
    tables = await copied_tables(here)
    held = {
        "rows": sum(table.rows for table in tables),
        "tables": len(tables),
        "biggest": tables[0].name if tables else "",
        "bytes": size,
    }
    return SourceFacts(
        identity=await read_identity(here),
        contents=await read_contents(here, held),
        triggers=await read_triggers(here),
        reading=await read_reading(here),
        roles=await read_roles(here, there, passwords),
        extensions=await read_extensions(here, there),
        collations=await read_collations(here, there, (versions["aws"], versions["azure"])),
        log=await end_log(here, versions["aws"], log),
    )


def judge(facts: DatabaseFacts) -> list[Finding]:
    """One finding per check; those of one side are called after it. Pure."""
    found = [_judge_versions(facts)]
    aws, azure, source, run = facts.aws, facts.azure, facts.source, facts.run
    if aws is None or azure is None or source is None or run is None:
        return found
    seconds = copy_seconds(aws.room)
    sides: tuple[tuple[Cloud, SideFacts], ...] = (("aws", aws), ("azure", azure))
    for cloud, side in sides:
        where, provider = side.where, side.provider.provider
        found += judge_settings(cloud, where, provider, side.settings, side.rights.login, seconds)
        found += judge_rights(cloud, where, provider, side.version, side.rights)
        found += judge_neighbours(cloud, where, side.neighbours)
        found.append(judge_connections(cloud, where, provider, side.room))
        found.append(judge_event_triggers(cloud, where, side.event_triggers))
        found += judge_provider(cloud, where, side.provider, list(source.extensions.in_use))
    provider = aws.provider.provider
    found += judge_identity(aws.where, source.identity)
    found += judge_contents(aws.where, source.contents)
    found.append(judge_triggers(aws.where, source.triggers))
    found += judge_reading(aws.where, source.reading, aws.rights.login)
    found += judge_roles(azure.where, source.roles)
    found += judge_extensions(azure.where, source.extensions)
    found += judge_collations(azure.where, source.collations)
    found += judge_log(aws.where, provider, source.log, aws.room.bytes, aws.settings.slot_timeout)
    found += judge_room(azure.where, azure.provider.provider, aws.room, azure.room)
    found.append(judge_consumers(aws.where, aws.neighbours))
    found.append(judge_prepared(azure.where, azure.provider.provider, aws.neighbours, azure.neighbours))
    found += judge_run(facts.wheres, azure.version, run)
    return [each for each in found if facts.followed or each.check not in OF_THE_STREAM]


def _judge_versions(facts: DatabaseFacts) -> Finding:
    aws, azure = facts.versions["aws"], facts.versions["azure"]
    pair = f"PostgreSQL {aws} to {azure}"
    old = [f"{version} on {cloud}" for cloud, version in facts.versions.items() if version < OLDEST]
    back = f"{pair}: a step back loses features" if azure < aws else ""
    wrong = f"PostgreSQL before {OLDEST} isn't supported: {' and '.join(old)}" if old else back
    mend = f"upgrade to {OLDEST} or later first" if old else f"make a server of version {aws} or later on azure"
    return judged("versions", facts.wheres["azure"], pair, wrong=wrong, mend=mend)
