"""Parse, call, print. One file per group of commands; none is imported before it is called.

To add a command: its file, and a line here.
"""

from pathlib import Path
from typing import Any

import click

from tidegate.cli.failures import explained
from tidegate.cli.lazy import Lazy, LazyGroup

__all__ = ["main"]

COMMANDS = {
    "init": Lazy("tidegate.cli.init:init", "Write a sample migration.yaml to edit."),
    "schema": Lazy("tidegate.cli.schema:schema", "Print the JSON Schema of migration.yaml."),
    "plan": Lazy("tidegate.cli.plan:plan", "Show what a migration will do, and what undoes it."),
    "rehearse": Lazy("tidegate.cli.rehearse:rehearse", "Run a whole migration on embedded servers, under load."),
    "run": Lazy("tidegate.cli.run:run", "Execute a plan."),
    "resume": Lazy("tidegate.cli.run:resume", "Go on with a run that was stopped, killed or paused."),
    "status": Lazy("tidegate.cli.status:status", "Show how far a run is."),
    "approve": Lazy("tidegate.cli.steer:approve", "Approve what a run waits for."),
    "pause": Lazy("tidegate.cli.steer:pause", "Let a run wait at its next safe point."),
    "abort": Lazy("tidegate.cli.steer:abort", "Stop a run where it is; nothing is undone."),
    "rollback": Lazy("tidegate.cli.steer:rollback", "Take a run back: traffic, data, and the rest in reverse."),
    "report": Lazy("tidegate.cli.report:report", "Write the report of a run."),
    "postgres": Lazy("tidegate.cli.postgres:postgres", "Move one PostgreSQL database by itself."),
    "objects": Lazy("tidegate.cli.objects:objects", "Move one bucket from S3 to Azure Blob by itself."),
    "worker": Lazy("tidegate.cli.worker:worker", "Take a share of the copies that are spread over machines."),
    "edge": Lazy("tidegate.cli.edge:edge", "Prepare an Envoy as the edge, and hold requests beside it."),
}

EPILOG = """\b
Exit codes:
  0  done                    4  a check failed
  1  failed                  5  waiting for approval
  2  usage                   6  rolled back
  3  invalid migration       7  rollback incomplete
"""


class Main(LazyGroup):
    def invoke(self, ctx: click.Context) -> Any:
        with explained(ctx):
            return super().invoke(ctx)


@click.group(
    cls=Main,
    lazy=COMMANDS,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".tidegate"),
    show_default=True,
    envvar="TIDEGATE_STORE",
    show_envvar=True,
    help="The folder in which runs are kept.",
)
@click.version_option(package_name="tidegate")
@click.pass_context
def main(context: click.Context, store: Path) -> None:
    """Executes the migration of one workload from AWS to Azure."""
    context.obj = store
