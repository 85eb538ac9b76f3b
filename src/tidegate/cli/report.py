"""`report`: a run told on one page."""

import json
from pathlib import Path
from typing import cast

import click
from pydantic import JsonValue

from tidegate.cli.options import json_option, open_store, print_json, run_argument
from tidegate.engine.journal import Store
from tidegate.engine.state import fold
from tidegate.errors import UsageError
from tidegate.files import write
from tidegate.report import render

__all__ = ["report", "write_report"]


def write_report(store: Store, run: str, output: Path, rehearsal: dict[str, JsonValue] | None = None) -> None:
    """Raises TidegateError if the journal is not what was written, LocalFault if the file can't be."""
    store.verify(run)
    events = store.events(run)
    write(output, render(fold(events), events, rehearsal), mend="choose another place with -o")


@click.command()
@run_argument
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Where; RUN.html by default.")
@click.option(
    "--rehearsal",
    type=click.Path(path_type=Path),
    help="What `tidegate rehearse --json FILE` wrote: adds what users saw.",
)
@json_option
@click.pass_obj
def report(folder: Path, run: str | None, *, output: Path | None, rehearsal: Path | None, as_json: bool) -> None:
    """Write the report of a run, one self-contained HTML file; of the newest, if none is named."""
    store = open_store(folder)
    found = store.find(run)
    file = output or Path(f"{found}.html")
    write_report(store, found, file, _read(rehearsal) if rehearsal else None)
    if as_json:
        print_json({"run": found, "report": str(file)})
    else:
        click.echo(f"wrote {file}")


def _read(file: Path) -> dict[str, JsonValue]:
    try:
        document: object = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"it can't be read: {error.strerror}", where=str(file)) from None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise UsageError("this is no result of a rehearsal", where=str(file), mend="`tidegate rehearse --json FILE`")
    return cast("dict[str, JsonValue]", document)
