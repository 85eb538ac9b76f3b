"""What a task gives back: its result, or the error that ended it. As JSON, since another process raises it again."""

from typing import cast

from pydantic import JsonValue

from tidegate import errors
from tidegate.errors import TidegateError

__all__ = ["done", "failed", "is_failed", "result"]


def done(value: JsonValue) -> dict[str, JsonValue]:
    return {"done": value}


def failed(error: TidegateError) -> dict[str, JsonValue]:
    return {"failed": {"kind": type(error).__name__, "why": error.why, "where": error.where, "mend": error.mend}}


def is_failed(outcome: JsonValue) -> bool:
    return not isinstance(outcome, dict) or "done" not in outcome


def result(outcome: JsonValue) -> JsonValue:
    """Raises the task's error, of its own kind."""
    if isinstance(outcome, dict) and "done" in outcome:
        return outcome["done"]
    said = outcome.get("failed") if isinstance(outcome, dict) else None
    parts = cast("dict[str, str]", said if isinstance(said, dict) else {})
    kind = getattr(errors, parts.get("kind", ""), TidegateError)
    why = parts.get("why", "a worker gave no result")
    raise kind(why, where=parts.get("where", ""), mend=parts.get("mend", ""))
