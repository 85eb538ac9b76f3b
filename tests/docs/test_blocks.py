import pytest

from docs.blocks import Command, commands, matches


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ([], []),
        (["a", "b"], ["a", "b  "]),
        (["a 3 s", "b"], ["a 3 s", "b", ""]),
        (["took ... s in all"], ["took 27 s in all"]),
        (["a", "...", "d"], ["a", "b", "c", "d"]),
        (["a", "...", "d"], ["a", "d"]),
        (["..."], []),
        (["...", "[y] (z)"], ["x", "[y] (z)"]),
    ],
)
def test_what_is_shown_is_what_was_printed(shown, printed):
    assert matches(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["a"], []),
        ([], ["a"]),
        (["a"], ["a", "b"]),
        (["b", "a"], ["a", "b"]),
        (["a..."], ["ba"]),
        (["a", "...", "d"], ["a", "b", "c"]),
        (["a.c"], ["abc"]),
    ],
)
def test_what_is_shown_is_not_what_was_printed(shown, printed):
    assert not matches(shown, printed)


def test_commands_come_with_their_lines_and_what_they_print(tmp_path):
    file = tmp_path / "x.md"
    file.write_text("text\n\n```console\n$ a\nA\n$ b\n```\n\n```yaml\nname: x\n```\n\n```sh\nc\nd\n```\n")
    assert list(commands(file)) == [
        Command(4, "a", ["A"]),
        Command(6, "b", []),
        Command(14, "c"),
        Command(15, "d"),
    ]
