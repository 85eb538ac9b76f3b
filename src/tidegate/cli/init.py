"""`init`: a migration.yaml to begin with."""

from importlib.resources import files
from pathlib import Path

import click

from tidegate.errors import UsageError

__all__ = ["init", "sample"]


def sample() -> str:
    """A commented migration, whole and valid."""
    return files("tidegate.cli").joinpath("sample.yaml").read_text(encoding="utf-8")


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("migration.yaml"))
def init(file: Path) -> None:
    """Write a commented sample to FILE (migration.yaml). Overwrites nothing."""
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(sample())
    except FileExistsError:
        raise UsageError("there is such a file already", where=str(file), mend="name another one") from None
    except FileNotFoundError:
        raise UsageError("there is no such folder", where=str(file.parent), mend="make it first") from None
    click.echo(f"wrote {file}: edit it, then `tidegate plan {file}`")
