"""`edge`: what stands in front of the workload, prepared and helped."""

from pathlib import Path

import click

from tidegate.cli.options import print_json
from tidegate.cli.reading import read_migration
from tidegate.edges import hold as hold_service
from tidegate.edges.bootstrap import bootstrap as bootstrap_document
from tidegate.edges.envoy import prepare_folder
from tidegate.errors import TidegateError, UsageError

__all__ = ["edge"]


@click.group()
def edge() -> None:
    """Prepare an Envoy as the edge, and hold requests beside it."""


@edge.command()
@click.argument("file", type=click.Path(path_type=Path))
def bootstrap(file: Path) -> None:
    """Print the configuration with which Envoy starts, and prepare the folder that it watches."""
    migration = read_migration(file, secrets=False)
    document = bootstrap_document(migration)
    folder = Path(migration.edge.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        prepare_folder(migration)
    except OSError as error:
        raise TidegateError(
            f"the folder of routes can't be written: {error.strerror}",
            where=str(folder),
            mend="see to its permissions; Envoy has to be able to read it",
        ) from None
    print_json(document)
    click.echo(f"Envoy watches {folder} for routes; everybody is on AWS until a run says otherwise", err=True)


@edge.command()
@click.option("--listen", required=True, metavar="HOST:PORT", help="Where Envoy asks: `edge.hold` of the migration.")
def hold(listen: str) -> None:
    """Run the hold service. It knows nothing of runs, so that every hold ends at its time."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UsageError("this is no HOST:PORT", where=f"--listen {listen}", mend="such as 127.0.0.1:9911")
    try:
        hold_service.main(["--listen", listen])
    except OSError as error:
        raise TidegateError(
            f"it can't listen there: {error.strerror}", where=listen, mend="is the port taken? choose another"
        ) from None
