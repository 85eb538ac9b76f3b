"""The documents speak of every command and option, of none that there isn't, and their links resolve."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from docs.blocks import blocks
from tidegate.cli import main

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
REFERENCE = ROOT / "docs" / "commands.md"

named = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def every_command(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, f"{name} is listed"
        yield (*words, name), command
        if isinstance(command, click.Group):
            yield from every_command(command, (*words, name))


COMMANDS = dict(every_command(main))


def options(command: click.Command) -> set[str]:
    given = {name for each in command.params if isinstance(each, click.Option) for name in each.opts}
    return given | {"-h", "--help"}


def code(document: Path) -> Iterator[str]:
    """What stands in code spans and in code blocks, fenced or indented, line by line."""
    text = document.read_text()
    fenced = [lines for _, _, lines in blocks(document)]
    yield from (line for lines in fenced for line in lines)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"^ {4}(.*)$", rest, flags=re.MULTILINE)
    yield from re.findall(r"`([^`\n]+)`", rest)


def calls(document: Path) -> Iterator[tuple[str, list[str]]]:
    """(as written, words) of every call of tidegate."""
    for line in code(document):
        found = re.match(r"\s*(?:\$ )?(tidegate(?: .*)?)$", line)
        if found:
            words = shlex.split(re.sub(r"[<>|#].*|[\[\]]", "", found[1]))
            yield found[1], words[1:]


def resolved(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the words name, and those that are left. Raises KeyError if there is no such command."""
    while words[:1] and words[0].startswith("-") and words[0] in options(main):
        words = words[2:]
    if not words or not words[0].islower():
        return main, words
    path = tuple(words[:2]) if tuple(words[:2]) in COMMANDS else tuple(words[:1])
    return COMMANDS[path], words[len(path) :]


@named
def test_every_call_that_is_shown_can_be_made(document):
    for written, words in calls(document):
        try:
            command, rest = resolved(words)
        except KeyError:
            pytest.fail(f"there is no such command: {written}")
        strange = [word for word in rest if re.match(r"--?[a-z]", word) and word not in options(command)]
        assert not strange, f"{written}: no such option"


def test_there_are_calls_to_look_at():
    assert {words[0] for document in DOCUMENTS for _, words in calls(document) if words} >= {"rehearse", "plan"}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_is_explained_with_its_options(words):
    text = REFERENCE.read_text()
    if not isinstance(COMMANDS[words], click.Group):
        assert f"`tidegate {' '.join(words)}" in text
    for option in options(COMMANDS[words]):
        assert re.search(rf"`{option}[` ]", text), f"{option} is not explained"


def test_the_options_of_all_commands_are_explained():
    text = REFERENCE.read_text()
    assert all(f"`{option}`" in text or f"[{option} " in text for option in options(main))


def test_every_exit_code_is_explained():
    codes = re.findall(r"^\| (\d+) \|", REFERENCE.read_text(), flags=re.MULTILINE)
    assert codes == [*map(str, range(8)), "130"]


@named
def test_every_goal_of_make_that_is_shown_is_there(document):
    goals = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    shown = {found[1] for line in code(document) if (found := re.match(r"\s*(?:\$ )?make ([a-z-]+)", line))}
    assert shown <= goals


@named
def test_links_resolve(document):
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        file = (document.parent / place).resolve() if place else document
        assert file.exists(), target
        assert file.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(file), target


def anchors(file: Path) -> set[str]:
    """As GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
