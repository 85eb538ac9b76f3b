"""How figures and commands are written for people."""

import os
import shlex
from datetime import datetime
from pathlib import Path

__all__ = ["clock", "duration", "size", "typed"]

DEFAULT_STORE = Path(".tidegate")


def clock(at: float) -> str:
    """Local time of day."""
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")


def duration(seconds: float) -> str:
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


def size(count: int) -> str:
    figure, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if figure < 1000:
            break
        figure, unit = figure / 1024, larger
    return f"{figure:.3g} {unit}" if figure < 100 else f"{figure:.0f} {unit}"


def typed(store: Path, *words: str) -> str:
    """The command line that reaches this store from here."""
    named = Path(os.environ.get("TIDEGATE_STORE") or DEFAULT_STORE)
    option = [] if store.resolve() == named.resolve() else ["--store", str(store)]
    return shlex.join(["tidegate", *option, *words])
