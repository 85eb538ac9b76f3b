"""Progress, told as lines to stderr."""

from time import time

import click

from tidegate.cli.wording import clock

__all__ = ["note"]


def note(text: str) -> None:
    click.echo(f"{clock(time())}  {text}", err=True)
