"""Progress, told as lines to stderr."""

from time import time

from tidegate.cli.consoles import progress
from tidegate.cli.wording import clock

__all__ = ["note"]


def note(text: str) -> None:
    progress().print(f"{clock(time())}  {text}", soft_wrap=True, highlight=False, markup=False)
