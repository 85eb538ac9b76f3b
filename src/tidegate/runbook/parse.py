"""The text of a migration.yaml as a Migration; everything that is wrong with it, each with its line and its mend."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tidegate.errors import InvalidMigration
from tidegate.runbook.migration import Migration

__all__ = ["Places", "parse_migration"]

Path = Sequence[str | int]

PATTERNS = {
    "^[a-z][a-z0-9-]{0,62}$": "a name is lower-case letters, digits and dashes, and begins with a letter",
    r"^https?://[^\s/?#]+(/[^\s?#]*)?$": "write http://HOST:PORT or https://HOST",
    r"^[^\s:]+:\d+$": "write HOST:PORT",
    "^/": "a path begins with /",
}
KINDS = {
    "missing": "this field is missing",
    "string_type": "this has to be text",
    "int_type": "this has to be a whole number",
    "int_parsing": "this has to be a whole number",
    "int_from_float": "this has to be a whole number",
    "float_type": "this has to be a number",
    "float_parsing": "this has to be a number",
    "list_type": "this has to be a list",
    "dict_type": "this has to be a mapping",
    "model_type": "this has to be a mapping",
    "model_attributes_type": "this has to be a mapping",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """`line` counts from 1."""

    line: int
    path: str
    why: str
    mend: str

    def error(self, where: str) -> InvalidMigration:
        field = f"{self.path}: " if self.path else ""
        return InvalidMigration(f"{field}{self.why}", where=f"{where}:{self.line}", mend=self.mend)


class Places:
    """Where in the file a field stands."""

    def __init__(self, where: str, root: yaml.Node) -> None:
        self.where, self.root = where, root

    def of(self, path: Path) -> str:
        return f"{self.where}:{self.line(path)}"

    def line(self, path: Path) -> int:
        """Of the field, or of the last part of its path that there is."""
        return self.trace(path)[1]

    def trace(self, path: Path) -> tuple[list[str | int], int, yaml.Node]:
        """The parts of the path that stand in the file (pydantic adds names of its own), the line, and the value."""
        node, line, found = self.root, self.root.start_mark.line + 1, list[str | int]()
        for part in path:
            if isinstance(node, yaml.MappingNode):
                pairs = cast("list[tuple[yaml.Node, yaml.Node]]", node.value)
                pair = next((pair for pair in reversed(pairs) if pair[0].value == str(part)), None)
                if pair is None:
                    continue
                line, node = pair[0].start_mark.line + 1, pair[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = cast("yaml.Node", node.value[part])
                line = node.start_mark.line + 1
            else:
                continue
            found.append(part)
        return found, line, node


def parse_migration(text: str, where: str) -> tuple[Migration, Places]:
    """`where` names the file. Raises InvalidMigration, which lists every problem."""
    document, places = _load(text, where)
    problems = list(_twice(places.root, ()))
    try:
        migration = Migration.model_validate(document)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        problems += [problem for detail in details if (problem := _problem(detail, places)) is not None]
        migration = None
    if problems or migration is None:
        raise _invalid(sorted(set(problems), key=lambda problem: problem.line), where)
    return migration, places


def _invalid(problems: list[Problem], where: str) -> InvalidMigration:
    errors = [problem.error(where) for problem in problems]
    if len(errors) == 1:
        return errors[0]
    return InvalidMigration("\n".join(str(error) for error in errors))


def _load(text: str, where: str) -> tuple[object, Places]:
    loader = yaml.SafeLoader("")
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            why = "the file is empty" if node is None else "a migration is a mapping of fields"
            raise InvalidMigration(why, where=f"{where}:1", mend="`tidegate init` writes a sample")
        document: object = loader.construct_document(node)  # pyright: ignore[reportUnknownMemberType]
        return document, Places(where, node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        why = "; ".join(part for part in (error.context, error.problem) if part)
        raise InvalidMigration(f"this is not YAML: {why}", where=f"{where}{line}", mend=_yaml_mend(why)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InvalidMigration(
            "a character here can't stand in YAML", where=f"{where}:{line}", mend="remove it"
        ) from None
    except RecursionError:
        raise InvalidMigration("it is nested too deeply", where=where) from None
    except ValueError:  # such as the date 2025-13-45
        raise InvalidMigration("a value can't be what it looks like", where=where, mend="quote dates") from None
    finally:
        loader.dispose()


def _yaml_mend(why: str) -> str:
    if "\\t" in why:
        return "indent with spaces"
    return "mind the indentation, the colons and the quotes around here"


def _twice(node: yaml.Node, path: tuple[str | int, ...]) -> Iterator[Problem]:
    """Fields written twice: YAML would let the last one win, silently."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                why = f"this field stands here a second time; the first is on line {seen[name]}"
                yield Problem(line, _dotted((*path, name)), why, "remove one")
            seen[name] = line
            yield from _twice(value, (*path, name))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(cast("list[yaml.Node]", node.value)):
            yield from _twice(value, (*path, index))


