"""The fenced blocks of a Markdown file, the commands in them, and what is shown below each.

In a `console` block a line that begins with `$ ` is a command, and the lines below it are what it prints, stdout and
stderr together. `...` stands for what varies: alone on a line for any number of lines, within a line for any text.
Blanks at the end of a line don't count. An `sh` block is commands alone, one a line.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Command", "commands", "matches"]

FENCE = re.compile(r"^```(\w*)\s*$")
PROMPT = "$ "
ANYTHING = "..."


@dataclass
class Command:
    """`line` is the command's own in the file. `shown` is None where the file shows no output."""

    line: int
    text: str
    shown: list[str] | None = field(default=None)


def commands(file: Path) -> Iterator[Command]:
    for language, start, lines in blocks(file):
        if language == "sh":
            yield from (Command(start + index, text) for index, text in enumerate(lines) if text.strip())
        elif language == "console":
            yield from _console(start, lines)


def blocks(file: Path) -> Iterator[tuple[str, int, list[str]]]:
    """(language, number of its first line, lines)."""
    language, start, lines = None, 0, []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if fence and language is None:
            language, start, lines = fence[1], number + 1, []
        elif fence:
            yield language or "", start, lines
            language = None
        elif language is not None:
            lines.append(line)
    assert language is None, f"{file.name}: the block on line {start} has no end"


def _console(start: int, lines: list[str]) -> Iterator[Command]:
    found: list[Command] = []
    for index, line in enumerate(lines):
        if line.startswith(PROMPT):
            found.append(Command(start + index, line.removeprefix(PROMPT), []))
        else:
            assert found, f"line {start + index}: output without a command"
            found[-1].shown.append(line)
    yield from found


def matches(shown: Sequence[str], printed: Sequence[str]) -> bool:
    shown, printed = _trimmed(shown), _trimmed(printed)
    pattern = "".join(r"(?:.*\n)*" if line == ANYTHING else _of_line(line) for line in shown)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in printed)) is not None


def _of_line(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.split(ANYTHING)) + r"\n"


def _trimmed(lines: Sequence[str]) -> list[str]:
    """Without blanks at the end of each, and without empty lines around all."""
    return "\n".join(line.rstrip() for line in lines).strip("\n").split("\n") if any(lines) else []
