"""The user's own dump, loaded into AWS's server; its empty twin on Azure's."""

import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tidegate.errors import UsageError
from tidegate.lab.servers.postgres import Postgres, binaries
from tidegate.lab.servers.process import quiet_environment

__all__ = ["load_dump"]

DATABASE = "own"
"""Where a dump goes that makes no database of its own."""

NEWER = b"SET transaction_timeout = 0;"
"""What the dumps of later versions begin with, and AWS's server doesn't know."""
HEAD = 200
"""Lines among which that stands; twice, if the dump makes its own database."""

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
    # those of the newer version read the dumps of both
    argv = [binaries(18) / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-", aws.dsn(DATABASE)]
    environment = quiet_environment() | {"PGPASSWORD": aws.password}
    with _script(file) as script, tempfile.TemporaryFile() as complaints:
        psql = subprocess.Popen(
            argv,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            cwd=file.absolute().parent,  # by which it may include others
        )
        assert psql.stdin is not None, "it was asked for"
        with suppress(BrokenPipeError), psql.stdin as load:  # it ends at the first error
            for _ in range(HEAD):
                line = script.readline()
                load.write(b"\n" if line.rstrip() == NEWER else line)
            shutil.copyfileobj(script, load)
        _must(psql, complaints, file)


@contextmanager
def _script(file: Path) -> Generator[IO[bytes]]:
    """The dump as SQL. Raises UsageError at the end, if it was no whole one."""
    try:
        dump = file.open("rb")
    except OSError as error:
        raise UsageError(f"the dump can't be read: {error.strerror}", where=str(file), mend="check the path") from None
    with dump:
        if dump.read(5) != b"PGDMP":
            dump.seek(0)
            yield dump
            return
    argv = [binaries(18) / "pg_restore", "--no-owner", "--no-privileges", "-f", "-", file.absolute()]
    with tempfile.TemporaryFile() as complaints:
        restore = subprocess.Popen(argv, env=quiet_environment(), stdout=subprocess.PIPE, stderr=complaints)
        assert restore.stdout is not None, "it was asked for"
        with restore.stdout:
            yield restore.stdout
        _must(restore, complaints, file)


def _must(process: subprocess.Popen[bytes], complaints: IO[bytes], file: Path) -> None:
    """Raises UsageError unless it ends well."""
    if process.wait():
        complaints.seek(0)
        raise UsageError(
            f"the dump can't be loaded: {_errors(complaints.read().decode(errors='replace'))}",
            where=str(file),
            mend="write it with pg_dump --no-owner --no-privileges",
        )


def _errors(text: str) -> str:
    """The first complaint; notices don't count."""
    lines = text.strip().splitlines()
    return next((line for line in lines if "ERROR" in line or "error:" in line), lines[-1] if lines else "")


def _databases(server: Postgres) -> list[str]:
    return server.psql("postgres", "select datname from pg_database where not datistemplate").split("\n")[:-1]
