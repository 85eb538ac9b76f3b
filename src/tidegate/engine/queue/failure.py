"""The error that ended a task, as text that another process raises again."""

import json
from typing import cast

from tidegate import errors
from tidegate.errors import TidegateError

__all__ = ["TaskFailed", "failure"]


class TaskFailed(Exception):
    """What dbos keeps of it is its text."""

    def __init__(self, error: TidegateError) -> None:
        kept = {"kind": type(error).__name__, "why": error.why, "where": error.where, "mend": error.mend}
        super().__init__(json.dumps(kept))


def failure(text: str, where: str) -> TidegateError:
    """Of the kind that it was, if it is one of errors.py. `where`: the task, if the text is none of TaskFailed's."""
    try:
        kept = cast("dict[str, str]", json.loads(text))
        kind = cast("type[TidegateError]", getattr(errors, kept["kind"], TidegateError))
        return kind(kept["why"], where=kept["where"], mend=kept["mend"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return TidegateError(f"a worker can't run it: {text}", where=where, mend="run the same tidegate everywhere")
