"""Where text goes: data to stdout, progress to stderr. NO_COLOR and non-terminals are rich's business."""

from rich.console import Console

__all__ = ["progress", "results"]


def progress(*, plain: bool = False) -> Console:
    """`plain`: lines instead of a live picture."""
    return Console(stderr=True, force_terminal=False if plain else None)


def results() -> Console:
    return Console()
