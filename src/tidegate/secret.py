"""Secrets are references (`env:NAME`, `file:PATH`), resolved at the last moment and never shown."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from tidegate.errors import InvalidMigration

__all__ = ["SecretRef", "resolve"]


def _is_reference(text: str) -> str:
    kind, separator, rest = text.partition(":")
    if kind not in ("env", "file") or not separator or not rest:
        # the text itself is not repeated: it may be the secret
        raise ValueError("a secret is a reference: env:NAME or file:PATH")
    return text


SecretRef = Annotated[str, AfterValidator(_is_reference)]


def resolve(reference: str) -> str:
    """The secret's text, without the newline that ends a file. Raises InvalidMigration if it isn't set."""
    kind, _, rest = reference.partition(":")
    if kind == "env":
        value = os.environ.get(rest)
        if value is None:
            raise InvalidMigration(
                f"the environment variable {rest} is not set", where=reference, mend=f"export {rest}=..."
            )
        return value
    try:
        return Path(rest).read_text().rstrip("\n")
    except OSError as error:
        raise InvalidMigration(
            f"the secret can't be read: {error.strerror}",
            where=reference,
            mend="check the path and its permissions",
        ) from None
