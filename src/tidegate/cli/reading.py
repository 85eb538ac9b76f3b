"""Migrations and plans, read from the files that the command line names."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

from pydantic import BaseModel

from tidegate.errors import InvalidMigration, UsageError
from tidegate.runbook.compile import compile_runbook
from tidegate.runbook.migration import Migration
from tidegate.runbook.parse import Places, parse_migration
from tidegate.runbook.plan import Plan, parse_plan
from tidegate.secret import SecretRef, resolve

__all__ = ["read_migration", "read_plan_or_migration", "require_secrets"]


def read_migration(file: Path, *, secrets: bool = True) -> Migration:
    """Raises UsageError if it can't be read, InvalidMigration for all that is wrong with it, unset secrets included."""
    return _migration(_text(file), file, secrets=secrets)


def read_plan_or_migration(file: Path) -> Plan | Migration:
    text = _text(file)
    if file.suffix == ".json" or _says_plan(text):
        plan = parse_plan(text, str(file))
        require_secrets(plan.migration, str(file))
        return plan
    return _migration(text, file)


def require_secrets(migration: Migration, where: str, places: Places | None = None) -> None:
    """Raises InvalidMigration, naming every secret that can't be had: better now than in the middle of a night."""
    problems: list[str] = []
    for path, reference in _secrets(migration):
        try:
            resolve(reference)
        except InvalidMigration as error:
            place = places.of(path) if places else where
            field = ".".join(str(part) for part in path)
            problems.append(str(InvalidMigration(f"{field}: {error.why}", where=place, mend=error.mend)))
    if problems:
        raise InvalidMigration("\n".join(dict.fromkeys(problems)))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError("there is no such file", where=str(file), mend="`tidegate init` writes a sample") from None
    except UnicodeDecodeError:
        raise InvalidMigration("this is not UTF-8 text", where=str(file), mend="save it as UTF-8") from None
    except OSError as error:
        raise UsageError(f"it can't be read: {error.strerror}", where=str(file)) from None


def _says_plan(text: str) -> bool:
    try:
        document: object = json.loads(text)
    except ValueError:
        return False
    return isinstance(document, dict) and "format" in document


def _migration(text: str, file: Path, *, secrets: bool = True) -> Migration:
    migration, places = parse_migration(text, str(file))
    _must_compile(migration, places)
    if secrets:
        require_secrets(migration, str(file), places)
    return migration


def _must_compile(migration: Migration, places: Places) -> None:
    try:
        compile_runbook(migration)
    except InvalidMigration as error:
        _, _, name = error.where.partition(".")
        index = next((index for index, step in enumerate(migration.steps) if step.name == name), None)
        path = ["steps"] if index is None else ["steps", index, "stage"]
        raise InvalidMigration(f"{error.where}: {error.why}", where=places.of(path), mend=error.mend) from None


def _secrets(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every reference in the model, by the type of its field."""
    if isinstance(value, BaseModel):
        hints = get_type_hints(type(value), include_extras=True)
        for name in type(value).model_fields:
            field: Any = getattr(value, name)
            if SecretRef not in (hints[name], *get_args(hints[name])):
                yield from _secrets(field, (*path, name))
            elif isinstance(field, Mapping):
                yield from (((*path, name, key), each) for key, each in cast("dict[str, str]", field).items())
            elif field is not None:
                yield (*path, name), field
    elif isinstance(value, Mapping):
        for key, each in cast("dict[str, object]", value).items():
            yield from _secrets(each, (*path, key))
    elif isinstance(value, list | tuple):
        for index, each in enumerate(cast("list[object]", value)):
            yield from _secrets(each, (*path, index))