def _problem(detail: ErrorDetails, places: Places) -> Problem | None:
    """None for what only follows from another problem."""
    location = tuple(part for part in detail["loc"] if part != "[key]")
    found, line, node = places.trace(location)
    kind, context = detail["type"], detail.get("ctx", {})
    if _other_branch(location, node):
        return None
    match kind:
        case "missing":
            return Problem(line, _dotted([*found, location[-1]]), KINDS[kind], "")
        case "extra_forbidden":
            return Problem(line, _dotted(found), "there is no such field", _nearest(location, found))
        case "value_error":
            return _own(str(context["error"]), found, line, places)
        case "literal_error" | "union_tag_invalid":
            expected = str(context.get("expected") or context.get("expected_tags"))
            if kind == "union_tag_invalid":
                found, line = [*found, "kind"], places.line([*found, "kind"])
            return Problem(line, _dotted(found), "this is none of the values that can stand here", f"write {expected}")
        case "union_tag_not_found":
            return Problem(line, _dotted([*found, "kind"]), KINDS["missing"], "")
        case "string_pattern_mismatch":
            why = PATTERNS.get(str(context["pattern"]), f"this doesn't match {context['pattern']}")
            return Problem(line, _dotted(found), why, "")
        case _:
            mend = "quote it" if kind == "string_type" and isinstance(node, yaml.ScalarNode) and node.value else ""
            return Problem(line, _dotted(found), KINDS.get(kind) or _lower(detail["msg"]), mend)


def _other_branch(location: Path, node: yaml.Node) -> bool:
    """An entry of `shift` is `switch` or a mapping: what the other reading says is noise."""
    if len(location) < 3 or location[0] != "shift":
        return False
    as_word = str(location[2]).startswith("literal")
    return as_word == isinstance(node, yaml.MappingNode) if len(location) == 3 else False


def _own(message: str, found: list[str | int], line: int, places: Places) -> Problem:
    """A validator of ours; one that looks at the whole names the field at the beginning of its text."""
    field, separator, rest = message.partition(": ")
    parts = field.split(".")
    if not found and separator and parts[0] in Migration.model_fields:
        return Problem(places.line(parts), field, rest, "")
    return Problem(line, _dotted(found), message, "")


def _nearest(location: Path, found: list[str | int]) -> str:
    names = _fields(location[:-1])
    near = difflib.get_close_matches(str(found[-1]), names, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"the fields here are: {', '.join(names)}" if names else ""


def _fields(location: Path) -> list[str]:
    """The fields of the model at this place, which the schema knows."""
    whole = Migration.model_json_schema()
    schema: dict[str, Any] = whole
    for part in location:
        schema = _inside(_resolved(schema, whole), part, whole)
    return list(_resolved(schema, whole).get("properties", {}))


def _inside(schema: dict[str, Any], part: str | int, whole: dict[str, Any]) -> dict[str, Any]:
    if isinstance(part, int):
        return schema.get("items", {})
    if part in schema.get("properties", {}):
        return schema["properties"][part]
    mapping = schema.get("discriminator", {}).get("mapping", {})
    if part in mapping:
        return {"$ref": mapping[part]}
    for choice in schema.get("anyOf", []):
        resolved = _resolved(choice, whole)
        if resolved.get("title") == part:
            return resolved
        if part in resolved.get("properties", {}):
            return resolved["properties"][part]
    named = list(schema.get("patternProperties", {}).values())
    return named[0] if named else schema.get("additionalProperties") or {}


def _resolved(schema: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    return whole["$defs"][reference.rpartition("/")[2]]


def _dotted(path: Path) -> str:
    return ".".join(str(part) for part in path)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
