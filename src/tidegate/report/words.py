"""How times, durations, sizes and counts read."""

import math
from datetime import UTC, datetime

from pydantic import JsonValue

__all__ = ["clipped", "clock", "count", "day", "duration", "elapsed", "finite", "share", "size"]


def finite(value: JsonValue) -> float | None:
    """The number, if it is one: JSON written by Python may hold NaN and infinities."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def clipped(text: str, limit: int = 400) -> str:
    return text if len(text) <= limit else f"{text[:limit].rstrip()} … ({len(text):,} characters)"


def clock(at: float) -> str:
    """Time of day in UTC."""
    return _utc(at).strftime("%H:%M:%S")


def day(at: float) -> str:
    return _utc(at).strftime("%-d %B %Y, %H:%M:%S UTC")


def _utc(at: float) -> datetime:
    try:
        return datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):  # a clock that was never set
        return datetime.fromtimestamp(0, UTC)


def elapsed(seconds: float) -> str:
    """Since the run began, as on a stopwatch: 0:42, 1:02:03."""
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def duration(seconds: float) -> str:
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} days {whole % 86400 // 3600} h"


def count(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 100 else f"{value:,.1f}"


def size(value: float) -> str:
    """Bytes."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def share(value: float) -> str:
    """0 to 1, as a percentage."""
    percent = value * 100
    return (
        f"{percent:.0f} %" if percent == round(percent) else f"{percent:.2g} %" if percent < 1 else f"{percent:.1f} %"
    )
