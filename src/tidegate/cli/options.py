"""What several commands take."""

import getpass
import json
from pathlib import Path

import click
from click.shell_completion import CompletionItem
from pydantic import JsonValue

from tidegate.engine.journal import Store
from tidegate.errors import TidegateError, UsageError

__all__ = ["by_option", "json_option", "open_store", "print_json", "run_argument"]


def open_store(folder: Path) -> Store:
    """The runs that there are. Raises UsageError if there are none, and makes no folder for them."""
    if not (folder / "journal.db").exists():
        raise UsageError("there is no run here yet", where=str(folder), mend="start one with `tidegate run`")
    return Store(folder)


def print_json(document: JsonValue) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _complete_run(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    del parameter
    root = context.find_root()
    try:
        runs = open_store(root.params["store"]).runs()
    except (TidegateError, KeyError):
        return []
    return [CompletionItem(run) for run in runs if run.startswith(incomplete)]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return "an operator"


run_argument = click.argument("run", required=False, shell_complete=_complete_run)
json_option = click.option("--json", "as_json", is_flag=True, help="Print data as JSON.")
by_option = click.option("--by", default=_user, show_default="your login", help="Who decides this.")
