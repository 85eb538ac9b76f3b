"""What the crash tests share; how many processes they have killed is told at the end."""

from collections.abc import Callable, Iterator

import pytest

from crash.killing import STORIES, Rehearsed
from sample import sample_migration
from tidegate.runbook.migration import Migration


@pytest.fixture(scope="session")
def migration() -> Migration:
    return sample_migration()


@pytest.fixture
def rehearse(tmp_path) -> Iterator[Callable[..., Rehearsed]]:
    """`rehearse(scenario)` begins a rehearsal of its own, of which nothing runs after the test."""
    started: list[Rehearsed] = []

    def begin(scenario: str, *options: str) -> Rehearsed:
        started.append(rehearsed := Rehearsed(tmp_path, scenario, options))
        rehearsed.begin()
        return rehearsed

    yield begin
    for rehearsed in started:
        STORIES.append(rehearsed)
        rehearsed.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    killed = [rehearsed for rehearsed in STORIES if rehearsed.kills]
    if killed:
        kills, inside = sum(len(each.kills) for each in killed), sum(each.in_the_switch for each in killed)
        terminalreporter.section(f"{kills} processes killed, {inside} of them inside the switch")
        for rehearsed in killed:
            terminalreporter.write_line(rehearsed.story)
