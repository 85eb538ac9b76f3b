"""Roles and schema on the target, made as they are on the source."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from psycopg import sql

from tidegate.postgres.binaries import client, run_client
from tidegate.postgres.bookkeeping import read_note, write_note
from tidegate.postgres.catalog import Role, roles
from tidegate.postgres.server import LOCK_SECONDS, Connection, Server
from tidegate.secret import resolve

__all__ = [
    "TAKES_STATISTICS",
    "dump_schema",
    "ensure_roles",
    "login_roles",
    "made_roles",
    "make_roles",
    "restore_indexes",
    "restore_rest",
    "restore_schema",
    "schema_digest",
    "server_major",
    "split_contents",
]

TAKES_STATISTICS = 18
"""The first version into which statistics can be restored, and whose pg_dump reads them from 9.2 on."""

ENTRY = re.compile(r"\d+; (?P<class>\d+) (?P<oid>\d+) ")
INDEX = re.compile(ENTRY.pattern + "(INDEX|CONSTRAINT) ")
COMMENT = re.compile(ENTRY.pattern + "COMMENT ")
ATTACH = re.compile(ENTRY.pattern + "INDEX ATTACH ")
ENCODING = re.compile(rb"^SET client_encoding = '\w+';$", re.MULTILINE)
"""By the rest of a script, and what it has to be sent in."""
VOLATILE = re.compile(rb"^-- Dumped (from|by) .*$", re.MULTILINE)
"""Not the schema's, but the servers'."""
TO_PSQL = re.compile(rb"^\\(un)?restrict \w+$", re.MULTILINE)


async def dump_schema(source: Server, target: Server, snapshot: str, file: Path) -> None:
    """The schema as of `snapshot`, by the pg_dump of the target's version, to `file`.

    And the planner's statistics, where the target takes them. Not in which tablespace anything is: those are a
    server's own, and a managed one has none.
    """
    major = await server_major(target)
    what = ["--no-data", "--statistics"] if major >= TAKES_STATISTICS else ["--schema-only"]
    argv = [
        *(client("pg_dump", major), *what, "--no-large-objects", "--no-tablespaces", "-Fc", "-Z0"),
        *("--snapshot", snapshot, "--exclude-schema", "tidegate", "--no-publications", "--no-subscriptions"),
        *("--lock-wait-timeout", str(LOCK_SECONDS * 1000), "-f", file),
    ]
    await run_client(argv, source.client_environment(), source.where)


async def restore_schema(target: Server, file: Path, section: str) -> None:
    """`section`: pre-data, what has to be there before the rows."""
    argv = [*await _restoring(target), "--section", section, "--exit-on-error", "-d", target.database, file]
    await run_client(argv, target.client_environment(), target.where)


async def schema_digest(target: Server, file: Path) -> str:
    """Of all that `file` says of the schema: the same as long as nothing of it has changed at the source."""
    script = await _script(target, file, ["--schema-only"])
    return hashlib.sha256(VOLATILE.sub(b"", TO_PSQL.sub(b"", script))).hexdigest()


async def restore_indexes(target: Server, file: Path, built: Collection[tuple[int, int]]) -> None:
    """Those that stand behind the rows, and all between them, without what is `built`: the class and oid of each.

    By one session: several that attach the indexes of nested partitions side by side end in a deadlock, or with the
    parent's invalid. Nobody could tell what of it is there already: it comes in one transaction, with a note of it. But
    for the attaching: of partitions there may be more than one transaction can lock, and what is attached stays so.
    """
    if await read_note(target, "finishing"):
        return
    entries, _ = await _post_data(target, file, built)
    made = [entry for entry in entries if not ATTACH.match(entry)]
    if made and not await read_note(target, "indexed"):
        script = await _script(target, file, ["--section", "post-data", "--use-list", _listed(file, made)])
        async with target.session() as connection, connection.transaction():
            if encoding := ENCODING.search(script):
                await connection.execute(encoding[0])
            await connection.execute(TO_PSQL.sub(b"", script))
            await write_note(connection, "indexed", value=True)
    if attached := [entry for entry in entries if ATTACH.match(entry)]:
        await _restore(target, file, attached)


async def restore_rest(target: Server, file: Path, jobs: int, built: Collection[tuple[int, int]]) -> None:
    """What stands behind the indexes: foreign keys, triggers, policies, grants. What a try before left is replaced."""
    begun = await read_note(target, "finishing")
    async with target.session() as connection:
        await write_note(connection, "finishing", value=True)
    _, entries = await _post_data(target, file, built)
    if entries:
        await _restore(target, file, entries, "-j", str(jobs), *(["--clean", "--if-exists"] if begun else []))


async def _restore(target: Server, file: Path, entries: Sequence[str], *options: str) -> None:
    argv = [*await _restoring(target), "--section", "post-data", "--exit-on-error", *options]
    argv += ["--use-list", _listed(file, entries), "-d", target.database, file]
    await run_client(argv, target.client_environment(), target.where)


def _listed(file: Path, entries: Sequence[str]) -> Path:
    part = file.with_suffix(".part")
    part.write_text("\n".join([*entries, ""]))
    return part


async def _restoring(target: Server) -> list[str | Path]:
    major = await server_major(target)
    return [client("pg_restore", major), *(["--no-statistics"] if major >= TAKES_STATISTICS else [])]


async def _script(target: Server, file: Path, which: Sequence[str | Path]) -> bytes:
    """In the encoding that it names: what pg_restore would have the server do."""
    script = file.with_suffix(".sql")
    argv = [*await _restoring(target), *which, "-f", script, file]
    await run_client(argv, target.client_environment(), target.where)
    return script.read_bytes()


async def _post_data(target: Server, file: Path, built: Collection[tuple[int, int]]) -> tuple[list[str], list[str]]:
    whole = file.with_suffix(".list")
    argv = [*await _restoring(target), "--section", "post-data", "--list", "-f", whole, file]
    await run_client(argv, target.client_environment(), target.where)
    return split_contents(whole.read_text(), built)


def split_contents(contents: str, built: Collection[tuple[int, int]]) -> tuple[list[str], list[str]]:
    """The table of contents of an archive, as pg_restore prints it, without what is `built`: up to the last index, and
    behind it. Pure.

    A line begins with its number, and the class and oid of what it makes: `3342; 1259 16401 INDEX sales name owner`.
    Comments stay with what they are on: pg_restore omits some that it finds alone.
    """
    entries = [
        line
        for line in contents.splitlines()
        if (entry := ENTRY.match(line)) and (int(entry["class"]), int(entry["oid"])) not in built
    ]
    cut = max((at for at, line in enumerate(entries, 1) if INDEX.match(line)), default=0)
    while cut < len(entries) and COMMENT.match(entries[cut]):
        cut += 1
    return entries[:cut], entries[cut:]


async def ensure_roles(source: Server, target: Server, passwords: Mapping[str, str]) -> list[str]:
    """The roles that the source's objects and grants name.

    Passwords are those given, else the source's own, which only a superuser may read. Returns the logins without one.
    """
    async with source.session() as connection:
        wanted = await roles(connection)
        hashed = await _hashed_passwords(connection)
    await make_roles(target, wanted, passwords, hashed)
    return [role.name for role in wanted if role.login and role.name not in passwords.keys() | hashed.keys()]


async def make_roles(
    target: Server, wanted: Sequence[Role], passwords: Mapping[str, str], hashed: Mapping[str, str]
) -> None:
    """Without login. What was made is recorded first."""
    async with target.session() as connection:
        cursor = await connection.execute("select rolname from pg_catalog.pg_roles")
        there = {row[0] for row in await cursor.fetchall()}
        missing = [role for role in wanted if role.name not in there]
        made = set(await made_roles(connection)) | {role.name for role in missing}
        await write_note(connection, "roles", sorted(made))
        for role in missing:
            await _make_role(connection, role.name)
        for role in wanted:
            await _complete(connection, role, passwords, hashed)


async def _hashed_passwords(connection: Connection) -> dict[str, str]:
    """By role; none where the login may not read them, as on a managed server."""
    cursor = await connection.execute("select pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'select')")
    if not (row := await cursor.fetchone()) or not row[0]:
        return {}
    cursor = await connection.execute(
        "select rolname, rolpassword from pg_catalog.pg_authid where rolpassword is not null"
    )
    return dict(await cursor.fetchall())


async def _make_role(connection: Connection, role: str) -> None:
    """Whoever isn't a superuser may give objects only to a role of which it is a member itself."""
    name = sql.Identifier(role)
    await connection.execute(sql.SQL("create role {} nologin").format(name))
    cursor = await connection.execute("select pg_catalog.pg_has_role(%s, 'usage')", (role,))
    if (row := await cursor.fetchone()) and not row[0]:
        await connection.execute(sql.SQL("grant {} to current_user").format(name))


