"""The user's own dump, loaded into AWS's server; its empty twin on Azure's."""

import subprocess
from pathlib import Path

from tidegate.errors import UsageError
from tidegate.lab.servers.postgres import Postgres, binaries
from tidegate.lab.servers.process import quiet_environment

__all__ = ["load_dump"]

DATABASE = "own"
"""Where a dump goes that makes no database of its own."""

TABLES = """select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"""

LIKE = """select format('create database %I template template0 encoding %L lc_collate %L lc_ctype %L',
                        datname, pg_encoding_to_char(encoding), datcollate, datctype)
from pg_database where datname = current_database()"""


def load_dump(file: Path, aws: Postgres, azure: Postgres) -> str:
    r"""The name of the database in which its tables are. A dump may make one itself (CREATE DATABASE and \c).

    Plain SQL for psql, or what `pg_dump -Fc` writes. Raises UsageError.
    """
    before = _databases(aws)
    aws.create_database(DATABASE)
    _load(file, aws)
    found = [name for name in _databases(aws) if name not in before and int(aws.psql(name, TABLES))]
    if len(found) != 1:
        why = f"it makes tables in {', '.join(found)}" if found else "it makes no table"
        raise UsageError(f"{why}; there must be one database", where=str(file), mend="dump one database")
    azure.psql("postgres", aws.psql(found[0], LIKE))
    return found[0]


def _load(file: Path, aws: Postgres) -> None:
    try:
        with file.open("rb") as dump:
            custom = dump.read(5) == b"PGDMP"
    except OSError as error:
        raise UsageError(f"the dump can't be read: {error.strerror}", where=str(file), mend="check the path") from None
    # those of the newer version read the dumps of both
    if custom:
        argv = [
            binaries(18) / "pg_restore",
            "--exit-on-error",
            "--no-owner",
            "--no-privileges",
            "-d",
            aws.dsn(DATABASE),
        ]
    else:
        argv = [binaries(18) / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", file.absolute(), aws.dsn(DATABASE)]
    done = subprocess.run(
        [str(each) for each in ([*argv, file.absolute()] if custom else argv)],
        env=quiet_environment() | {"PGPASSWORD": aws.password},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise UsageError(
            f"the dump can't be loaded: {_errors(done.stderr)}",
            where=str(file),
            mend="write it with pg_dump --no-owner --no-privileges",
        )


def _errors(text: str) -> str:
    """The first complaint; notices don't count."""
    lines = text.strip().splitlines()
    return next((line for line in lines if "ERROR" in line or "error:" in line), lines[-1] if lines else "")


def _databases(server: Postgres) -> list[str]:
    return server.psql("postgres", "select datname from pg_database where not datistemplate").split("\n")[:-1]
