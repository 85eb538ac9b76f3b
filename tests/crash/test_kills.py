"""tidegate killed for real, again and again, in whole rehearsals: what was begun is finished or taken back."""

import random
from collections.abc import Callable, Iterator

import pytest

from crash.killing import BROKEN_BY_KILLS, Aim, Ended, Rehearsed, at_once, inside, later, seed
from tidegate.edges.edge import Routes
from tidegate.lab.scenarios import SCENARIOS

EVERYBODY = 10_000
EMPTY = {"role postgres true "}


@pytest.fixture
def rehearse(tmp_path) -> Iterator[Callable[[str, list[Aim]], Rehearsed]]:
    """`rehearse(scenario, aims)`: a rehearsal whose process was killed at each aim that it came to, and has ended."""
    started: list[Rehearsed] = []

    def run(scenario: str, aims: list[Aim]) -> Rehearsed:
        started.append(rehearsed := Rehearsed(tmp_path, scenario))
        rehearsed.begin()
        rehearsed.shoot(iter(aims))
        return rehearsed

    yield run
    for rehearsed in started:
        print(f"{rehearsed.scenario}: {rehearsed.in_the_switch} of {len(rehearsed.kills)} inside the switch")
        print(*rehearsed.kills, sep="\n")
        rehearsed.stop()


def must_be_whole(rehearsed: Rehearsed, ended: Ended) -> None:
    """What was acknowledged is there once, where the writes belong; and nothing else of the run is."""
    state, scenario = ended.state, SCENARIOS[rehearsed.scenario]
    rehearsed.store.verify(rehearsed.run)
    assert state.status == scenario.outcome, f"{state.status}: {state.reason}"
    broken = [each for each in ended.verdict.promises if not each.kept and each.promise not in BROKEN_BY_KILLS]
    assert broken == []
    assert ended.told == ended.answered > 0
    assert ended.held.waiting == 0
    assert ended.misled == []
    assert ended.left == []
    assert ended.down == (["postgres-azure"] if scenario.forced else [])
    if state.status == "migrated":
        assert ended.routes.basis_points == EVERYBODY
        return
    assert state.reason
    assert ended.routes == Routes()
    assert ended.after["aws"] == ended.before
    assert all(not step.touched for stage in state.stages for step in stage.steps)
    if not scenario.forced:
        assert ended.after["azure"] == EMPTY


def test_killed_inside_both_switches_nothing_is_lost(rehearse):
    chance = random.Random(number := seed())
    print(f"TIDEGATE_KILL_SEED={number}")
    aims = [later(chance, 3), inside("forward", chance), at_once(chance), inside("back", chance), at_once(chance)]
    rehearsed = rehearse("fault-after-switch", aims)
    must_be_whole(rehearsed, rehearsed.ended())
    assert len(rehearsed.kills) >= 4