async def _complete(
    connection: Connection, role: Role, passwords: Mapping[str, str], hashed: Mapping[str, str]
) -> None:
    """Password and memberships; a role that can log in at the source is to be opened by the switch."""
    name = sql.Identifier(role.name)
    secret = hashed.get(role.name)
    if role.name in passwords:
        # Sent hashed, so that no server log can show it.
        given = resolve(passwords[role.name]).encode()
        secret = connection.pgconn.encrypt_password(given, role.name.encode(), b"scram-sha-256").decode()
    if secret is not None:
        await connection.execute(sql.SQL("alter role {} password {}").format(name, sql.Literal(secret)))
    for group in role.member_of:
        await connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(group), name))
    if role.login:
        await connection.execute(
            "insert into tidegate.fence values ('role', %s, %s) on conflict do nothing",
            (role.name, json.dumps({"login": True})),
        )


async def login_roles(connection: Connection) -> list[str]:
    """The application's roles that can log in now."""
    return [role.name for role in await roles(connection) if role.login]


async def made_roles(connection: Connection) -> list[str]:
    """Those that this move has made on the target."""
    cursor = await connection.execute("select value from tidegate.note where key = 'roles'")
    row = await cursor.fetchone()
    return list(row[0]) if row else []


async def server_major(server: Server) -> int:
    return int(await server.value("show server_version_num")) // 10_000
